"""Tr log(I + C) of pairs of views, batch-wise or feature-wise.

C = lambda (s1 z1) (s2 z2)^T is `[m, m]`; lambda (s1 z1)^T (s2 z2), `[d, d]`,
has the same trace of the logarithm. Gradients are those of the global batch
with respect to this replica's rows; none flows to the scales s or to lambda.
"""

from collections.abc import Callable

import tensorflow as tf

from mec_tf.objectives.normalisation import Batch, View
from mec_tf.objectives.replicas import Replicas

SIDES = ("auto", "batch", "feature")

LogDet = Callable[[tf.Tensor], tuple[tf.Tensor, tf.Tensor]]


def traces_of_log(
    batch: Batch,
    lam: tf.Tensor,
    log_det: LogDet,
    *,
    side: str,
    replicas: Replicas,
) -> list[tf.Tensor]:
    """Tr log(I + C) of every pair.

    Args:
        batch: from `normalisation.normalised`.
        lam: lambda, a scalar.
        log_det: function of C that returns the trace and its derivative, such
            as a form of `log_det` of some order.
        side: "batch" for `[m, m]`, "feature" for `[d, d]`, "auto" for the one
            that is cheaper.
        replicas: the `Replicas` that share the batch.

    Returns:
        One scalar per pair, equal on all replicas.
    """
    if side == "auto":
        side = _cheaper(batch.views[0].z, replicas)
    # Each view travels once, however many pairs it is in.
    everyones = (
        _gathered(batch.views, replicas) if side == "batch" else batch.views
    )

    def trace(pair):
        mine = [batch.views[i] for i in pair]
        all_rows = [everyones[i] for i in pair]
        turned = _tangent if batch.unit_rows else _as_it_is
        sides = {
            "batch": lambda: _batch_wise(
                *mine, *all_rows, lam, log_det, turned, replicas
            ),
            "feature": lambda: _feature_wise(
                *mine, lam, log_det, turned, replicas
            ),
        }
        if side == "known when it runs":
            n, d = tf.unstack(tf.shape(mine[0].z))
            return tf.cond(n <= d, sides["batch"], sides["feature"])
        return sides[side]()

    return [trace(pair) for pair in batch.pairs]


def traces(
    batch: Batch, lam: tf.Tensor, *, replicas: Replicas
) -> list[tf.Tensor]:
    """Tr C of every pair: lambda times the sum of all cosines.

    It takes no product of matrices; arguments are those of `traces_of_log`.
    """
    turned = _tangent if batch.unit_rows else _as_it_is
    return [
        _first_order(batch.views[i], batch.views[j], lam, turned, replicas)
        for i, j in batch.pairs
    ]


def _cheaper(z, replicas):
    """The side whose matrix is smaller, by the global batch.

    It takes fewer multiplications, and over replicas it also moves fewer bytes:
    a ring gathers 2 m d numbers, or adds up d^2 of them in 2 d^2.
    """
    n, d = z.shape
    if n is not None:
        return "batch" if replicas.count * n <= d else "feature"
    # A collective inside a branch may hang.
    return "feature" if replicas.count > 1 else "known when it runs"


def _gathered(views, replicas):
    """The views with the rows of all replicas, by one collective."""
    if replicas.count == 1:
        return views
    mine = [tensor for view in views for tensor in view]
    widths = [tensor.shape[1] or tf.shape(tensor)[1] for tensor in mine]
    together = tf.stop_gradient(replicas.gather(tf.concat(mine, 1)))
    parts = tf.split(together, widths, 1)
    return [
        View(z, scale) for z, scale in zip(parts[::2], parts[1::2], strict=True)
    ]


