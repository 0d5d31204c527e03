"""Tr log(I + C) of a square matrix, and its derivative.

Each function takes C and returns (value, S): the trace, a scalar, and the
matrix S for which Tr(S dC) is its differential; both of the dtype of C.
`chebyshev.py` has a third one.
"""

import sys

import tensorflow as tf

from mec_tf.objectives.xla import xla_compiles


def taylor(c: tf.Tensor, *, order: int) -> tuple[tf.Tensor, tf.Tensor]:
    """The paper's eq. (2) in `order` terms, 2 or more, by order / 2 products.

    With h half the order,

        S = I - C + C^2 - ... = (I - C + ...) + (-C)^h (I - C + ...)

    with h terms in the first pair of brackets and the rest in the second.
    """
    powers, traces = powers_and_traces(c, order)
    half, top = len(powers), powers[-1]
    rest = order - half
    value = sum((-1) ** k / (k + 1) * t for k, t in enumerate(traces))

    # One after the other, so that no more than three matrices of the size of C
    # are alive at order 4.
    with tf.control_dependencies([value]):
        if rest == 1:
            return value, _alternating(powers[: order - 1])
        head = _alternating(powers[: half - 1])
        tail = head if rest == half else _alternating(powers[: rest - 1])
        product = tf.matmul(top, tail)
        return value, head + product if half % 2 == 0 else head - product


def powers_and_traces(
    c: tf.Tensor, order: int
) -> tuple[list[tf.Tensor], list[tf.Tensor]]:
    """The powers of C up to half of `order`, and the traces of all up to it.

    More powers are not needed: above h, half the order, the trace of C^(h + k)
    is the inner product of the transpose of C^h with C^k.

    Args:
        c: floating square matrix.
        order: the highest power, 2 or more.

    Returns:
        (powers, traces): `(order + 1) // 2` matrices, from C on, and `order`
        scalars.
    """
    half = (order + 1) // 2
    powers = [c]
    while len(powers) < half:
        powers.append(tf.matmul(powers[-1], c))
    top_transposed = tf.transpose(powers[-1])
    traces = [tf.linalg.trace(power) for power in powers]
    # Not by a product of two vectors, whose float32 sums drift by 1e-3.
    traces += [
        tf.reduce_sum(top_transposed * power)
        for power in powers[: order - half]
    ]
    return powers, traces


def exact(c: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """The log of |det(I + C)|, and S = (I + C)^-1, by one factorisation.

    The matrix of two views is not symmetric, so it has no Cholesky factor (and
    `tf.linalg.logdet` would silently use one), and its determinant may even be
    negative, where the logarithm means nothing: that is said on stderr.
    """
    # Factorisations refuse what is not finite; the caller is to see it instead.
    poison = 0 * tf.reduce_sum(c)  # NaN, or nothing
    a = _plus_identity(tf.where(poison == 0, c, tf.zeros_like(c)))
    if xla_compiles():  # XLA has no LU; QR takes about twice the time
        q, r = tf.linalg.qr(a)
        diagonal = tf.linalg.diag_part(r)
        s = tf.linalg.triangular_solve(r, tf.transpose(q), lower=False)
    else:
        lu, permutation = tf.linalg.lu(a)
        diagonal = tf.linalg.diag_part(lu)
        s = tf.linalg.lu_matrix_inverse(lu, permutation)
        _warn_if_negative(diagonal, permutation)
    return tf.reduce_sum(tf.math.log(tf.abs(diagonal))) + poison, s + poison


def _alternating(powers):
    """I - C + C^2 - ..., from the powers of C that it has."""
    total = -powers[0]
    for k, power in enumerate(powers[1:]):
        total = total - power if k % 2 else total + power
    return _plus_identity(total)


def _plus_identity(matrix):
    return tf.linalg.set_diag(matrix, tf.linalg.diag_part(matrix) + 1)


def _warn_if_negative(diagonal, permutation):
    """Says so if a determinant is negative, from its LU factors."""
    out_of_order = tf.linalg.band_part(
        permutation[:, None] > permutation, 0, -1
    )
    swaps = tf.math.count_nonzero(out_of_order) + tf.math.count_nonzero(
        diagonal < 0
    )
    tf.cond(
        swaps % 2 == 1,
        lambda: tf.print(
            "mec_tf: det(I + C) is negative, so there is no coding length of",
            "these views; the log of its absolute value is used.",
            output_stream=sys.stderr,
        ),
        tf.no_op,
    )
