"""Takes a run away at random moments and compares what becomes of it.

    python -m tests.drills.faults

trains on digits twice: once undisturbed, and once struck many times, by SIGKILL
and SIGTERM, while it starts, between steps and in the middle of writing a
checkpoint. In between the newest checkpoint gets a bit flipped or is cut short,
and the disk is full (an injected ENOSPC). After each strike the same command
goes on. At the end every number that the two runs keep must be the same, bit
for bit; the exit code says so.
"""

import argparse
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from tests.drills.small_run import SMALL

FLAGS = (
    *SMALL,
    "--knn_every_epochs=0",
    "--checkpoint_minutes=0",  # at every step
    "--workdir=run",
    "--export_dir=export",
)
# A disk that takes two checkpoints, of three files each, and then is full.
FULL_DISK = """
import errno, os
from mec_tf import train
from mec_tf.command_line import command
from mec_tf.files import atomic
sync, left = atomic._sync, [6]
def sync_while_there_is_room(path):
    if "step-" in str(path):
        left[0] -= 1
    if left[0] < 0:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))
    sync(path)
atomic._sync = sync_while_there_is_room
command.run(train.main, train.CONFIG)
"""
# Longest time that one process may take, in seconds.
PATIENCE = 1800


class Strike(NamedTuple):
    """What is done to the run, and when.

    Attributes:
        moment: `start` (in the time that it takes to the first checkpoint),
            `step` (at any time after two steps), `write` (then, while it writes
            a checkpoint) or `full` (the disk is).
        number: The signal; None for a full disk.
        damage: What happens to the newest checkpoint afterwards: `flip` a bit,
            `cut` its end off, or None.
    """

    moment: str
    number: signal.Signals | None
    damage: str | None


