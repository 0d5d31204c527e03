"""Features of a set of images, in order, in memory or on disk."""

from typing import NamedTuple

import numpy as np
import tensorflow as tf


class Features(NamedTuple):
    """What an encoder says of a set.

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


def extract(encoder, batches, *, path=None, size=None):
    """Runs an encoder over batches of images.

    Args:
        encoder: Function of float32 RGB images `[n, h, w, 3]` in [0, 1] that
            returns features `[n, d]`.
        batches: Iterable of dicts with `image`, uint8 `[n, h, w, 3]`, `label`,
            int64 `[n]` or `[n, classes]`, and perhaps `index`, int64 `[n]`
            (`data.pipeline.evaluation_batches`).
        path: A `.npy` file that the values go to, so that memory holds one
            batch at a time; None: they stay in memory.
        size: Images at most; needed with `path`. Rows of images that could not
            be read stay 0 at the file's end.

    Returns:
        `Features`, in the order of the batches.
    """
    values, labels, index = [], [], []
    rows = 0
    for batch in batches:
        images = tf.cast(batch["image"], tf.float32) / 255.0
        features = np.asarray(encoder(images), np.float32)
        labels.append(np.asarray(batch["label"]))
        index.append(np.asarray(batch.get("index", []), np.int64))
        if path is None:
            values.append(features)
            continue
        if not rows:
            shape = (size, features.shape[1])
            stored = np.lib.format.open_memmap(
                path, mode="w+", dtype=np.float32, shape=shape
            )
        stored[rows : rows + len(features)] = features
        rows += len(features)
    if path is not None:
        stored.flush()
    return Features(
        np.concatenate(values) if path is None else stored[:rows],
        np.concatenate(labels),
        np.concatenate(index),
    )


def pixels(images):
    """The baseline that looks at raw pixels: `[n, h, w, 3]` to `[n, hw3]`."""
    return tf.reshape(images, [tf.shape(images)[0], -1])
