"""Where images come from: digits, a folder, or TensorFlow Datasets.

A `Source` is a numbered set of images. The number of an image, its index, is
all that the rest needs: order, views and labels follow from it.
"""

import collections
import concurrent.futures
import dataclasses
import functools
import hashlib
import os
from collections.abc import Callable

import numpy as np
import sklearn.datasets
import tensorflow as tf
from absl import logging

from mec_tf.data import folder, headers, tfds_records
from mec_tf.data.bad_images import (
    BadImages,
    Lost,
    TooManyBadImages,
    too_many,
)
from mec_tf.data.decode import decode
from mec_tf.data.file_names import printable, stored
from mec_tf.errors import UserError

_HELD_OUT = 0.2
# Enough to hide a network drive's delay; a local disk needs none.
_READERS = 8


@dataclasses.dataclass(frozen=True, eq=False)
class Source:
    """A numbered set of images.

    Attributes:
      name: short, such as "digits".
      description: for people: which split of what, how many images.
      size: number of images.
      read: TensorFlow function from a scalar int64 index to the image: a
        scalar string of encoded bytes, or uint8 `[h, w, 3]`.
      labelled: whether the images have labels.
      read_labels: function from int64 indices `[k]`, or None for all, to the
        images' labels; may take long, so `labels` calls it only when it is
        asked.
      class_names: one per label's value, or None.
      multi_label: whether an image may be of several classes: labels are then
        int64 `[size, classes]`, 1 present, 0 absent, -1 neither counts.
      file_names: one per image, or None.
      read_names: function that returns all file names where they must be
        looked up first, or None.
      identify: function without arguments that returns a checksum, which
        changes when the images do (folders: when a file's name, size or time
        of change does).
      fingerprint: as `identify`, but equal for a copy of the images in another
        place and at another time (folders: file names inside the folder and
        sizes).
      orientations: int8 `[size]`, Exif's, 1 (upright) to 8, or None where
        there is nothing to turn.
      bad: remembers images that cannot be read; None where all can.
    """

    name: str
    description: str
    size: int
    read: Callable
    read_labels: Callable | None = None
    class_names: tuple[str, ...] | None = None
    multi_label: bool = False
    file_names: tuple[str, ...] | None = None
    read_names: Callable | None = None
    identify: Callable | None = None
    fingerprint: Callable | None = None
    orientations: np.ndarray | None = None
    bad: BadImages | None = None

    @functools.cached_property
    def labels(self):
        """int64 `[size]` or `[size, classes]`, or None without labels."""
        return None if self.read_labels is None else self.read_labels(None)

    def labels_of(self, indices):
        """Labels of some images: no more are read than these.

        Args:
          indices: int64 `[k]`, which images.

        Returns:
          int64 `[k]` or `[k, classes]`, or None without labels.
        """
        if self.read_labels is None:
            return None
        known = "labels" in self.__dict__  # where cached_property keeps them
        return self.labels[indices] if known else self.read_labels(indices)

    @functools.cached_property
    def names(self):
        """Tuple of file names, or None where images have none."""
        if self.file_names is None and self.read_names is not None:
            return self.read_names()
        return self.file_names

    def part(self, indices, share):
        """Some of the images, renumbered, as a source.

        Args:
          indices: int64 `[k]`, which images.
          share: for people, such as "1 % of each class".
        """
        indices = np.asarray(indices, np.int64)
        places = tf.constant(indices)

        def some(values):
            return tuple(values[k] for k in indices)

        return dataclasses.replace(
            self,
            description=f"{share} of {self.description}: {len(indices):,}",
            size=len(indices),
            read=lambda index: self.read(tf.gather(places, index)),
            read_labels=self.read_labels
            and (
                lambda some: self.labels_of(
                    indices if some is None else indices[some]
                )
            ),
            file_names=self.file_names and some(self.file_names),
            read_names=self.read_names and (lambda: some(self.names)),
            identify=lambda: checksum(self.identify(), indices),
            fingerprint=lambda: checksum(self.fingerprint(), indices),
            orientations=None
            if self.orientations is None
            else self.orientations[indices],
            bad=self.bad and self.bad.part(indices),
        )


