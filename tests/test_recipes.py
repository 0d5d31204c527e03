"""The recipes of exports/README.md, run as they stand there."""

import re
import shlex
import shutil

import numpy as np
import pytest
import tensorflow as tf
from conftest import REPOSITORY
from PIL import Image

from mec_tf.formats import torch_file
from mec_tf.formats import torchvision as torchvision_format
from mec_tf.models import build_backbone

README = (REPOSITORY / "exports/README.md").read_text()


def blocks(language):
    found = re.findall(r"^```(\w*)\n(.*?)^```$", README, re.M | re.S)
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
    """What the Python blocks define, one after the other."""
    images = np.random.default_rng(0).random((2, 8, 8, 3), np.float32)
    names = {"images": images, "features_by_block": []}
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(place)
        for block in blocks("python"):
            names.pop("features", None)
            exec(block, names)
            names["features_by_block"].append(names.get("features"))
    return names


def test_python_blocks_run_and_end_in_features(names):
    features = [f for f in names["features_by_block"] if f is not None]
    assert len(blocks("python")) >= 8
    assert [f.shape for f in features] == [(2, 128), (1, 128), (2, 128)]
    np.testing.assert_allclose(
        names["encoder"](names["images"]), features[2], rtol=1e-3, atol=1e-5
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
