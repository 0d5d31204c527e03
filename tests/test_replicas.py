"""Two and four replicas and two workers train as one device does."""

import contextlib
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from conftest import environment

from tests.drills import loopback

SCRIPT = str(Path(__file__).with_name("replica_steps.py"))
SECONDS = 900  # generous: others may use the machine
# Whose checkpoints one device takes up; all take up one device's.
FROM = ("2", "worker0")


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    """What one device and the others found, by name."""
    folder = tmp_path_factory.mktemp("replicas")

    def command(*arguments):
        return [sys.executable, SCRIPT, str(folder), *arguments]

    def start(count):
        with open(folder / f"{count}.log", "w") as log:
            process = subprocess.Popen(
                command("cpus", count),
                env=environment(),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
            )
        stack.callback(process.wait)
        stack.callback(process.kill)
        return process

    def logs():
        return "\n".join(path.read_text() for path in folder.glob("*.log"))

    with contextlib.ExitStack() as stack:
        one = start("1")
        assert one.stdout.readline() == "ready\n", logs()
        others = stack.enter_context(
            loopback.workers(2, command("workers"), folder)
        )
        others += [start("2"), start("4")]  # TensorFlow keeps a group's size
        codes = [process.wait(SECONDS) for process in others]
        assert codes == [0, 0, 0, 0], logs()
        one.communicate(" ".join(FROM), timeout=SECONDS)
        assert one.returncode == 0, logs()
    return {path.stem: np.load(path) for path in folder.glob("*.npz")}


@pytest.mark.parametrize(
    "other",
    ["2", "4", "worker0", "worker1", *(f"from-{name}" for name in FROM)],
)
def test_all_that_a_step_changes_is_as_on_one_device(results, other):
    one, other = results["1"], results[other]
    assert set(other.files) <= set(one.files)
    assert len(other.files) > 50
    for name in set(other.files) - {"samples"}:
        if name.endswith("/collectives"):
            continue
        scale = np.abs(one[name]).max()
        # Terms of a gradient cancel, which leaves fewer digits in float32; the
        # betas begin at 0 and are nothing but gradients.
        summed = "gradient" in name or name.endswith(
            ("kept", "velocity", "beta")
        )
        np.testing.assert_allclose(
            other[name],
            one[name],
            rtol=0,
            atol=(4e-5 if summed else 1e-5) * scale,
            err_msg=name,
        )


def test_a_step_changes_what_it_should(results):
    one = results["1"]
    for case in ("sgd", "lars"):
        names = [name for name in one.files if name.startswith(f"{case}/1/")]
        gradients = [name for name in names if "gradient" in name]
        assert len(gradients) == 7
        assert all(np.abs(one[name]).max() > 1e-5 for name in gradients)
        logged = {"sgd": "spectral_norm", "lars": "similarity"}[case]
        assert {f"{case}/1/loss", f"{case}/1/{logged}"} < set(names)
        centre = [name for name in one.files if name.endswith("centre")]
        assert all(name.startswith("lars/") for name in centre)
        assert len(centre) == 3 and np.all(one[centre[0]])
        means = one[f"{case}/resumed means"]
        assert means[0] == pytest.approx(float(one[f"{case}/3/loss"]))


def test_every_replica_gets_its_rows_of_the_same_batches(results):
    batches = results["1"]["samples"]
    assert batches.shape == (5, 32)
    for other in ("2", "4"):
        assert np.array_equal(results[other]["samples"], batches)
    shares = [results[f"worker{k}"]["samples"] for k in range(2)]
    assert np.array_equal(np.concatenate(shares, 1), batches)


def test_an_epoch_drops_its_incomplete_batch(results):
    # The first two of the five batches end an epoch of 44.
    first, second = np.split(results["1"]["samples"], [2])
    assert len(np.unique(first)) == 64
    assert len(np.unique(second)) == 96


def test_workers_exchange_as_often_as_the_model_says(results):
    # Nothing for the moving average, for logs or for samples.
    for worker in ("worker0", "worker1"):
        traced, modelled = results[worker]["sgd/collectives"]
        assert traced == modelled
    assert results["1"]["sgd/collectives"][0] == 0
