"""The recipes of the READMEs, run as they stand there."""

import json
import re
import shlex
import shutil
import subprocess
import sys

import keras
import numpy as np
import pytest
import tensorflow as tf
from conftest import REPOSITORY, environment
from PIL import Image

from mec_tf.formats import torch_file
from mec_tf.formats import torchvision as torchvision_format
from mec_tf.models import build_backbone

README = (REPOSITORY / "exports/README.md").read_text()
EXPORT = "exports/digits"


def blocks(language, document=README):
    found = re.findall(r"^```(\w*)\n(.*?)^```$", document, re.M | re.S)
    return [
        block
        for name, block in found
        if name == language and "# not run here" not in block
    ]


def export_lines():
    commands = "".join(blocks("")).replace("\\\n", "").splitlines()
    start = "python -m mec_tf.export "
    return [
        shlex.split(command.removeprefix(start))
        for command in commands
        if command.startswith(start)
    ]


@pytest.fixture(scope="module")
def place(small_run, photograph_file, run_lines, tmp_path_factory):
    """A folder in which every export command of the README was run."""
    folder = tmp_path_factory.mktemp("recipes")
    source, _ = small_run
    shutil.copytree(source / "runs/small", folder / "runs/digits")
    torch_file.write_torch_file(
        folder / "resnet18.pth",
        torchvision_format.to_state_dict(build_backbone("resnet18")),
    )
    shutil.copy(photograph_file, folder / "photo.jpg")
    generator = np.random.default_rng(0)
    for split in ("train", "test"):
        for label in range(2):  # dark and light
            path = folder / f"DIR/{split}/{label}"
            path.mkdir(parents=True)
            for index in range(4):
                pixels = generator.integers(0, 64, (10, 12, 3)) + 190 * label
                Image.fromarray(np.uint8(pixels)).save(path / f"{index}.png")
    lines = [["--workdir=runs/digits"], *export_lines()]
    assert len(lines) >= 6
    for line, ended in zip(
        lines, run_lines("export", lines, cwd=folder), strict=True
    ):
        assert ended.code == 0, f"{line}: {ended.err}"
    return folder


@pytest.fixture(scope="module")
def photograph_file(tmp_path_factory):
    path = tmp_path_factory.mktemp("photograph") / "photo.jpg"
    Image.effect_noise((60, 40), 99).convert("RGB").save(path)
    return path


@pytest.fixture(scope="module")
def names(place, torchvision):
    """What the Python blocks define, one after the other.

    `after` holds the names after each block, the first of which is README's.
    """
    images = np.random.default_rng(0).random((2, 8, 8, 3), np.float32)
    names = {"images": images, "labels": np.array([3, 7]), "after": []}
    names["z1"] = names["z2"] = tf.math.l2_normalize(tf.ones([4, 8]), -1)
    readme = (REPOSITORY / "README.md").read_text()
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(place)
        for block in [*blocks("python", readme), *blocks("python")]:
            names.pop("features", None)
            exec(block, names)
            names["after"].append((block, {**names, "after": None}))
    return names


def after(names, part):
    """The names after the only block that holds a piece of text."""
    (found,) = (after for block, after in names["after"] if part in block)
    return found


def test_python_blocks_run_and_end_in_features(names, place):
    features = [after.get("features") for _, after in names["after"]]
    features = [values for values in features if values is not None]
    assert len(names["after"]) >= 15
    expected = [(2, 128), (2, 128), (1, 128), (2, 128)]
    assert [values.shape for values in features] == expected
    # ONNX Runtime's, of the encoder as it was exported.
    again = tf.saved_model.load(place / EXPORT)(names["images"])
    np.testing.assert_allclose(again, features[3], rtol=1e-3, atol=1e-5)


def test_what_is_frozen_stays_frozen(names, place):
    """Adam was fitted to a head on it, see the block."""
    found = after(names, "trainable=False")
    assert len(found["classifier"].trainable_variables) == 2
    as_exported = tf.saved_model.load(place / EXPORT)
    kept = found["frozen"]._reloaded_obj.variables
    assert len(kept) == len(as_exported.variables) == 60
    for ours, theirs in zip(kept, as_exported.variables, strict=True):
        np.testing.assert_array_equal(ours.numpy(), theirs.numpy())


def test_what_fine_tunes_moves_weights_and_statistics(names, place):
    as_exported = tf.saved_model.load(place / EXPORT).variables
    layer = after(names, '"train"')["layer"]._reloaded_obj.variables
    loaded = after(names, "Adam(1e-4)")["encoder"].variables
    for trained in (layer, loaded):
        moved = [
            not np.array_equal(ours.numpy(), theirs.numpy())
            for ours, theirs in zip(trained, as_exported, strict=True)
        ]
        assert sum(moved) > 50


def test_momentum_fails_where_the_document_says_so(place, names):
    """Or the document may promise more."""
    layer = keras.layers.TFSMLayer(
        place / EXPORT, call_endpoint="serve", call_training_endpoint="train"
    )
    classifier = keras.Sequential([layer, keras.layers.Dense(10)])
    classifier.compile("adam", names["loss_of"])
    with pytest.raises(ValueError, match="conv1_kernel:0_momentum"):
        classifier.fit(names["images"], names["labels"], verbose=0)


