"""The objective against NumPy in float64, written from the paper."""

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from mec_tf.objectives import mec

DISTORTION = 0.5
FORMS = ("batch", "feature")
NORMS = ("l2", "batch")


def normalised(z, norm="l2"):
    z = np.asarray(z, np.float64)
    if norm == "l2":
        return z / np.linalg.norm(z, axis=1, keepdims=True)
    spread = np.sqrt(z.var(0) + 1e-5)
    return (z - z.mean(0)) / spread / np.sqrt(z.shape[1])


def reference(z1, z2, distortion, order):
    """Eq. (2), or (1) at order 0, of normalised rows; and its gradients."""
    m, d = z1.shape
    lam, mu = 1 / (m * distortion), (m + d) / 2
    c = lam * z1 @ z2.T
    if order == 0:
        value = np.linalg.slogdet(np.eye(m) + c)[1]
        g = np.linalg.inv(np.eye(m) + c).T
    else:
        powers = [np.linalg.matrix_power(c, k) for k in range(order + 1)]
        value = sum(
            (-1) ** (k + 1) / k * np.trace(powers[k])
            for k in range(1, order + 1)
        )
        g = sum((-1) ** k * powers[k] for k in range(order)).T
    return mu * value, mu * lam * g @ z2, mu * lam * g.T @ z1, (mu, lam, g)


def through_l2(z, gradient):
    """The gradient in raw rows, from that in rows of unit length."""
    norm = np.linalg.norm(z, axis=1, keepdims=True)
    unit = z / norm
    return (gradient - unit * (gradient * unit).sum(1, keepdims=True)) / norm


def views(kind, m, d, seed=0):
    random = np.random.default_rng(seed)
    z = random.normal(size=(m, d))
    noise = random.normal(size=(m, d))
    common = random.normal(size=d)
    return {
        "spread": (z, noise),
        "correlated": (z, z + 0.5 * noise),
        "collapsed": (common + 0 * z, common + 0 * z),
        "nearly collapsed": (common + 0.01 * z, common + 0.01 * noise),
    }[kind]


def value_and_gradients(function, z1, z2, **arguments):
    z1, z2 = tf.constant(z1), tf.constant(z2)
    with tf.GradientTape() as tape:
        tape.watch([z1, z2])
        value = function(z1, z2, **arguments)
    return value, *tape.gradient(value, [z1, z2])


@pytest.mark.parametrize("order", range(9))
@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize(
    "kind", ["spread", "correlated", "collapsed", "nearly collapsed"]
)
def test_float32_matches_numpy_float64(kind, form, order):
    # The last: the paper's distortion, and the norm of C is 16.7 at collapse.
    cases = ((24, 40, 0.5), (40, 24, 0.5), (128, 256, 0.06))
    for m, d, distortion in cases:
        z1, z2 = views(kind, m, d)
        unit1, unit2 = normalised(z1), normalised(z2)
        want, want1, want2, (mu, lam, g) = reference(
            unit1, unit2, distortion, order
        )
        value, got1, got2 = value_and_gradients(
            mec.coding_length,
            z1.astype(np.float32),
            z2.astype(np.float32),
            distortion=distortion,
            order=order,
            form=form,
        )
        assert value.dtype == tf.float32
        # The terms of the series are larger than their sum.
        c = lam * unit1 @ unit2.T
        terms = [
            abs(np.trace(np.linalg.matrix_power(c, k))) / k
            for k in range(1, order + 1)
        ]
        scale = mu * max(terms, default=np.linalg.norm(c))
        np.testing.assert_allclose(value, want, atol=1e-5 * scale, rtol=0)
        # The true gradient vanishes at collapse: compare with its factors.
        factors = mu * lam * np.linalg.norm(g) * np.sqrt(m)
        for z, want_z, got in ((z1, want1, got1), (z2, want2, got2)):
            shortest = np.linalg.norm(z, axis=1).min()
            error = np.linalg.norm(got - through_l2(z, want_z))
            assert error <= 1e-5 * factors / shortest


@settings(max_examples=25, deadline=None)
@given(
    m=st.integers(1, 12),
    d=st.integers(1, 12),
    order=st.integers(0, 10),
    form=st.sampled_from(("auto", *FORMS)),
    norm=st.sampled_from(NORMS),
    exponent=st.integers(-3, 3),
    # Whole eigenvalues of C, such as 1 / distortion, could make I + C singular.
    distortion=st.floats(0.05, 3.0).map(lambda number: number + np.pi / 1e4),
    seed=st.integers(0, 99),
)
def test_any_shape_order_side_and_scale(
    m, d, order, form, norm, exponent, distortion, seed
):
    z1, z2 = views("correlated", m, d, seed)
    if norm == "l2":
        z1, z2 = z1 * 10.0**exponent, z2 * 10.0**exponent
    want, *_ = reference(
        normalised(z1, norm), normalised(z2, norm), distortion, order
    )
    got = mec.coding_length(
        z1,
        z2,
        distortion=distortion,
        order=order,
        form=form,
        embedding_norm=norm,
    )
    assert got.dtype == tf.float64
    np.testing.assert_allclose(got, want, rtol=1e-8, atol=1e-8)


