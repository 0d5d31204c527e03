"""Many processes at one run and one export, killed and stopped at random."""

import hashlib
import json
import os
import random
import signal
import subprocess
import sys
import time

from conftest import environment

from mec_tf.training.run_lock import Lock
from mec_tf.training.workdir import LOCK_FILE

SECONDS = 12
STEPS = 300
FLAGS = {"projector_dim": 64, "steps": STEPS}
BUSY, OTHERS_EXPORT = 3, 4
# What a run does to the disk, without TensorFlow, which takes seconds to start.
RUN = """
import hashlib, json, os, sys, time
from pathlib import Path
from mec_tf.training import workdir
from mec_tf.errors import UserError
from mec_tf.files.atomic import replaced_file, replaced_folder
from mec_tf.formats import metadata
from mec_tf.training.run_record import PRETRAINING

run, export = Path(sys.argv[1]), Path(sys.argv[2])
flags, steps, busy, others = json.loads(sys.argv[3])
log = os.open(f"{run}.log", os.O_WRONLY | os.O_CREAT | os.O_APPEND)

def write(folder, text):
    (folder / "state.index").write_text(text)
    digest = hashlib.sha256(text.encode()).hexdigest()
    (folder / "manifest.json").write_text(json.dumps(digest))

def train(record):
    table = run / "metrics.csv"
    rows = table.read_text().splitlines() if table.exists() else []
    for step in range(len(rows), steps):
        with replaced_folder(run / f"checkpoints/step-{step:08d}") as partial:
            write(partial, f"{record.id} {step} " * 99)
        rows.append(f"{step}")
        with replaced_file(table) as partial:
            partial.write_text("\\n".join(rows))
        os.write(log, f"{os.getpid()} {step}\\n".encode())
        time.sleep(0.002)
    with metadata.export_lock(export):
        if metadata.made_by(export, record.id):
            return
        try:
            metadata.check_export_dir(export, overwrite=False)
        except UserError:
            sys.exit(others)
        with replaced_folder(export) as partial:
            (partial / "encoder.json").write_text(
                json.dumps({"run": {"id": record.id, "workdir": str(run)}})
            )
            time.sleep(0.1)
            (partial / "encoder.keras").write_text(record.id)

try:
    with workdir.claim(
        run, flags, kind=PRETRAINING, overwrite=False, export=export
    ) as record:
        train(record)
except UserError as error:
    assert "is in use by" in str(error), error
    sys.exit(busy)
"""


def start(folder, name):
    options = json.dumps([FLAGS, STEPS, BUSY, OTHERS_EXPORT])
    return subprocess.Popen(
        [sys.executable, "-c", RUN, name, "export", options],
        cwd=folder,
        env=environment(),
        stderr=subprocess.PIPE,
        text=True,
    )


def disturb(folder, generator):
    """Starts, stops, wakes and kills for a while; how they ended by code."""
    running, ended = [], {}
    end = time.monotonic() + SECONDS
    while time.monotonic() < end:
        while len(running) < 4:
            running.append(start(folder, generator.choice("ab")))
        time.sleep(generator.uniform(0, 0.2))
        victim = generator.choice(running)
        victim.send_signal(
            generator.choice((signal.SIGKILL, signal.SIGSTOP, signal.SIGCONT))
        )
        for process in list(running):
            if process.poll() is not None:
                running.remove(process)
                count(ended, process)
    for process in running:
        process.kill()
        count(ended, process)
    return ended


def count(ended, process):
    _, err = process.communicate()
    assert process.returncode in (0, -9, BUSY, OTHERS_EXPORT), err
    ended[process.returncode] = ended.get(process.returncode, 0) + 1


def test_one_at_a_time_and_all_of_it_whole(tmp_path):
    ended = disturb(tmp_path, random.Random(0))
    assert {-9, BUSY} <= ended.keys(), ended  # it was struck, and refused
    last = {name: start(tmp_path, name) for name in "ab"}
    for process in last.values():
        count({}, process)
    records = {
        name: json.loads((tmp_path / name / "run.json").read_text())
        for name in "ab"
    }
    for name, record in records.items():
        rows = (tmp_path / name / "metrics.csv").read_text().splitlines()
        assert rows == [str(step) for step in range(STEPS)]
        for step in range(STEPS):
            folder = tmp_path / name / f"checkpoints/step-{step:08d}"
            state = (folder / "state.index").read_bytes()
            digest = json.loads((folder / "manifest.json").read_text())
            assert hashlib.sha256(state).hexdigest() == digest
            assert state.startswith(f"{record['id']} {step} ".encode())
        assert not (tmp_path / name / LOCK_FILE).exists()
        # Who has written once another had, does not write again.
        lines = (tmp_path / f"{name}.log").read_text().splitlines()
        pids = [line.split()[0] for line in lines]
        turns = [p for k, p in enumerate(pids) if k == 0 or p != pids[k - 1]]
        assert len(turns) == len(set(turns))
    # One of them exported, and the other was refused.
    exported = json.loads((tmp_path / "export/encoder.json").read_text())
    owner = exported["run"]["workdir"]
    assert exported["run"]["id"] == records[owner]["id"]
    assert (tmp_path / "export/encoder.keras").read_text() == exported["run"][
        "id"
    ]
    codes = {name: process.returncode for name, process in last.items()}
    assert codes == {"a": OTHERS_EXPORT, "b": OTHERS_EXPORT} | {owner: 0}


def test_many_at_one_moment_let_one_in(tmp_path):
    """A lock that a killed process left is taken over by one alone."""
    go = time.time() + 3
    script = (
        "import sys, time; from pathlib import Path\n"
        "from mec_tf.training.run_lock import Lock\n"
        "from mec_tf.errors import UserError\n"
        "time.sleep(max(0, float(sys.argv[1]) - time.time()))\n"
        "try:\n"
        "    with Lock(Path('.lock'), 'it', remedy=''): time.sleep(3)\n"
        "except UserError: sys.exit(3)\n"
    )
    holder = Lock(tmp_path / LOCK_FILE, "it", remedy="")
    holder.__enter__()
    left = (tmp_path / LOCK_FILE).read_text()
    holder.__exit__()
    dead = json.dumps(json.loads(left) | {"pid": os.getpid(), "started": 0})
    (tmp_path / LOCK_FILE).write_text(dead)
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", script, str(go)],
            cwd=tmp_path,
            env=environment(),
        )
        for _ in range(6)
    ]
    assert sorted(p.wait() for p in processes) == [0, 3, 3, 3, 3, 3]
