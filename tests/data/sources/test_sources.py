"""What `load` finds, and how it splits what it found."""

import numpy as np
import pytest
import tensorflow as tf

from mec_tf.data import sources


def test_digits_are_split_by_a_seed_in_proportion():
    splits = sources.load("digits", seed=1)
    assert splits.pretrain is splits.references
    assert splits.pretrain.size + splits.test.size == 1797
    for part, share in ((splits.references, 0.8), (splits.test, 0.2)):
        counts = np.bincount(part.labels) / np.bincount(
            np.concatenate([splits.references.labels, splits.test.labels])
        )
        np.testing.assert_allclose(counts, share, atol=0.005)
    again = sources.load("digits", seed=1)
    np.testing.assert_array_equal(splits.test.labels, again.test.labels)
    other = sources.load("digits", seed=2)
    assert (splits.test.labels != other.test.labels).any()
    assert splits.test.class_names == tuple("0123456789")
    assert splits.references.description == (
        "digits train (1,438 images, a seeded stratified 80 %)"
    )


def test_no_digit_is_in_both_splits():
    splits = sources.load("digits")
    index = tf.range(splits.references.size, dtype=tf.int64)
    train = {splits.references.read(k).numpy().tobytes() for k in index}
    test = [
        splits.test.read(tf.constant(k)).numpy().tobytes()
        for k in range(splits.test.size)
    ]
    assert not train.intersection(test)


def test_digits_are_full_scale_rgb():
    image = sources.load("digits").pretrain.read(tf.constant(0)).numpy()
    assert image.shape == (8, 8, 3) and image.dtype == np.uint8
    assert image.max() == 255 and image.min() == 0
    assert (image == image[..., :1]).all()


@pytest.fixture
def classes(photograph, encoded):
    jpeg = encoded(photograph(0, 16, 16))
    return {f"{name}/{k}.jpg": jpeg for name in "ab" for k in range(10)}


def test_folder_holds_a_fifth_out_of_the_references(image_folder, classes):
    splits = sources.load("folder", data_dir=image_folder(classes))
    assert [part.size for part in splits] == [20, 16, 4]
    assert sorted(splits.test.labels) == [0, 0, 1, 1]
    together = splits.references.file_names + splits.test.file_names
    assert sorted(together) == sorted(splits.pretrain.file_names)
    assert "(20 images)" in splits.pretrain.description
    assert splits.references.description.startswith(
        "a seeded stratified 80 % of"
    )
    assert splits.test.description.endswith("(20 images): 4")


def test_folder_with_splits(image_folder, classes):
    files = {f"learn/{path}": data for path, data in classes.items()}
    files |= {f"check/{path}": data for path, data in classes.items()}
    splits = sources.load(
        "folder",
        data_dir=image_folder(files),
        train_split="learn",
        test_split="check",
    )
    assert splits.pretrain is splits.references
    assert [part.size for part in splits] == [20, 20, 20]
    assert splits.test.class_names == ("a", "b")


def test_folder_without_classes_has_no_references(image_folder, classes):
    files = {path.replace("/", "-"): data for path, data in classes.items()}
    splits = sources.load("folder", data_dir=image_folder(files))
    assert splits.pretrain.size == 20
    assert splits.pretrain.labels is None
    assert splits.references is splits.test is None


@pytest.mark.parametrize(
    ("dataset", "options", "message"),
    [
        ("digit", {}, "Unknown dataset: 'digit'. Expected digits, folder"),
        ("tfds:", {}, "Unknown dataset: 'tfds:'"),
        ("digits", {"test_split": "val"}, "Unknown splits .* 'val'"),
        ("folder", {}, "add `data_dir`=DIR"),
    ],
)
def test_errors(dataset, options, message):
    with pytest.raises(ValueError, match=message):
        sources.load(dataset, **options)
