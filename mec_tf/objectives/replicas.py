"""Gathers and sums over the replicas that share a batch, with gradients."""

import dataclasses
from collections.abc import Callable

import tensorflow as tf


def _identity(tensor):
    return tensor


@dataclasses.dataclass(frozen=True, eq=False)
class Replicas:
    """The replicas over which one global batch is spread.

    Whoever trains builds it, from `tf.distribute` or from anything else that
    can add and concatenate, so that objectives need no distribution of their
    own. Every replica holds the same number of rows.

    An objective computes its loss, the same number, on every replica; each
    takes the gradient with respect to its own embeddings, and the optimizer
    adds up what follows from them. `gather` and `sum` therefore have gradients
    that need no exchange: what every replica computes in the same way from
    their results has the same, whole derivative everywhere, of which a replica
    needs the part that is its own. That is all of it for `sum`, and its own
    rows for `gather`.

    So whatever follows `gather` or `sum` has to be computed alike on every
    replica. Where a sum is to meet own rows again (embeddings minus the mean
    of the global batch, say), and a gradient is to flow through both, gather
    the rows first and compute with all of them, as one device would.

    Attributes:
        count: number of replicas N, at least 1.
        index: which of them this is, in [0, N); an int or an integer scalar.
        all_gather: `[n, ...]` of this replica -> `[N n, ...]` of all, those of
            replica 0 first; its gradient is never taken.
        all_reduce: tensor of this replica -> the sum over all, equal on each;
            its gradient is never taken.
    """

    count: int = 1
    index: int | tf.Tensor = 0
    all_gather: Callable[[tf.Tensor], tf.Tensor] = _identity
    all_reduce: Callable[[tf.Tensor], tf.Tensor] = _identity

    def gather(self, rows: tf.Tensor) -> tf.Tensor:
        """`[n, ...]` of this replica -> `[N n, ...]` of all, 0's first.

        Its gradient is the upstream gradient of this replica's own rows.
        """
        if self.count == 1:
            return rows

        @tf.custom_gradient
        def gather(rows):
            return self.all_gather(rows), self.own_rows

        return gather(rows)

    def sum(self, tensor: tf.Tensor) -> tf.Tensor:
        """The sum over all replicas; its gradient is the identity."""
        if self.count == 1:
            return tensor

        @tf.custom_gradient
        def add_up(tensor):
            return self.all_reduce(tensor), _identity

        return add_up(tensor)

    def own_rows(self, rows: tf.Tensor) -> tf.Tensor:
        """This replica's `[n, ...]` out of `[N n, ...]`."""
        if self.count == 1:
            return rows
        blocks = tf.reshape(
            rows, tf.concat([[self.count, -1], tf.shape(rows)[1:]], 0)
        )
        own = tf.gather(blocks, self.index)
        return tf.ensure_shape(own, [None, *rows.shape[1:]])


ALONE = Replicas()
"""One replica that holds the whole batch."""
