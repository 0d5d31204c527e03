"""What an objective has to know of the replicas that share its batch."""

from collections.abc import Callable
from typing import NamedTuple

import tensorflow as tf


class Replicas(NamedTuple):
    """The replicas over which one global batch is spread.

    Whoever trains builds it, from `tf.distribute` or from anything else that
    can add and concatenate, so that objectives need no distribution of their
    own. Every replica holds the same number of rows.

    Attributes:
        count: number of replicas N, at least 1.
        gather: `[n, ...]` of this replica -> `[N n, ...]` of all, in one order
            on each.
        sum: tensor of this replica -> the sum over all, equal on each.

    Objectives know the gradients of their own rows, so that neither the
    gradient of `gather` nor that of `sum` is ever taken.
    """

    count: int
    gather: Callable[[tf.Tensor], tf.Tensor]
    sum: Callable[[tf.Tensor], tf.Tensor]


def _identity(tensor):
    return tensor


ALONE = Replicas(count=1, gather=_identity, sum=_identity)
"""One replica that holds the whole batch."""
