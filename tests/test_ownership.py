"""Whose a workdir, an export and a resumed run are, from the command line."""

import json
import os
import shutil

import numpy as np
import pytest
from conftest import SMALL
from PIL import Image

from mec_tf.training.run_lock import Lock

FOLDER = (
    *SMALL,
    "--dataset=folder",
    "--batch_size=16",
    "--epochs=2",
    "--workdir=r",
    "--export_dir=e",
)
LINEAR = (
    "--protocol=linear",
    "--dataset=digits",
    "--encoder=random:resnet_tiny",
    "--image_size=8",
    "--epochs=1",
    "--head_lr=0.3",
)


def contents(*folders):
    return {
        path: path.read_bytes()
        for folder in folders
        for path in folder.rglob("*")
        if path.is_file()
    }


def change_card(export, **changes):
    metadata = json.loads((export / "encoder.json").read_text())
    (export / "encoder.json").write_text(json.dumps(metadata | changes))


def without_record(run, export):
    """Leaves what a version wrote that knew no ids."""
    (run / "run.json").unlink()
    metadata = json.loads((export / "encoder.json").read_text())
    del metadata["run"]
    (export / "encoder.json").write_text(json.dumps(metadata))


def write_images(folder, names):
    folder.mkdir(parents=True, exist_ok=True)
    generator = np.random.default_rng(len(names))
    for name in names:
        pixels = generator.integers(0, 256, [9, 9, 3], np.uint8)
        Image.fromarray(pixels).save(folder / name)


# one export, two runs


@pytest.fixture
def two(small_run, tmp_path):
    """Copies of a finished run and its export; `take_up` names them."""
    source, _ = small_run
    shutil.copytree(source / "runs/small", tmp_path / "r")
    shutil.copytree(source / "exports/small", tmp_path / "e")
    shutil.copy(source / "small.cfg", tmp_path)
    return tmp_path


TAKE_UP = ("--flagfile=small.cfg", "--workdir=r", "--export_dir=e")


def test_an_export_says_which_run_made_it(two):
    record = json.loads((two / "r/run.json").read_text())
    metadata = json.loads((two / "e/encoder.json").read_text())
    assert record["kind"] == "pretraining"
    assert metadata["run"] == {"id": record["id"], "workdir": "runs/small"}


def test_a_finished_run_and_exports_of_all_kinds(two, run_lines):
    shutil.copytree(two / "e", two / "other")
    run = {"id": "0" * 32, "workdir": "runs/b"}
    change_card(two / "other", run=run)
    shutil.copytree(two / "r", two / "old")
    shutil.copytree(two / "e", two / "of_old")
    without_record(two / "old", two / "of_old")
    shutil.copytree(two / "of_old", two / "older")
    (two / "older/variables").rename(two / "gone")
    shutil.copytree(two / "e", two / "mine")
    (two / "mine/notes.txt").write_text("mine")
    before = contents(two)
    old = ("--flagfile=small.cfg", "--workdir=old")
    lines = {
        "own": TAKE_UP,
        "another's": (
            "--flagfile=small.cfg",
            "--workdir=r",
            "--export_dir=other",
        ),
        "of before, the same weights": (*old, "--export_dir=of_old"),
        "of before, not shown to be own": (*old, "--export_dir=older"),
        "of a run that is known": (*old, "--export_dir=other"),
        "with a user's file": (
            "--flagfile=small.cfg",
            "--workdir=r",
            "--export_dir=mine",
            "--overwrite",
        ),
        "another place": (
            "--flagfile=small.cfg",
            "--workdir=r",
            "--export_dir=new",
        ),
    }
    ended = run_lines("train", list(lines.values()), cwd=two)
    ended = dict(zip(lines, ended, strict=True))
    for name in ("own", "of before, the same weights", "another place"):
        assert ended[name].code == 0, ended[name].err
    assert "nothing to do" in ended["own"].last_line
    assert "nothing to do" in ended["of before, the same weights"].last_line
    for name, what in {
        "another's": "export_dir=other",
        "of before, not shown to be own": "older",
        "of a run that is known": "other",
        "with a user's file": "notes.txt",
    }.items():
        assert ended[name].code == 1, (name, ended[name].err)
        assert what in ended[name].last_line
        assert "Traceback" not in ended[name].err
    assert "runs/b" in ended["another's"].last_line
    after = contents(two)
    for path in before.keys() - {two / "results.json"}:
        assert after[path] == before[path], path
    metadata = json.loads((two / "new/encoder.json").read_text())
    record = json.loads((two / "r/run.json").read_text())
    assert metadata["run"] == {"id": record["id"], "workdir": "r"}


def test_a_run_of_before_goes_on_to_its_export(two, run_lines):
    """Its flags.cfg lacks a flag, and it has no record."""
    without_record(two / "r", two / "e")
    shutil.move(two / "e", two / "stray")
    shutil.rmtree(two / "r/checkpoints/step-00000015")
    flags = (two / "r/flags.cfg").read_text().splitlines()
    kept = [line for line in flags if not line.startswith("--local_size")]
    assert len(kept) == len(flags) - 1
    (two / "r/flags.cfg").write_text("\n".join(kept) + "\n")
    stray = contents(two / "stray")
    lines = [
        ("--flagfile=small.cfg", "--workdir=r", "--export_dir=stray"),
        TAKE_UP,
        TAKE_UP,
    ]
    refused, exported, finished = run_lines("train", lines, cwd=two)
    assert refused.code == 1
    assert "stray" in refused.last_line
    assert contents(two / "stray") == stray
    assert exported.code == 0, exported.err
    assert "going on from step 10 of 15" in exported.err
    assert "nothing to do" in finished.last_line
    record = json.loads((two / "r/run.json").read_text())
    metadata = json.loads((two / "e/encoder.json").read_text())
    assert metadata["run"]["id"] == record["id"]


