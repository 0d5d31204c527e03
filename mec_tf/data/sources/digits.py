"""scikit-learn's 1,797 handwritten digits, 8x8 pixels."""

import numpy as np
import sklearn.datasets
import tensorflow as tf

from mec_tf.data.sources import stratified
from mec_tf.data.sources.source import Source, Splits, checksum, label_reader
from mec_tf.errors import UserError


def load(train_split: str, test_split: str, seed: int) -> Splits:
    """The digits; arguments and errors as `sources.load` has them."""
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
            read_labels=label_reader(labels[indices]),
            class_names=tuple(str(name) for name in digits.target_names),
            identify=lambda: checksum(images[indices]),
            fingerprint=lambda: checksum(images[indices]),
        )

    kept, held_out = stratified.hold_out(labels, seed)
    train = part("train", kept, "80 %")
    return Splits(train, train, part("test", held_out, "20 %"))
