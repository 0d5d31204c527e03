import subprocess
import sys
import textwrap

import keras
import numpy as np
import pytest
import tensorflow as tf

from mec_tf.models import build_backbone
from mec_tf.models.batch_norm import BatchNormalization

EPSILON = 1e-5


def normalise(x, gamma, beta):
    """Equations of the paper, in float64, over all axes but the last."""
    axes = tuple(range(x.ndim - 1))
    mean, variance = x.mean(axes), x.var(axes)
    return gamma * (x - mean) / np.sqrt(variance + EPSILON) + beta


def finite_differences(function, x, step=1e-5):
    gradient = np.zeros_like(x)
    for index in np.ndindex(x.shape):
        up, down = x.copy(), x.copy()
        up[index] += step
        down[index] -= step
        gradient[index] = (function(up) - function(down)) / (2 * step)
    return gradient


def random_layer(rng, d, **options):
    layer = BatchNormalization(**options)
    layer.build((None, d))
    layer.gamma.assign(rng.normal(1.0, 0.3, d))
    layer.beta.assign(rng.normal(0.0, 0.3, d))
    return layer


@pytest.mark.parametrize("shape", [(7, 3), (2, 3, 4, 3)])
def test_training_mode_normalises_by_the_batch(shape):
    rng = np.random.default_rng(0)
    layer = random_layer(rng, 3)
    x = rng.normal(5.0, 2.0, shape)
    expected = normalise(x, layer.gamma.numpy(), layer.beta.numpy())
    actual = layer(x.astype(np.float32), training=True)
    np.testing.assert_allclose(actual, expected, atol=1e-5)


@pytest.mark.parametrize("shape", [(5, 2), (2, 2, 2, 2)])
def test_gradients_are_finite_differences(shape):
    rng = np.random.default_rng(1)
    layer = random_layer(rng, 2)
    x, weights = rng.normal(size=(2, *shape))
    gamma = layer.gamma.numpy().astype(np.float64)
    beta = layer.beta.numpy().astype(np.float64)
    inputs = tf.constant(x, tf.float32)
    with tf.GradientTape() as tape:
        tape.watch(inputs)
        loss = tf.reduce_sum(weights * layer(inputs, training=True))
    dx, dgamma, dbeta = tape.gradient(
        loss, [inputs, layer.gamma.value, layer.beta.value]
    )

    def loss_of(x=x, gamma=gamma, beta=beta):
        return (weights * normalise(x, gamma, beta)).sum()

    for actual, name, at in [
        (dx, "x", x),
        (dgamma, "gamma", gamma),
        (dbeta, "beta", beta),
    ]:
        expected = finite_differences(lambda v, n=name: loss_of(**{n: v}), at)
        np.testing.assert_allclose(actual, expected, atol=1e-4, err_msg=name)


def test_running_statistics_keep_the_unbiased_variance():
    rng = np.random.default_rng(2)
    layer = random_layer(rng, 3, momentum=0.7)
    mean, variance = np.zeros(3), np.ones(3)
    for _ in range(3):
        x = rng.normal(2.0, 3.0, (4, 3))
        layer(x.astype(np.float32), training=True)
        mean = 0.7 * mean + 0.3 * x.mean(0)
        variance = 0.7 * variance + 0.3 * x.var(0, ddof=1)
    np.testing.assert_allclose(layer.moving_mean, mean, rtol=1e-5)
    np.testing.assert_allclose(layer.moving_variance, variance, rtol=1e-5)


def test_inference_mode_uses_and_keeps_the_running_statistics():
    rng = np.random.default_rng(3)
    layer = random_layer(rng, 3)
    mean, variance = rng.normal(size=3), rng.uniform(0.5, 2.0, 3)
    layer.moving_mean.assign(mean)
    layer.moving_variance.assign(variance)
    x = rng.normal(size=(6, 3)).astype(np.float32)
    expected = layer.gamma.numpy() * (x - mean) / np.sqrt(variance + EPSILON)
    expected += layer.beta.numpy()
    np.testing.assert_allclose(layer(x, training=False), expected, atol=1e-5)
    layer.trainable = False
    np.testing.assert_allclose(layer(x, training=True), expected, atol=1e-5)
    np.testing.assert_array_equal(
        layer.moving_mean, mean.astype(np.float32), strict=True
    )


