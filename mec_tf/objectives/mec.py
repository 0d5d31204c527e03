"""Maximum Entropy Coding: the objective of the paper, and its guard.

Liu, Wang, Li, Zhang and Tu, "Self-Supervised Learning via Maximum Entropy
Coding", NeurIPS 2022, https://arxiv.org/abs/2210.11464.

Two views of m images give two matrices of embeddings of dimension d, and

    L = mu log det(I + C),  C = lambda z1 z2^T,
    mu = (m + d) / 2,  lambda = 1 / (m distortion)

is the number of nats that it takes to code them up to a squared error of
`distortion` per dimension (eq. 1). Training makes it as large as possible. The
paper expands the logarithm (eq. 2), so that products of matrices are enough:

    L = mu Tr(C - C^2 / 2 + C^3 / 3 - C^4 / 4 + ...)

The rows of z1 and z2 are the embeddings here; the paper has them as columns.
C may be replaced by lambda z1^T z2, which is `[d, d]` instead of `[m, m]` and
has the same non-zero eigenvalues, hence the same trace and determinant.
"""

import tensorflow as tf

from mec_tf.objectives.replicas import ALONE

# The estimate of the norm is a lower bound. The guard keeps the estimate below
# 1 / 1.1, which leaves the true norm below 1 as long as the estimate reaches
# 91 % of it.
GUARD_MARGIN = 1.1
POWER_ITERATIONS = 12


def coding_length(
    z1,
    z2,
    *,
    distortion,
    order=4,
    form="auto",
    embedding_norm="l2",
    replicas=ALONE,
):
    """The coding length of two views of a batch, eqs. (1) and (2).

    Args:
        z1: embeddings of the first view, `[m / N, d]`, floating; this replica's
            rows out of the m of all N replicas. Not yet normalised.
        z2: embeddings of the second view, like `z1`.
        distortion: epsilon_d squared, the squared error allowed per dimension;
            positive, a number or a scalar tensor. No gradient flows to it.
        order: terms of the Taylor series, at least 1; 0 is the exact
            log-determinant.
        form: "batch" works with the `[m, m]` matrix, "feature" with the
            `[d, d]` one, "auto" with the cheaper. The values are equal.
        embedding_norm: "l2" gives every row unit length; "batch" gives every
            column of the global batch mean 0 and variance 1 / d.
        replicas: the `Replicas` that share the batch.

    Returns:
        The coding length of the global batch in nats, a scalar, equal on all
        replicas; float64 for float64 embeddings, else float32. Its gradient
        with respect to `z1` and `z2` is that of the global batch's coding
        length with respect to this replica's rows.

    Raises:
        ValueError: shapes that are not two equal matrices, dtypes that are not
            floating and equal, a number `distortion` that is not positive, a
            negative `order`, an unknown `form` or `embedding_norm`.
    """
    trace, mu, _ = _trace_of_log(
        z1, z2, distortion, order, form, embedding_norm, replicas
    )
    return mu * trace


def mec_loss(
    z1,
    z2,
    *,
    distortion=0.06,
    order=4,
    form="auto",
    embedding_norm="l2",
    replicas=ALONE,
):
    """The loss to minimise: -coding_length / (mu lambda m).

    With this scale, which is that of the authors' code, the loss of order 1 is
    minus the mean cosine of the two views, so that learning rates carry over
    from BYOL and SimSiam, and do not depend on the batch, d or the distortion.

    Args:
        z1: embeddings of the first view, `[m / N, d]`, floating.
        z2: embeddings of the second view, like `z1`.
        distortion: as in `coding_length`; the paper's value by default.
        order: as in `coding_length`.
        form: as in `coding_length`.
        embedding_norm: as in `coding_length`.
        replicas: as in `coding_length`.

    Returns:
        The loss of the global batch, a scalar, equal on all replicas; its
        gradient is as in `coding_length`.

    Raises:
        ValueError: as in `coding_length`.
    """
    trace, _, lambda_m = _trace_of_log(
        z1, z2, distortion, order, form, embedding_norm, replicas
    )
    return -trace / lambda_m


