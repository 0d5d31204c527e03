"""A cache that never serves what is stale, damaged or another's half."""

import errno
import json
import os
import threading

import keras
import numpy as np
import pytest
import tensorflow as tf
from conftest import left_by_the_dead
from PIL import Image

from mec_tf.data import bad_images, pipeline, sources
from mec_tf.errors import Unwritten
from mec_tf.evaluations import feature_cache, features
from mec_tf.evaluations.classifier import Classifier

CROP = {"image_size": 8, "crop_fraction": None, "interpolation": "bicubic"}


@pytest.fixture
def folder(tmp_path):
    for label in "ab":
        (tmp_path / "images" / label).mkdir(parents=True)
        for k in range(4):
            Image.new("RGB", (8, 8), (9 * k, 0, 0)).save(
                tmp_path / "images" / label / f"{k}.png"
            )
    return tmp_path


class Encoder:
    """Counts how often it is asked."""

    def __init__(self, factor=1.0):
        self.factor, self.calls = factor, 0

    def __call__(self, images):
        self.calls += 1
        return self.factor * tf.reduce_mean(images, axis=[1, 2])


def images_of(folder):
    """The images of class b."""
    source = sources.load("folder", data_dir=str(folder / "images")).pretrain
    return source.part(np.flatnonzero(source.labels), "class b")


def look(folder, encoder, checksum="a", cache=True, source=None, **changes):
    if source is None:
        directory = str(folder / "images")
        source = sources.load("folder", data_dir=directory).pretrain
    return feature_cache.features_of(
        source,
        encoder,
        encoder=checksum,
        folder=folder / "cache" if cache else None,
        batch_size=3,
        **(CROP | changes),
    )


def test_the_second_time_nobody_is_asked(folder):
    first, second = Encoder(), Encoder()
    one = look(folder, first)
    other = look(folder, second)
    plain = look(folder, Encoder(), cache=False)
    assert (first.calls, second.calls) == (3, 0)
    for found in (one, other):
        assert isinstance(found.values, np.memmap)
        assert np.array_equal(found.values, plain.values)
        assert np.array_equal(found.labels, plain.labels)
        assert np.array_equal(found.index, np.arange(8))


@pytest.mark.parametrize("way", ["fallocate", "write"])
def test_room_is_taken_before_features_come(tmp_path, monkeypatch, way):
    if way == "write":
        monkeypatch.delattr(os, "posix_fallocate")
    path = tmp_path / "features.npy"
    values = features._room((1000, 1000), path)
    assert not values.any()
    assert path.stat().st_blocks * 512 >= values.nbytes
    values[-1] = 1
    values.flush()
    assert np.load(path)[-1].all()


def test_a_full_disk_is_one_line_and_leaves_nothing(folder, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "posix_fallocate", full)
    with pytest.raises(Unwritten, match="`feature_cache`"):
        look(folder, Encoder())
    assert list((folder / "cache").iterdir()) == []


def test_what_changes_is_looked_at_again(folder):
    image = folder / "images/a/0.png"

    def repainted():
        Image.new("RGB", (8, 8), (0, 255, 0)).save(image)

    def touched():
        os.utime(image, ns=(1, 1))

    def removed():
        image.unlink()

    look(folder, Encoder())
    for change in (repainted, touched, removed):
        change()
        asked = Encoder()
        found = look(folder, asked)
        plain = look(folder, Encoder(), cache=False)
        assert asked.calls, change.__name__
        assert np.array_equal(found.values, plain.values), change.__name__
    for changes in (
        {"checksum": "b"},
        {"image_size": 4},
        {"crop_fraction": 0.5},
        {"interpolation": "bilinear"},
        {"resize": "square"},
    ):
        asked = Encoder(factor=2.0)
        look(folder, asked, **changes)
        assert asked.calls, changes


def test_an_unfinished_entry_is_none(folder):
    class Fails(Encoder):
        def __call__(self, images):
            if self.calls:
                raise OSError("the disk is gone")
            return super().__call__(images)

    with pytest.raises(OSError, match="gone"):
        look(folder, Fails())
    asked = Encoder()
    look(folder, asked)
    assert asked.calls == 3


def entry_of(folder):
    (entry,) = (folder / "cache").iterdir()
    return entry


def flip(entry, at):
    content = bytearray(entry.read_bytes())
    content[at] ^= 1
    entry.write_bytes(content)


