"""TensorFlow Datasets' own builders on tiny data in their own format.

The data are written under the real builders' names with their real features,
so that `tfds.builder`, its metadata and its decoding all run.
"""

import pathlib

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_datasets as tfds

from mec_tf.augment import policy
from mec_tf.data import pipeline, sources
from mec_tf.data.sources import tfds_records


def _cifar10(pixels, count):
    return [
        {"id": f"{k}", "image": pixels[k % 4], "label": (3 * k) % 10}
        for k in range(count)
    ]


@pytest.fixture(scope="module")
def pixels():
    generator = np.random.default_rng(0)
    return generator.integers(0, 256, [4, 32, 32, 3], np.uint8)


@pytest.fixture(scope="module")
def cifar10(prepared_tfds, pixels):
    return prepared_tfds(
        "cifar10", {"train": _cifar10(pixels, 20), "test": _cifar10(pixels, 7)}
    )


def test_cifar10_by_index(cifar10, pixels):
    splits = sources.load("tfds:cifar10", data_dir=cifar10)
    assert [part.size for part in splits] == [20, 20, 7]
    assert len(splits.references.class_names) == 10
    np.testing.assert_array_equal(
        splits.pretrain.labels, [(3 * k) % 10 for k in range(20)]
    )
    for index in (19, 0, 8, 7):
        data = splits.pretrain.read(tf.constant(index, tf.int64))
        np.testing.assert_array_equal(tf.io.decode_png(data), pixels[index % 4])
    assert splits.pretrain.description == "cifar10/3.0.2 train (20 images)"


def test_order_agrees_with_tfds(cifar10):
    """The index is the place in `tfds.load`'s order without shuffling."""
    source = sources.load("tfds:cifar10", data_dir=cifar10).pretrain
    theirs = tfds.load("cifar10", split="train", data_dir=cifar10)
    (ours,) = pipeline.evaluation_batches(
        source, image_size=32, batch_size=20, crop_fraction=1.0
    )
    for k, example in enumerate(theirs):
        np.testing.assert_array_equal(ours["image"][k], example["image"])
        assert ours["label"][k] == example["label"]


def test_cifar10_trains_and_resumes(cifar10):
    source = sources.load("tfds:cifar10", data_dir=cifar10).pretrain
    views = policy.preset("cifar", image_size=32)
    options = {"batch_size": 6, "seed": 0}
    steps = list(pipeline.training_batches(source, views, **options).take(6))
    resumed = pipeline.training_batches(source, views, first_step=4, **options)
    for ours, expected in zip(resumed.take(2), steps[4:], strict=True):
        tf.nest.map_structure(np.testing.assert_array_equal, ours, expected)


def test_part_of_a_split(cifar10):
    splits = sources.load(
        "tfds:cifar10", data_dir=cifar10, train_split="train[20%:60%]"
    )
    expected = [(3 * k) % 10 for k in range(4, 12)]
    np.testing.assert_array_equal(splits.pretrain.labels, expected)


def test_labels_of_some_images_read_no_others(cifar10, monkeypatch):
    """Of ImageNet the monitors want 2 %: the rest is 140 GB."""
    read, reads = tfds_records.Records._read, []

    def counted(self, index, key):
        noted = tf.numpy_function(
            lambda k: reads.append((key, int(k))), [index], []
        )
        with tf.control_dependencies([noted]):
            return read(self, tf.identity(index), key)

    monkeypatch.setattr(tfds_records.Records, "_read", counted)
    source = sources.load("tfds:cifar10", data_dir=cifar10).references
    batches = pipeline.evaluation_batches(
        source, image_size=32, batch_size=2, indices=[3, 9, 11]
    )
    labels = np.concatenate([batch["label"] for batch in batches])
    np.testing.assert_array_equal(labels, [9, 7, 3])
    expected = [(key, k) for key in ("image", "label") for k in (3, 9, 11)]
    assert sorted(reads) == expected
    reads.clear()
    part = source.part([5, 6, 7, 8], "some").part([1, 3], "fewer")
    np.testing.assert_array_equal(part.labels, [8, 4])
    assert sorted(reads) == [("label", 6), ("label", 8)]


@pytest.mark.parametrize(
    ("name", "file_name"),
    [("imagenet2012", "file_name"), ("places365_small", "filename")],
)
def test_large_photographs(
    prepared_tfds, photograph, encoded, tmp_path, name, file_name
):
    def example(k):
        jpeg = tmp_path / f"{k}.jpg"
        kind = "PNG" if k == 1 else "JPEG"  # As in the real set.
        jpeg.write_bytes(encoded(photograph(k, 50, 70), kind))
        return {file_name: jpeg.name, "image": str(jpeg), "label": k}

    data_dir = prepared_tfds(
        name,
        {
            "train": [example(k) for k in range(6)],
            "validation": [example(k) for k in range(3)],
        },
    )
    splits = sources.load(
        f"tfds:{name}", data_dir=data_dir, test_split="validation"
    )
    assert [part.size for part in splits] == [6, 6, 3]
    views = policy.preset("byol", image_size=32)
    steps = pipeline.training_batches(
        splits.pretrain, views, batch_size=3, seed=0
    ).take(2)
    index = np.concatenate([step["index"] for step in steps])
    np.testing.assert_array_equal(np.sort(index), np.arange(6))
    assert not splits.pretrain.bad.reasons
    (batch,) = pipeline.evaluation_batches(
        splits.test, image_size=32, batch_size=8
    )
    np.testing.assert_array_equal(batch["label"], [0, 1, 2])


def test_a_damaged_record_is_named(prepared_tfds, pixels, tmp_path, caplog):
    jpeg = tmp_path / "damaged.jpg"
    jpeg.write_bytes(b"\xff\xd8\xff")
    examples = _cifar10(pixels, 5)
    examples[2]["image"] = str(jpeg)
    data_dir = prepared_tfds(
        "cifar10", {"train": examples, "test": examples[:2]}
    )
    source = sources.load("tfds:cifar10", data_dir=data_dir).pretrain
    views = policy.preset("cifar", image_size=32)
    next(iter(pipeline.training_batches(source, views, batch_size=5, seed=0)))
    assert list(source.bad.reasons) == [2]
    (line,) = (line for line in caplog.messages if "Skipped" in line)
    assert "image 2, in cifar10-train.tfrecord-00001-of-00003" in line


@pytest.mark.parametrize("lost", [1, 3, 500, -7])
def test_a_shard_that_is_cut_off_is_named(prepared_tfds, pixels, lost):
    data_dir = prepared_tfds(
        "cifar10", {split: _cifar10(pixels, 3) for split in ("train", "test")}
    )
    (shard,) = pathlib.Path(data_dir).rglob("*train*00001-of*")
    data = shard.read_bytes()
    # -7: the last record's length is all that there is of it, but for a byte.
    shard.write_bytes(data[:-lost] if lost > 0 else data + data[:7])
    with pytest.raises(ValueError, match=f"{shard.name} is cut off"):
        sources.load("tfds:cifar10", data_dir=data_dir)


@pytest.mark.parametrize(
    ("name", "split", "message"),
    [
        ("no_such_set", "train", "Unknown dataset: 'tfds:no_such_set'"),
        ("cifar10", "learn", "Unknown split of .*: 'learn'. .* train, test"),
        ("cifar100", "train", "not prepared: .*`tfds build cifar100"),
    ],
)
def test_errors(cifar10, name, split, message):
    with pytest.raises(ValueError, match=message):
        sources.load(f"tfds:{name}", data_dir=cifar10, train_split=split)