@pytest.mark.parametrize("order", [0, 1, 2, 3, 4, 5, 6, 7])
@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("norm", NORMS)
def test_gradient_is_the_finite_difference(norm, form, order):
    def loss(z1, z2):
        return mec.mec_loss(
            z1,
            z2,
            distortion=DISTORTION,
            order=order,
            form=form,
            embedding_norm=norm,
        )

    random = np.random.default_rng(1)
    z1, z2 = views("correlated", 7, 5)
    _, gradient1, gradient2 = value_and_gradients(loss, z1, z2)
    for _ in range(2):
        step1, step2 = 1e-6 * random.normal(size=(2, 7, 5))
        change = loss(z1 + step1, z2 + step2) - loss(z1 - step1, z2 - step2)
        expected = 2 * np.sum(gradient1 * step1 + gradient2 * step2)
        np.testing.assert_allclose(change, expected, rtol=1e-6, atol=1e-12)


def test_series_approaches_the_exact_value():
    z1, z2 = views("correlated", 16, 32)
    exact = mec.coding_length(z1, z2, distortion=DISTORTION, order=0)
    errors = [
        abs(
            mec.coding_length(z1, z2, distortion=DISTORTION, order=order)
            - exact
        )
        for order in (1, 2, 4, 8, 16, 32)
    ]
    assert all(
        later < earlier
        for earlier, later in zip(errors[:-1], errors[1:], strict=True)
    )
    assert errors[-1] < 1e-6 * exact


@pytest.mark.parametrize("form", FORMS)
def test_order_1_is_the_negative_mean_cosine(form):
    z1, z2 = views("correlated", 9, 6)
    cosine = (normalised(z1) * normalised(z2)).sum(1).mean()
    loss = mec.mec_loss(z1, z2, distortion=0.3, order=1, form=form)
    np.testing.assert_allclose(loss, -cosine, rtol=1e-12)
    length = mec.coding_length(z1, z2, distortion=0.3, order=1, form=form)
    np.testing.assert_allclose(length, (9 + 6) / 2 * cosine / 0.3, rtol=1e-12)


def test_order_2_of_columns_is_barlow_twins_form():
    """Eq. (25): an invariance and a redundancy term of the correlations."""
    z1, z2 = views("correlated", 20, 6)
    unit1, unit2 = normalised(z1, "batch"), normalised(z2, "batch")
    lam, mu = 1 / (20 * DISTORTION), (20 + 6) / 2
    c = lam * unit1.T @ unit2
    diagonal = sum(c[i, i] - c[i, i] ** 2 / 2 for i in range(6))
    crossed = sum(
        c[i, j] * c[j, i] / 2 for i in range(6) for j in range(6) if i != j
    )
    got = mec.coding_length(
        z1,
        z2,
        distortion=DISTORTION,
        order=2,
        form="feature",
        embedding_norm="batch",
    )
    np.testing.assert_allclose(got, mu * (diagonal - crossed), rtol=1e-12)


def test_loss_is_the_coding_length_per_mu_and_lambda_m():
    z1, z2 = views("correlated", 9, 6)
    length = mec.coding_length(z1, z2, distortion=0.2)
    loss = mec.mec_loss(z1, z2, distortion=0.2)
    np.testing.assert_allclose(loss, -length * 0.2 / 7.5, rtol=1e-12)


@pytest.mark.parametrize("order", [0, 1, 4])
@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("rows", ["equal", "zero", "ends of float32"])
def test_collapse_is_finite(rows, norm, order):
    z = {
        "equal": np.ones((8, 4)),
        "zero": np.zeros((8, 4)),
        "ends of float32": np.full((8, 4), 1e18) ** np.array([[1], [-1]] * 4),
    }[rows].astype(np.float32)
    results = value_and_gradients(
        mec.mec_loss, z, z, order=order, embedding_norm=norm
    )
    assert all(np.isfinite(result).all() for result in results)


def test_a_row_of_zeros_gets_no_gradient():
    z1, z2 = views("correlated", 6, 4)
    z1[2] = 0
    _, gradient, _ = value_and_gradients(mec.mec_loss, z1, z2)
    assert not np.any(gradient[2])
    assert np.all(np.any(np.delete(gradient, 2, 0), axis=1))


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_half_precision_is_widened(dtype):
    z1, z2 = (tf.cast(z, dtype) for z in views("nearly collapsed", 32, 16))
    results = value_and_gradients(mec.mec_loss, z1, z2)
    wide = mec.mec_loss(tf.cast(z1, "float64"), tf.cast(z2, "float64"))
    assert [result.dtype for result in results] == [tf.float32, dtype, dtype]
    np.testing.assert_allclose(results[0], wide, rtol=1e-4)


