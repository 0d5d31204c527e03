"""Runs that are taken away in the middle end as if nothing had happened."""

import signal
import time

from conftest import SMALL

from mec_tf.benchmarks import faults


def wait_for_step(workdir, step, process):
    """Waits until a checkpoint of `step` or later stands there."""
    while process.poll() is None:
        names = [path.name for path in workdir.glob("checkpoints/step-*")]
        if names and int(max(names).removeprefix("step-")) >= step:
            return
        time.sleep(0.02)


def test_killed_at_random_moments_it_ends_bit_for_bit_the_same(tmp_path):
    strikes = [
        faults.Strike("write", signal.SIGKILL, "flip"),
        faults.Strike("full", None, None),
    ]
    lines = []
    assert faults.drill(tmp_path, strikes, 8, 0, lines.append) == []
    assert len(lines) == 2
    # The drill can fail, too.
    rows = tmp_path / "struck/run/metrics.csv"
    rows.write_text(rows.read_text().replace("-0.", "-1.", 1))
    assert faults.differences(tmp_path / "whole", tmp_path / "struck") == [
        "metrics.csv differs"
    ]


def test_sigterm_saves_and_leaves_with_143(start_main, run_main, tmp_path):
    slow = (*SMALL, "--epochs=500", "--workdir=run", "--export_dir=export")
    process = start_main("train", *slow, cwd=tmp_path)
    wait_for_step(tmp_path / "run", 5, process)
    process.send_signal(signal.SIGTERM)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 128 + signal.SIGTERM, err
    assert "SIGTERM: saved step" in err
    assert "Traceback" not in err
    assert not (tmp_path / "export").exists()
