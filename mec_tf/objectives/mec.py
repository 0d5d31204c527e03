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

import sys

import tensorflow as tf
from tensorflow.python.ops import control_flow_util

from mec_tf.objectives.replicas import ALONE

# The estimate of the norm is a lower bound. The guard brings it to 1 / 1.1,
# which leaves the true norm below 1 where the estimate reaches 91 % of it. With
# these numbers it reached 98 % on ten kinds of embeddings (measured by
# `python -m benchmarks.guard`); a single trial may start badly.
GUARD_MARGIN = 1.1
POWER_ITERATIONS = 16
TRIALS = 8


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
    z1, z2, s1, s2, lam, *_ = _prepare(
        z1, z2, distortion, embedding_norm, replicas
    )
    z1, z2, s1, s2 = map(tf.stop_gradient, (z1, z2, s1, s2))

    def gram(z, s, w):  # (s z)^T (s z) w over the global batch
        z_w = s**2 * tf.matmul(z, w)
        return replicas.sum(tf.matmul(z, z_w, transpose_a=True))

    # With v = z2 w in the span of the rows, one step v <- C^T C v of the power
    # method is w <- (z1^T z1) (z2^T z2) w: vectors of length d, which every
    # replica holds whole. The columns of w are independent trials.
    shape = tf.stack([tf.shape(z1)[1], TRIALS])
    w = tf.random.stateless_normal(
        shape,
        seed,
        dtype=z1.dtype,
        alg="philox",  # the same with XLA
    )
    for _ in range(POWER_ITERATIONS):
        w = tf.math.divide_no_nan(w, tf.norm(w, axis=0))
        gram2_w = gram(z2, s2, w)
        previous, w = w, gram(z1, s1, gram2_w)
    v = tf.reduce_sum(previous * gram2_w, 0)  # |v|^2
    c_v = tf.reduce_sum(gram2_w * w, 0)  # |C v|^2 / lambda^2
    ratio = tf.math.divide_no_nan(c_v, v)
    return lam * tf.sqrt(tf.reduce_max(ratio))


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
    if form not in ("auto", "batch", "feature"):
        raise ValueError(
            f"form is {form!r}; expected 'auto', 'batch' or 'feature'."
        )
    *scaled, m = _prepare(z1, z2, distortion, embedding_norm, replicas)
    lam = scaled[4]
    d = tf.cast(tf.shape(z1)[1], m.dtype)
    mu = (m + d) / 2
    sides = {
        "batch": lambda: _batch_wise(*scaled, order, replicas),
        "feature": lambda: _feature_wise(*scaled, order, replicas),
    }
    if order == 1:
        trace = _first_order(*scaled, replicas)
    elif form == "auto":
        trace = _cheaper(sides, z1, replicas)
    else:
        trace = sides[form]()
    return trace, mu, lam * m


def _cheaper(sides, z, replicas):
    """Calls the side whose matrix is smaller, by the global batch.

    It takes fewer multiplications, and over replicas it also moves fewer bytes:
    a ring gathers 2 m d numbers, or adds up d^2 of them in 2 d^2.
    """
    n, d = z.shape
    if n is not None:
        return sides["batch" if replicas.count * n <= d else "feature"]()
    if replicas.count > 1:
        # A collective inside a branch may hang.
        return sides["feature"]()
    n, d = tf.unstack(tf.shape(z))
    return tf.cond(n <= d, sides["batch"], sides["feature"])


def _batch_wise(z1, z2, s1, s2, lam, turned, order, replicas):
    """Tr log(I + lambda (s1 z1) (s2 z2)^T), from the rows of all replicas."""

    @tf.custom_gradient
    def trace(z1, z2, s1, s2, lam):
        z1, z2, s1, s2, lam = _inside(z1, z2, s1, s2, lam)
        everyones, columns, rows = _gathered(z1, z2, s1, s2, replicas)
        all_z1, all_z2, all_s1, all_s2 = everyones
        a, b = lam * all_s1, tf.transpose(all_s2)  # [m, 1], [1, m]
        c = a * tf.matmul(all_z1, all_z2, transpose_b=True) * b  # [m, m]
        value, s = _log_and_derivative(c, order)
        # <z1, dz1> of each row is the diagonal of C S: no product needed.
        shares = tf.reduce_sum(c * tf.transpose(s), 1, keepdims=True)

        def gradient(upstream):
            scaled = s * (upstream * tf.transpose(a)) * tf.transpose(b)
            dz1 = tf.matmul(columns(scaled), all_z2, transpose_a=True)
            dz2 = tf.matmul(rows(scaled), all_z1)
            along = upstream * rows(shares)
            dz1, dz2 = turned(dz1, dz2, along, z1, z2, s1, s2)
            return dz1, dz2, None, None, None

        return value, gradient

    return trace(z1, z2, s1, s2, lam)


