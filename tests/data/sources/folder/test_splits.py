"""Which subfolders are splits, and what is refused."""

import os

import pytest

from mec_tf.data.sources.folder.splits import find_splits
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
    splits = find_splits(photos(*folders), "train", "test")
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
    splits = find_splits(where, *flags)
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
        find_splits(photos(*folders), *flags)
    for name in named:
        assert name in str(error.value)


def test_an_empty_folder_is_not_meant(photos):
    where = photos("Train", "Test")
    os.mkdir("photos/train")
    assert find_splits(where, "train", "test").train == "photos/Train"


def test_folders_without_images_do_not_count(photos, tmp_path):
    where = photos("images/train", "images/val")
    for name in ("labels/train", "labels/val", "images/train/meta"):
        (tmp_path / where / name).mkdir(parents=True)
        (tmp_path / where / name / "0.txt").write_text("0 1 2")
    splits = find_splits(where, "train", "test")
    assert splits.train == "photos/images/train"


def test_a_link_that_leads_up_ends(photos, tmp_path):
    where = photos("x")
    os.remove("photos/x/0.jpg")
    os.symlink(tmp_path / "photos", "photos/x/up")
    assert find_splits(where, "train", "test").train == where
