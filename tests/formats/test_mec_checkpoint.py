import numpy as np
import pytest

from mec_tf.formats import mec_checkpoint
from mec_tf.formats.mec_checkpoint import (
    is_mec_checkpoint,
    load_state_dict,
    to_state_dict,
)
from mec_tf.models import build_backbone
from mec_tf.models.ema import copy_as_target
from mec_tf.models.heads import build_predictor, build_projector


def build_networks():
    networks = {
        "backbone": build_backbone("resnet_tiny"),
        "projector": build_projector(256, dim=16, layers=3),
        "predictor": build_predictor(16, hidden_dim=8),
    }
    networks["target_backbone"] = copy_as_target(networks["backbone"])
    networks["target_projector"] = copy_as_target(networks["projector"])
    return networks


def test_heads_bear_the_names_of_the_authors_modules():
    names = to_state_dict(build_networks())
    assert is_mec_checkpoint(names)
    statistics = ["num_batches_tracked", "running_mean", "running_var"]
    projector = ["0.weight", "1.bias", *(f"1.{s}" for s in statistics)]
    projector += ["1.weight", "3.weight", "4.bias"]
    projector += [*(f"4.{s}" for s in statistics), "4.weight"]
    projector += ["6.bias", "6.weight", *(f"7.{s}" for s in statistics)]
    predictor = ["0.weight", "1.bias", *(f"1.{s}" for s in statistics)]
    predictor += ["1.weight", "3.bias", "3.weight"]
    for prefix, expected in [
        ("module.encoder.fc.", projector),
        ("module.teacher.fc.", projector),
        ("module.predictor.", predictor),
    ]:
        assert expected == sorted(
            name.removeprefix(prefix)
            for name in names
            if name.startswith(prefix)
        )
    assert "module.encoder.layer4.0.downsample.1.running_var" in names
    assert "module.teacher.conv1.weight" in names


def test_there_and_back_is_bit_identical():
    rng = np.random.default_rng(0)
    before = build_networks()
    for network in before.values():
        for weight in network.weights:
            weight.assign(rng.uniform(0.5, 1.5, weight.shape))
    after = build_networks()
    load_state_dict(after, to_state_dict(before))
    for part, network in after.items():
        for weight, expected in zip(
            network.weights, before[part].weights, strict=True
        ):
            np.testing.assert_array_equal(weight, expected)


def test_the_frozen_bias_of_the_projector_moves_the_running_mean():
    rng = np.random.default_rng(1)
    networks = {"projector": build_projector(6, dim=4, layers=2)}
    state_dict = {
        name: rng.uniform(0.5, 1.5, array.shape).astype(np.float32)
        for name, array in to_state_dict(networks).items()
    }
    load_state_dict(networks, state_dict)
    p = {
        name.removeprefix("module.encoder.fc."): array
        for name, array in state_dict.items()
    }
    x = rng.normal(size=(5, 6)).astype(np.float32)

    def normalise(y, layer):
        y = y - p[f"{layer}.running_mean"]
        return y / np.sqrt(p[f"{layer}.running_var"] + 1e-5)

    y = normalise(x @ p["0.weight"].T, 1) * p["1.weight"] + p["1.bias"]
    y = np.maximum(y, 0.0) @ p["3.weight"].T + p["3.bias"]
    expected = normalise(y, 4)
    np.testing.assert_allclose(networks["projector"](x), expected, rtol=1e-4)


def test_only_the_wanted_networks_are_read():
    state_dict = to_state_dict(build_networks())
    backbone = build_backbone("resnet_tiny")
    load_state_dict({"backbone": backbone}, state_dict)
    np.testing.assert_array_equal(
        np.transpose(backbone.get_layer("conv1").kernel, (3, 2, 0, 1)),
        state_dict["module.encoder.conv1.weight"],
    )


def test_the_projector_may_be_narrower_inside():
    """The authors' hidden layers are as wide as the features."""
    before = build_projector(6, dim=16, layers=3, hidden_dim=6)
    state_dict = to_state_dict({"projector": before})
    after = mec_checkpoint.build_projector(state_dict)
    load_state_dict({"projector": after}, state_dict)
    x = np.random.default_rng(2).normal(size=(5, 6)).astype(np.float32)
    np.testing.assert_array_equal(after(x), before(x))

    state_dict["module.encoder.fc.3.weight"] = np.zeros((7, 6), np.float32)
    with pytest.raises(ValueError, match="hidden layers of 6 and 7"):
        mec_checkpoint.build_projector(state_dict)


def test_missing_networks_and_unknown_ones_are_errors():
    state_dict = to_state_dict({"backbone": build_backbone("resnet_tiny")})
    predictor = build_predictor(16, hidden_dim=8)
    with pytest.raises(ValueError, match=r"missing 0\.weight"):
        load_state_dict({"predictor": predictor}, state_dict)
    with pytest.raises(ValueError, match="'teacher'"):
        load_state_dict({"teacher": predictor}, state_dict)
