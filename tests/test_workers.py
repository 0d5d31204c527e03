"""Two workers train, leave, are lost and come back, as a cluster has it."""

import re
import signal
import time

import pytest
from conftest import SMALL, command_line
from test_train import rows

from mec_tf.distribution import cluster, strategies
from tests.drills import loopback

SECONDS = 900  # generous: others may use the machine
# One network instead of two: it compiles sooner.
FLAGS = (
    *SMALL,
    "--ema_base=0",
    "--predictor_dim=0",
    "--projector_layers=1",
    "--epochs=40",
    "--knn_every_epochs=0",
    "--workdir=run",
    "--export_dir=export",
    "--strategy=multi_worker",
)


def wait_for_step(workdir, step, process):
    """Waits until a checkpoint of `step` or later stands there."""
    while process.poll() is None:
        names = [path.name for path in workdir.glob("checkpoints/step-*")]
        if names and int(max(names).removeprefix("step-")) >= step:
            return
        time.sleep(0.02)


def start(folder):
    return loopback.workers(2, command_line("train", *FLAGS), folder)


def logs(folder):
    return [(folder / f"worker{k}.log").read_text() for k in range(2)]


def test_a_loss_a_return_and_a_signal(tmp_path):
    # SIGKILL on one: the other ends by itself, in time, with one line.
    with start(tmp_path) as (chief, other):
        wait_for_step(tmp_path / "run", 10, chief)
        other.kill()
        killed = time.monotonic()
        assert chief.wait(SECONDS) == 1, logs(tmp_path)
        seconds = time.monotonic() - killed
    first, _ = logs(tmp_path)
    assert seconds < cluster.LOST_SECONDS + 15
    *_, last = first.strip().splitlines()
    assert "worker 0 of 2 lost /job:worker/replica:0/task:1" in last
    assert "Traceback" not in first
    saved = max(path.name for path in tmp_path.glob("run/checkpoints/step-*"))
    saved = int(saved.removeprefix("step-"))

    # Both again: they go on. SIGTERM on one: the chief saves, both leave.
    with start(tmp_path) as (chief, other):
        wait_for_step(tmp_path / "run", saved + 10, chief)
        other.send_signal(signal.SIGTERM)
        codes = [process.wait(SECONDS) for process in (chief, other)]
    first, second = logs(tmp_path)
    assert codes == [143, 143], first + second
    assert f"going on from step {saved}" in first
    (step,) = re.findall(r"SIGTERM: saved step (\d+)", first)
    assert (tmp_path / f"run/checkpoints/step-{int(step):08d}").exists()
    # One telling is enough, and nobody shows a traceback.
    assert "saved step" not in second
    assert "Traceback" not in first + second
    # Both have written no row twice.
    steps = [int(row["step"]) for row in rows(tmp_path / "run")]
    assert steps == list(range(5, int(step) + 1, 5))


# What TensorFlow 2.21 said on the worker that was left, by what was killed.
# Which of the two it is depends on who notices first.
REFUSED = """{{function_node __wrapped__CollectiveReduceV2_Nordering_token_1_\
device_/job:worker/replica:0/task:1/device:CPU:0}} Collective ops is aborted \
by: failed to connect to all addresses; last error: UNKNOWN: \
ipv4:127.0.0.1:25945: Failed to connect to remote host: Connection refused
Additional GRPC error information from remote target \
/job:worker/replica:0/task:0 while calling \
/tensorflow.WorkerService/CompleteInstance:"""
SILENT = """{{function_node __wrapped__CollectiveReduceV2_Nordering_token_1_\
device_/job:worker/replica:0/task:0/device:CPU:0}} Collective ops is aborted \
by: Error reported from /job:worker/task:1: The following tasks are unhealthy \
(stopped sending heartbeats):
/job:worker/replica:0/task:1
The tasks have crashed."""
WORKER = "/job:worker/replica:0/task:"


@pytest.mark.parametrize(
    ("text", "own", "lost"),
    [
        (REFUSED, WORKER + "1", WORKER + "0"),
        (SILENT, WORKER + "0", WORKER + "1"),
        (REFUSED.partition("ed by")[0], WORKER + "1", "another worker"),
        ("Collective ops is aborted", WORKER + "1", "another worker"),
    ],
)
def test_a_worker_does_not_name_itself_as_lost(text, own, lost):
    assert strategies.lost_worker(text, own) == lost


WRONG = {
    "": "is not JSON",
    "{": "is not JSON",
    "[]": "lacks a cluster or a task",
    '{"cluster": {"worker": ["a:1"]}}': "lacks a cluster or a task",
    '{"cluster": {"chief": ["a:1"]}, "task": {"type": "chief", "index": 1}}': (
        "has no chief 1"
    ),
    '{"cluster": {"ps": ["a:1"]}, "task": {"type": "ps", "index": 0}}': (
        "names the job 'ps'"
    ),
}


@pytest.mark.parametrize(("config", "message"), WRONG.items())
def test_a_broken_tf_config_is_named(monkeypatch, config, message):
    monkeypatch.setenv("TF_CONFIG", config)
    with pytest.raises(ValueError, match=message) as error:
        cluster.resolve()
    assert '"task": {"type": "worker", "index": 0}' in str(error.value)


def test_without_a_cluster_it_says_what_is_missing(monkeypatch):
    monkeypatch.delenv("TF_CONFIG", raising=False)
    monkeypatch.delenv("SLURM_PROCID", raising=False)
    with pytest.raises(ValueError, match="neither TF_CONFIG nor Slurm"):
        cluster.resolve()


def slurm(monkeypatch, **variables):
    monkeypatch.delenv("TF_CONFIG", raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(f"SLURM_{name}", value)


def test_slurm_says_who_is_who(monkeypatch):
    slurm(
        monkeypatch,
        PROCID="3",
        JOB_ID="20005",
        STEP_NUM_TASKS="4",
        STEP_NODELIST="gpu[01-02]",
        STEP_TASKS_PER_NODE="2(x2)",
    )
    monkeypatch.setenv("SLURMD_NODENAME", "gpu02")
    resolver = cluster.resolve()
    assert resolver.cluster_spec().as_dict() == {
        "worker": ["gpu01:10005", "gpu01:10006", "gpu02:10005", "gpu02:10006"]
    }
    assert cluster.index_and_count(resolver) == (3, 4)
    assert resolver.num_accelerators() == {"GPU": 0}

    monkeypatch.setenv("SLURMD_NODENAME", "gpu01")
    with pytest.raises(ValueError, match="runs on gpu01, but"):
        cluster.resolve()
    monkeypatch.delenv("SLURM_STEP_NUM_TASKS")
    with pytest.raises(ValueError, match="Slurm's environment cannot be used"):
        cluster.resolve()


def test_the_chief_is_number_0(monkeypatch):
    monkeypatch.setenv(
        "TF_CONFIG",
        '{"cluster": {"worker": ["a:1", "b:1"], "chief": ["c:1"]},'
        ' "task": {"type": "worker", "index": 1}}',
    )
    assert cluster.index_and_count(cluster.resolve()) == (2, 3)
    monkeypatch.setenv(
        "TF_CONFIG",
        '{"cluster": {"worker": ["a:1", "b:1"], "chief": ["c:1"]},'
        ' "task": {"type": "chief", "index": 0}}',
    )
    assert cluster.index_and_count(cluster.resolve()) == (0, 3)
