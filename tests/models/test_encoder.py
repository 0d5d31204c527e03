import keras
import numpy as np
import pytest
import tensorflow as tf

from mec_tf.formats import saved_model
from mec_tf.models import build_backbone
from mec_tf.models.encoder import build_encoder, in_float32

STATISTICS = {"mean": (0.5, 0.5, 0.5), "std": (0.2, 0.2, 0.2)}


@pytest.fixture
def policy():
    """Sets the precision of a test, and the usual one after it."""
    yield keras.config.set_dtype_policy
    keras.config.set_dtype_policy("float32")


def test_keras_applications_are_handed_on_in_float32(policy, tmp_path):
    """MobileNetV3 adds and multiplies without layers."""
    policy("mixed_bfloat16")
    name = "keras:MobileNetV3Small"
    trained = build_encoder(build_backbone(name), **STATISTICS)
    encoder = in_float32(trained)
    policy("float32")
    exact = build_encoder(build_backbone(name), **STATISTICS)
    exact.set_weights(trained.get_weights())
    images = np.random.default_rng(0).random((2, 33, 47, 3), np.float32)
    expected = exact(images)
    np.testing.assert_array_equal(encoder(images), expected)
    encoder.save(tmp_path / "encoder.keras")
    read = keras.models.load_model(tmp_path / "encoder.keras")
    np.testing.assert_array_equal(read(images), expected)


def test_what_is_no_layer_of_its_own_is_exported_in_float32(policy, tmp_path):
    """Bare operations, and a `Sequential`, as ConvNeXt's stem is."""
    policy("mixed_bfloat16")
    images = keras.Input((None, None, 3))
    stem = keras.Sequential([keras.layers.Conv2D(4, 3)])
    x = keras.layers.GlobalAveragePooling2D()(2.0 * stem(images) + 1.0)
    encoder = build_encoder(keras.Model(images, x), **STATISTICS)
    kernel, bias = encoder.get_weights()
    encoder = in_float32(encoder)
    about = {"backbone": "x", "image_size": 8, **STATISTICS}
    about |= {"objective": "mec", "dataset": "x", "steps": 1, "scores": {}}
    saved_model.save(encoder, tmp_path / "export", **about)

    x = np.random.default_rng(0).random((2, 8, 9, 3), np.float32)
    maps = tf.nn.conv2d((x - 0.5) / 0.2, kernel, 1, "VALID") + bias
    expected = tf.reduce_mean(2.0 * maps + 1.0, [1, 2])
    encode, _ = saved_model.load(tmp_path / "export")
    read = keras.models.load_model(tmp_path / "export" / "encoder.keras")
    for call in (encoder, encode, read):
        np.testing.assert_allclose(call(x), expected, rtol=1e-5, atol=1e-5)
