"""Encoders by name: an export, a run, or a baseline that nobody trained."""

import json
from pathlib import Path

import keras
import tensorflow as tf
from absl import logging

from mec_tf.augment import policy as policies
from mec_tf.checkpoint import Checkpoints, sha256
from mec_tf.data.sources import checksum
from mec_tf.evaluations.features import pixels
from mec_tf.formats import saved_model
from mec_tf.models import build_backbone
from mec_tf.models.encoder import build_encoder
from mec_tf.workdir import FLAGS_FILE, read_flags

PIXELS = "pixels"
RANDOM = "random:"
IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)
_NOTHING = (
    "--encoder={name} is no folder; give the folder of an export, a .keras"
    " file, a workdir, random:BACKBONE or pixels"
)


def open_encoder(name):
    """Opens an encoder for inference.

    Args:
        name: Folder of an export; a `.keras` file; a workdir, whose newest
            checkpoint counts; `random:BACKBONE`, the weights that training
            starts from (Keras' global seed decides); or `pixels`, the image
            itself.

    Returns:
        (encode, card): a function of float32 RGB `[n, h, w, 3]` in [0, 1] that
        returns features `[n, d]`; and a dict with `checksum`, which changes
        when the encoder does, and what `encoder.json` says of an export.

    Raises:
        ValueError: If it is none of these.
    """
    if name == PIXELS:
        return pixels, {"checksum": PIXELS}
    folder = Path(name)
    if folder.is_dir() and not (folder / FLAGS_FILE).exists():
        encode, card = saved_model.load(folder)
        return encode, card | {"checksum": _of_files(folder)}
    encoder, card = open_model(name)
    return tf.function(
        lambda images: encoder(images, training=False), reduce_retracing=True
    ), card


def open_model(name):
    """Opens an encoder whose weights can be trained on.

    Args:
        name: As for `open_encoder`; `pixels` has no weights.

    Returns:
        (encoder, card): a `keras.Model` from float32 RGB `[n, h, w, 3]` in
        [0, 1] to features `[n, d]`, and the card as of `open_encoder`.

    Raises:
        ValueError: If it is none of these.
    """
    require_weights(name)
    if name.startswith(RANDOM):
        backbone = name.removeprefix(RANDOM)
        encoder = build_encoder(
            build_backbone(backbone), mean=IMAGENET_MEAN, std=IMAGENET_STD
        )
        return encoder, {"checksum": _of_weights(backbone, encoder)}
    path = Path(name)
    if path.is_file() and path.suffix == ".keras":
        return _from_keras_file(path), {"checksum": sha256(path)}
    if (path / FLAGS_FILE).exists():
        return _from_workdir(path)
    if path.is_dir():
        card = _card(path)
        encoder = _from_keras_file(path / saved_model.KERAS_FILE)
        return encoder, card | {"checksum": _of_files(path)}
    raise ValueError(_NOTHING.format(name=name))


def require_weights(name):
    """Makes sure that there is something to train.

    Raises:
        ValueError: If the encoder is `pixels`.
    """
    if name == PIXELS:
        raise ValueError(
            "--encoder=pixels has no weights to train; give an export, a"
            " workdir or random:BACKBONE"
        )


def trained_at(name):
    """Side of the images that an encoder was trained at, or None.

    Raises:
        ValueError: If the encoder is not there.
    """
    folder = Path(name)
    if name == PIXELS or name.startswith(RANDOM) or folder.is_file():
        return None
    if (folder / FLAGS_FILE).exists():
        return int(read_flags(folder / FLAGS_FILE)["image_size"])
    if not folder.is_dir():
        raise ValueError(_NOTHING.format(name=name))
    return _card(folder)["image_size"]


def _card(folder):
    path = folder / saved_model.CARD
    if not path.exists():
        saved_model.load(folder)  # says what an export is
    return json.loads(path.read_text())


def _from_keras_file(path):
    if not path.exists():
        raise ValueError(
            f"{path} is missing; export the encoder anew, or name another one"
        )
    return keras.saving.load_model(path, compile=False)


def _from_workdir(folder):
    flags = read_flags(folder / FLAGS_FILE)
    image_size = int(flags["image_size"])
    policy = policies.preset(flags["views"], image_size=image_size)
    backbone = build_backbone(flags["backbone"])
    checkpoints = Checkpoints(
        folder / "checkpoints",
        keep=1,
        model=tf.train.Checkpoint(backbone=backbone),
    )
    step, warnings = checkpoints.restore(partial=True)
    for line in warnings:
        logging.warning(line)
    if not step:
        raise ValueError(
            f"{folder} has no checkpoint yet; let mec_tf.train run longer"
        )
    encoder = build_encoder(backbone, mean=policy.mean, std=policy.std)
    return encoder, {
        "backbone": flags["backbone"],
        "image_size": image_size,
        "steps": step,
        "checksum": _of_weights(flags["backbone"], encoder),
    }


def _of_files(folder):
    files = [folder / "saved_model.pb", *sorted(folder.glob("variables/*"))]
    return checksum(*((file.name, sha256(file)) for file in files))


def _of_weights(backbone, encoder):
    return checksum(backbone, *encoder.get_weights())
