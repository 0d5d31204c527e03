"""However a run is ended, it saves first, and what it prints cannot end it."""

import os
import re
import shutil
import signal
import subprocess
import time

import numpy as np
import pytest
from conftest import SMALL, command_line, environment
from PIL import Image
from test_train import rows

SECONDS = 600  # generous: others may use the machine
FLAGS = (
    *SMALL[1:],
    "--dataset=folder",
    "--data_dir=images",
    "--batch_size=16",
    "--ema_base=0",
    "--epochs=100000",
    "--knn_every_epochs=0",
    "--checkpoint_minutes=1000",
    "--nocheckpoint_each_epoch",
    "--workdir=run",
    "--export_dir=export",
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder with `images` of two classes, 64 in all."""
    folder = tmp_path_factory.mktemp("endings")
    generator = np.random.default_rng(0)
    for k in range(64):
        path = folder / f"images/{'ab'[k % 2]}/{k}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        pixels = generator.integers(0, 256, [12, 12, 3], np.uint8)
        Image.fromarray(pixels).save(path)
    return folder


def start(folder, *flags, main="train", **options):
    return subprocess.Popen(
        command_line(main, *flags),
        cwd=folder,
        env=environment(),
        text=True,
        **options,
    )


def last_row(folder):
    try:
        return int(rows(folder / "run")[-1]["step"])
    except (OSError, IndexError):
        return 0


def wait_for_rows(folder, process, more=2):
    """Waits until the run has come some epochs further."""
    before, began = last_row(folder), time.monotonic()
    while last_row(folder) < before + 4 * more and process.poll() is None:
        assert time.monotonic() - began < SECONDS
        time.sleep(0.05)


def saved(folder):
    steps = [path.name for path in folder.glob("run/checkpoints/step-*")]
    return max((int(name.removeprefix("step-")) for name in steps), default=0)


def test_vanished_images_a_dead_drive_and_a_closed_pipe(folder):
    images = folder / "images"
    pipes = {"stdout": subprocess.DEVNULL, "stderr": subprocess.PIPE}

    # The images go: one line, the last completed step is kept, exit code 1.
    process = start(folder, *FLAGS, **pipes)
    wait_for_rows(folder, process)
    images.rename(folder / "elsewhere")
    _, err = process.communicate(timeout=SECONDS)
    assert process.returncode == 1, err
    assert "Traceback" not in err
    *_, last = err.strip().splitlines()
    assert "images" in last
    first = saved(folder)
    assert first >= last_row(folder) > 0

    # They are back, but one of them blocks whoever reads it. SIGHUP.
    (folder / "elsewhere").rename(images)
    process = start(folder, *FLAGS, **pipes)
    wait_for_rows(folder, process)
    blocked = images / "a/0.png"
    blocked.rename(folder / "0.png")
    os.mkfifo(blocked)
    while True:  # until nothing moves any more
        before = last_row(folder)
        time.sleep(5)
        if before == last_row(folder):
            break
    process.send_signal(signal.SIGHUP)
    began = time.monotonic()
    _, err = process.communicate(timeout=SECONDS)
    assert process.returncode == 128 + signal.SIGHUP, err
    assert time.monotonic() - began < 20
    assert f"going on from step {first}" in err
    (step,) = map(int, re.findall(r"SIGHUP: saved step (\d+)", err))
    assert saved(folder) == step > first
    assert 0 <= step - last_row(folder) < 4

    # It goes on from there, with nobody who reads what it prints. SIGUSR1.
    blocked.unlink()
    shutil.move(folder / "0.png", blocked)
    reader, writer = os.pipe()
    os.close(reader)
    process = start(folder, *FLAGS, stdout=writer, stderr=writer)
    os.close(writer)
    wait_for_rows(folder, process)
    process.send_signal(signal.SIGUSR1)
    assert process.wait(SECONDS) == 128 + signal.SIGUSR1
    assert saved(folder) > step
    # Every epoch was seen once, and no row is missing.
    steps = [int(row["step"]) for row in rows(folder / "run")]
    assert steps == list(range(4, steps[-1] + 1, 4))


def test_a_classifier_saves_at_sighup(folder, tmp_path):
    process = start(
        folder,
        "--protocol=linear",
        "--encoder=random:resnet_tiny",
        "--dataset=folder",
        "--data_dir=images",
        "--image_size=8",
        "--batch_size=16",
        "--epochs=100000",
        "--checkpoint_minutes=0",
        f"--workdir={tmp_path / 'linear'}",
        main="evaluate",
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    )
    while process.poll() is None:
        if list(tmp_path.glob("linear/checkpoints/*/step-*")):
            break
        time.sleep(0.1)
    process.send_signal(signal.SIGHUP)
    _, err = process.communicate(timeout=SECONDS)
    assert process.returncode == 128 + signal.SIGHUP, err
    (step,) = re.findall(r"SIGHUP: saved step (\d+)", err)
    assert list(tmp_path.glob(f"linear/checkpoints/*/step-{int(step):08d}"))