def checksum(*values):
    """SHA-256, as hexadecimal digits, of strings, numbers and arrays."""
    digest = hashlib.sha256()
    for value in values:
        content = (
            value.tobytes()
            if isinstance(value, np.ndarray)
            else repr(value).encode("utf-8", "backslashreplace")
        )
        digest.update(f"{len(content)}:".encode() + content)
    return digest.hexdigest()


# pretrain: what the encoder learns from, labels unseen. references and test:
# labelled images that are learnt from or compared with, and those that are
# scored; None without labels.
Splits = collections.namedtuple("Splits", ["pretrain", "references", "test"])


def load(
    dataset, *, data_dir=None, train_split="train", test_split="test", seed=0
):
    """Finds a data set's images.

    digits: scikit-learn's 1,797 handwritten digits. A seeded stratified fifth
    is the test split; the encoder never sees it.

    folder: `data_dir/train_split` and `data_dir/test_split` where they exist,
    under whatever of their usual names (`layout.find_splits`), else all of
    `data_dir` is for pretraining. With a folder per class and no
    test split, a seeded stratified fifth is held out of the references as
    the test split (of them only: pretraining looks at no labels).

    tfds: a set that TensorFlow Datasets has prepared under `data_dir`.

    Args:
      dataset: "digits", "folder" or "tfds:NAME[/CONFIG]".
      data_dir: the folder of images, or TensorFlow Datasets' directory.
      train_split: name of the split to learn from.
      test_split: name of the split to test on.
      seed: decides which images are held out where there is no test split.

    Returns:
      Splits(pretrain, references, test), each a `Source`; the last two are
      None where there are no labels.

    Raises:
      UserError: for an unknown data set or split, a set that is not prepared,
        a folder without readable images.
      MissingPath: for a missing folder.
      TooManyBadImages: if more than a tenth of at least 100 files are refused.
    """
    if dataset == "digits":
        return _digits(train_split, test_split, seed)
    if dataset == "folder":
        return _folder(data_dir, train_split, test_split, seed)
    kind, _, name = dataset.partition(":")
    if kind == "tfds" and name:
        return _tfds(name, data_dir, train_split, test_split)
    raise UserError(
        f"Unknown dataset: {dataset!r}. Expected digits, folder or "
        "tfds:NAME[/CONFIG], such as tfds:cifar10."
    )


def _hold_out(labels, seed):
    """Splits indices in (kept, held out), each class in proportion."""
    generator = np.random.default_rng([seed % 2**64, len(labels)])
    held_out = np.zeros(len(labels), bool)
    for label in np.unique(labels):
        members = generator.permutation(np.flatnonzero(labels == label))
        held_out[members[: round(_HELD_OUT * len(members))]] = True
    return np.flatnonzero(~held_out), np.flatnonzero(held_out)


def _digits(train_split, test_split, seed):
    if (train_split, test_split) != ("train", "test"):
        raise UserError(
            f"Unknown splits of digits: {train_split!r}, {test_split!r}. "
            "Expected 'train' and 'test': leave both at their defaults."
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
            f"stratified {share})",
            size=len(indices),
            read=lambda index: tf.gather(pixels, index),
            read_labels=_chosen_from(labels[indices]),
            class_names=tuple(str(name) for name in digits.target_names),
            identify=lambda: checksum(images[indices]),
            fingerprint=lambda: checksum(images[indices]),
        )

    kept, held_out = _hold_out(labels, seed)
    train = part("train", kept, "80 %")
    return Splits(train, train, part("test", held_out, "20 %"))


def _folder(data_dir, train_split, test_split, seed):
    train, test = folder.find(data_dir, train_split, test_split)
    pretrain = _listed(train)
    _report(train)
    _require_one_readable(pretrain)
    if train.labels is None:
        return Splits(pretrain, None, None)
    if test is not None:
        _report(test)
        if test.labels is None:
            return Splits(pretrain, None, None)
        return Splits(pretrain, pretrain, _listed(test))
    kept, held_out = _hold_out(train.labels, seed)
    if not held_out.size:
        return Splits(pretrain, None, None)
    return Splits(
        pretrain,
        pretrain.part(kept, "a seeded stratified 80 %"),
        pretrain.part(held_out, "a seeded stratified 20 %"),
    )


