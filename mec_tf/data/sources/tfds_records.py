"""Random access to the records of TensorFlow Datasets.

TensorFlow Datasets writes shards of records and reads them front to back; a
real shuffle of all images, and resuming at any step, need them by number. So
the place of every record is looked up once: its length stands before it, hence
a few bytes per record are read and the pixels are skipped.
"""

import concurrent.futures
import dataclasses
import os
import struct

import numpy as np
import tensorflow as tf
import tensorflow_datasets as tfds

from mec_tf.data.sources import tfds_features
from mec_tf.errors import UserError

# A TFRecord is its length (8 bytes), a checksum of that (4), the data, and a
# checksum of the data (4).
_BEFORE, _AFTER = 12, 4
_READERS = 16


@dataclasses.dataclass(frozen=True, eq=False)
class Records:
    """The records of one split, in the order of their shards.

    Attributes:
        shards: the shards' paths.
        ends: int64 `[shards]`, the shards' lengths in bytes.
        shard: int64 `[size]`, which shard a record is in.
        offset: int64 `[size]`, where in the shard its data begin, in bytes.
        length: int64 `[size]`, bytes of data.
        features: TensorFlow Datasets' description of what a record holds.
        image_key: the feature that is the image.
        label_key: the feature that is the class, or the set of classes; or
            None.
        name_key: the feature that is the file's name, or None.
        class_names: one per class, or None without classes.
    """

    shards: tuple[str, ...]
    ends: np.ndarray
    shard: np.ndarray
    offset: np.ndarray
    length: np.ndarray
    features: tfds.features.FeaturesDict
    image_key: str
    label_key: str | None
    name_key: str | None
    class_names: tuple[str, ...] | None

    @property
    def size(self):
        """Number of records."""
        return len(self.shard)

    def read_image(self, index):
        """Returns an image's encoded bytes; a TensorFlow function.

        Args:
            index: scalar int64.
        """
        return self._read(index, self.image_key)

    @property
    def multi_label(self):
        """Whether a record may be of several classes."""
        return self.label_key is not None and tfds_features.is_class_set(
            self.features[self.label_key]
        )

    def read_labels(self, indices=None):
        """Returns labels; reads each of their records, image and all, once.

        Args:
            indices: int64 `[k]`, of which records; None: of all.

        Returns:
            int64 `[k]`, or `[k, classes]` where a record may be of several
            classes: 1 present, 0 absent, -1 present but marked difficult (VOC),
            which counts as neither.
        """
        if indices is None:
            indices = np.arange(self.size)
        if not self.multi_label:
            labels = self._each(
                indices, lambda index: self._read(index, self.label_key)
            )
            return np.fromiter(labels, np.int64, len(indices))
        sure = f"{self.label_key}_no_difficult"

        def label_set(index, key):
            classes = self._read(index, key)
            ones = tf.one_hot(classes, len(self.class_names), dtype=tf.int64)
            return tf.minimum(tf.reduce_sum(ones, axis=0), 1)

        def read(index):
            present = label_set(index, self.label_key)
            if sure not in self.features:
                return present
            counted = label_set(index, sure)
            return tf.where(present > counted, -present, counted)

        return np.stack(list(self._each(indices, read)))

    def read_names(self):
        """Returns all file names, a tuple; reads every record once."""
        names = self._each(
            np.arange(self.size), lambda index: self._read(index, self.name_key)
        )
        return tuple(name.decode("utf-8", "backslashreplace") for name in names)

    def identity(self):
        """A checksum of the records: names, sizes, times, places."""
        status = [os.stat(shard) for shard in self.shards]
        return (
            [os.path.basename(shard) for shard in self.shards],
            [(one.st_size, one.st_mtime_ns) for one in status],
            self.shard,
            self.offset,
        )

    def fingerprint(self):
        """As `identity`, without what copying the shards changes."""
        return (
            [os.path.basename(shard) for shard in self.shards],
            [os.path.getsize(shard) for shard in self.shards],
            self.shard,
            self.offset,
        )

    def _each(self, indices, read):
        indices = np.asarray(indices, np.int64)
        records = tf.data.Dataset.from_tensor_slices(indices).map(
            read, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True
        )
        return records.as_numpy_iterator()

    def describe(self, index):
        """Names a record for a message."""
        shard = os.path.basename(self.shards[self.shard[index]])
        return f"image {index:,}, in {shard}"

    def _read(self, index, key):
        shard = tf.gather(self.shard, index)
        begin = tf.gather(self.offset, index)
        length = tf.gather(self.length, index)
        # The part of a file between a header and a footer: the one reader
        # of TensorFlow that takes a range of bytes.
        record = tf.data.FixedLengthRecordDataset(
            tf.gather(tf.constant(self.shards), shard),
            record_bytes=length,
            header_bytes=begin,
            footer_bytes=tf.gather(self.ends, shard) - begin - length,
            buffer_size=length,
        ).get_single_element()
        wanted = tfds.decode.PartialDecoding({key: True}).extract_features(
            self.features
        )
        decoders = {}
        if key == self.image_key:
            decoders[key] = tfds.decode.SkipDecoding()
        return wanted.deserialize_example(record, decoders=decoders)[key]