def test_a_workdir_in_use_is_left_alone(two, run_lines):
    before = contents(two / "r", two / "e")
    with Lock(two / "r/.lock", "r", remedy=""):
        ended = run_lines(
            "train", [TAKE_UP, (*TAKE_UP, "--overwrite")], cwd=two
        )
    for one in ended:
        assert one.code == 1
        assert f"process {os.getpid()} on" in one.last_line
        assert "--workdir=r" in one.last_line
    assert contents(two / "r", two / "e") == before


# other images


def test_a_run_goes_on_on_its_images_alone(tmp_path, run_lines):
    write_images(tmp_path / "d", [f"{k}.png" for k in range(32)])
    (ended,) = run_lines("train", [(*FOLDER, "--data_dir=d")], cwd=tmp_path)
    assert ended.code == 0, ended.err
    # A copy elsewhere, made at another time, is the same images.
    shutil.copytree(
        tmp_path / "d", tmp_path / "moved/to", copy_function=shutil.copyfile
    )
    for path in (tmp_path / "moved/to").iterdir():
        os.utime(path, (1, 1))
    shutil.copytree(tmp_path / "d", tmp_path / "more")
    write_images(tmp_path / "more", [f"more{k}.png" for k in range(16)])
    before = contents(tmp_path / "r", tmp_path / "e")
    places = ("moved/to", "more")
    lines = [(*FOLDER, f"--data_dir={place}") for place in places]
    moved, more = run_lines("train", lines, cwd=tmp_path)
    assert moved.code == 0, moved.err
    assert "nothing to do" in moved.last_line
    assert more.code == 1, more.err
    for what in ("32 images", "more", "48 images", "--workdir"):
        assert what in more.last_line
    assert contents(tmp_path / "r", tmp_path / "e") == before


# runs of two kinds


@pytest.fixture(scope="module")
def kinds(small_run, tmp_path_factory, run_lines):
    """A pretraining run `p/x`, its copy `q/x`, an evaluation's `v`."""
    folder = tmp_path_factory.mktemp("kinds")
    source, _ = small_run
    for name in "pq":
        shutil.copytree(source / "runs/small", folder / name / "x")
    (folder / "p/x/notes.txt").write_text("mine")
    lines = [(*LINEAR, "--workdir=v")]
    (ended,) = run_lines("evaluate", lines, cwd=folder)
    assert ended.code == 0, ended.err
    return folder


def test_only_the_same_kind_is_overwritten(kinds, run_lines):
    before = contents(kinds / "p", kinds / "v")
    lines = [
        (*LINEAR, "--workdir=p/x"),
        (*LINEAR, "--workdir=p/x", "--overwrite"),
        (*LINEAR[1:], "--workdir=n", "--encoder=v"),
        ("--encoder=v", "--dataset=digits"),
    ]
    for ended in run_lines("evaluate", lines, cwd=kinds):
        assert ended.code == 1, ended.err
        assert "Traceback" not in ended.err
    mistake = (*SMALL, "--workdir=v", "--export_dir=e", "--overwrite")
    (ended,) = run_lines("train", [mistake], cwd=kinds)
    assert ended.code == 1
    assert "--workdir=v" in ended.last_line
    (ended,) = run_lines("export", [("--workdir=v",)], cwd=kinds)
    assert ended.code == 1
    assert "--workdir=v" in ended.last_line
    assert "Traceback" not in ended.err
    assert contents(kinds / "p", kinds / "v") == before


def test_an_evaluation_starts_anew_and_keeps_what_is_not_its_own(
    kinds, run_lines
):
    shutil.copytree(kinds / "v", kinds / "again")
    (kinds / "again/notes.txt").write_text("mine")
    line = (*LINEAR, "--workdir=again", "--overwrite", "--seed=1")
    (ended,) = run_lines("evaluate", [line], cwd=kinds)
    assert ended.code == 0, ended.err
    assert (kinds / "again/notes.txt").read_text() == "mine"
    assert len(list((kinds / "again/checkpoints").iterdir())) == 1


def test_reports_of_runs_by_one_name_and_of_none(kinds, run_lines):
    lines = [
        ("--workdir=p/x,q/x",),
        ("--workdir=p/x,p/x",),
        ("--workdir=v",),
        ("--workdir=v", "--views"),
        ("--workdir=p/x,v",),
    ]
    both, twice, *others = run_lines("report", lines, cwd=kinds)
    assert both.code == twice.code == 0, both.err + twice.err
    assert (kinds / "p/x/figures/curves.png").exists()
    for ended in others:
        assert ended.code == 1, ended.err
        assert "--workdir=v" in ended.last_line
        assert "Traceback" not in ended.err
    assert not (kinds / "v/figures").exists()


def test_moved_images_keep_an_evaluations_checkpoint(kinds, run_lines):
    for split in ("train", "test"):
        for name in ("a", "b"):
            images = [f"{k}.png" for k in range(9)]
            write_images(kinds / "d" / split / name, images)
    shutil.copytree(kinds / "d", kinds / "moved", copy_function=shutil.copyfile)
    lines = [
        (*LINEAR, "--dataset=folder", f"--data_dir={place}", "--workdir=w")
        for place in ("d", "moved")
    ]
    for ended in run_lines("evaluate", lines, cwd=kinds):
        assert ended.code == 0, ended.err
    assert len(list((kinds / "w/checkpoints").iterdir())) == 1
