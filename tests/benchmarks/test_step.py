"""The benchmark's step in PyTorch is ours, and its table has every part."""

import sys

import numpy as np
import pytest
import tensorflow as tf

from benchmarks import step as benchmark
from mec_tf.augment import policy
from mec_tf.formats.torchvision import load_state_dict
from mec_tf.models import SiameseModel, build_backbone, heads
from mec_tf.objectives.mec import MEC
from mec_tf.optimizers import SGD

SMALL = [
    "--backbones=resnet_tiny",
    "--sizes=8",
    "--batches=8",
    "--projector_dim=16",
    "--rounds=1",
    "--views=none",
    "--no-memory",
]


@pytest.fixture(scope="module")
def torch_step():
    # PyTorch's optimizers import triton where it is installed, whose copy of
    # LLVM crashes beside TensorFlow's.
    sys.modules.setdefault("triton", None)
    pytest.importorskip("torch")
    pytest.importorskip("benchmarks.torch_step")
    from benchmarks import torch_step

    return torch_step


def test_pytorch_takes_the_same_steps(torch_step):
    import torch

    theirs = torch_step.Step("resnet18", dim=16, hidden_dim=8)
    ours = SiameseModel(
        build_backbone("resnet18"),
        heads.build_projector(512, dim=16, layers=3),
        heads.build_predictor(16, hidden_dim=8),
        policy=policy.preset("none", image_size=32),
        objective=MEC(0.06, guard=False),
        ema_momentum=lambda step: 0.996,
    )
    networks = (
        (ours.backbone, theirs.online[0]),
        (ours.projector, theirs.online[1]),
        (ours.predictor, theirs.predictor),
    )
    for network, other in networks:
        load_state_dict(network, other.state_dict())
    ours.target.set_weights(ours.online.get_weights())
    ours.compile(optimizer=SGD(0.05, weight_decay=1e-5))
    images = [
        np.random.default_rng(k).integers(0, 256, (8, 32, 32, 3), np.uint8)
        for k in range(2)
    ]
    batch = {
        "views": tuple(tf.constant(view) for view in images),
        "draws": (tf.zeros([8, 11]),) * 2,
    }
    for _ in range(2):
        ours.reset_metrics()
        loss = float(ours.train_step(batch)["loss"])
        expected = theirs([torch.from_numpy(view) for view in images])
        assert loss == pytest.approx(expected, rel=2e-3)
    np.testing.assert_allclose(
        ours.predictor.get_layer("linear2").kernel.numpy().T,
        theirs.predictor.linear2.weight.detach().numpy(),
        atol=1e-4,
    )


def test_the_table_has_a_column_per_part(capsys):
    benchmark.main(SMALL)
    head, _, row = capsys.readouterr().out.splitlines()[-3:]
    for part in benchmark.PARTS:
        assert f" {part} " in head
    assert head.count("|") == row.count("|")
    assert float(row.split("|")[5]) > 0


def test_the_peer_is_for_float32_on_cpus(capsys):
    with pytest.raises(SystemExit):
        benchmark.main([*SMALL, "--peer=torch", "--precisions=mixed_float16"])
    assert "float32" in capsys.readouterr().err


def test_the_parts_of_a_step_are_those_of_a_whole_batch(capsys):
    with pytest.raises(SystemExit):
        benchmark.main([*SMALL, "--micro_batch_size=4"])
    assert "add --rounds=0" in capsys.readouterr().err