def find_records(builder, split):
    """Looks up where each record of a split is.

    Args:
        builder: a prepared `tfds.core.DatasetBuilder`.
        split: a split's name, or a part such as "train[:10%]".

    Returns:
        `Records`.

    Raises:
        UserError: for an unknown split, a set without images, a set that was
            prepared in another file format than TFRecord, a shard that was cut
            off.
    """
    info = builder.info
    if info.file_format != tfds.core.FileFormat.TFRECORD:
        raise UserError(
            f"{info.full_name} was prepared as {info.file_format.value}. "
            "Expected TFRecord: prepare it with `tfds build "
            f"{info.name} --file_format=tfrecord`."
        )
    try:
        instructions = info.splits[split].file_instructions
    except (KeyError, ValueError) as error:
        raise UserError(
            f"Unknown split of {info.full_name}: {split!r}. Expected one of "
            f"{', '.join(info.splits)}, or a part of one such as 'train[:10%]'."
        ) from error
    with concurrent.futures.ThreadPoolExecutor(_READERS) as readers:
        found = list(readers.map(_scan, instructions))
    image_key, label_key, name_key = tfds_features.find_keys(info)
    classes = label_key and info.features[label_key]
    if classes and tfds_features.is_class_set(classes):
        classes = classes.feature
    shards = tuple(str(one.filename) for one in instructions)
    return Records(
        shards=shards,
        ends=np.array([os.path.getsize(shard) for shard in shards], np.int64),
        shard=np.repeat(np.arange(len(found)), [len(one) for one in found]),
        offset=np.concatenate([one[:, 0] for one in found]),
        length=np.concatenate([one[:, 1] for one in found]),
        features=info.features,
        image_key=image_key,
        label_key=label_key,
        name_key=name_key,
        class_names=classes and tuple(classes.names),
    )


def _scan(instruction):
    """`[records, 2]`: offset and length of a shard's records, in bytes."""
    places = []
    at, end = 0, os.path.getsize(instruction.filename)
    with open(instruction.filename, "rb", buffering=0) as file:
        while at < end:
            file.seek(at)
            # A length that is cut off itself reads as too long a one.
            (length,) = struct.unpack("<Q", file.read(8).ljust(8, b"\xff"))
            places.append((at + _BEFORE, length))
            at += _BEFORE + length + _AFTER
    if at > end:
        raise UserError(
            f"{instruction.filename} is cut off: it has {end:,} bytes, and its "
            "last record would end behind them. Expected a whole shard: "
            "prepare the data set again."
        )
    places = np.array(places, np.int64).reshape(-1, 2)[instruction.skip :]
    return places if instruction.take < 0 else places[: instruction.take]