@pytest.mark.parametrize("order", [0, 1, 4])
@pytest.mark.parametrize("norm", NORMS)
def test_xla_agrees(norm, order):
    z1, z2 = views("correlated", 10, 14)

    def results(z1, z2):
        with tf.GradientTape() as tape:
            tape.watch([z1, z2])
            loss = mec.mec_loss(
                z1, z2, distortion=0.4, order=order, embedding_norm=norm
            )
        norm_of_c = mec.spectral_norm(
            z1, z2, distortion=0.4, seed=[1, 2], embedding_norm=norm
        )
        return loss, *tape.gradient(loss, [z1, z2]), norm_of_c

    z1, z2 = tf.constant(z1), tf.constant(z2)
    compiled = tf.function(results, jit_compile=True)(z1, z2)
    for got, want in zip(compiled, results(z1, z2), strict=True):
        np.testing.assert_allclose(got, want, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("order", [0, 1, 4])
@pytest.mark.parametrize("jit", [False, True])
def test_one_trace_serves_any_batch(jit, order):
    any_rows = [tf.TensorSpec([None, 6], tf.float64)] * 2

    @tf.function(input_signature=any_rows, jit_compile=jit)
    def results(z1, z2):
        with tf.GradientTape() as tape:
            tape.watch([z1, z2])
            loss = mec.mec_loss(z1, z2, distortion=0.4, order=order)
        return loss, *tape.gradient(loss, [z1, z2])

    for m in (3, 6, 11):  # fewer rows than columns, as many, and more
        z1, z2 = views("correlated", m, 6)
        eager = value_and_gradients(
            mec.mec_loss, z1, z2, distortion=0.4, order=order
        )
        for got, want in zip(results(z1, z2), eager, strict=True):
            np.testing.assert_allclose(got, want, rtol=1e-9, atol=1e-12)


def test_unequal_batches_are_named_where_only_the_call_tells():
    signature = [tf.TensorSpec([None, 6], tf.float64)] * 2
    traced = tf.function(mec.mec_loss, input_signature=signature)
    z, _ = views("correlated", 4, 6)
    with pytest.raises(tf.errors.InvalidArgumentError, match="two views of"):
        traced(z, z[1:])


def test_gradients_may_be_taken_from_outside_and_twice():
    signature = [tf.TensorSpec([None, 6], tf.float64)] * 2
    traced = tf.function(mec.mec_loss, input_signature=signature)
    z1, z2 = (tf.constant(z) for z in views("correlated", 4, 6))
    with tf.GradientTape(persistent=True) as tape:
        tape.watch([z1, z2])
        value = traced(z1, z2)
    first = tape.gradient(value, [z1, z2])
    second = tape.gradient(value, [z1, z2])
    _, *want = value_and_gradients(mec.mec_loss, z1, z2)
    np.testing.assert_array_equal(first, second)
    np.testing.assert_allclose(first, want, rtol=1e-9)


def test_distortion_may_be_a_tensor_and_gets_no_gradient():
    z1, z2 = views("correlated", 4, 6)
    distortion = tf.constant(0.3)
    with tf.GradientTape() as tape:
        tape.watch(distortion)
        loss = mec.mec_loss(z1, z2, distortion=distortion)
    want = mec.mec_loss(z1, z2, distortion=0.3)
    np.testing.assert_allclose(loss, want, rtol=1e-6)
    assert tape.gradient(loss, distortion) is None


@pytest.mark.parametrize("order", [0, 1, 4])
def test_what_is_not_finite_is_returned_and_not_raised(order):
    z1, z2 = views("correlated", 4, 6)
    z1[0, 0] = np.nan
    assert np.isnan(mec.mec_loss(z1, z2, order=order))


def test_a_negative_determinant_is_said(capfd):
    z = np.eye(3)
    mec.coding_length(z, z, distortion=0.1, order=0)
    assert capfd.readouterr().err.count("negative") == 0
    # I + C = 1 - 1 / (3 * 0.1) < 0, in each of three directions.
    length = mec.coding_length(z, -z, distortion=0.1, order=0)
    assert "det(I + C) is negative" in capfd.readouterr().err
    np.testing.assert_allclose(length, 3 * 3 * np.log(10 / 3 - 1), rtol=1e-12)


def test_the_sign_follows_the_exchanges_of_rows(capfd):
    """LU exchanges rows here, which alone must not count as negative."""
    random = np.random.default_rng(0)
    for _ in range(20):
        z1, z2 = random.normal(size=(2, 5, 3))
        c = normalised(z1).T @ normalised(z2) / (5 * 0.02)
        sign = np.linalg.slogdet(np.eye(3) + c)[0]
        mec.coding_length(z1, z2, distortion=0.02, order=0)
        assert ("negative" in capfd.readouterr().err) == (sign < 0)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"order": -1}, "order is -1"),
        ({"order": 1.5}, "order is 1.5"),
        ({"distortion": 0}, "distortion is 0"),
        ({"distortion": float("nan")}, "distortion is nan"),
        ({"form": "columns"}, "form is 'columns'"),
        ({"embedding_norm": "l1"}, "embedding_norm is 'l1'"),
        ({"z2": np.ones((4, 5))}, r"shapes \(4, 6\) and \(4, 5\)"),
        ({"z1": np.ones(6), "z2": np.ones(6)}, r"shapes \(6,\)"),
        ({"z2": np.ones((4, 6), np.float32)}, "float64 and float32"),
    ],
)
def test_errors_say_what_was_received(change, message):
    z1, z2 = views("correlated", 4, 6)
    with pytest.raises(ValueError, match=message):
        mec.mec_loss(**{"z1": z1, "z2": z2, **change})


