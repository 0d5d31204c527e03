"""Runs that are taken away in the middle end as if nothing had happened."""

import random
import signal
import time

import numpy as np
import tensorflow as tf
from conftest import SMALL
from test_train import assert_same_encoder, assert_same_run, rows

# Long enough to be hit in the middle, with a checkpoint at every step.
LONG = (*SMALL, "--epochs=8", "--checkpoint_minutes=0", "--workdir=run")
EXPORT = "--export_dir=export"


def wait_for_step(workdir, step, process):
    """Waits until a checkpoint of `step` or later stands there."""
    while process.poll() is None:
        names = [path.name for path in workdir.glob("checkpoints/step-*")]
        if names and int(max(names).removeprefix("step-")) >= step:
            return
        time.sleep(0.02)


def flip_a_bit(path):
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def test_killed_at_random_moments_it_ends_bit_for_bit_the_same(
    run_main, start_main, tmp_path
):
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    whole.mkdir(), broken.mkdir()
    assert run_main("train", *LONG, EXPORT, cwd=whole).code == 0

    generator = random.Random(0)
    for step in (3, 17):
        process = start_main("train", *LONG, EXPORT, cwd=broken)
        wait_for_step(broken / "run", step, process)
        time.sleep(generator.uniform(0, 0.3))
        process.send_signal(signal.SIGKILL)
        process.communicate()
        assert process.returncode == -signal.SIGKILL
    newest = max((broken / "run/checkpoints").glob("step-*"))
    flip_a_bit(next(newest.glob("*.data-*")))
    ended = run_main("train", *LONG, EXPORT, cwd=broken)
    assert ended.code == 0, ended.err
    assert f"{newest.name} is damaged" in ended.err
    assert "going on from step" in ended.err

    assert_same_encoder(whole / "export", broken / "export")
    assert_same_run(whole / "run", broken / "run")
    assert [row["epoch"] for row in rows(broken / "run")] == list("12345678")
    # Everything that a run holds: optimizer, target, running statistics.
    one, other = (
        tf.train.load_checkpoint(
            str(path / "run/checkpoints/step-00000040/state")
        )
        for path in (whole, broken)
    )
    names = one.get_variable_to_shape_map()
    assert any("velocit" in name or "optimizer" in name for name in names)
    for name in names:
        if name != "_CHECKPOINTABLE_OBJECT_GRAPH":
            assert np.array_equal(
                one.get_tensor(name), other.get_tensor(name)
            ), name


def test_sigterm_saves_and_leaves_with_143(start_main, run_main, tmp_path):
    slow = (*SMALL, "--epochs=500", "--workdir=run", EXPORT)
    process = start_main("train", *slow, cwd=tmp_path)
    wait_for_step(tmp_path / "run", 5, process)
    process.send_signal(signal.SIGTERM)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 128 + signal.SIGTERM, err
    assert "SIGTERM: saved step" in err
    assert "Traceback" not in err
    assert not (tmp_path / "export").exists()