def _gathered(z1, z2, s1, s2, replicas):
    """All rows, and what cuts this replica's columns or rows from [m, m].

    Replicas are not numbered here, so this one finds its rows by their values.
    Should another hold the very same rows in both views, then theirs is also
    the same gradient.
    """
    if replicas.count == 1:
        return (z1, z2, s1, s2), tf.identity, tf.identity
    mine = tf.concat([z1, z2, s1, s2], 1)  # one collective instead of four
    everyones = replicas.gather(mine)
    n, m = tf.shape(mine)[0], tf.shape(everyones)[0]
    blocks = tf.reshape(everyones, [replicas.count, n, -1])
    this = tf.argmax(tf.reduce_all(blocks == mine, [1, 2]))

    def columns(matrix):
        blocks = tf.reshape(matrix, [m, replicas.count, n])
        return tf.gather(blocks, this, axis=1)

    def rows(matrix):
        return tf.gather(tf.reshape(matrix, [replicas.count, n, -1]), this)

    d = tf.shape(z1)[1]
    return tf.split(everyones, [d, d, 1, 1], 1), columns, rows


def _feature_wise(z1, z2, s1, s2, lam, turned, order, replicas):
    """Tr log(I + lambda (s1 z1)^T (s2 z2)), where C is a sum over samples.

    Hence the replicas only have to add up C, and each knows the gradient of its
    own rows from the sum.
    """

    @tf.custom_gradient
    def trace(z1, z2, s1, s2, lam):
        z1, z2, s1, s2, lam = _inside(z1, z2, s1, s2, lam)
        weights = lam * s1 * s2  # [m / N, 1]
        c = tf.matmul(weights * z1, z2, transpose_a=True)  # [d, d]
        value, s = _log_and_derivative(replicas.sum(c), order)

        def gradient(upstream):
            scale = upstream * weights
            dz1 = tf.matmul(z2, s) * scale
            dz2 = tf.matmul(z1, s, transpose_b=True) * scale
            along = tf.reduce_sum(dz1 * z1, 1, keepdims=True)
            dz1, dz2 = turned(dz1, dz2, along, z1, z2, s1, s2)
            return dz1, dz2, None, None, None

        return value, gradient

    return trace(z1, z2, s1, s2, lam)


def _first_order(z1, z2, s1, s2, lam, turned, replicas):
    """Tr C, which is lambda times the sum of all cosines: no product needed."""

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

    return trace(z1, z2, s1, s2, lam)


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


def _log_and_derivative(c, order):
    """Tr log(I + C), and the matrix S whose Tr(S dC) is its differential."""
    return _taylor(c, order) if order else _log_abs_det(c)


def _taylor(c, order):
    """Eq. (2) in `order` terms, for 2 or more, with order / 2 products.

    Powers up to h, half the order, are enough. Above h, the trace of C^(h + k)
    is the inner product of the transpose of C^h with C^k. And

        S = I - C + C^2 - ... = (I - C + ...) + (-C)^h (I - C + ...)

    with h terms in the first pair of brackets and the rest in the second.
    """
    half = (order + 1) // 2
    powers = [c]
    while len(powers) < half:
        powers.append(tf.matmul(powers[-1], c))
    top, rest = powers[-1], order - half
    top_transposed = tf.transpose(top)
    traces = [tf.linalg.trace(power) for power in powers]
    # Not by a product of two vectors, whose float32 sums drift by 1e-3.
    traces += [tf.reduce_sum(top_transposed * p) for p in powers[:rest]]
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