def spectral_norm(
    z1, z2, *, distortion, seed, embedding_norm="l2", replicas=ALONE
):
    """Estimates ||lambda z1 z2^T||_2, which must be < 1 for the series.

    This is the norm to judge convergence by whichever form the loss takes: the
    trace is the same on both sides, but lambda z1^T z2 may have a far larger
    norm without any harm. Power iterations never form the matrix; the estimate
    approaches the norm from below.

    Args:
        z1: embeddings of the first view, `[m / N, d]`, floating.
        z2: embeddings of the second view, like `z1`.
        distortion: as in `coding_length`.
        seed: integer tensor `[2]` that fixes the start vector; the same on all
            replicas.
        embedding_norm: as in `coding_length`.
        replicas: as in `coding_length`.

    Returns:
        The estimate, a non-negative scalar, equal on all replicas; no gradient
        flows through it.

    Raises:
        ValueError: as in `coding_length`.
    """
    z1, z2, lam, _ = _prepare(z1, z2, distortion, embedding_norm, replicas)
    z1, z2 = tf.stop_gradient(z1), tf.stop_gradient(z2)

    def gram(z, w):  # z^T z w over the global batch: [d, d] [d, 1]
        return replicas.sum(tf.matmul(z, tf.matmul(z, w), transpose_a=True))

    # With v = z2 w in the span of the rows, one step v <- C^T C v of the power
    # method is w <- (z1^T z1) (z2^T z2) w: vectors of length d, which every
    # replica holds whole.
    shape = tf.stack([tf.shape(z1)[1], 1])
    w = tf.random.stateless_normal(shape, seed, dtype=z1.dtype)
    for _ in range(POWER_ITERATIONS):
        w = tf.math.l2_normalize(w, epsilon=0.0)
        g2 = gram(z2, w)
        g1 = gram(z1, g2)
        norm_v = tf.reduce_sum(w * g2)  # |v|^2
        norm_cv = tf.reduce_sum(g2 * g1)  # |C v|^2 / lambda^2
        w = g1
    return lam * tf.sqrt(tf.math.divide_no_nan(norm_cv, norm_v))


def guarded_distortion(norm, distortion):
    """The distortion, raised where the series would not converge.

    The norm of C is inversely proportional to the distortion, so the raised
    distortion brings the norm down to 1 / 1.1.

    Args:
        norm: scalar, `spectral_norm` at this `distortion`.
        distortion: as in `coding_length`.

    Returns:
        Scalar of the dtype of `norm`, at least `distortion`.

    Raises:
        ValueError: a number `distortion` that is not positive.
    """
    distortion = _checked_distortion(distortion, tf.convert_to_tensor(norm))
    return distortion * tf.maximum(1.0, GUARD_MARGIN * norm)


def _trace_of_log(z1, z2, distortion, order, form, embedding_norm, replicas):
    """Tr log(I + C), and mu and lambda m."""
    if order != int(order) or order < 0:
        raise ValueError(
            f"order is {order!r}; expected the number of terms of the Taylor "
            "series, 1 or more, or 0 for the exact log-determinant."
        )
    z1, z2, lam, m = _prepare(z1, z2, distortion, embedding_norm, replicas)
    d = tf.cast(tf.shape(z1)[1], z1.dtype)
    mu = (m + d) / 2
    sides = {
        "batch": lambda: _batch_wise(z1, z2, lam, order, replicas),
        "feature": lambda: _feature_wise(z1, z2, lam, order, replicas),
    }
    if form == "auto":
        trace = _cheaper_side(z1, replicas, sides)
    elif form in sides:
        trace = sides[form]()
    else:
        raise ValueError(
            f"form is {form!r}; expected 'auto', 'batch' or 'feature'."
        )
    return trace, mu, lam * m


def _cheaper_side(z, replicas, sides):
    """Calls the cheaper of two sides, by products or by bytes moved."""
    n, d = z.shape
    if replicas.count > 1:
        # Gathering 2 m d numbers against adding up d^2. A batch whose size is
        # not known must not decide differently on different replicas.
        batch = n is not None and 2 * replicas.count * n < d
    elif n is not None:
        batch = n <= d
    else:
        return tf.cond(
            tf.shape(z)[0] <= tf.shape(z)[1], sides["batch"], sides["feature"]
        )
    return sides["batch" if batch else "feature"]()