def kinds_of_spectra(m, d, random):
    g, n = random.normal(size=(2, m, d))
    common, other = random.normal(size=(2, d))
    q = np.linalg.qr(random.normal(size=(max(m, d), min(m, d))))[0]
    decay = np.arange(1, d + 1) ** -0.5
    return {
        "collapsed": (common + 0 * g, common + 0 * g),
        "nearly collapsed": (common + 0.01 * g, common + 0.01 * n),
        "a weak mean": (0.1 * common + g, 0.1 * common + n),
        "random": (g, n),
        "one view": (g, g),
        "flat": (q, q) if m >= d else (q.T, q.T),
        "another mean per branch": (common + 0.5 * g, other + 0.5 * n),
        "power law": (g * decay, (g + 0.3 * n) * decay),
    }


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize(
    ("m", "d"), [(1, 8), (8, 1), (16, 64), (64, 16), (128, 128), (64, 512)]
)
def test_guard_keeps_the_true_norm_below_1(m, d, norm):
    random = np.random.default_rng(m + d)
    for z1, z2 in kinds_of_spectra(m, d, random).values():
        unit1, unit2 = normalised(z1, norm), normalised(z2, norm)
        c = unit1 @ unit2.T / m
        estimate = mec.spectral_norm(
            z1, z2, distortion=0.06, seed=[m, d], embedding_norm=norm
        )
        true_norm = np.linalg.norm(c, 2) / 0.06
        assert estimate <= true_norm * (1 + 1e-9)
        guarded = mec.guarded_distortion(estimate, 0.06)
        assert guarded >= 0.06
        assert np.linalg.norm(c, 2) / guarded < 1


def test_guard_leaves_a_convergent_series_alone():
    assert mec.guarded_distortion(tf.constant(0.9), 0.06) == np.float32(0.06)
    raised = mec.guarded_distortion(tf.constant(2.0), tf.constant(0.06))
    np.testing.assert_allclose(raised, 0.132, rtol=1e-6)
    with pytest.raises(ValueError, match="distortion is -1"):
        mec.guarded_distortion(tf.constant(2.0), -1)


def test_norm_has_no_gradient_and_repeats():
    z1, z2 = (tf.constant(z) for z in views("correlated", 8, 6))
    with tf.GradientTape() as tape:
        tape.watch([z1, z2])
        norm = mec.spectral_norm(z1, z2, distortion=0.1, seed=[3, 4])
    again = mec.spectral_norm(z1, z2, distortion=0.1, seed=[3, 4])
    assert tape.gradient(norm, [z1, z2]) == [None, None]
    assert norm == again


def test_distortion_falls_linearly_and_stays():
    ours = [
        mec.warmed_up_distortion(k, distortion=0.06, warmup_steps=4)
        for k in range(6)
    ]
    table = 0.06 * np.array([8, 8 - 7 / 3, 8 - 14 / 3, 1, 1, 1])
    np.testing.assert_allclose(ours, table, rtol=1e-6)
    for step in (0, 3):
        constant = mec.warmed_up_distortion(
            step, distortion=0.06, warmup_steps=0
        )
        assert float(constant) == pytest.approx(0.06)


def test_the_distortion_of_a_step_is_the_same_in_a_graph():
    distortion = mec.MEC(0.06, warmup_steps=5).schedules["distortion"]
    for step in (0, 2, 4, 8):
        value = tf.function(distortion)(tf.constant(step, tf.int64))
        assert value.dtype == tf.float32
        assert value.shape == ()
        np.testing.assert_allclose(value, distortion(step), rtol=1e-6)
