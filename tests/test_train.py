"""Digits to kNN to export to reload, as a user runs it."""

import csv
import json

import numpy as np
import tensorflow as tf
from conftest import SMALL

from mec_tf.training.workdir import read_flags


def rows(workdir):
    with open(workdir / "metrics.csv", newline="") as file:
        return list(csv.DictReader(file))


def test_a_run_leaves_all_that_it_promises(small_run):
    folder, ended = small_run
    assert ended.code == 0, ended.err
    workdir = folder / "runs/small"
    names = {path.name for path in workdir.iterdir()}
    assert names == {
        "flags.cfg",
        "run.json",
        "metrics.csv",
        "tensorboard",
        "checkpoints",
    }
    assert [row["epoch"] for row in rows(workdir)] == ["1", "2", "3"]
    assert [row["step"] for row in rows(workdir)] == ["5", "10", "15"]
    for name in (
        "loss",
        "coding_length",
        "spectral_norm",
        "effective_distortion",
        "lr",
        "ema_momentum",
        "images_per_second",
        "knn_accuracy",
        "rankme",
    ):
        assert all(np.isfinite(float(row[name])) for row in rows(workdir)), name
    events = list((workdir / "tensorboard").glob("events*"))
    tags = {
        value.tag
        for event in tf.compat.v1.train.summary_iterator(str(events[0]))
        for value in event.summary.value
    }
    assert {"loss", "knn_accuracy", "spectral_norm", "lr"} <= tags
    assert "exports/small" in ended.out
    assert 'tf.saved_model.load("exports/small")' in ended.out


def test_scores_say_which_split_they_used(small_run):
    _, ended = small_run
    assert "kNN queries: 359 images of digits test" in ended.err
    assert "kNN references: 1,438 images of digits train" in ended.err


def test_the_export_scores_from_disk_alone_as_in_training(small_run, run_main):
    folder, _ = small_run
    ended = run_main(
        "evaluate",
        "--protocol=knn",
        "--encoder=exports/small,random:resnet_tiny,pixels",
        "--dataset=digits",
        "--labels_per_class=10",
        "--output=scores.json",
        cwd=folder,
    )
    assert ended.code == 0, ended.err
    result = json.loads((folder / "scores.json").read_text())
    last = rows(folder / "runs/small")[-1]
    assert np.isclose(result["top1"], float(last["knn_accuracy"]), atol=3e-3)
    assert [row["encoder"] for row in result["results"]] == [
        "exports/small",
        "random:resnet_tiny",
        "pixels",
    ]
    # Raw pixels of digits are a strong baseline: 96.7 % here, all labels.
    assert result["results"][2]["top1"] > 0.9
    assert "digits test (359 images" in ended.err
    metadata = json.loads((folder / "exports/small/encoder.json").read_text())
    assert np.isclose(
        metadata["scores"]["knn_accuracy"], result["top1"], atol=3e-3
    )
    assert metadata["steps"] == 15


def test_flags_cfg_repeats_the_run(small_run, run_main):
    folder, _ = small_run
    flags = read_flags(folder / "runs/small/flags.cfg")
    assert flags["epochs"] == "3"
    assert flags["workdir"] == "runs/small"
    assert flags["deterministic"] == "True"
    repeated = run_main(
        "train",
        "--flagfile=runs/small/flags.cfg",
        "--workdir=repeated",
        "--export_dir=repeated.export",
        cwd=folder,
    )
    assert repeated.code == 0, repeated.err
    assert_same_run(folder / "runs/small", folder / "repeated")
    assert_same_encoder(folder / "exports/small", folder / "repeated.export")


def test_a_finished_run_says_so(small_run, run_main):
    folder, _ = small_run
    before = (folder / "runs/small/metrics.csv").read_bytes()
    # Where, how fast and how often may be another time.
    elsewhere = (
        f"--workdir={folder / 'runs/small'}",
        "--data_dir=/elsewhere",
        "--nodeterministic",
        "--jit=off",
        "--checkpoint_minutes=1",
        "--nocheckpoint_each_epoch",
        "--keep_checkpoints=5",
        "--knn_every_epochs=0",
    )
    ended = run_main("train", "--flagfile=small.cfg", *elsewhere, cwd=folder)
    assert ended.code == 0, ended.err
    assert "finished" in ended.last_line
    assert (folder / "runs/small/metrics.csv").read_bytes() == before


def test_dry_run_tells_all_and_leaves_nothing(run_main, tmp_path):
    flags = (*SMALL, "--epochs=7", "--warmup_epochs=9")
    ended = run_main("train", *flags, "--dry_run", cwd=tmp_path)
    assert ended.code == 0, ended.err
    assert "--warmup_epochs=9 (45 steps) does not fit" in ended.err
    table = dict(
        line.split("  ", 1) for line in ended.out.splitlines() if "  " in line
    )
    table = {what: value.strip() for what, value in table.items()}
    assert table["total steps"] == "35 (7 epochs)"
    assert table["warm-up steps of the rate"] == "3"
    assert table["peak learning rate"] == "0.5"
    assert table["mu = (m + d) / 2"] == "144"
    assert float(table["lambda = 1 / (m epsilon_d^2)"]) == 0.0651042
    assert np.isfinite(float(table["loss of one step on 4 images"]))
    assert list(tmp_path.iterdir()) == []


def test_two_replicas_train_as_one(small_run, run_main):
    folder, _ = small_run
    ended = run_main(
        "train",
        "--flagfile=small.cfg",
        "--workdir=two",
        "--export_dir=two.export",
        "--strategy=mirrored",
        "--logical_cpus=2",
        cwd=folder,
    )
    assert ended.code == 0, ended.err
    one, two = rows(folder / "runs/small"), rows(folder / "two")
    for name in ("loss", "coding_length", "spectral_norm"):
        # float32 sums differ in order, and training amplifies that.
        for epoch, tolerance in ((0, 1e-4), (1, 2e-2)):
            np.testing.assert_allclose(
                float(two[epoch][name]),
                float(one[epoch][name]),
                rtol=tolerance,
                err_msg=f"{name}, epoch {epoch + 1}",
            )


def assert_same_run(one, other):
    for a, b in zip(rows(one), rows(other), strict=True):
        a.pop("images_per_second"), b.pop("images_per_second")
        assert a == b


def assert_same_encoder(one, other):
    a, b = (tf.saved_model.load(str(path)).variables for path in (one, other))
    for x, y in zip(a, b, strict=True):
        assert np.array_equal(x.numpy(), y.numpy()), x.name
