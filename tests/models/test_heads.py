import numpy as np
import pytest

from mec_tf.models.heads import build_predictor, build_projector


def normalise(x):
    return (x - x.mean(0)) / np.sqrt(x.var(0) + 1e-5)


def test_projector_is_linear_batch_norm_relu_and_ends_without_affine():
    rng = np.random.default_rng(0)
    projector = build_projector(6, dim=4, layers=3)
    weights = {w.path: w.numpy() for w in projector.weights}
    assert [path for path in weights if "moving" not in path] == [
        "linear1/kernel",
        "bn1/gamma",
        "bn1/beta",
        "linear2/kernel",
        "bn2/gamma",
        "bn2/beta",
        "linear3/kernel",
    ]
    x = rng.normal(size=(16, 6))
    expected = x
    for layer in "12":
        expected = normalise(expected @ weights[f"linear{layer}/kernel"])
        expected = np.maximum(expected, 0.0)
    expected = normalise(expected @ weights["linear3/kernel"])
    actual = projector(x.astype(np.float32), training=True)
    np.testing.assert_allclose(actual, expected, atol=1e-4)


def test_predictor_is_linear_batch_norm_relu_linear():
    rng = np.random.default_rng(1)
    predictor = build_predictor(6, hidden_dim=4)
    weights = {w.path: w.numpy() for w in predictor.weights}
    x = rng.normal(size=(16, 6))
    expected = np.maximum(normalise(x @ weights["linear1/kernel"]), 0.0)
    expected = expected @ weights["linear2/kernel"] + weights["linear2/bias"]
    actual = predictor(x.astype(np.float32), training=True)
    np.testing.assert_allclose(actual, expected, atol=1e-5)


def test_linear_layers_start_as_in_pytorch():
    predictor = build_predictor(100, hidden_dim=400)
    hidden, output = predictor.get_layer("linear1"), predictor.layers[-1]
    # Uniform in (-bound, bound) has a deviation of bound / sqrt(3).
    for values, bound in [
        (hidden.kernel, 1 / 10),
        (output.kernel, 1 / 20),
        (output.bias, 1 / 20),
    ]:
        values = values.numpy()
        assert bound * 0.9 < np.abs(values).max() <= bound
        assert values.std() == pytest.approx(bound / np.sqrt(3), rel=0.2)


def test_one_layer_projects_without_relu():
    projector = build_projector(3, dim=5, layers=1)
    assert projector.output_shape == (None, 5)
    embeddings = projector(np.random.default_rng(2).normal(size=(8, 3)))
    assert np.min(embeddings) < 0


def test_no_layer_is_an_error():
    with pytest.raises(ValueError, match="layers=0"):
        build_projector(3, dim=5, layers=0)
