"""Pretraining called from Python leaves a run behind, and nothing else."""

import csv
import json
import random
import signal
import subprocess
import sys

import keras
import numpy as np
import pytest
import tensorflow as tf
from conftest import SMALL, command_line, environment
from tensorflow.python.framework.config import is_op_determinism_enabled

import mec_tf
from mec_tf.config import flags
from mec_tf.errors import UserError
from mec_tf.training.callbacks.checkpoint import SIGNALS
from mec_tf.training.checkpoint import find_fault


@pytest.fixture
def config(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    small = flags.parse(mec_tf.PretrainConfig, list(SMALL)).config
    return small.replace(
        steps=3, knn_every_epochs=0, workdir="run", export_dir="export"
    )


def of_the_process():
    """What a run could leave behind."""
    return (
        keras.config.dtype_policy(),
        is_op_determinism_enabled(),
        [signal.getsignal(number) for number in SIGNALS],
        random.getstate(),
        np.random.get_state()[1].tolist(),
    )


def test_runs_one_after_another_leave_the_process_as_it_was(config):
    before = of_the_process()
    said = []
    first = mec_tf.pretrain(config, say=said.append)
    other = mec_tf.pretrain(
        config.replace(
            taylor_order="exact",
            distortion=0.5,
            embedding_norm="batch",
            precision="mixed_bfloat16",
            deterministic=False,
            workdir="other",
            export_dir="other_export",
        ),
        say=said.append,
    )
    again = mec_tf.pretrain(
        config.replace(workdir="again", export_dir="again_export"),
        say=said.append,
    )
    assert of_the_process() == before
    assert isinstance(first, mec_tf.Run)
    # What stood between two equal runs changed nothing.
    assert weights(first) == weights(again) != weights(other)
    with open(first.workdir / "metrics.csv", newline="") as file:
        (row,) = csv.DictReader(file)
    assert first.metrics == [
        {name: float(text) if text else None for name, text in row.items()}
    ]
    assert first.metrics[0]["step"] == 3
    assert first.metrics[0]["loss"] != other.metrics[0]["loss"]
    images = np.random.default_rng(0).random((2, 8, 8, 3), np.float32)
    for run in (first, other):
        exported = tf.saved_model.load(str(run.export_dir))(images)
        np.testing.assert_allclose(run.encoder(images), exported, atol=1e-5)
        assert run.encoder(images).dtype == "float32"
    # A finished run is found finished, and its encoder is the same.
    finished = mec_tf.pretrain(config, say=said.append)
    assert "finished" in said[-1]
    assert finished.metrics == first.metrics
    assert weights(finished) == weights(first)


def weights(run):
    return [weight.tobytes() for weight in run.encoder.get_weights()]


def test_a_mistake_leaves_the_process_as_it_was(config):
    before = of_the_process()
    wrong = {"batch_size": 5000, "micro_batch_size": 0}
    with pytest.raises(UserError, match="`batch_size`=5000"):
        mec_tf.pretrain(config.replace(precision="mixed_bfloat16", **wrong))
    with pytest.raises(UserError, match="`dry_run`"):
        mec_tf.pretrain(config.replace(dry_run=True))
    with pytest.raises(UserError, match="`logical_cpus`=3"):
        mec_tf.pretrain(config.replace(logical_cpus=3, strategy="mirrored"))
    assert of_the_process() == before


# Ctrl-C at the end of the third step, where no main catches signals.
STOPS = """
import sys
import mec_tf
from mec_tf.config import flags
from mec_tf.training.callbacks.checkpoint import CheckpointCallback

save = CheckpointCallback._save_if
def stop(self, step, wanted):
    if step == 3:
        raise KeyboardInterrupt
    save(self, step, wanted)
CheckpointCallback._save_if = stop
try:
    mec_tf.pretrain(flags.parse(mec_tf.PretrainConfig, sys.argv[1:]).config)
except KeyboardInterrupt:
    CheckpointCallback._save_if = save
    print("passed")
mec_tf.pretrain(flags.parse(mec_tf.PretrainConfig, sys.argv[1:]).config)
"""


def test_an_interruption_leaves_a_whole_checkpoint(tmp_path):
    line = [*SMALL, "--steps=4", "--checkpoint_minutes=0", "--workdir=run"]
    ended = subprocess.run(
        [sys.executable, "-c", STOPS, *line, "--export_dir=export"],
        cwd=tmp_path,
        env=environment(),
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout == "passed\n"
    assert "going on from step 2 of 4" in ended.stderr
    checkpoints = list((tmp_path / "run/checkpoints").iterdir())
    assert {path.name for path in checkpoints} == {
        "step-00000003",
        "step-00000004",
    }
    assert [find_fault(path) for path in checkpoints] == [None, None]


IN_SCOPE = """
import json, sys
import mec_tf
from mec_tf.config import flags
from mec_tf.distribution import strategies
import tensorflow as tf

strategies.split_cpu(2)
config = flags.parse(mec_tf.PretrainConfig, sys.argv[1:]).config
with tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"]).scope():
    run = mec_tf.pretrain(config)
print(json.dumps(run.metrics))
"""


def test_in_the_scope_of_a_strategy_it_is_as_on_the_command_line(tmp_path):
    line = [*SMALL, "--steps=7", "--strategy=mirrored", "--logical_cpus=2"]
    folders = {
        name: [f"--workdir={name}", f"--export_dir={name}.export"]
        for name in ("command", "scope")
    }
    processes = [
        subprocess.Popen(
            arguments,
            cwd=tmp_path,
            env=environment(),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for arguments in (
            command_line("train", *line, *folders["command"]),
            # Its own settings would say one device.
            [sys.executable, "-c", IN_SCOPE, *SMALL, "--steps=7"]
            + folders["scope"],
        )
    ]
    (_, err), (out, other_err) = [p.communicate(timeout=600) for p in processes]
    assert [p.returncode for p in processes] == [0, 0], err + other_err
    with open(tmp_path / "command/metrics.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    found = json.loads(out)
    assert len(rows) == len(found) == 2
    for row, other in zip(rows, found, strict=True):
        row.pop("images_per_second"), other.pop("images_per_second")
        numbers = {
            name: float(row[name]) if row[name] else None for name in row
        }
        assert numbers == other
    encoders = [
        tf.saved_model.load(str(tmp_path / f"{name}.export")).variables
        for name in folders
    ]
    for one, other in zip(*encoders, strict=True):
        np.testing.assert_array_equal(one.numpy(), other.numpy())
