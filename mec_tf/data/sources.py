"""Where images come from: digits, a folder, or TensorFlow Datasets.

A `Source` is a numbered set of images. The number of an image, its index, is
all that the rest needs: order, views and labels follow from it.
"""

import collections
import dataclasses
from collections.abc import Callable

import numpy as np
import sklearn.datasets
import sklearn.model_selection
import tensorflow as tf

from mec_tf.data import folder
from mec_tf.data.decode import decode


@dataclasses.dataclass(frozen=True)
class Source:
    """A numbered set of images.

    Attributes:
      name: short, such as "digits".
      description: for people: which split of what, how many images.
      size: number of images.
      image: TensorFlow function from a scalar int64 index to a uint8
        `[h, w, 3]` image.
      labels: int64 `[size]`, or None.
      class_names: one per label's value, or None.
      file_names: one per image, or None.
    """

    name: str
    description: str
    size: int
    image: Callable
    labels: np.ndarray | None = None
    class_names: tuple[str, ...] | None = None
    file_names: tuple[str, ...] | None = None


# pretrain: what the encoder learns from, labels unseen. bank and test: the
# reference and the query images of kNN and its like; None without labels.
Splits = collections.namedtuple("Splits", ["pretrain", "bank", "test"])


def load(
    dataset, *, data_dir=None, train_split="train", test_split="test", seed=0
):
    """Finds a data set's images.

    Args:
      dataset: "digits", "folder" or "tfds:NAME[/CONFIG]".
      data_dir: the folder of images, or TensorFlow Datasets' directory.
      train_split: name of the split to learn from.
      test_split: name of the split to test on.
      seed: decides which images are held out where there is no test split.

    Returns:
      Splits(pretrain, bank, test), each a `Source`; bank and test are None
      where there are no labels.

    Raises:
      ValueError: for an unknown data set or split, or a folder without images.
      FileNotFoundError: for a missing folder.
    """
    if dataset == "digits":
        return _digits(train_split, test_split, seed)
    if dataset == "folder":
        return _folder(data_dir, train_split, test_split, seed)
    raise ValueError(
        f"Unknown dataset: {dataset!r}. Expected digits, folder or "
        "tfds:NAME[/CONFIG], such as tfds:cifar10."
    )


def _hold_out(labels, seed):
    """Splits indices 80/20, every class in proportion, by a seed."""
    kept, held_out = sklearn.model_selection.train_test_split(
        np.arange(len(labels)),
        test_size=0.2,
        random_state=seed % 2**32,
        stratify=labels,
    )
    return np.sort(kept), np.sort(held_out)


def _digits(train_split, test_split, seed):
    if (train_split, test_split) != ("train", "test"):
        raise ValueError(
            f"Unknown splits of digits: {train_split!r}, {test_split!r}. "
            "Expected train and test: leave both at their defaults."
        )
    digits = sklearn.datasets.load_digits()
    # 0..16 becomes 0..255, grey becomes RGB.
    images = np.rint(digits.images * (255 / 16)).astype(np.uint8)
    images = np.repeat(images[..., None], 3, axis=-1)
    labels = digits.target.astype(np.int64)

    def part(split, indices, share):
        pixels = tf.constant(images[indices])
        return Source(
            name="digits",
            description=f"digits {split} ({len(indices):,} images, a seeded "
            f"stratified {share} %)",
            size=len(indices),
            image=lambda index: tf.gather(pixels, index),
            labels=labels[indices],
            class_names=tuple(str(name) for name in digits.target_names),
        )

    train, test = _hold_out(labels, seed)
    train_source = part("train", train, 80)
    return Splits(train_source, train_source, part("test", test, 20))


def _folder(data_dir, train_split, test_split, seed):
    found = folder.find(data_dir, train_split, test_split)

    def part(listing, indices, what):
        paths = tf.constant([listing.paths[k] for k in indices])
        labels = listing.labels
        return Source(
            name="folder",
            description=f"{listing.folder} ({len(indices):,} images, {what})",
            size=len(indices),
            image=lambda index: decode(
                tf.io.read_file(tf.gather(paths, index))
            ),
            labels=None if labels is None else labels[indices],
            class_names=listing.class_names,
            file_names=tuple(listing.paths[k] for k in indices),
        )

    everything = np.arange(len(found.train.paths))
    pretrain = part(found.train, everything, "all")
    if found.train.labels is None:
        return Splits(pretrain, None, None)
    if found.test is not None:
        test = part(found.test, np.arange(len(found.test.paths)), "all")
        return Splits(pretrain, pretrain, test)
    kept, held_out = _hold_out(found.train.labels, seed)
    return Splits(
        pretrain,
        part(found.train, kept, "a seeded stratified 80 %"),
        part(found.train, held_out, "a seeded stratified 20 %"),
    )