def _own_columns(matrix, replicas):
    """The columns of `[m, m]` that belong to this replica's rows."""
    if replicas.count == 1:
        return matrix
    m = tf.shape(matrix)[0]
    blocks = tf.reshape(matrix, [m, replicas.count, m // replicas.count])
    return tf.gather(blocks, replicas.index, axis=1)


def _batch_wise(view1, view2, all1, all2, lam, log_det, turned, replicas):
    """Tr log(I + C) from the rows of all replicas."""

    @tf.custom_gradient
    def trace(z1, z2, s1, s2, all_z1, all_z2, all_s1, all_s2, lam):
        tensors = _inside(z1, z2, s1, s2, all_z1, all_z2, all_s1, all_s2, lam)
        z1, z2, s1, s2, all_z1, all_z2, all_s1, all_s2, lam = tensors
        a, b = lam * all_s1, tf.transpose(all_s2)  # [m, 1], [1, m]
        c = a * tf.matmul(all_z1, all_z2, transpose_b=True) * b  # [m, m]
        value, s = log_det(c)
        # <z1, dz1> of each row is the diagonal of C S: no product needed.
        shares = tf.reduce_sum(c * tf.transpose(s), 1, keepdims=True)

        def gradient(upstream):
            scaled = s * (upstream * tf.transpose(a)) * tf.transpose(b)
            columns = _own_columns(scaled, replicas)
            dz1 = tf.matmul(columns, all_z2, transpose_a=True)
            dz2 = tf.matmul(replicas.own_rows(scaled), all_z1)
            along = upstream * replicas.own_rows(shares)
            dz1, dz2 = turned(dz1, dz2, along, z1, z2, s1, s2)
            return dz1, dz2, *[None] * 7

        return value, gradient

    return trace(
        view1.z,
        view2.z,
        view1.scale,
        view2.scale,
        all1.z,
        all2.z,
        all1.scale,
        all2.scale,
        lam,
    )


def _feature_wise(view1, view2, lam, log_det, turned, replicas):
    """Tr log(I + lambda (s1 z1)^T (s2 z2)), where C is a sum over samples.

    Hence the replicas only have to add up C, and each knows the gradient of its
    own rows from the sum.
    """

    @tf.custom_gradient
    def trace(z1, z2, s1, s2, lam):
        z1, z2, s1, s2, lam = _inside(z1, z2, s1, s2, lam)
        weights = lam * s1 * s2  # [m / N, 1]
        c = tf.matmul(weights * z1, z2, transpose_a=True)  # [d, d]
        value, s = log_det(replicas.sum(c))

        def gradient(upstream):
            scale = upstream * weights
            dz1 = tf.matmul(z2, s) * scale
            dz2 = tf.matmul(z1, s, transpose_b=True) * scale
            along = tf.reduce_sum(dz1 * z1, 1, keepdims=True)
            dz1, dz2 = turned(dz1, dz2, along, z1, z2, s1, s2)
            return dz1, dz2, None, None, None

        return value, gradient

    return trace(view1.z, view2.z, view1.scale, view2.scale, lam)


def _first_order(view1, view2, lam, turned, replicas):
    @tf.custom_gradient
    def trace(z1, z2, s1, s2, lam):
        weights = lam * s1 * s2
        value = replicas.sum(tf.reduce_sum(weights * z1 * z2))

        def gradient(upstream):
            scale = upstream * weights
            dz1, dz2 = scale * z2, scale * z1
            along = tf.reduce_sum(dz1 * z1, 1, keepdims=True)
            dz1, dz2 = turned(dz1, dz2, along, z1, z2, s1, s2)
            return dz1, dz2, None, None, None

        return value, gradient

    return trace(view1.z, view2.z, view1.scale, view2.scale, lam)


def _tangent(dz1, dz2, along, z1, z2, s1, s2):
    """Takes out of both gradients what would only change the rows' lengths.

    `along`, `[m / N, 1]`, is <z1, dz1> of each row. The traces hold row i of
    the one view as often as that of the other: <z2, dz2> is the same.
    """
    dz1 = dz1 - (along * s1 * s1) * z1
    with tf.control_dependencies([dz1]):  # one temporary [m, d] at a time
        dz2 = dz2 - (along * s2 * s2) * z2
    return dz1, dz2


def _as_it_is(dz1, dz2, *_):
    """For embeddings whose rows have been given no length."""
    return dz1, dz2


def _inside(*tensors):
    """The tensors as members of the graph that is being built.

    A gradient that closes over tensors from outside a branch of `tf.cond`
    cannot be taken.
    """
    return [tf.identity(tensor) for tensor in tensors]
