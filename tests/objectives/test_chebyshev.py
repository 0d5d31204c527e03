"""The expansion of the logarithm that holds wherever C's spectrum may lie."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from mec_tf.objectives import mec
from mec_tf.objectives.chebyshev import chebyshev
from mec_tf.objectives.objective import Embeddings
from mec_tf.objectives.replicas import ALONE

DISTORTION = 0.06


def concentrated(m, d, *, seed=0):
    """Two views, float64, of a spectrum that falls and a common mean."""
    rng = np.random.default_rng(seed)
    base = rng.normal(size=(m, d)) / np.arange(1, d + 1)
    base = base / np.linalg.norm(base, axis=1, keepdims=True) + np.eye(d)[1]
    return [
        tf.constant(base + 0.3 * rng.normal(size=(m, d)) / np.sqrt(d))
        for _ in range(2)
    ]


def gradient(z1, z2, **options):
    with tf.GradientTape() as tape:
        tape.watch([z1, z2])
        loss = mec.mec_loss(z1, z2, distortion=DISTORTION, **options)
    return np.stack([g.numpy() for g in tape.gradient(loss, [z1, z2])])


def of_the_paper(eigenvalues, norm, order):
    """The sum of the primitives of (1 - T(y) / T(-c)) / (1 + x), by NumPy."""
    half = 1.1 * norm / 2
    t = np.polynomial.Chebyshev([0] * order + [1])
    at_minus_c = t(-(1 + 1 / half))
    x, weights = np.polynomial.legendre.leggauss(40)
    total = 0.0
    for eigenvalue in eigenvalues:
        nodes = (x + 1) / 2 * eigenvalue
        y = (nodes - half) / half
        integrand = (1 - t(y) / at_minus_c) / (1 + nodes)
        total += np.sum(weights * integrand) * eigenvalue / 2
    return total


@pytest.mark.parametrize("norm", [0.6, 3.0, 16.7])
@pytest.mark.parametrize("order", [2, 3, 4, 5, 8])
def test_it_is_the_polynomial_of_its_definition(order, norm):
    rng = np.random.default_rng(order)
    eigenvalues = np.append(rng.uniform(0, norm, 5), norm)
    q, _ = np.linalg.qr(rng.normal(size=(6, 6)))
    value, derivative = chebyshev(
        tf.constant(q @ np.diag(eigenvalues) @ q.T),
        order=order,
        norm=tf.constant(norm, tf.float64),
    )
    expected = of_the_paper(eigenvalues, norm, order)
    assert float(value) == pytest.approx(expected, rel=1e-9)
    # Relative error of the derivative: that of Chebyshev's iteration.
    half = 1.1 * norm / 2
    bound = 1 / np.cosh(order * np.arccosh(1 + 1 / half))
    slopes = np.diag(q.T @ derivative.numpy() @ q) * (1 + eigenvalues)
    assert np.abs(slopes - 1).max() <= bound + 1e-9
    assert slopes.min() > 0


@pytest.mark.parametrize("form", ["batch", "feature"])
@pytest.mark.parametrize("order", [2, 3, 4])
def test_the_gradient_is_that_of_the_value(order, form):
    z1, z2 = concentrated(9, 6)
    # The norm is held where it is, as no gradient flows to it.
    norm = mec.spectral_norm(z1, z2, distortion=DISTORTION, seed=[0, 0])
    along = np.random.default_rng(1).normal(size=(2, 9, 6))

    def loss(step):
        moved = [z + step * a for z, a in zip((z1, z2), along, strict=True)]
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(mec, "spectral_norms", lambda *_, **__: [norm])
            return mec.mec_loss(
                *moved,
                distortion=DISTORTION,
                order=order,
                form=form,
                series="chebyshev",
            )

    measured = float(loss(1e-6) - loss(-1e-6)) / 2e-6
    found = gradient(z1, z2, order=order, form=form, series="chebyshev")
    assert np.sum(found * along) == pytest.approx(measured, rel=1e-6)


def test_both_sides_agree():
    z1, z2 = concentrated(9, 6)
    batch, feature = (
        float(
            mec.mec_loss(
                z1, z2, distortion=DISTORTION, form=form, series="chebyshev"
            )
        )
        for form in ("batch", "feature")
    )
    assert batch == pytest.approx(feature, rel=1e-10)


def test_it_is_near_the_exact_form_where_taylors_series_diverges():
    z1, z2 = concentrated(24, 32)
    exact = gradient(z1, z2, order=0)

    def cosine(**options):
        other = gradient(z1, z2, **options)
        lengths = np.linalg.norm(exact) * np.linalg.norm(other)
        return np.sum(exact * other) / lengths

    assert mec.spectral_norm(z1, z2, distortion=DISTORTION, seed=[0, 0]) > 4
    assert cosine(series="taylor") < 0.8
    assert cosine(series="chebyshev") > 0.98
    lengths = [
        float(mec.coding_length(z1, z2, distortion=DISTORTION, **options))
        for options in ({"order": 0}, {"series": "chebyshev"})
    ]
    assert lengths[1] == pytest.approx(lengths[0], rel=0.1)


def test_no_embedding_at_all_is_finite():
    z = tf.zeros([4, 3])
    loss = mec.mec_loss(z, z, distortion=DISTORTION, series="chebyshev")
    assert float(loss) == pytest.approx(0, abs=1e-5)


def test_the_objective_keeps_the_distortion_that_was_asked_for():
    z1, z2 = (tf.cast(z, tf.float32) for z in concentrated(24, 32))
    objective = mec.MEC(DISTORTION, series="chebyshev")
    loss, logs = objective(
        Embeddings([z1, z2], None), step=tf.constant(0), replicas=ALONE
    )
    expected = mec.mec_loss(z1, z2, distortion=DISTORTION, series="chebyshev")
    assert float(loss) == pytest.approx(float(expected), rel=1e-5)
    effective = keras.ops.convert_to_numpy(logs["effective_distortion"])
    assert effective == pytest.approx(DISTORTION)
    assert float(logs["spectral_norm"]) > 4


def test_an_unknown_series_is_refused():
    with pytest.raises(ValueError, match="'taylor' or 'chebyshev'"):
        mec.mec_loss(
            tf.ones([2, 2]), tf.ones([2, 2]), distortion=1, series="fourier"
        )
