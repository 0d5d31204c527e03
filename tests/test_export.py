"""Encoders handed on, as a user hands them on."""

import hashlib
import json
import signal
import time

import keras
import numpy as np
import pytest
import tensorflow as tf

import mec_tf.models  # noqa: F401  registers our batch norm
from mec_tf.formats import loading

RUN = "--workdir=runs/small"
EXTRAS = ("--include_projector", "--intermediate")
LINES = {
    "newest": [RUN],
    "step": [RUN, "--step=10"],
    "target": [RUN, "--network=target", *EXTRAS],
    "keras": [RUN, "--network=target", *EXTRAS, "--format=keras"],
    "onnx": [RUN, "--network=target", *EXTRAS, "--format=onnx"],
    "torchvision": [RUN, "--step=10", "--format=torchvision"],
    "back": [
        "--from_torch=torchvision/encoder.pth",
        "--backbone=resnet_tiny",
        "--image_size=8",
    ],
    "again": ["--encoder=newest", "--format=keras"],
    "detectron2": ["--encoder=random:resnet18", "--format=detectron2"],
}


@pytest.fixture(scope="module")
def handed_on(small_run, run_lines):
    """Folder with the run and every export of `LINES`, named as there."""
    folder, _ = small_run
    (folder / "again").mkdir()  # Empty: it is in nobody's way.
    lines = [[*line, f"--export_dir={name}"] for name, line in LINES.items()]
    for line, ended in zip(
        lines, run_lines("export", lines, cwd=folder), strict=True
    ):
        assert ended.code == 0, f"{line}: {ended.err}"
        assert line[-1].removeprefix("--export_dir=") in ended.out
    return folder


def images(n=3, h=8, w=8):
    return np.random.default_rng(n * h * w).random((n, h, w, 3), np.float32)


def variables(export):
    return [v.numpy() for v in tf.saved_model.load(str(export)).variables]


def checkpoint(folder, step, network):
    """A network's arrays, by TensorFlow's own reader."""
    path = folder / f"runs/small/checkpoints/step-{step:08d}/state"
    reader = tf.train.load_checkpoint(str(path))
    # What learns is also the optimizer's, and stored under its name.
    return {
        key: reader.get_tensor(key)
        for key in reader.get_variable_to_shape_map()
        if key.startswith("model/target/") == (network == "target")
        and not key.startswith("_CHECKPOINTABLE")
    }


@pytest.mark.parametrize(
    ("name", "step", "network"),
    [
        ("newest", 15, "online"),
        ("step", 10, "online"),
        ("target", 15, "target"),
    ],
)
def test_it_is_the_checkpoint_that_was_asked_for(
    handed_on, name, step, network
):
    found = {
        array.tobytes()
        for array in checkpoint(handed_on, step, network).values()
    }
    exported = variables(handed_on / name)
    assert len(exported) > 30
    assert {array.tobytes() for array in exported} <= found
    metadata = json.loads((handed_on / name / "encoder.json").read_text())
    assert (metadata["steps"], metadata["image_size"]) == (step, 8)
    assert metadata["objective"] == "mec"
    assert ("knn_accuracy" in metadata["scores"]) == (network == "online")


def test_the_newest_is_what_the_run_exported(handed_on):
    for ours, theirs in zip(
        variables(handed_on / "newest"),
        variables(handed_on / "exports/small"),
        strict=True,
    ):
        np.testing.assert_array_equal(ours, theirs)


def test_all_formats_return_the_same_outputs(handed_on):
    onnxruntime = pytest.importorskip("onnxruntime")
    served = tf.saved_model.load(str(handed_on / "target")).signatures
    assert served["serving_default"].structured_outputs.keys() == {"features"}
    model = keras.models.load_model(handed_on / "keras/encoder.keras")
    session = onnxruntime.InferenceSession(handed_on / "onnx/encoder.onnx")
    x = images(2, 16, 24)
    expected = {
        name: output.numpy()
        for key in ("serving_default", "embedding", "intermediate")
        for name, output in served[key](images=tf.constant(x)).items()
    }
    assert expected["embedding"].shape == (2, 32)
    assert expected["res2"].shape == (2, 16, 24, 16)
    assert expected["res5"].shape == (2, 2, 3, 128)
    # The pooled last stage is the features.
    np.testing.assert_allclose(
        expected["res5"].mean((1, 2)),
        expected["features"],
        rtol=1e-4,
        atol=1e-5,
    )
    names = [output.name for output in session.get_outputs()]
    from_onnx = dict(zip(names, session.run(names, {"images": x}), strict=True))
    for outputs in (model(x), from_onnx):
        assert outputs.keys() == expected.keys()
        for name, output in outputs.items():
            scale = np.abs(expected[name]).max()
            assert np.abs(output - expected[name]).max() < 1e-4 * scale, name