def _listed(listing):
    names = tuple(listing.paths)
    # Bytes: a file's name need not be UTF-8.
    paths = tf.constant([os.fsencode(name) for name in names])

    def read(index):
        return tf.io.read_file(tf.gather(paths, index))

    labels = listing.labels
    return Source(
        name="folder",
        description=_described(listing),
        size=len(names),
        read=read,
        read_labels=None if labels is None else _chosen_from(labels),
        class_names=None
        if labels is None
        else tuple(stored(name) for name in listing.class_names),
        file_names=names,
        identify=lambda: checksum(
            *(
                (name, status.st_size, status.st_mtime_ns)
                for name, status in zip(names, map(os.stat, names), strict=True)
            )
        ),
        fingerprint=lambda: _fingerprint(listing.folder, names),
        orientations=listing.orientations,
        bad=BadImages(
            len(names),
            name=lambda index: printable(names[index]),
            explain=lambda index: _why_unreadable(read, index),
            root=listing.folder,
        ),
    )


def _fingerprint(folder, paths):
    """Checksum of names inside a folder and sizes: copying keeps them."""
    with concurrent.futures.ThreadPoolExecutor(_READERS) as readers:
        sizes = readers.map(os.path.getsize, paths, chunksize=256)
        return checksum(
            *(
                (os.path.relpath(path, folder), size)
                for path, size in zip(paths, sizes, strict=True)
            )
        )


def _chosen_from(labels):
    return lambda indices: labels if indices is None else labels[indices]


def _described(listing):
    texts = listing.left_out.passed_over()
    return (
        f"{printable(listing.folder)} ({len(listing.paths):,} images"
        f"{texts and f'; not looked at: {texts}'})"
    )


def _why_unreadable(read, index):
    header = b""
    try:
        data = read(tf.constant(index, tf.int64))
        header = data.numpy()[: headers.LENGTH]
        decode(data)
    except tf.errors.InvalidArgumentError:
        return headers.objection(header) or "the image is damaged or cut off"
    except tf.errors.OpError as error:
        return Lost(error.message)
    return "it could be read only at the second try"


def _report(listing):
    """Says what was understood of a folder, and what is left out of it.

    Raises:
      TooManyBadImages: where more than a tenth of at least 100 is damaged.
    """
    for line in listing.notes:
        logging.warning("%s", line)
    for path, reason in listing.refused.items():
        logging.warning("Skipped %s: %s.", printable(path), reason)
    bad = len(listing.refused)
    total = bad + len(listing.paths)
    if too_many(bad, total):
        raise TooManyBadImages(
            f"{bad:,} of the {total:,} image files in "
            f"{printable(listing.folder)} cannot be used, more than 10 %. "
            "Mend or remove them; each is named above."
        )


def _require_one_readable(source):
    """Makes sure that a search for a readable image comes to an end."""
    for index in range(source.size):
        try:
            decode(source.read(tf.constant(index, tf.int64)))
            return
        except tf.errors.OpError:
            continue
    raise UserError(
        f"None of the images in {source.description} can be read; the first, "
        f"{printable(source.file_names[0])}: {_why_unreadable(source.read, 0)}"
        ". Expected at least one whole JPEG, PNG, BMP, GIF or WebP."
    )


def _tfds(name, data_dir, train_split, test_split):
    builder = tfds_records.find_builder(name, data_dir)

    def part(split):
        records = tfds_records.find_records(builder, split)
        return Source(
            name=f"tfds:{name}",
            description=f"{builder.info.full_name} {split} "
            f"({records.size:,} images)",
            size=records.size,
            read=records.read_image,
            read_labels=records.read_labels if records.class_names else None,
            class_names=records.class_names,
            multi_label=records.multi_label,
            read_names=records.read_names if records.name_key else None,
            identify=lambda: checksum(
                builder.info.full_name, split, *records.identity()
            ),
            fingerprint=lambda: checksum(
                builder.info.full_name, split, *records.fingerprint()
            ),
            bad=BadImages(
                records.size,
                name=records.describe,
                explain=lambda index: _why_unreadable(
                    records.read_image, index
                ),
                root=str(builder.data_dir),
            ),
        )

    pretrain = part(train_split)
    if pretrain.read_labels is None:
        return Splits(pretrain, None, None)
    return Splits(pretrain, pretrain, part(test_split))
