"""What tells the images of a run from others, and what does not."""

import os
import shutil

import numpy as np
import pytest
from PIL import Image

from mec_tf.data import sources


def fingerprint(folder):
    return sources.load("folder", data_dir=str(folder)).pretrain.fingerprint()


@pytest.fixture
def folder(tmp_path):
    for name in ("a/1", "a/2", "b/1", "b/2"):
        path = tmp_path / f"images/{name}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.effect_noise((9, 9), 50).convert("RGB").save(path)
    return tmp_path / "images"


def test_a_copy_in_another_place_at_another_time_is_the_same(folder, tmp_path):
    before = fingerprint(folder)
    moved = tmp_path / "else/where"
    shutil.copytree(folder, moved, copy_function=shutil.copyfile)
    for path in moved.rglob("*.png"):
        os.utime(path, (1, 1))
    assert fingerprint(moved) == before
    source = sources.load("folder", data_dir=str(moved)).pretrain
    assert source.identify() != source.fingerprint()


@pytest.mark.parametrize("what", ["more", "fewer", "renamed", "other", "class"])
def test_other_images_are_others(folder, what):
    before = fingerprint(folder)
    if what == "more":
        shutil.copy(folder / "a/1.png", folder / "a/3.png")
    elif what == "fewer":
        (folder / "a/1.png").unlink()
    elif what == "renamed":
        (folder / "a/1.png").rename(folder / "a/9.png")
    elif what == "other":
        Image.new("RGB", (30, 30)).save(folder / "a/1.png")
    else:
        (folder / "a").rename(folder / "c")
    assert fingerprint(folder) != before


def test_parts_are_told_by_what_was_chosen(folder):
    source = sources.load("folder", data_dir=str(folder)).pretrain
    some = [np.array(k) for k in ([0, 1], [1, 0], [0, 2])]
    assert len({source.part(k, "").fingerprint() for k in some}) == 3
