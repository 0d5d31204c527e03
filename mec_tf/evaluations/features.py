"""Features of a set of images, in order, in memory or on disk."""

import errno
import os
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from mec_tf.errors import Unwritten, UserError

_BLOCK = 2**20  # bytes


class Features(NamedTuple):
    """Features of a set of images.

    Attributes:
        values: float32 `[n, d]`; memory-mapped where they lie on disk.
        labels: int64 `[n]`, -1 where an image has none; or `[n, classes]`, see
            `data.sources.Source`.
        index: int64 `[n]`, which of the set's images, ascending; images that
            cannot be read are left out. None: all of them.
    """

    values: np.ndarray
    labels: np.ndarray
    index: np.ndarray | None = None


def extract(encoder, batches, *, path=None, size=None, name="the set"):
    """Runs an encoder over batches of images.

    Args:
        encoder: Function of float32 RGB images `[n, h, w, 3]` in [0, 1] that
            returns features `[n, d]`.
        batches: Iterable of dicts with `image`, uint8 `[n, h, w, 3]`, `label`,
            int64 `[n]` or `[n, classes]`, and perhaps `index`, int64 `[n]`
            (`data.pipeline.evaluation_batches`).
        path: A `.npy` file that the values go to, so that memory holds one
            batch at a time; None: they stay in memory.
        size: Images at most; needed with `path`, whose rows of images that
            could not be read stay 0 at the end. In memory the values then
            exist once; without it they are collected first and joined, which
            takes twice the memory.
        name: Of the set, for the error.

    Returns:
        `Features`, in the order of the batches.

    Raises:
        UserError: If there is no image that could be read, or no room for the
            features on the disk.
    """
    collected, labels, index = [], [], []
    values, rows = None, 0
    for batch in batches:
        images = tf.cast(batch["image"], tf.float32) / 255.0
        features = np.asarray(encoder(images), np.float32)
        labels.append(np.asarray(batch["label"]))
        index.append(np.asarray(batch.get("index", []), np.int64))
        if size is None:
            collected.append(features)
            continue
        if values is None:
            values = _room((size, features.shape[1]), path)
        values[rows : rows + len(features)] = features
        rows += len(features)
    require_some(labels, name)
    if path is not None:
        values.flush()
    return Features(
        np.concatenate(collected) if size is None else values[:rows],
        np.concatenate(labels),
        np.concatenate(index),
    )


def require_some(batches, name):
    """Makes sure that there is something to score.

    Raises:
        UserError: If no batch came of a set of this name.
    """
    if not batches:
        raise UserError(
            f"no image of {name} could be read; expected at least one: mend"
            " the files, each of which is named above, or name other images"
        )


def _room(shape, path):
    if path is None:
        return np.empty(shape, np.float32)
    try:
        values = np.lib.format.open_memmap(
            path, mode="w+", dtype=np.float32, shape=shape
        )
        _allocate(path, values.offset, values.nbytes)
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            raise
        raise Unwritten(
            f"{os.path.dirname(path)} has no room for {shape[0]:,} features of"
            f" {shape[1]:,} numbers, {4e-9 * shape[0] * shape[1]:.3g} GB"
            f" ({error.strerror}); free some, or name another `feature_cache`"
        ) from error
    return values


def _allocate(path, start, size):
    """Takes the room of a sparse file's bytes, which are all 0.

    Where a page of a memory map finds no room the process is killed.
    """
    with open(path, "r+b") as file:
        if hasattr(os, "posix_fallocate"):
            os.posix_fallocate(file.fileno(), start, size)
            return
        file.seek(start)  # macOS, Windows
        for at in range(0, size, _BLOCK):
            file.write(bytes(min(_BLOCK, size - at)))