def test_without_center_and_scale_nothing_is_learned():
    layer = BatchNormalization(center=False, scale=False)
    x = np.random.default_rng(4).normal(3.0, 2.0, (8, 2)).astype(np.float32)
    expected = normalise(x.astype(np.float64), 1.0, 0.0)
    np.testing.assert_allclose(layer(x, training=True), expected, atol=1e-5)
    assert layer.trainable_variables == []


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_statistics_stay_float32_in_mixed_precision(dtype):
    layer = BatchNormalization(dtype=f"mixed_{dtype}")
    # In float16 the squares overflow, in bfloat16 the mean loses its digits.
    x = np.random.default_rng(5).normal(300.0, 40.0, (64, 2, 2, 3))
    x = tf.cast(x, dtype)
    exact = x.numpy().astype(np.float64)
    y = layer(x, training=True)
    assert y.dtype == dtype
    np.testing.assert_allclose(
        tf.cast(y, tf.float32), normalise(exact, 1.0, 0.0), atol=0.02
    )
    assert layer.moving_variance.dtype == "float32"
    np.testing.assert_allclose(
        layer.moving_mean, 0.1 * exact.mean((0, 1, 2)), rtol=1e-5
    )


def test_reloads_from_its_configuration(tmp_path):
    layer = BatchNormalization(momentum=0.8, scale=False, name="bn")
    model = keras.Sequential([keras.Input((4,)), layer])
    model(np.random.default_rng(6).normal(size=(5, 4)), training=True)
    model.save(tmp_path / "model.keras")
    reloaded = keras.models.load_model(tmp_path / "model.keras")
    assert reloaded.layers[-1].get_config() == layer.get_config()
    np.testing.assert_array_equal(
        reloaded.layers[-1].moving_mean, layer.moving_mean
    )


def test_rejects_other_ranks():
    with pytest.raises(ValueError, match="Received inputs of shape"):
        BatchNormalization()(np.zeros((2, 3, 4), np.float32))


# Logical devices must be split before TensorFlow starts: another process.
REPLICAS = """
    import sys
    import numpy as np
    import mec_tf
    import tensorflow as tf
    from mec_tf.models import batch_norm, build_backbone
    from mec_tf.models.batch_norm import BatchNormalization

    cpu = tf.config.list_physical_devices("CPU")[0]
    half = tf.config.LogicalDeviceConfiguration()
    tf.config.set_logical_device_configuration(cpu, [half, half])
    strategy = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
    data = np.load(sys.argv[1])
    with strategy.scope():
        layer = BatchNormalization()
        layer.build(data["x"].shape)
        layer.gamma.assign(data["gamma"])
        layer.beta.assign(data["beta"])
        network = build_backbone("resnet_tiny")
        weights = [data[f"weight{k}"] for k in range(len(network.weights))]
        network.set_weights(weights)

    def share(name):
        # Replicas of unequal size, as at the end of an epoch.
        shares = np.split(data[name], [5])
        return strategy.experimental_distribute_values_from_function(
            lambda c: tf.constant(shares[c.replica_id_in_sync_group])
        )

    def step(x, weights):
        with tf.GradientTape() as tape:
            tape.watch(x)
            y = layer(x, training=True)
            loss = tf.reduce_sum(weights * y)
        sources = [x, layer.gamma.value, layer.beta.value]
        return y, *tape.gradient(loss, sources)

    @tf.function
    def network_step(images, weights):
        with tf.GradientTape() as tape:
            features = network(images, training=True)
            loss = tf.reduce_sum(weights * features)
        return features, tape.gradient(loss, network.trainable_variables)

    shares = (share("images"), share("feature_weights"))
    features, gradients = strategy.run(network_step, shares)
    network_results = {
        "features": np.concatenate(
            strategy.experimental_local_results(features)
        )
    }
    for k, gradient in enumerate(gradients):
        network_results[f"gradient{k}"] = sum(
            strategy.experimental_local_results(gradient)
        )
    for k, weight in enumerate(network.weights):
        network_results[f"weight{k}"] = weight.numpy()

    np.savez(sys.argv[4], **network_results)

    before = layer.get_weights()
    # So many replicas exchange their statistics in one go: all, or none.
    for batch_norm.TOGETHER, path in zip((64, 0), sys.argv[2:]):
        layer.set_weights(before)
        results = strategy.run(
            tf.function(step), (share("x"), share("weights"))
        )
        y, dx, dgamma, dbeta = map(strategy.experimental_local_results, results)
        np.savez(
            path,
            y=np.concatenate(y),
            dx=np.concatenate(dx),
            dgamma=sum(dgamma),
            dbeta=sum(dbeta),
            mean=strategy.experimental_local_results(layer.moving_mean.value),
            variance=strategy.experimental_local_results(
                layer.moving_variance.value
            ),
        )
"""