def test_a_classifier_with_the_layer_loads_when_told_to(names, place):
    with pytest.raises(ValueError, match="unsafe"):
        keras.models.load_model(place / "classifier.keras")
    saved = after(names, 'classifier.save("classifier.keras")')["classifier"]
    loaded = after(names, "safe_mode=False")["classifier"]
    images = names["images"]
    np.testing.assert_allclose(
        loaded(images), saved(images), rtol=1e-3, atol=1e-5
    )


def test_litert_keeps_features_and_says_what_int8_costs(names, place):
    accuracies = names["accuracies"]
    assert accuracies == {"float": 1.0, "int8": pytest.approx(1.0, abs=0.25)}
    assert len(names["in_int8"]) < len(names["in_float"]) / 2
    assert (place / "encoder.tflite").read_bytes() == names["in_int8"]
    pixels = names["test"][0]
    assert pixels.dtype == np.uint8 and pixels.shape == (8, 8, 8, 3)
    encode = tf.lite.Interpreter(model_content=names["in_float"])
    features = encode.get_signature_runner()(images=pixels)["features"]
    expected = tf.saved_model.load(place / EXPORT)(pixels)
    np.testing.assert_allclose(features, expected, rtol=1e-3, atol=1e-5)


def test_saving_again_keeps_signatures_only_if_they_are_passed(names, place):
    expected = {"serving_default", "serve_uint8", "serve_bytes"}
    stored = tf.saved_model.load(place / "stored")
    assert set(stored.signatures) == expected
    images = tf.constant(names["images"])
    np.testing.assert_allclose(
        stored.signatures["serving_default"](images=images)["features"],
        tf.saved_model.load(place / EXPORT)(images),
        rtol=1e-3,
        atol=1e-5,
    )
    tf.saved_model.save(names["loaded"], place / "bare")
    assert not set(tf.saved_model.load(place / "bare").signatures) & expected


def test_the_command_line_serves_files(place):
    (command,) = [
        line
        for line in "".join(blocks("")).replace("\\\n", "").splitlines()
        if line.startswith("saved_model_cli")
    ]
    file = (place / "photo.jpg").read_bytes()
    np.save(place / "files.npy", np.array([file]))
    # The console script is in no PATH of a test.
    run = (
        "from tensorflow.python.tools.saved_model_cli import main; import sys;"
        f"sys.argv = {shlex.split(command)!r}; main()"
    )
    subprocess.run(
        [sys.executable, "-c", run],
        cwd=place,
        env=environment(),
        check=True,
        capture_output=True,
    )
    expected = tf.saved_model.load(place / EXPORT).signatures["serve_bytes"]
    np.testing.assert_allclose(
        np.load(place / "features/features.npy"),
        expected(images=tf.constant([file]))["features"],
        rtol=1e-3,
        atol=1e-5,
    )


def test_requests_fit_the_signature(names, place):
    """As TF Serving matches them: names, dtypes, ranks."""
    served = tf.saved_model.load(str(place / "exports/digits")).signatures
    signature = served[names["body"]["signature_name"]]
    _, expected = signature.structured_input_signature
    # REST, row format: a bare value where the signature has a single input,
    # and {"b64": ...} for bytes.
    assert list(expected) == ["images"]
    (instance,) = names["body"]["instances"]
    assert instance.keys() == {"b64"}
    sent = tf.io.decode_base64(
        instance["b64"].translate(str.maketrans("+/", "-_")).rstrip("=")
    )
    assert sent.numpy() == (place / "photo.jpg").read_bytes()
    # gRPC
    assert names["inputs"].keys() == expected.keys()
    tensor = tf.constant(tf.make_ndarray(names["inputs"]["images"]))
    assert tensor.dtype == expected["images"].dtype
    assert expected["images"].shape.is_compatible_with(tensor.shape)
    for files in (tensor, sent[None]):
        features = signature(images=files)["features"]
        assert features.shape == (1, 128)
    assert 'signature_name = "serve_bytes"' in README


def test_unitrack_finds_all_names_that_it_reads(place, torchvision):
    import torch

    network = torchvision.models.resnet50()
    known = network.state_dict()
    read = torch.load(place / "exports/resnet50_torchvision/encoder.pth")
    filtered = {name: t for name, t in read.items() if name in known}
    assert known.keys() - filtered.keys() == {"fc.weight", "fc.bias"}
    network.load_state_dict(known | filtered)
    (block,) = blocks("yaml")
    lines = [line.split(" #")[0].strip() for line in block.splitlines()]
    settings = dict(line.split(": ") for line in lines)
    metadata = json.loads(
        (place / "exports/resnet50_torchvision/encoder.json").read_text()
    )
    assert json.loads(settings["im_mean"]) == metadata["mean"]
    assert json.loads(settings["im_std"]) == metadata["std"]
    assert (place / settings["resume"]).is_file()
    assert settings["infer2D"] == "True"