def _alternating(powers):
    """I - C + C^2 - ..., from the powers of C that it has."""
    total = -powers[0]
    for k, power in enumerate(powers[1:]):
        total = total - power if k % 2 else total + power
    return _plus_identity(total)


def _plus_identity(matrix):
    return tf.linalg.set_diag(matrix, tf.linalg.diag_part(matrix) + 1)


def _log_abs_det(c):
    """The log of |det(I + C)|, and S = (I + C)^-1, by one factorisation.

    The matrix of two views is not symmetric, so it has no Cholesky factor (and
    `tf.linalg.logdet` would silently use one), and its determinant may even be
    negative, where the logarithm means nothing: that is said on stderr.
    """
    # Factorisations refuse what is not finite; the caller is to see it instead.
    poison = 0 * tf.reduce_sum(c)  # NaN, or nothing
    a = _plus_identity(tf.where(poison == 0, c, tf.zeros_like(c)))
    if _xla_compiles():  # XLA has no LU; QR takes about twice the time
        q, r = tf.linalg.qr(a)
        diagonal = tf.linalg.diag_part(r)
        s = tf.linalg.triangular_solve(r, tf.transpose(q), lower=False)
    else:
        lu, permutation = tf.linalg.lu(a)
        diagonal = tf.linalg.diag_part(lu)
        s = tf.linalg.lu_matrix_inverse(lu, permutation)
        _warn_if_negative(diagonal, permutation)
    return tf.reduce_sum(tf.math.log(tf.abs(diagonal))) + poison, s + poison


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


def _xla_compiles():
    """Whether the function being traced is going to be compiled by XLA.

    TensorFlow knows while it traces, but has no public way to ask.
    """
    return control_flow_util.GraphOrParentsInXlaContext(
        tf.compat.v1.get_default_graph()
    )


def _prepare(z1, z2, distortion, embedding_norm, replicas):
    """Checks the arguments; z1, z2, s1, s2, lambda, how gradients turn, and m.

    The normalised embeddings are s1 z1 and s2 z2, with s1 and s2 of [m / N, 1].
    They are never formed: to scale C is less work, and needs no more memory.
    Gradients do not flow through s1 and s2; `_tangent` does it for both.
    """
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
    if not (z1.shape.is_fully_defined() and z2.shape.is_fully_defined()):
        tf.debugging.assert_equal(
            tf.shape(z1),
            tf.shape(z2),
            "z1 and z2 differ in shape; expected two views of the same images",
        )
    if z1.dtype != tf.float64:  # half precision does not carry the powers of C
        z1, z2 = tf.cast(z1, tf.float32), tf.cast(z2, tf.float32)
    m = tf.cast(replicas.count * tf.shape(z1)[0], z1.dtype)
    distortion = _checked_distortion(distortion, z1)
    if embedding_norm == "l2":
        s1, s2 = _inverse_lengths(z1), _inverse_lengths(z2)
        turned = _tangent
    elif embedding_norm == "batch":
        z1 = _standardised(z1, m, replicas)
        z2 = _standardised(z2, m, replicas)
        s1 = s2 = tf.ones_like(z1[:, :1])
        turned = _as_it_is
    else:
        raise ValueError(
            f"embedding_norm is {embedding_norm!r}; expected 'l2' or 'batch'."
        )
    return z1, z2, s1, s2, 1 / (m * distortion), turned, m


def _checked_distortion(distortion, like):
    """The distortion as a constant of the dtype of `like`."""
    if tf.is_tensor(distortion):
        return tf.stop_gradient(tf.cast(distortion, like.dtype))
    if not distortion > 0:
        raise ValueError(
            f"distortion is {distortion!r}; expected a positive number, such "
            "as the paper's 0.06."
        )
    return tf.constant(distortion, like.dtype)


def _inverse_lengths(z):
    """1 / the length of each row, `[m, 1]`; 0 for a row of zeros."""
    # All in one, the squares need no memory; XLA has no kernel, and fuses.
    norm = tf.norm if _xla_compiles() else tf.math.reduce_euclidean_norm
    length = norm(z, axis=1, keepdims=True)
    return tf.stop_gradient(tf.math.divide_no_nan(tf.ones_like(length), length))


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