def weights_in_order(model):
    """The projector's, layer by layer."""
    return [
        weight
        for layer in model.get_layer("projector").layers
        for weight in layer.get_weights()
    ]


def test_the_embedding_is_the_projectors(handed_on):
    """Against NumPy's float64."""
    served = tf.saved_model.load(str(handed_on / "target")).signatures
    x = tf.constant(images())
    model = keras.models.load_model(handed_on / "keras/encoder.keras")
    first, gamma, beta, mean1, variance1, second, mean2, variance2 = (
        np.float64(layer_weight) for layer_weight in weights_in_order(model)
    )
    y = served["serving_default"](images=x)["features"].numpy() @ first
    y = (y - mean1) / np.sqrt(variance1 + 1e-5) * gamma + beta
    y = np.maximum(y, 0) @ second
    y = (y - mean2) / np.sqrt(variance2 + 1e-5)
    np.testing.assert_allclose(
        served["embedding"](images=x)["embedding"], y, rtol=1e-3, atol=1e-4
    )


def test_pytorchs_weights_come_back_bit_for_bit(handed_on):
    for ours, theirs in zip(
        variables(handed_on / "back"),
        variables(handed_on / "step"),
        strict=True,
    ):
        np.testing.assert_array_equal(ours, theirs)


def test_an_export_converts(handed_on):
    encoder = keras.models.load_model(handed_on / "again/encoder.keras")
    expected = tf.saved_model.load(str(handed_on / "newest"))(images())
    np.testing.assert_allclose(
        encoder(images()), expected, rtol=1e-4, atol=1e-5
    )
    metadata = json.loads((handed_on / "again/encoder.json").read_text())
    assert metadata == json.loads(
        (handed_on / "newest/encoder.json").read_text()
    )


@pytest.mark.parametrize("metadata", ["{}", "[]", '{"backbone": "resnet18"}'])
def test_odd_metadata_is_named(tmp_path, metadata):
    (tmp_path / "encoder.json").write_text(metadata)
    with pytest.raises(ValueError, match="cannot be opened: it needs"):
        loading.from_export(tmp_path)


def test_detectron2_gets_weights_and_configuration(handed_on):
    names = {path.name for path in (handed_on / "detectron2").iterdir()}
    assert names == {"encoder.pkl", "detectron2.yaml", "encoder.json"}
    text = (handed_on / "detectron2/detectron2.yaml").read_text()
    assert f'WEIGHTS: "{handed_on}/detectron2/encoder.pkl"' in text


def contents(folder):
    return {
        path.relative_to(folder): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in folder.rglob("*")
        if path.is_file()
    }


def test_a_killed_export_leaves_the_former_one(handed_on, start_main, run_main):
    folder = handed_on
    before = contents(folder / "step")
    flags = [RUN, "--export_dir=step", "--overwrite"]
    writer = start_main("export", *flags, cwd=folder)
    deadline = time.monotonic() + 300
    while not list(folder.glob(".step.*.partial/variables/*")):
        assert writer.poll() is None, writer.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.002)
    writer.send_signal(signal.SIGKILL)
    writer.communicate()
    assert list(folder.glob(".step.*.partial/*"))
    assert contents(folder / "step") == before
    ended = run_main("export", *flags, cwd=folder)
    assert ended.code == 0, ended.err
    assert contents(folder / "step") != before
    assert not list(folder.glob(".step.*"))


def test_without_torch_one_line_says_what_to_install(
    handed_on, run_main, tmp_path
):
    (tmp_path / "torch.py").write_text("raise ImportError('no torch')")
    ended = run_main(
        "export",
        f"--encoder={handed_on}/newest",
        "--format=torchvision",
        cwd=tmp_path,
    )
    assert ended.code == 1
    assert "pip install torch" in ended.last_line
    assert "Traceback" not in ended.err
    assert not (tmp_path / "exports/newest_torchvision").exists()
