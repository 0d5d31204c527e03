"""Features of a set of images, in order, as NumPy arrays."""

from typing import NamedTuple

import numpy as np
import tensorflow as tf


class Features(NamedTuple):
    """What an encoder says of a set.

    Attributes:
        values: float32 `[n, d]`.
        labels: int64 `[n]`; -1 where an image has none.
    """

    values: np.ndarray
    labels: np.ndarray


def extract(encoder, batches):
    """Runs an encoder over batches of images.

    Args:
        encoder: Function of float32 RGB images `[n, h, w, 3]` in [0, 1] that
            returns features `[n, d]`.
        batches: Iterable of dicts with `image`, uint8 `[n, h, w, 3]`, and
            `label`, int64 `[n]` (`data.pipeline.evaluation_batches`).

    Returns:
        `Features`, in the order of the batches.
    """
    values, labels = [], []
    for batch in batches:
        images = tf.cast(batch["image"], tf.float32) / 255.0
        values.append(np.asarray(encoder(images), np.float32))
        labels.append(np.asarray(batch["label"]))
    return Features(np.concatenate(values), np.concatenate(labels))


def pixels(images):
    """The baseline that looks at raw pixels: `[n, h, w, 3]` to `[n, hw3]`."""
    return tf.reshape(images, [tf.shape(images)[0], -1])
