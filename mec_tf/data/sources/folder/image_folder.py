"""Loads a folder of images as sources and reports damaged files."""

import concurrent.futures
import os

import tensorflow as tf
from absl import logging

from mec_tf.data.bad_images import BadImages, TooManyBadImages, too_many
from mec_tf.data.decode import decode
from mec_tf.data.file_names import printable, stored
from mec_tf.data.sources import stratified, unreadable
from mec_tf.data.sources.folder.split_listings import find
from mec_tf.data.sources.source import Source, Splits, checksum, label_reader
from mec_tf.errors import UserError

# Enough to hide a network drive's delay; a local disk needs none.
_READERS = 8


def load(
    data_dir: str | None, train_split: str, test_split: str, seed: int
) -> Splits:
    """The images of a folder; arguments, errors as `sources.load` has them."""
    train, test = find(data_dir, train_split, test_split)
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
    kept, held_out = stratified.hold_out(train.labels, seed)
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
        read_labels=None if labels is None else label_reader(labels),
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
            explain=lambda index: unreadable.reason(read, index),
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


def _described(listing):
    texts = listing.left_out.passed_over()
    return (
        f"{printable(listing.folder)} ({len(listing.paths):,} images"
        f"{texts and f'; not looked at: {texts}'})"
    )


def _report(listing):
    """Reports how a folder was interpreted and what is left out.

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
    """Refuses a folder without any readable image."""
    for index in range(source.size):
        try:
            decode(source.read(tf.constant(index, tf.int64)))
            return
        except tf.errors.OpError:
            continue
    reason = unreadable.reason(source.read, 0)
    raise UserError(
        f"None of the images in {source.description} can be read; the first, "
        f"{printable(source.file_names[0])}: {reason}"
        ". Expected at least one whole JPEG, PNG, BMP, GIF or WebP."
    )