def random_network(rng):
    """A residual network in which every branch counts, and its weights."""
    network = build_backbone("resnet_tiny")
    for weight in network.weights:
        if len(weight.shape) == 1:
            weight.assign(rng.uniform(0.5, 1.5, weight.shape))
    weights = {f"weight{k}": w.numpy() for k, w in enumerate(network.weights)}
    return network, weights


def test_two_replicas_equal_one(tmp_path):
    rng = np.random.default_rng(7)
    shape = (8, 2, 3, 3)
    # A large mean: sums of squares would lose the variance's digits.
    x = rng.normal(30.0, 1.0, shape).astype(np.float32)
    weights = rng.normal(size=shape).astype(np.float32)
    layer = random_layer(rng, 3)
    network, network_weights = random_network(rng)
    images = rng.normal(size=(8, 16, 16, 3)).astype(np.float32)
    feature_weights = rng.normal(size=(8, 128)).astype(np.float32)
    np.savez(
        tmp_path / "in.npz",
        **network_weights,
        images=images,
        feature_weights=feature_weights,
        x=x,
        weights=weights,
        gamma=layer.gamma,
        beta=layer.beta,
    )
    subprocess.run(
        [
            sys.executable,
            "-c",
            textwrap.dedent(REPLICAS),
            tmp_path / "in.npz",
            tmp_path / "one exchange.npz",
            tmp_path / "two exchanges.npz",
            tmp_path / "network.npz",
        ],
        check=True,
    )
    inputs = tf.constant(x)
    with tf.GradientTape() as tape:
        tape.watch(inputs)
        y = layer(inputs, training=True)
        loss = tf.reduce_sum(weights * y)
    dx, dgamma, dbeta = tape.gradient(
        loss, [inputs, layer.gamma.value, layer.beta.value]
    )
    for way in ("one exchange", "two exchanges"):
        two = np.load(tmp_path / f"{way}.npz")
        np.testing.assert_allclose(two["y"], y, atol=2e-5)
        np.testing.assert_allclose(two["dx"], dx, atol=2e-5)
        np.testing.assert_allclose(two["dgamma"], dgamma, atol=1e-4)
        np.testing.assert_allclose(two["dbeta"], dbeta, atol=1e-4)
        for replica in range(2):
            np.testing.assert_allclose(
                two["mean"][replica], layer.moving_mean, rtol=1e-6
            )
            np.testing.assert_allclose(
                two["variance"][replica], layer.moving_variance, rtol=1e-5
            )

    two = np.load(tmp_path / "network.npz")
    with tf.GradientTape() as tape:
        features = network(images, training=True)
        loss = tf.reduce_sum(feature_weights * features)
    gradients = tape.gradient(loss, network.trainable_variables)
    assert relative_error(two["features"], features) < 1e-5
    for k, gradient in enumerate(gradients):
        assert relative_error(two[f"gradient{k}"], gradient) < 1e-4, k
    for k, weight in enumerate(network.weights):
        assert relative_error(two[f"weight{k}"], weight) < 1e-5, weight.path


def relative_error(actual, expected):
    expected = np.asarray(expected)
    return np.linalg.norm(actual - expected) / np.linalg.norm(expected)
