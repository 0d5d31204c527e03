"""`encoder.keras` on Keras alone, and files that older versions wrote."""

import json
import os
import re
import subprocess
import sys
import zipfile

import keras
import numpy as np
import pytest
import tensorflow as tf

from mec_tf.formats import encoders, keras_file, torchvision
from mec_tf.models import build_backbone, heads
from mec_tf.models.batch_norm import BatchNormalization
from mec_tf.models.encoder import backbone_of, build_encoder
from mec_tf.models.resnet import ARCHITECTURES, resnet

STATISTICS = {"mean": (0.1, 0.2, 0.3), "std": (0.4, 0.5, 0.6)}
# Runs as if `mec_tf` were not installed, on the backend of KERAS_BACKEND.
ALONE = """
import sys
sys.modules["mec_tf"] = None  # to import it fails
import numpy as np
import keras

def values(model):
    return [keras.ops.convert_to_numpy(w).copy() for w in model.weights]

def moved(encoder, trainable):
    encoder.trainable = trainable
    classifier = keras.Sequential([encoder, keras.layers.Dense(2)])
    classifier.compile(
        keras.optimizers.Adam(),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
    )
    before = values(encoder)
    classifier.fit(given["images"], np.array([0, 1]), verbose=0)
    pairs = zip(before, values(encoder), strict=True)
    return [not np.array_equal(a, b) for a, b in pairs]

given = np.load("given.npz")
encoder = keras.models.load_model("encoder.keras")
found = {name: encoder.predict(given[name], verbose=0) for name in given}
np.savez(f"{keras.backend.backend()}.npz", **found)
assert not any(moved(encoder, False))
assert all(moved(encoder, True))

if keras.backend.backend() == "tensorflow":  # which takes dots in names
    # As exports/README.md says.
    encoder = keras.models.load_model(
        "older.keras",
        custom_objects={
            "mec_tf>BatchNormalization": keras.layers.BatchNormalization
        },
    )
    older = encoder.predict(given["images"], verbose=0)
    np.testing.assert_allclose(older, found["images"], rtol=1e-4, atol=1e-5)
    assert not any(moved(encoder, False))
    assert all(moved(encoder, True))
"""


def images():
    return np.random.default_rng(0).random((2, 9, 8, 3), np.float32)


def encoder_with_statistics(name="resnet_tiny"):
    encoder = build_encoder(build_backbone(name), **STATISTICS)
    generator = np.random.default_rng(0)
    for weight in encoder.weights:
        if len(weight.shape) == 1:
            weight.assign(generator.uniform(0.5, 1.5, weight.shape))
    return encoder


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """A live encoder, and the folder in which it was written."""
    encoder = encoder_with_statistics()
    folder = tmp_path_factory.mktemp("written")
    keras_file.write(encoder, folder / "encoder.keras")
    older = with_dots(encoder)
    backbone_of(older).get_layer("layer2.0.downsample.1")  # it is there
    older.save(folder / "older.keras")
    given = {"images": images(), "bytes": np.uint8(255 * images())}
    given |= {"wrong": 2 * images() - 1, "double": np.float64(images())}
    np.savez(folder / "given.npz", **given)
    return encoder, folder


@pytest.mark.parametrize("backend", ["tensorflow", "torch", "jax"])
def test_keras_alone_runs_and_trains_it(written, backend):
    pytest.importorskip(backend)
    encoder, folder = written
    ended = subprocess.run(
        [sys.executable, "-I", "-c", ALONE],
        cwd=folder,
        env=os.environ | {"KERAS_BACKEND": backend},
        capture_output=True,
        text=True,
    )
    assert ended.returncode == 0, ended.stderr
    with np.load(folder / "given.npz") as given:
        unit = {name: given[name] for name in given}
    unit["bytes"] = unit["bytes"] / np.float32(255)
    with np.load(folder / f"{backend}.npz") as found:
        assert np.isnan(found["wrong"]).all()
        for name in ("images", "bytes", "double"):
            expected = encoder(np.float32(unit[name]))
            np.testing.assert_allclose(
                found[name], expected, rtol=1e-4, atol=1e-5
            )


def test_nothing_in_it_is_of_this_package(written):
    _, folder = written
    with zipfile.ZipFile(folder / "encoder.keras") as file:
        assert "mec_tf" not in file.read("config.json").decode()


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_every_backend_takes_the_names(name):
    with keras.device("cpu"):
        model = resnet(name)
    assert not [layer.name for layer in model.layers if "." in layer.name]


def test_read_back_it_is_the_encoder_again(written):
    encoder, folder = written
    again, _ = encoders.open_model(str(folder / "encoder.keras"))
    kinds = [type(layer) for layer in backbone_of(again).layers]
    assert BatchNormalization in kinds
    assert keras.layers.BatchNormalization not in kinds
    np.testing.assert_array_equal(again(images()), encoder(images()))
    for ours, theirs in zip(again.weights, encoder.weights, strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_more_outputs_are_written_and_the_features_read(written, tmp_path):
    encoder, _ = written
    projector = heads.build_projector(128, dim=4, layers=2, hidden_dim=8)
    path = tmp_path / "encoder.keras"
    keras_file.write(encoder, path, projector=projector, intermediate=True)
    model = keras.saving.load_model(path)
    outputs = model(images())
    assert outputs.keys() == {
        *("features", "embedding", "res2", "res3", "res4", "res5")
    }
    np.testing.assert_allclose(
        outputs["embedding"], projector(encoder(images())), rtol=1e-4, atol=1e-5
    )
    again = keras_file.as_encoder(model)
    np.testing.assert_allclose(again(images()), encoder(images()), rtol=1e-5)


def test_an_application_keeps_its_own_batch_norm(tmp_path):
    encoder = encoder_with_statistics("keras:MobileNetV3Small")
    keras_file.write(encoder, tmp_path / "encoder.keras")
    again, _ = encoders.open_model(str(tmp_path / "encoder.keras"))
    np.testing.assert_allclose(again(images()), encoder(images()), rtol=1e-4)


def with_dots(encoder):
    """The encoder as version 0.1.0 named its layers."""
    text = json.dumps(encoder.get_config())
    text = re.sub(
        r"layer(\d)_(\d)_(downsample)_(\d)", r"layer\1.\2.\3.\4", text
    )
    text = re.sub(r"layer(\d)_(\d)[_.]", r"layer\1.\2.", text)
    text = re.sub(r"(\w)_(relu|pad)\b", r"\1.\2", text)
    older = keras.Model.from_config(json.loads(text))
    older.set_weights(encoder.get_weights())
    return older


def test_files_of_version_0_1_0_are_read(written):
    encoder, folder = written
    path = folder / "older.keras"
    again, _ = encoders.open_model(str(path))
    np.testing.assert_array_equal(again(images()), encoder(images()))
    names = torchvision.to_state_dict(backbone_of(again)).keys()
    assert "layer2.0.downsample.1.running_var" in names


def test_checkpoints_of_version_0_1_0_are_read(written, tmp_path):
    """They go by the graph of objects, not by names."""
    encoder, _ = written
    path = tf.train.Checkpoint(model=with_dots(encoder)).write(
        tmp_path / "checkpoint"
    )
    again = build_encoder(build_backbone("resnet_tiny"), **STATISTICS)
    tf.train.Checkpoint(model=again).read(path).assert_consumed()
    np.testing.assert_array_equal(again(images()), encoder(images()))
