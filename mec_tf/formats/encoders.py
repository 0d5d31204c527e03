"""Encoders by name: an export, or a baseline that nobody trained."""

from pathlib import Path

import tensorflow as tf

from mec_tf.evaluations.features import pixels
from mec_tf.formats import saved_model
from mec_tf.models import build_backbone
from mec_tf.models.encoder import build_encoder

RANDOM = "random:"
IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


def open_encoder(name):
    """Opens an exported encoder or a baseline.

    Args:
        name: Folder of an export; `random:BACKBONE`, the weights that training
            starts from; or `pixels`, the image itself.

    Returns:
        (encode, card): a function of float32 RGB `[n, h, w, 3]` in [0, 1] that
        returns features `[n, d]`, and what `encoder.json` says; {} for the
        baselines.

    Raises:
        ValueError: If it is none of these.
    """
    if name == "pixels":
        return pixels, {}
    if name.startswith(RANDOM):
        return _untrained(name.removeprefix(RANDOM)), {}
    folder = Path(name)
    if not folder.is_dir():
        raise ValueError(
            f"--encoder={name} is no folder; give the folder of an export,"
            " random:BACKBONE or pixels"
        )
    return saved_model.load(folder)


def _untrained(backbone):
    encoder = build_encoder(
        build_backbone(backbone), mean=IMAGENET_MEAN, std=IMAGENET_STD
    )
    return tf.function(
        lambda images: encoder(images, training=False), reduce_retracing=True
    )