def _batch_wise(z1, z2, lam, order, replicas):
    """Tr log(I + lambda z1 z2^T) over the rows of all replicas."""

    @tf.custom_gradient
    def trace(z1, z2, lam):
        z1, z2, lam = _inside(z1, z2, lam)
        c = lam * tf.matmul(z1, z2, transpose_b=True)  # [m, m]
        value, s = _log_and_derivative(c, order)

        def gradient(upstream):
            s_scaled = (upstream * lam) * s
            return (
                tf.matmul(s_scaled, z2, transpose_a=True),
                tf.matmul(s_scaled, z1),
                None,
            )

        return value, gradient

    return trace(_gathered(z1, replicas), _gathered(z2, replicas), lam)


def _gathered(z, replicas):
    """All rows, with a gradient that counts the loss once.

    Every replica computes the same loss from the gathered rows, and the
    gradient of the gathering adds up what all N of them say.
    """
    if replicas.count == 1:
        return z

    @tf.custom_gradient
    def shared(z):
        return z, lambda upstream: upstream / replicas.count

    return shared(replicas.gather(z))


def _feature_wise(z1, z2, lam, order, replicas):
    """Tr log(I + lambda z1^T z2), where C is a sum over samples.

    Hence the replicas only have to add up C, and each knows the gradient of its
    own rows from the sum.
    """

    @tf.custom_gradient
    def trace(z1, z2, lam):
        z1, z2, lam = _inside(z1, z2, lam)
        c = replicas.sum(lam * tf.matmul(z1, z2, transpose_a=True))  # [d, d]
        value, s = _log_and_derivative(c, order)

        def gradient(upstream):
            s_scaled = (upstream * lam) * s
            return (
                tf.matmul(z2, s_scaled),
                tf.matmul(z1, s_scaled, transpose_b=True),
                None,
            )

        return value, gradient

    return trace(z1, z2, lam)


def _inside(*tensors):
    """The tensors as members of the graph that is being built.

    A gradient that closes over tensors from outside a branch of `tf.cond`
    cannot be taken.
    """
    return [tf.identity(tensor) for tensor in tensors]


def _log_and_derivative(c, order):
    """Tr log(I + C), and S for which its differential is Tr(S dC)."""
    identity = tf.eye(tf.shape(c)[0], dtype=c.dtype)
    if order == 0:
        s = tf.linalg.inv(identity + c)
        return tf.linalg.slogdet(identity + c).log_abs_determinant, s
    value, s, power, sign = tf.zeros([], c.dtype), identity, c, 1.0
    for k in range(1, order + 1):
        value += sign / k * tf.linalg.trace(power)
        if k < order:
            s -= sign * power
            power = tf.matmul(power, c)
            sign = -sign
    return value, s


def _prepare(z1, z2, distortion, embedding_norm, replicas):
    """Checks the arguments; normalised z1 and z2, lambda, and m."""
    z1, z2 = tf.convert_to_tensor(z1), tf.convert_to_tensor(z2)
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
    if z1.dtype != tf.float64:  # half precision does not carry the powers of C
        z1, z2 = tf.cast(z1, tf.float32), tf.cast(z2, tf.float32)
    m = tf.cast(replicas.count * tf.shape(z1)[0], z1.dtype)
    distortion = _checked_distortion(distortion, z1)
    if embedding_norm == "l2":
        z1, z2 = tf.math.l2_normalize(z1, 1), tf.math.l2_normalize(z2, 1)
    elif embedding_norm == "batch":
        z1 = _standardised(z1, m, replicas)
        z2 = _standardised(z2, m, replicas)
    else:
        raise ValueError(
            f"embedding_norm is {embedding_norm!r}; expected 'l2' or 'batch'."
        )
    return z1, z2, 1 / (m * distortion), m


def _checked_distortion(distortion, like):
    """The distortion as a constant of the dtype of `like`."""
    if not tf.is_tensor(distortion) and not distortion > 0:
        raise ValueError(
            f"distortion is {distortion!r}; expected a positive number, such "
            "as the paper's 0.06."
        )
    return tf.stop_gradient(tf.cast(distortion, like.dtype))


def _standardised(z, m, replicas, epsilon=1e-5):
    """Columns of mean 0 and variance 1 / d over the global batch.

    Divided by sqrt(d), so that rows have unit length on average, as they have
    under l2. Epsilon keeps constant columns finite, as in batch normalisation.
    """
    d = tf.cast(tf.shape(z)[1], z.dtype)

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
