"""Normalised embeddings for MEC: checked, float32, rows or columns scaled.

The normalised rows of a view are s z, with s of `[n, 1]`. They are never
formed: to scale C is less work, and needs no more memory. Gradients do not flow
through s; `sides` takes care of it for both views of a pair.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import tensorflow as tf

from mec_tf.objectives.replicas import Replicas
from mec_tf.objectives.xla import xla_compiles


class View(NamedTuple):
    """One view's embeddings and what normalises their rows.

    Attributes:
        z: `[n, d]`, float32 or float64.
        scale: s, `[n, 1]`; no gradient flows to it.
    """

    z: tf.Tensor
    scale: tf.Tensor


class Batch(NamedTuple):
    """The views of one global batch, and which of them are paired.

    Attributes:
        views: every `View` once, however many pairs it is in.
        pairs: the places in `views` of both views of each pair.
        m: rows of the global batch, a scalar of the dtype of z.
        unit_rows: whether rows are given unit length, so that a gradient has
            no part along them.
    """

    views: list[View]
    pairs: list[tuple[int, int]]
    m: tf.Tensor
    unit_rows: bool

    def lam(self, distortion: float | tf.Tensor) -> tf.Tensor:
        """Lambda, 1 / (m distortion), a scalar."""
        return 1 / (self.m * checked_distortion(distortion, self.m))


def normalised(
    pairs: Sequence[tuple[tf.Tensor, tf.Tensor]],
    *,
    embedding_norm: str,
    replicas: Replicas,
) -> Batch:
    """Checks pairs of embeddings and normalises each view once.

    Args:
        pairs: of raw embeddings `[m / N, d]`, this replica's; all of one shape
            and floating dtype. A tensor may be in several pairs.
        embedding_norm: "l2" gives every row unit length; "batch" gives every
            column of the global batch mean 0 and variance 1 / d.
        replicas: the `Replicas` that share the batch.

    Returns:
        A `Batch`.

    Raises:
        ValueError: shapes that are not equal matrices, dtypes that are not
            floating and equal, an unknown `embedding_norm`.
    """
    if embedding_norm not in ("l2", "batch"):
        raise ValueError(
            f"embedding_norm is {embedding_norm!r}; expected 'l2' or 'batch'."
        )
    tensors: list[tf.Tensor] = []
    places: dict[Any, int] = {}

    def place(z):
        if z.ref() not in places:
            places[z.ref()] = len(tensors)
            tensors.append(z)
        return places[z.ref()]

    indices = []
    for pair in pairs:
        z1, z2 = map(tf.convert_to_tensor, pair)
        _check(z1, z2)
        indices.append((place(z1), place(z2)))
    if tensors[0].dtype != tf.float64:
        # Half precision does not carry the powers of C.
        tensors = [tf.cast(z, tf.float32) for z in tensors]
    m = tf.cast(replicas.count * tf.shape(tensors[0])[0], tensors[0].dtype)
    if embedding_norm == "l2":
        views = [View(z, _inverse_lengths(z)) for z in tensors]
    else:
        standard = [_standardised(z, m, replicas) for z in tensors]
        views = [View(z, tf.ones_like(z[:, :1])) for z in standard]
    return Batch(views, indices, m, unit_rows=embedding_norm == "l2")


def checked_distortion(
    distortion: float | tf.Tensor, like: tf.Tensor
) -> tf.Tensor:
    """The distortion as a constant of the dtype of `like`.

    Raises:
        ValueError: a number that is not positive.
    """
    if tf.is_tensor(distortion):
        return tf.stop_gradient(tf.cast(distortion, like.dtype))
    if not distortion > 0:
        raise ValueError(
            f"distortion is {distortion!r}; expected a positive number, such "
            "as the paper's 0.06."
        )
    return tf.constant(distortion, like.dtype)


def _check(z1, z2):
    if z1.dtype != z2.dtype or not z1.dtype.is_floating:
        raise ValueError(
            f"z1 and z2 are of {z1.dtype.name} and {z2.dtype.name}; expected "
            "one floating dtype. Cast both with tf.cast."
        )
    if z1.shape.rank != 2 or not z1.shape.is_compatible_with(z2.shape):
        raise ValueError(
            f"z1 and z2 have the shapes {z1.shape} and {z2.shape}; expected "
            "two of [m, d], whose rows i are two views of image i."
        )
    if not (z1.shape.is_fully_defined() and z2.shape.is_fully_defined()):
        tf.debugging.assert_equal(
            tf.shape(z1),
            tf.shape(z2),
            "z1 and z2 differ in shape; expected two views of the same images",
        )


def _inverse_lengths(z):
    """1 / the length of each row, `[m, 1]`; 0 for a row of zeros."""
    # All in one, the squares need no memory; XLA has no kernel, and fuses.
    norm = tf.norm if xla_compiles() else tf.math.reduce_euclidean_norm
    length = norm(z, axis=1, keepdims=True)
    return tf.stop_gradient(tf.math.divide_no_nan(tf.ones_like(length), length))


def _standardised(z, m, replicas, epsilon=1e-5):
    """Columns of mean 0 and variance 1 / d over the global batch.

    Divided by sqrt(d), so that rows have unit length on average, as they have
    under l2. Epsilon keeps constant columns finite, as in batch normalisation.
    """
    d = tf.cast(tf.shape(z)[1], z.dtype)

    # The sums meet own rows again, so that their gradient, too, is a sum.
    @tf.custom_gradient
    def standardise(z):
        def mean(rows):  # over the rows of all replicas
            return replicas.sum(tf.reduce_sum(rows, 0)) / m

        centred = z - mean(z)
        scale = tf.math.rsqrt(mean(centred**2) + epsilon)
        unit = centred * scale

        def gradient(upstream):
            means = mean(tf.stack([upstream, upstream * unit], 1))
            along = means[0] + unit * means[1]
            return (upstream - along) * scale / tf.sqrt(d)

        return unit / tf.sqrt(d), gradient

    return standardise(z)
