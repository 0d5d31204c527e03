import dataclasses
import io
import os

import numpy as np
import pytest
from PIL import Image

from mec_tf.data import labelled, sources


@pytest.fixture(scope="module")
def splits(tmp_path_factory):
    folder = tmp_path_factory.mktemp("labelled")
    for split, counts in (("train", (40, 10, 1)), ("test", (2, 2, 2))):
        for label, count in zip("abc", counts, strict=True):
            place = folder / split / label
            place.mkdir(parents=True)
            for k in range(count):
                Image.new("RGB", (8, 8), (k, 0, 0)).save(place / f"{k}.png")
    return sources.load("folder", data_dir=str(folder))


def test_a_share_of_each_class_at_least_one_seeded(splits):
    few = labelled.fraction(splits.references, 0.1, seed=0)
    assert list(np.bincount(few.labels)) == [4, 1, 1]
    again = labelled.fraction(splits.references, 0.1, seed=0)
    other = labelled.fraction(splits.references, 0.1, seed=1)
    assert few.names == again.names != other.names
    assert labelled.fraction(splits.references, 1, seed=0) is splits.references


def test_a_part_s_images_labels_and_names_go_together(splits):
    few = labelled.fraction(splits.references, 0.25, seed=0)
    for index in range(few.size):
        path = few.names[index]
        with open(path, "rb") as file:
            assert few.read(np.int64(index)).numpy() == file.read()
        assert f"/{'abc'[few.labels[index]]}/" in path


def test_hold_out_and_rest_are_all(splits):
    held_out = labelled.hold_out(splits.references, 0.2, seed=0)
    held = splits.references.part(np.flatnonzero(held_out), "held out")
    # The last class's one image stays.
    assert list(np.bincount(held.labels, minlength=3)) == [8, 2, 0]
    most = labelled.hold_out(splits.references, 0.99, seed=0)
    kept = splits.references.part(np.flatnonzero(~most), "kept")
    assert list(np.bincount(kept.labels)) == [1, 1, 1]


def test_held_out_is_not_what_a_fraction_would_be(splits):
    few = labelled.fraction(splits.references, 0.2, seed=0)
    held_out = labelled.hold_out(splits.references, 0.2, seed=0)
    held = splits.references.part(np.flatnonzero(held_out), "held out")
    of_a = [{n for n in one.names if "/a/" in n} for one in (few, held)]
    assert len(of_a[0]) == len(of_a[1]) == 8 and of_a[0] != of_a[1]


def test_a_fraction_is_the_one_that_was_always_drawn(splits):
    few = labelled.fraction(splits.references, 0.1, seed=0)
    names = [name.split("/")[-1] for name in few.names]
    assert names == [f"{k}.png" for k in (6, 7, 17, 21, 4, 0)]


def test_a_list_may_name_what_is_not_unicode(image_folder, tmp_path):
    picture = io.BytesIO()
    Image.new("RGB", (8, 8)).save(picture, "PNG")
    names = ["a/0.png", "a/odd\udcff.png", "b/0.png", "b/1.png"]
    where = image_folder(dict.fromkeys(names, picture.getvalue()))
    source = sources.load("folder", data_dir=where).pretrain
    (tmp_path / "list.txt").write_bytes(b"a/odd\xff.png\nb/1.png\n")
    found = labelled.listed(source, tmp_path / "list.txt")
    assert [os.path.relpath(name, where) for name in found.names] == names[1::2]


def test_nothing_to_hold_out_is_refused(splits):
    one_each = labelled.fraction(splits.references, 0.001, seed=0)
    assert list(np.bincount(one_each.labels)) == [1, 1, 1]
    with pytest.raises(ValueError, match="`=0.2.*at least 2 images"):
        labelled.hold_out(one_each, 0.2, seed=0)


def test_of_sets_of_classes_a_share_of_all_is_drawn(splits):
    sets = dataclasses.replace(
        splits.references,
        multi_label=True,
        read_labels=lambda chosen: np.ones([len(chosen), 3], np.int64),
    )
    few = labelled.fraction(sets, 0.1, seed=0)
    assert few.labels.shape == (5, 3)
    assert few.description.startswith("10 % of the images of")


def test_a_list_keeps_its_order(splits, tmp_path):
    path = tmp_path / "list.txt"
    path.write_text("b/7.png\na/3.png\n39.png\n")
    found = labelled.listed(splits.references, path)
    tails = ["/".join(name.split("/")[-2:]) for name in found.names]
    assert tails == ["b/7.png", "a/3.png", "a/39.png"]
    assert list(found.labels) == [1, 0, 0]


def test_identity_follows_order_and_choice(splits):
    train = splits.references
    ids = {
        source.identify()
        for source in (
            train,
            splits.test,
            train.part([0, 1], "two"),
            train.part([1, 0], "two"),
        )
    }
    assert len(ids) == 4
    assert train.part([0, 1], "x").identify() in ids
