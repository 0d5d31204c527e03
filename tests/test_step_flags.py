"""How the step is run changes how fast it is, and nothing else."""

import math
import shutil
from types import SimpleNamespace

import numpy as np
import pytest
import tensorflow as tf
from conftest import SMALL
from test_train import assert_same_encoder, assert_same_run, rows

from mec_tf.distribution import strategies

# Eight steps per epoch.
EIGHT = (*SMALL, "--batch_size=179", "--epochs=1", "--checkpoint_minutes=0")


def to(name):
    return f"--workdir={name}", f"--export_dir={name}.export"


@pytest.fixture(scope="module")
def runs(run_lines, tmp_path_factory):
    folder = tmp_path_factory.mktemp("step_flags")
    lines = {
        "parts": (
            *SMALL,
            "--micro_batch_size=32",
            "--dry_run",
            "--steps_per_execution=5",
            "--jit=on",
        ),
        # From here on deterministic: that cannot be switched off again.
        "plain": EIGHT,
        "four": (*EIGHT, "--steps_per_execution=4", "--keep_checkpoints=9"),
        "uneven": (*SMALL, "--micro_batch_size=100"),
    }
    ended = run_lines(
        "train",
        [[*flags, *to(name)] for name, flags in lines.items()],
        cwd=folder,
    )
    return folder, dict(zip(lines, ended, strict=True))


def test_several_steps_per_call_train_alike(runs):
    folder, ended = runs
    assert ended["four"].code == 0, ended["four"].err
    # TensorFlow optimises four steps as one function: the last bit may differ,
    # and each further step widens the gap.
    (one,), (other,) = rows(folder / "plain"), rows(folder / "four")
    for name in ("step", "epoch", "loss", "coding_length", "spectral_norm"):
        assert float(other[name]) == pytest.approx(float(one[name]), rel=1e-5)
    loaded = (
        tf.saved_model.load(str(folder / f"{name}.export")).variables
        for name in ("plain", "four")
    )
    for x, y in zip(*loaded, strict=True):
        scale = np.abs(x).max()
        np.testing.assert_allclose(y, x, rtol=0, atol=1e-3 * scale + 1e-6)
    saved = sorted((folder / "four/checkpoints").iterdir())
    # By the clock, but never inside a call.
    assert [path.name[-2:] for path in saved] == ["04", "08"]


def test_and_resume_inside_an_epoch(runs, run_main):
    folder, _ = runs
    shutil.copytree(folder / "four", folder / "again/four")
    for path in (folder / "again/four/checkpoints").iterdir():
        if path.name > "step-00000004":
            shutil.rmtree(path)
    flags = (*EIGHT, "--steps_per_execution=4", "--keep_checkpoints=9")
    ended = run_main("train", *flags, *to("four"), cwd=folder / "again")
    assert ended.code == 0, ended.err
    assert "going on from step 4 of 8" in ended.err
    assert_same_run(folder / "four", folder / "again/four")
    assert_same_encoder(folder / "four.export", folder / "again/four.export")


def test_a_dry_run_takes_micro_batches_compiled_by_xla(runs):
    _, ended = runs
    assert ended["parts"].code == 0, ended["parts"].err
    table = dict(
        line.split("  ", 1)
        for line in ended["parts"].out.splitlines()
        if "  " in line
    )
    table = {what: value.strip() for what, value in table.items()}
    assert table["precision"] == "float32"
    assert table["compiled by XLA"] == "yes"
    assert table["micro-batches"] == "8"
    assert table["steps per call"] == "5"
    assert math.isfinite(float(table["loss of one step on 8 images"]))


def test_an_uneven_micro_batch_is_refused(runs):
    _, ended = runs
    assert ended["uneven"].code == 1
    assert "--micro_batch_size=100" in ended["uneven"].last_line


@pytest.mark.parametrize(
    ("jit", "device", "replicas", "deterministic", "expected"),
    [
        ("auto", "CPU", 1, True, False),
        ("auto", "GPU", 1, False, True),
        ("auto", "GPU", 1, True, False),
        ("auto", "GPU", 8, False, False),
        ("off", "GPU", 1, False, False),
        ("on", "CPU", 1, False, True),
    ],
)
def test_xla_is_for_a_single_gpu_unless_told(
    jit, device, replicas, deterministic, expected
):
    compiles = strategies.compiles_steps(
        jit, strategy_of(device, replicas), deterministic=deterministic
    )
    assert compiles == expected


@pytest.mark.parametrize(
    ("replicas", "deterministic", "reason"),
    [(2, False, "`jit`=on .* 2 replicas"), (1, True, "`deterministic`")],
)
def test_xla_is_refused_where_it_would_not_compile(
    replicas, deterministic, reason
):
    with pytest.raises(ValueError, match=reason):
        strategies.compiles_steps(
            "on", strategy_of("CPU", replicas), deterministic=deterministic
        )


def strategy_of(device, replicas):
    """As much of a `tf.distribute.Strategy` as is asked, without devices."""
    prefix = "/job:localhost/replica:0/task:0/device"
    names = [f"{prefix}:{device}:{k}" for k in range(replicas)]
    return SimpleNamespace(
        num_replicas_in_sync=replicas,
        extended=SimpleNamespace(worker_devices=names),
    )
