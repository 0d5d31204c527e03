"""How the step is run changes how fast it is, and nothing else."""

import shutil

import numpy as np
import pytest
from conftest import SMALL
from test_train import assert_same_encoder, assert_same_run, rows

# Eight steps per epoch.
EIGHT = (*SMALL, "--batch_size=179", "--epochs=2", "--checkpoint_minutes=0")


def to(name):
    return f"--workdir={name}", f"--export_dir={name}.export"


@pytest.fixture(scope="module")
def runs(run_lines, tmp_path_factory):
    folder = tmp_path_factory.mktemp("step_flags")
    lines = {
        "plain": EIGHT,
        "four": (*EIGHT, "--steps_per_execution=4", "--keep_checkpoints=9"),
        "xla": (*EIGHT, "--jit=on", "--steps=1", "--knn_every_epochs=0"),
        "dry": (*EIGHT, "--dry_run", "--micro_batch_size=0"),
        "parts": (
            *SMALL,
            "--micro_batch_size=32",
            "--dry_run",
            "--steps_per_execution=5",
        ),
        "uneven": (*SMALL, "--micro_batch_size=100"),
    }
    ended = run_lines(
        "train",
        [[*flags, *to(name)] for name, flags in lines.items()],
        cwd=folder,
    )
    return folder, dict(zip(lines, ended, strict=True))


def test_several_steps_per_call_give_the_same_weights(runs):
    folder, ended = runs
    assert ended["four"].code == 0, ended["four"].err
    assert_same_run(folder / "plain", folder / "four")
    assert_same_encoder(folder / "plain.export", folder / "four.export")
    saved = sorted((folder / "four/checkpoints").iterdir())
    # By the clock, but never inside a call.
    assert [path.name[-2:] for path in saved] == ["04", "08", "12", "16"]


def test_and_resume_inside_an_epoch(runs, run_main):
    folder, _ = runs
    shutil.copytree(folder / "four", folder / "again/four")
    for path in (folder / "again/four/checkpoints").iterdir():
        if path.name > "step-00000004":
            shutil.rmtree(path)
    flags = (*EIGHT, "--steps_per_execution=4", "--keep_checkpoints=9")
    ended = run_main("train", *flags, *to("four"), cwd=folder / "again")
    assert ended.code == 0, ended.err
    assert "going on from step 4 of 16" in ended.err
    assert_same_run(folder / "four", folder / "again/four")
    assert_same_encoder(folder / "four.export", folder / "again/four.export")


def test_xla_compiles_on_a_cpu_when_told_to(runs):
    folder, ended = runs
    assert ended["xla"].code == 0, ended["xla"].err
    assert np.isfinite(float(rows(folder / "xla")[0]["loss"]))


def test_a_dry_run_says_how_the_step_is_run(runs):
    _, ended = runs
    for name, parts, loss_of in (("dry", "1", "4"), ("parts", "8", "8")):
        assert ended[name].code == 0, ended[name].err
        table = dict(
            line.split("  ", 1)
            for line in ended[name].out.splitlines()
            if "  " in line
        )
        table = {what: value.strip() for what, value in table.items()}
        assert table["precision"] == "float32"
        assert table["compiled by XLA"] == "no"
        assert table["micro-batches"] == parts
        assert f"loss of one step on {loss_of} images" in table
    assert table["steps per call"] == "5"


def test_an_uneven_micro_batch_is_refused(runs):
    _, ended = runs
    assert ended["uneven"].code == 1
    assert "--micro_batch_size=100" in ended["uneven"].last_line


def test_xla_is_refused_for_several_replicas(run_main, tmp_path):
    flags = ("--strategy=mirrored", "--logical_cpus=2", "--jit=on")
    ended = run_main("train", *SMALL, *flags, "--dry_run", cwd=tmp_path)
    assert ended.code == 1
    assert "--jit=on" in ended.last_line