DAMAGE = {
    # The first and last value, the index, the record at the end.
    "a value": lambda entry: flip(entry, 128),
    "the header": lambda entry: flip(entry, 10),
    "the end": lambda entry: flip(entry, -2),
    "the middle": lambda entry: flip(entry, entry.stat().st_size // 2),
    "cut": lambda entry: os.truncate(entry, entry.stat().st_size - 70),
    "short": lambda entry: os.truncate(entry, 3),
    "empty": lambda entry: os.truncate(entry, 0),
    "zeros": lambda entry: entry.write_bytes(bytes(entry.stat().st_size)),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_entry_is_named_and_made_anew(folder, damage, caplog):
    whole = look(folder, Encoder())
    values = np.array(whole.values)
    del whole
    entry = entry_of(folder)
    DAMAGE[damage](entry)
    asked, later = Encoder(), Encoder()
    with caplog.at_level("WARNING"):
        again = look(folder, asked)
    assert asked.calls == 3
    assert np.array_equal(again.values, values)
    (line,) = [r.getMessage() for r in caplog.records]
    assert str(entry) in line and "\n" not in line
    assert np.array_equal(look(folder, later).values, values)
    assert later.calls == 0
    assert entry_of(folder) == entry and entry.is_file()


def test_an_entry_under_anothers_name_is_not_used(folder):
    look(folder, Encoder(1.0), checksum="a")
    one = entry_of(folder)
    look(folder, Encoder(2.0), checksum="b")
    (other,) = set((folder / "cache").iterdir()) - {one}
    one.write_bytes(other.read_bytes())
    asked = Encoder(1.0)
    found = look(folder, asked, checksum="a")
    assert asked.calls
    assert np.array_equal(found.values, look(folder, asked, cache=False).values)


def test_an_entry_is_a_file_that_numpy_reads(folder):
    found = look(folder, Encoder())
    assert np.array_equal(np.load(entry_of(folder)), found.values)


def test_two_at_a_time_get_the_same_and_neither_fails(folder):
    """Each begins while the other is in the middle of it."""
    both = threading.Barrier(2, timeout=30)

    class Waits(Encoder):
        def __call__(self, images):
            both.wait()
            return super().__call__(images)

    found = [None, None]

    def run(k):
        found[k] = look(folder, Waits())

    threads = [threading.Thread(target=run, args=(k,)) for k in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    plain = look(folder, Encoder(), cache=False)
    for one in found:
        assert np.array_equal(one.values, plain.values)
    asked = Encoder()
    assert np.array_equal(look(folder, asked).values, plain.values)
    assert not asked.calls


def test_two_evaluations_at_a_time_agree(tmp_path, start_main):
    flags = [
        "--protocol=knn",
        "--encoder=pixels",
        "--dataset=digits",
        "--image_size=8",
        "--feature_cache=C",
    ]
    both = [
        start_main("evaluate", *flags, f"--output={k}.json", cwd=tmp_path)
        for k in range(2)
    ]
    for process in both:
        _, err = process.communicate(timeout=300)
        assert process.returncode == 0, err
    one, other = (
        json.loads((tmp_path / f"{k}.json").read_text())["results"][0]
        for k in range(2)
    )
    assert one["top1"] == other["top1"] > 0.9
    assert {path.suffix for path in (tmp_path / "C").iterdir()} == {".npy"}


def test_features_outlast_their_entry(folder):
    found = look(folder, Encoder())
    values = np.array(found.values)
    entry_of(folder).unlink()
    look(folder, Encoder(factor=2.0))
    assert np.array_equal(found.values, values)


def test_what_killed_processes_left_is_removed(folder):
    look(folder, Encoder())
    left = left_by_the_dead(folder / "cache/other.npy", "partial")
    left.write_bytes(b"half")
    look(folder, Encoder(), checksum="b")
    assert not left.exists()


def spoil(path):
    content = path.read_bytes()
    path.write_bytes(content[:40] + bytes(len(content) - 40))


def test_images_that_cannot_be_read_leave_no_row(folder):
    spoil(folder / "images/a/1.png")
    for _ in range(2):
        found = look(folder, Encoder())
        assert list(found.index) == [0, 2, 3, 4, 5, 6, 7]
        assert found.values.shape == (7, 3)
        assert list(found.labels) == [0, 0, 0, 1, 1, 1, 1]


def classifier():
    head = keras.layers.Dense(2)
    head.build((None, 3))
    optimizer = keras.optimizers.SGD()
    return Classifier(
        lambda images, training: Encoder()(images),
        [head],
        [(optimizer, head.trainable_variables)],
    )


LOOKS = {
    "in memory": lambda folder, source: look(
        folder, Encoder(), cache=False, source=source
    ),
    "cached": lambda folder, source: look(folder, Encoder(), source=source),
    "classified": lambda folder, source: classifier().score(
        source, pipeline.evaluation_batches(source, batch_size=50, **CROP)
    ),
}


@pytest.mark.parametrize("way", LOOKS)
def test_a_set_without_readable_images_is_named(folder, way):
    for path in (folder / "images/b").iterdir():
        spoil(path)
    with pytest.raises(ValueError, match="no image of class b of .* be read"):
        LOOKS[way](folder, images_of(folder))


@pytest.mark.parametrize("way", LOOKS)
def test_too_many_bad_images_are_told_in_one_line(folder, way):
    for k in range(140):
        path = folder / f"images/b/more{k:03}.png"
        Image.new("RGB", (8, 8), (k, 0, 0)).save(path)
        if k < 30:
            spoil(path)
    with pytest.raises(bad_images.TooManyBadImages, match="more than 10%"):
        LOOKS[way](folder, images_of(folder))
