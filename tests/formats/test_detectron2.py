import pickle
import pickletools
import types

import numpy as np
import pytest

from mec_tf.formats import torchvision
from mec_tf.formats.detectron2 import (
    config_text,
    to_state_dict,
    write_pickle,
)
from mec_tf.models import build_backbone


def detectron2_resnet50():
    """All names and shapes of detectron2/modeling/backbone/resnet.py.

    As `BasicStem`, `BottleneckBlock` and `build_resnet_backbone` nest them for
    DEPTH 50: a `Conv2d` holds its norm, and `shortcut` is there where the
    number of channels changes.
    """
    shapes = {}

    def convolution(name, channels_out, channels_in, size):
        shapes[f"{name}.weight"] = (channels_out, channels_in, size, size)
        for kind in ("weight", "bias", "running_mean", "running_var"):
            shapes[f"{name}.norm.{kind}"] = (channels_out,)

    convolution("stem.conv1", 64, 3, 7)
    channels = 64
    for stage, blocks in zip((2, 3, 4, 5), (3, 4, 6, 3), strict=True):
        width, wide = 64 * 2 ** (stage - 2), 256 * 2 ** (stage - 2)
        for block in range(blocks):
            name = f"res{stage}.{block}"
            if channels != wide:
                convolution(f"{name}.shortcut", wide, channels, 1)
            convolution(f"{name}.conv1", width, channels, 1)
            convolution(f"{name}.conv2", width, width, 3)
            convolution(f"{name}.conv3", wide, width, 1)
            channels = wide
    return shapes


@pytest.fixture(scope="module")
def resnet50():
    return build_backbone("resnet50")


def test_names_and_shapes_are_detectron2s(resnet50):
    state_dict = to_state_dict(resnet50)
    shapes = {name: array.shape for name, array in state_dict.items()}
    assert shapes == detectron2_resnet50()


def test_every_tensor_is_torchvisions(resnet50):
    ours = to_state_dict(resnet50)
    theirs = torchvision.to_state_dict(resnet50)
    for our_name, their_name in [
        ("stem.conv1.weight", "conv1.weight"),
        ("res5.2.conv3.norm.running_var", "layer4.2.bn3.running_var"),
        ("res3.0.shortcut.norm.bias", "layer2.0.downsample.1.bias"),
    ]:
        np.testing.assert_array_equal(ours[our_name], theirs[their_name])


def test_pickle_is_as_the_checkpointer_reads_it(tmp_path, resnet50):
    path = tmp_path / "resnet50.pkl"
    write_pickle(path, resnet50)
    assert [file.name for file in tmp_path.iterdir()] == ["resnet50.pkl"]
    content = pickle.loads(path.read_bytes(), encoding="latin1")
    assert content["matching_heuristics"] is True
    assert "__author__" in content
    for name, array in to_state_dict(resnet50).items():
        read = content["model"][name]
        np.testing.assert_array_equal(read, array, strict=True)
        assert read.flags.writeable


def test_pickle_names_nothing_private_of_numpy(tmp_path, resnet50):
    write_pickle(tmp_path / "a.pkl", resnet50)
    strings = {
        argument
        for _, argument, _ in pickletools.genops(
            (tmp_path / "a.pkl").read_bytes()
        )
        if isinstance(argument, str)
    }
    assert "ndarray" in strings
    assert not any("numpy." in string for string in strings)


@pytest.mark.parametrize(
    ("name", "depth", "res2", "width"),
    [
        ("resnet18", 18, 64, 64),
        ("resnet34", 34, 64, 64),
        ("resnet50", 50, 256, 64),
        ("resnet101", 101, 256, 64),
        ("resnet50w2", 50, 512, 128),
    ],
)
def test_config_describes_the_network(name, depth, res2, width):
    text = config_text(
        types.SimpleNamespace(name=name),
        weights="encoder.pkl",
        mean=(0.485, 0.456, 0.406),
        std=(0.229, 0.224, 0.225),
    )
    for line in (
        '  WEIGHTS: "encoder.pkl"',
        "  PIXEL_MEAN: [123.675, 116.28, 103.53]",
        "  PIXEL_STD: [58.395, 57.12, 57.375]",
        f"    DEPTH: {depth}",
        f"    STEM_OUT_CHANNELS: {width}",
        f"    RES2_OUT_CHANNELS: {res2}",
        "    STRIDE_IN_1X1: False",
        '    NORM: "SyncBN"',
        # Else stem and res2 are frozen, their statistics, too.
        "    FREEZE_AT: 0",
        '  FORMAT: "RGB"',
    ):
        assert line in text.splitlines()
    # Of MODEL, and read before anything else is nested.
    assert "  BACKBONE:\n" in text.partition("  RESNETS:")[0]
    assert "PRECISE_BN" in text


def test_networks_that_detectron2_lacks_are_an_error(tmp_path):
    backbone = build_backbone("resnet_tiny")
    with pytest.raises(ValueError, match="'resnet_tiny'.*resnet50w2"):
        to_state_dict(backbone)


def test_other_endings_are_an_error(tmp_path, resnet50):
    with pytest.raises(ValueError, match=r"'a\.pth'"):
        write_pickle(tmp_path / "a.pth", resnet50)
