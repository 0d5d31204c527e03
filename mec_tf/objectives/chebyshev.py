"""log det(I + C) by a polynomial that holds wherever C's spectrum may lie.

The Taylor series of eq. (2) is an expansion of log(1 + x) about 0 and leaves
its region where an eigenvalue x of C passes 1. With n the norm of C, take
instead, on all of [0, n],

    y = 2 x / n - 1,  c = 1 + 2 / n,
    d/dx log(1 + x) = 1 / (1 + x) ~ (1 - T_K(y) / T_K(-c)) / (1 + x),

T_K the Chebyshev polynomial of degree K. The numerator vanishes at x = -1,
where y = -c, so this is a polynomial of degree K - 1, and costs the products of
the paper's series of K terms. It is 1 / (1 + x) but for a relative error of
T_K(y) / T_K(-c), and of all polynomials of its degree it has the smallest:
1 / T_K(c) < 1, that of the Chebyshev iteration. So it is positive everywhere:
no direction is pushed the wrong way, and none is weighted several times over,
at the distortion that was asked for. With four terms it is off by 0.2 % at a
norm of 1, 3 % at 3, 9 % at 6 and 31 % at 16.7 (every embedding the same, at
0.06).
"""

import tensorflow as tf

from mec_tf.objectives.log_det import powers_and_traces

# Below it the error is nothing, and 0 / 0 must not be.
LEAST_NORM = 0.5
# The norm is estimated from below.
MARGIN = 1.1


def chebyshev(
    c: tf.Tensor, *, order: int, norm: tf.Tensor
) -> tuple[tf.Tensor, tf.Tensor]:
    """Tr log(I + C) to `order` terms, and its derivative.

    Args:
        c: floating square matrix, eigenvalues near [0, `norm`].
        order: terms K, 2 or more.
        norm: estimate of the norm of C; no gradient flows to it.

    Returns:
        (value, S): a scalar, and the matrix S for which Tr(S dC) is its
        differential.
    """
    norm = tf.stop_gradient(tf.cast(norm, c.dtype))
    half_width = MARGIN * tf.maximum(norm, LEAST_NORM) / 2
    coefficients = _coefficients(1 + 1 / half_width, order)
    y = tf.linalg.set_diag(c, tf.linalg.diag_part(c) - half_width) / half_width
    value, derivative = _trace_of_polynomial(y, coefficients)
    # So that log 1 = 0 however few the terms: zero eigenvalues, of which the
    # one side of C has more than the other, then count for nothing.
    side = tf.cast(tf.shape(c)[0], c.dtype)
    return value - side * _at_minus_one(coefficients), derivative / half_width


def _coefficients(c, order):
    """Of y, y^2, ... in log(1 + x) + constant, by dividing T by y + c."""
    powers = _powers(order)
    remainder, quotient = tf.zeros_like(c), []
    for k in range(order, 0, -1):
        remainder = powers[k] - c * remainder
        quotient.append(remainder)
    at_minus_c = powers[0] - c * remainder
    return [-q / (at_minus_c * k) for k, q in enumerate(reversed(quotient), 1)]


def _powers(degree):
    """Coefficients of 1, y, y^2, ... in T, by T_k+1 = 2 y T_k - T_k-1."""
    before, now = [1.0], [0.0, 1.0]
    for _ in range(degree - 1):
        after = [0.0, *(2 * a for a in now)]
        for k, a in enumerate(before):
            after[k] -= a
        before, now = now, after
    return now


def _at_minus_one(coefficients):
    """The polynomial at x = 0."""
    return tf.add_n([(-1) ** k * a for k, a in enumerate(coefficients, 1)])


def _trace_of_polynomial(y, coefficients):
    """Tr of a_1 Y + a_2 Y^2 + ..., and its derivative, by order / 2 products.

    As in `log_det.taylor`, the derivative is one product beyond the powers.
    """
    order = len(coefficients)
    powers, traces = powers_and_traces(y, order)
    half, top = len(powers), powers[-1]
    value = tf.add_n(
        [a * trace for a, trace in zip(coefficients, traces, strict=True)]
    )
    slopes = [k * a for k, a in enumerate(coefficients, 1)]

    def combined(slopes):
        """slopes[0] I + slopes[1] Y + ..."""
        total = tf.zeros_like(y)
        for slope, power in zip(slopes[1:], powers, strict=False):
            total += slope * power
        return tf.linalg.set_diag(total, tf.linalg.diag_part(total) + slopes[0])

    head = combined(slopes[:half])
    if order - half == 1:
        return value, head + slopes[-1] * top
    return value, head + tf.matmul(top, combined(slopes[half:]))
