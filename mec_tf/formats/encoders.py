"""Encoders by name: an export, or a baseline that nobody trained."""

from pathlib import Path
from typing import NamedTuple

import keras
import tensorflow as tf

from mec_tf.evaluations.features import pixels
from mec_tf.formats import saved_model
from mec_tf.models import build_backbone
from mec_tf.models.encoder import build_encoder

RANDOM = "random:"


class Encoder(NamedTuple):
    """Something that turns images into features.

    Attributes:
        name: As the user gave it.
        encode: Function of float32 RGB `[n, h, w, 3]` in [0, 1] that returns
            features `[n, d]`.
        image_size: Side that it was trained at, pixels; None: any.
    """

    name: str
    encode: object
    image_size: int | None


def open_encoder(name, *, mean, std, seed):
    """Opens an encoder.

    Args:
        name: Folder of an export; `random:BACKBONE`, fresh weights as training
            starts from; or `pixels`, the image itself.
        mean: Normalisation of a random encoder, three floats.
        std: Likewise.
        seed: Of a random encoder's weights.

    Raises:
        ValueError: If it is none of these.
    """
    if name == "pixels":
        return Encoder(name, pixels, None)
    if name.startswith(RANDOM):
        keras.utils.set_random_seed(seed)
        encoder = build_encoder(
            build_backbone(name.removeprefix(RANDOM)), mean=mean, std=std
        )
        encode = tf.function(
            lambda images: encoder(images, training=False),
            reduce_retracing=True,
        )
        return Encoder(name, encode, None)
    folder = Path(name)
    if not folder.is_dir():
        raise ValueError(
            f"--encoder={name} is no folder; give the folder of an export,"
            " random:BACKBONE or pixels"
        )
    encode, card = saved_model.load(folder)
    return Encoder(name, encode, card["image_size"])
