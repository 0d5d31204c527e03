"""A numbered set of images, and the splits of a data set."""

import dataclasses
import functools
import hashlib
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from mec_tf.data.bad_images import BadImages


@dataclasses.dataclass(frozen=True, eq=False)
class Source:
    """A numbered set of images.

    Attributes:
        name: short, such as "digits".
        description: for people: which split of what, how many images.
        size: number of images.
        read: TensorFlow function from a scalar int64 index to the image: a
            scalar string of encoded bytes, or uint8 `[h, w, 3]`.
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
            changes when the images do (folders: when a file's name, size or
            time of change does).
        fingerprint: as `identify`, but equal for a copy of the images in
            another place and at another time (folders: file names inside the
            folder and sizes).
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


class Splits(NamedTuple):
    """The splits of a data set.

    Attributes:
        pretrain: Images to pretrain on; their labels are not used.
        references: Labelled images that classifiers are trained on and kNN
            compares with; None without labels.
        test: Labelled images to score; None without labels.
    """

    pretrain: Source
    references: Source | None
    test: Source | None


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


def label_reader(labels: np.ndarray) -> Callable:
    """A `read_labels` for labels `[size]` that are in memory."""
    return lambda indices: labels if indices is None else labels[indices]