def plan(count, seed):
    """`count` random strikes; a full disk last, damages evenly in between."""
    generator = random.Random(seed)
    damages = {count // 3: "flip", 2 * count // 3: "cut"}
    strikes = []
    for k in range(count):
        moment = generator.choice(("start", "step", "write", "write"))
        number = generator.choice((signal.SIGKILL, signal.SIGTERM))
        if k in damages:
            moment = "write"  # it has two checkpoints then
        strikes.append(Strike(moment, number, damages.get(k)))
    return [*strikes, Strike("full", None, None)]


def drill(folder, strikes, epochs, seed, tell):
    """Runs once whole and once struck, in `folder/whole` and `folder/struck`.

    Args:
        folder: `pathlib.Path` of an empty folder.
        strikes: List of `Strike`.
        epochs: Epochs of five steps; long enough to be struck so often.
        seed: Int, of the moments.
        tell: Function of a line, called as the drill goes on.

    Returns:
        List of what went wrong, strings; none where all is as it should be.
    """
    generator = random.Random(seed)
    whole, struck = folder / "whole", folder / "struck"
    whole.mkdir(), struck.mkdir()
    flags = (*FLAGS, f"--epochs={epochs}")
    begun = time.monotonic()
    process = _start(flags, whole)
    while not _newest(whole) and process.poll() is None:
        time.sleep(0.01)
    startup = time.monotonic() - begun
    code, err = _end(process)
    if code:
        return [f"the undisturbed run ended with {code}: {err}"]
    faults, damaged = [], None
    for k, strike in enumerate(strikes):
        code, err = _strike(strike, flags, struck, generator, startup)
        step = _newest(struck)
        tell(f"{k + 1:3}  {_name(strike):16} left {code:4} at step {step}")
        faults += _judge(strike, code, err, damaged)
        damaged = strike.damage and _damage(struck, strike.damage)
    code, err = _end(_start(flags, struck))
    if code:
        faults.append(f"the last run ended with {code}: {err}")
    if damaged and damaged not in err:
        faults.append(f"nothing was said of the damaged {damaged}")
    for path in struck.glob("run/checkpoints/.*"):
        faults.append(f"{path.name} was left behind")
    return faults or differences(whole, struck)


def differences(one, other):
    """Names of what two finished runs do not have in common, bit for bit.

    Compares every tensor of the last checkpoint and of the export, and
    `metrics.csv` but for the speed.
    """
    found = []
    tensors = [_tensors(path) for path in (one, other)]
    if tensors[0].keys() != tensors[1].keys():
        return ["the runs do not hold the same tensors"]
    for name, value in tensors[0].items():
        if not np.array_equal(value, tensors[1][name]):
            found.append(f"{name} differs")
    if _rows(one) != _rows(other):
        found.append("metrics.csv differs")
    return found


def _tensors(folder):
    newest = folder / f"run/checkpoints/step-{_newest(folder):08d}/state"
    tensors = {}
    for path in (newest, folder / "export/variables/variables"):
        reader = tf.train.load_checkpoint(str(path))
        for name in reader.get_variable_to_shape_map():
            if name != "_CHECKPOINTABLE_OBJECT_GRAPH":
                tensors[f"{path.name} {name}"] = reader.get_tensor(name)
    return tensors


def _rows(folder):
    lines = (folder / "run/metrics.csv").read_text().splitlines()
    speed = lines[0].split(",").index("images_per_second")
    rows = [line.split(",") for line in lines]
    return [row[:speed] + row[speed + 1 :] for row in rows]


def _strike(strike, flags, folder, generator, startup):
    """Runs until the strike; the exit code and what went to stderr."""
    if strike.moment == "full":
        return _end(_start(flags, folder, FULL_DISK))
    before = _newest(folder)
    process = _start(flags, folder)
    checkpoints = folder / "run/checkpoints"
    if strike.moment == "start":
        time.sleep(generator.uniform(0, startup))
    else:
        while _newest(folder) < before + 2 and process.poll() is None:
            time.sleep(0.01)
        time.sleep(generator.uniform(0, 0.5))
        while (
            strike.moment == "write"
            and not list(checkpoints.glob(".step-*.partial"))
            and process.poll() is None
        ):
            time.sleep(0.0005)
    process.send_signal(strike.number)
    return _end(process)


def _judge(strike, code, err, damaged):
    faults = []
    expected = {
        None: {1},
        signal.SIGKILL: {-signal.SIGKILL},
        signal.SIGTERM: {128 + signal.SIGTERM},
    }[strike.number]
    if strike.moment == "start" and strike.number == signal.SIGTERM:
        expected.add(-signal.SIGTERM)  # nothing to save yet
    if code not in expected:
        faults.append(f"{_name(strike)} ended with {code}: {err}")
    if "Traceback" in err:
        faults.append(f"{_name(strike)} ended in a traceback: {err}")
    if strike.moment == "full" and "No space left on device" not in err:
        faults.append(f"a full disk was not named: {err}")
    if code == 128 + signal.SIGTERM and "SIGTERM: saved step" not in err:
        faults.append(f"{_name(strike)} did not say what it saved: {err}")
    # A run that is struck while it starts may not have come to look.
    if damaged and strike.moment != "start" and damaged not in err:
        faults.append(f"nothing was said of the damaged {damaged}")
    return faults


def _damage(folder, how):
    """Damages the newest checkpoint; what must be said of it."""
    path = folder / f"run/checkpoints/step-{_newest(folder):08d}"
    data = next(path.glob("*.data-*"))
    content = bytearray(data.read_bytes())
    if how == "flip":
        content[len(content) // 2] ^= 1
    else:
        del content[-9:]
    data.write_bytes(content)
    return f"{path.name} is damaged"


def _newest(folder):
    names = [path.name for path in folder.glob("run/checkpoints/step-*")]
    return max((int(name.removeprefix("step-")) for name in names), default=0)


def _name(strike):
    number = strike.number.name if strike.number else "ENOSPC"
    return f"{number} {strike.moment}"


def _start(flags, folder, *script):
    root = str(Path(__file__).parents[2])
    what = ["-c", *script] if script else ["-m", "mec_tf.train"]
    return subprocess.Popen(
        [sys.executable, *what, *flags],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": root},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )


def _end(process):
    _, err = process.communicate(timeout=PATIENCE)
    return process.returncode, err


def main(argv=None):
    """Runs the command of this module.

    Args:
        argv: The arguments of the command; those of the process by default.
    """
    parser = argparse.ArgumentParser(prog="python -m tests.drills.faults")
    parser.add_argument("--strikes", type=int, default=20, help="of signals")
    parser.add_argument("--epochs", type=int, default=120, help="of 5 steps")
    parser.add_argument("--seed", type=int, default=0, help="of the moments")
    arguments = parser.parse_args(argv)
    folder = Path(tempfile.mkdtemp(prefix="mec_tf_faults_"))
    strikes = plan(arguments.strikes, arguments.seed)
    faults = drill(folder, strikes, arguments.epochs, arguments.seed, print)
    if faults:
        sys.exit("\n".join([*faults, f"both runs are kept in {folder}"]))
    print("weights, optimizer, export and metrics.csv are equal, bit for bit")
    shutil.rmtree(folder)


if __name__ == "__main__":
    main()
