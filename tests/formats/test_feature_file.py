"""Files of features: names that are odd, and what is made sure of before."""

import collections
import csv
import os

import numpy as np
import pytest
from pyarrow import parquet

from mec_tf.data.file_names import original
from mec_tf.errors import UserError
from mec_tf.evaluations.features import Features
from mec_tf.formats import feature_file

FILES = [
    "a,b.jpg",
    'q"uote.jpg',
    "two\nlines\r.jpg",
    "odd\udcff.jpg",
    "ä画.jpg",
]
CLASSES = ("one, two", "three")


@pytest.mark.parametrize("suffix", feature_file.SUFFIXES)
def test_every_name_comes_back(tmp_path, suffix):
    values = np.arange(10, dtype=np.float32).reshape(5, 2)
    features = Features(values, np.array([0, 1, 0, 1, 0]), np.arange(5))
    names = feature_file.stored_names([f"/data/{name}" for name in FILES])
    paths = feature_file.stored_names(FILES)
    path = tmp_path / f"f{suffix}"
    feature_file.check(path)
    feature_file.save(path, features, names, CLASSES, paths)
    if suffix == ".npz":
        stored = np.load(path)
        found = [stored["names"], stored["paths"]]
        kinds, values_found = stored["class_names"], stored["features"]
        classes = [kinds[k] for k in stored["labels"]]
    elif suffix == ".parquet":
        table = parquet.read_table(path).to_pydict()
        found, classes = [table["name"], table["path"]], table["class"]
        values_found = table["features"]
    else:
        with open(tmp_path / "f.csv", newline="", encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
        found = [[row[key] for row in rows] for key in ("name", "path")]
        classes = [row["class"] for row in rows]
        values_found = np.load(path)
    assert [original(str(name)) for name in found[1]] == FILES
    assert [str(name) for name in found[0]] == names
    assert list(classes) == [CLASSES[k] for k in features.labels]
    np.testing.assert_array_equal(np.array(values_found), values)
    feature_file.check(path)  # its own table is not in the way


def test_names_that_would_be_the_same_are_refused():
    names = ["odd\udcff.jpg", "odd\\xff.jpg"]
    with pytest.raises(UserError, match="rename"):
        feature_file.stored_names(names)


def test_what_is_in_the_way_is_refused(tmp_path):
    (tmp_path / "folder.npy").mkdir()
    (tmp_path / "labels.csv").write_text("image,label\n")
    for name in ("folder.npy", "labels.npy", "a.txt", "odd\udcff.npy"):
        with pytest.raises(UserError, match="`output`"):
            feature_file.check(tmp_path / name)
    assert (tmp_path / "labels.csv").read_text() == "image,label\n"
    feature_file.check(tmp_path / "labels.npz")


def test_a_full_disk_is_seen_before(tmp_path, monkeypatch):
    usage = collections.namedtuple("usage", "total used free")
    monkeypatch.setattr(
        feature_file.shutil, "disk_usage", lambda _: usage(9e9, 8.2e9, 8e8)
    )
    feature_file.require_room(tmp_path / "f.npy", 100_000, 2000)
    with pytest.raises(UserError, match="`output`"):
        feature_file.require_room(tmp_path / "f.npy", 100_001, 2000)


def test_every_file_has_a_json_of_its_own():
    paths = {
        feature_file.json_path_of(f"f{end}") for end in feature_file.SUFFIXES
    }
    assert {os.fspath(path) for path in paths} == {
        f"f{end}.json" for end in feature_file.SUFFIXES
    }
