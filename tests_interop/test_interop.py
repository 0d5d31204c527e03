"""TensorFlow 2.15, Keras 2 and tensorflow-addons take our exports."""

import keras
import numpy as np
import pytest
import tensorflow as tf
import tensorflow_addons as tfa
import tensorflow_hub as hub


def relative_difference(actual, expected):
    return np.abs(actual - expected).max() / np.abs(expected).max()


def test_the_environment_is_the_one_that_users_of_addons_have():
    assert tf.__version__ == "2.15.1"
    assert keras.__version__ == "2.15.0"
    assert tfa.__version__ == "0.23.0"


def test_features_are_the_exporters(written, expected):
    layer = hub.KerasLayer(str(written / "encoder"))
    features = layer(expected["crops"])
    assert relative_difference(features, expected["features"]) < 1e-5


def test_features_of_files_are_the_exporters(written, expected):
    serve = tf.saved_model.load(str(written / "encoder")).signatures[
        "serve_bytes"
    ]
    files = [bytes.fromhex(str(file)) for file in expected["files"]]
    features = serve(images=tf.constant(files))["features"]
    assert relative_difference(features, expected["features_of_files"]) < 1e-5
    with pytest.raises(tf.errors.InvalidArgumentError, match=r"\[1\]"):
        serve(images=tf.constant([files[0], files[1][:-99]]))


@pytest.mark.parametrize(
    "optimizer",
    [
        lambda: tfa.optimizers.LAMB(0.01),
        lambda: tfa.optimizers.AdamW(learning_rate=1e-3, weight_decay=1e-4),
    ],
    ids=["LAMB", "AdamW"],
)
def test_an_optimizer_of_addons_fine_tunes_it(written, expected, optimizer):
    tf.keras.utils.set_random_seed(0)
    encoder = hub.KerasLayer(str(written / "encoder"), trainable=True)
    model = tf.keras.Sequential(
        [tf.keras.Input((None, None, 3)), encoder, tf.keras.layers.Dense(10)]
    )
    model.compile(
        optimizer(),
        tf.keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=["accuracy"],
    )
    before = [variable.numpy() for variable in encoder.variables]
    train, test = slice(0, 1024), slice(1024, None)
    images, labels = expected["digits"], expected["labels"]
    losses = model.fit(
        images[train], labels[train], batch_size=64, epochs=4, verbose=0
    ).history["loss"]
    assert losses[-1] < 0.5 * losses[0]
    _, accuracy = model.evaluate(images[test], labels[test], verbose=0)
    assert accuracy > 0.8

    trained = {id(variable) for variable in encoder.trainable_variables}
    assert len(trained) == 36
    moved = {
        kind: [
            not np.array_equal(variable.numpy(), former)
            for variable, former in zip(encoder.variables, before, strict=True)
            if (id(variable) in trained) == (kind == "weights")
        ]
        for kind in ("weights", "statistics")
    }
    assert all(moved["weights"])
    assert len(moved["statistics"]) == 24
    assert all(moved["statistics"])


def test_frozen_it_stays_as_it_is(written, expected):
    encoder = hub.KerasLayer(str(written / "encoder"), trainable=False)
    before = [variable.numpy() for variable in encoder.variables]
    encoder(expected["crops"])
    for variable, former in zip(encoder.variables, before, strict=True):
        np.testing.assert_array_equal(variable.numpy(), former)
    assert not encoder.trainable_variables


def test_our_blur_is_that_of_addons(expected):
    for sigma, blurred in zip(
        expected["sigmas"], expected["blurred"], strict=True
    ):
        theirs = tfa.image.gaussian_filter2d(
            expected["crops"], (23, 23), float(sigma), padding="REFLECT"
        )
        np.testing.assert_allclose(blurred, theirs, atol=1e-5)
