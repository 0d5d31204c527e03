"""Which subfolders are splits, which are classes, and what is refused."""

import os

import numpy as np
import pytest

from mec_tf.data import layout
from mec_tf.errors import UserError


@pytest.fixture
def photos(tmp_path, monkeypatch):
    """Makes files that are called images, in `photos` of the folder we are in.

    What they hold is not looked at here.
    """
    monkeypatch.chdir(tmp_path)

    def make(*folders):
        for folder in folders:
            path = tmp_path / "photos" / folder
            path.mkdir(parents=True, exist_ok=True)
            (path / "0.jpg").write_bytes(b"")
        return "photos"

    return make


@pytest.mark.parametrize(
    ("folders", "train", "test"),
    [
        (["a", "b"], ".", None),
        (["train/a"], "train", None),
        (["train/a", "test/a"], "train", "test"),
        (["Train/a", "Test/a"], "Train", "Test"),
        (["TRAINING", "TESTING"], "TRAINING", "TESTING"),
        (["train", "valid"], "train", "valid"),
        (["Training", "Validation", "x/../test"], "Training", "test"),
        (["x/train/a", "x/test/a"], "x/train", "x/test"),
        (["x/y/train", "x/y/val"], "x/y/train", "x/y/val"),
    ],
)
def test_usual_names_are_understood(photos, folders, train, test):
    splits = layout.find_splits(photos(*folders), "train", "test")
    assert os.path.relpath(splits.train, "photos") == train
    assert test == (splits.test and os.path.relpath(splits.test, "photos"))
    plain = (train, test) in ((".", None), ("train", None), ("train", "test"))
    assert bool(splits.notes) == (not plain)
    for path in (splits.train, splits.test or ""):
        assert plain or path in splits.notes[0]


@pytest.mark.parametrize(
    ("flags", "train", "test"),
    [
        (("learn", "test"), "learn", "test"),
        (("train", "check"), "train", "check"),
        (("learn", "check"), "learn", "check"),
        (("train/", "test/"), "train", "test"),
        (("Train", "check"), "Train", "check"),
        (("x/train", "test"), "x/train", "x/val"),
        ((".", "test"), ".", None),
    ],
)
def test_names_that_are_given_win(photos, flags, train, test):
    where = photos("learn", "check", "test", "train", "x/train", "x/val")
    if "Train" in flags:
        photos("Train")
    splits = layout.find_splits(where, *flags)
    assert os.path.relpath(splits.train, where) == train
    assert test == (splits.test and os.path.relpath(splits.test, where))


@pytest.mark.parametrize(
    ("folders", "flags", "named"),
    [
        (["train", "Train"], (), ["train_split", "Train", "train"]),
        (["train", "training", "test"], (), ["training"]),
        (["train", "test", "testing"], (), ["test_split", "testing"]),
        (["train", "val", "Valid"], (), ["val", "Valid"]),
        (["train", "cat", "dog"], (), ["photos/train", "cat", "dog"]),
        (["test", "cat"], (), ["test", "train_split"]),
        (["val"], (), ["val", "train_split"]),
        (["x/Test/a"], (), ["Test", "train_split"]),
        (["train"], ("train/", "train"), []),
        (["a", "b"], (".", "b"), ["photos/b"]),
        (["a", "b"], ("train", "b"), ["train_split"]),
        (["a"], ("gone", "test"), ["train_split", "gone"]),
    ],
)
def test_two_meanings_are_refused_by_name(photos, folders, flags, named):
    flags = flags or ("train", "test")
    if flags == ("train/", "train"):
        flags = ("train/", "./train")
    with pytest.raises(UserError) as error:
        layout.find_splits(photos(*folders), *flags)
    for name in named:
        assert name in str(error.value)


def test_an_empty_folder_is_not_meant(photos):
    where = photos("Train", "Test")
    os.mkdir("photos/train")
    assert layout.find_splits(where, "train", "test").train == "photos/Train"


def test_folders_without_images_do_not_count(photos, tmp_path):
    where = photos("images/train", "images/val")
    for name in ("labels/train", "labels/val", "images/train/meta"):
        (tmp_path / where / name).mkdir(parents=True)
        (tmp_path / where / name / "0.txt").write_text("0 1 2")
    splits = layout.find_splits(where, "train", "test")
    assert splits.train == "photos/images/train"


def test_a_link_that_leads_up_ends(photos, tmp_path):
    where = photos("x")
    os.remove("photos/x/0.jpg")
    os.symlink(tmp_path / "photos", "photos/x/up")
    assert layout.find_splits(where, "train", "test").train == where


def test_splits_inside_classes_are_refused():
    with pytest.raises(UserError, match="photos/cat"):
        layout.require_no_splits_below(
            ["photos/cat", "photos/cat/Train", "photos/cat/val"], "photos"
        )
    layout.require_no_splits_below(
        ["photos/train", "photos/cat", "photos/cat/test"], "photos"
    )


@pytest.mark.parametrize(
    ("paths", "names", "labels"),
    [
        (["a/0", "a/1", "b/0"], ("a", "b"), [0, 0, 1]),
        (["x/a/0", "x/b/c/0"], ("a", "b"), [0, 1]),
        (
            ["x/a/0", "x/a/1", "x/b/0", "x/b/1", "0"],
            ("a", "b"),
            [0, 0, 1, 1, -1],
        ),
        (["x/a/0", "x/a/1", "x/b/0", "x/0"], ("a", "b"), [0, 0, 1, -1]),
        (["a/0", "a/1"], (), None),
        (["0", "1", "a/0"], (), None),
        (["0", "1", "a/0", "b/0"], (), None),
    ],
)
def test_classes_and_strays(paths, names, labels):
    found = layout.find_classes(paths)
    assert found.names == names
    np.testing.assert_array_equal(found.labels, labels)


def test_one_folder_is_a_class_where_it_is_known():
    assert layout.find_classes(["a/b/0", "a/c/0"]).names == ("b", "c")
    assert layout.find_classes(["a/b/0", "a/c/0"], ("a", "d")).names == ("a",)


def test_a_few_are_five_or_one_in_a_hundred():
    for strays, images, are_few in (
        (1, 4, True),
        (2, 7, False),
        (5, 20, True),
        (6, 599, False),
        (6, 600, True),
    ):
        assert layout.few(strays, images) == are_few
