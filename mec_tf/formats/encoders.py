"""Encoders by name: an export, a run, or an untrained baseline."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import tensorflow as tf

from mec_tf.data.sources import checksum
from mec_tf.errors import UserError
from mec_tf.files.atomic import unreplaced
from mec_tf.formats import keras_file, loading, saved_model
from mec_tf.formats.loading import RANDOM
from mec_tf.formats.metadata import METADATA_FILE, read_metadata
from mec_tf.formats.pixel_range import to_unit_range
from mec_tf.training.checkpoint import sha256
from mec_tf.training.workdir import FLAGS_FILE, pretraining_flags

PIXELS = "pixels"
_NOTHING = (
    "`encoder`={name} is no folder; give the folder of an export, a .keras"
    " file, a workdir, random:BACKBONE or pixels"
)


def open_encoder(name: str) -> tuple[Callable, dict[str, Any]]:
    """Opens an encoder for inference.

    Args:
        name: Folder of an export, of the format `saved_model` or `keras`; a
            `.keras` file; a workdir, whose newest checkpoint counts;
            `random:BACKBONE`, the weights that training starts from (Keras'
            global seed decides); or `pixels`, the image itself.

    Returns:
        (encode, metadata): a function of RGB images `[n, h, w, 3]`, as
        `pixel_range.to_unit_range` takes them (for `pixels` float32), that
        returns features `[n, d]`; and a dict with `checksum`, which changes
        when the encoder does, and what `encoder.json` says of an export.

    Raises:
        UserError: If it is none of these.
    """
    if name == PIXELS:
        return _pixels, {"checksum": PIXELS}
    folder = Path(name)

    def read():
        if not _is_saved_model(folder):
            return None
        encode, metadata = saved_model.load(folder)
        return encode, metadata | {"checksum": _of_files(folder)}

    # The checksum of one export must not stand for the features of another.
    if opened := _whole(name, read):
        return opened
    encoder, metadata = open_model(name)
    encode = tf.function(
        lambda images: encoder(images, training=False),
        autograph=False,
        reduce_retracing=True,
    )
    return (lambda images: encode(to_unit_range(images))), metadata


def open_model(name: str) -> tuple[keras.Model, dict[str, Any]]:
    """Opens an encoder whose weights can be trained on.

    Args:
        name: As for `open_encoder`; `pixels` has no weights.

    Returns:
        (encoder, metadata): a `keras.Model` from float32 RGB `[n, h, w, 3]` in
        [0, 1] to features `[n, d]`, and the metadata as of `open_encoder`.

    Raises:
        UserError: If it is none of these.
    """
    require_weights(name)
    if name.startswith(RANDOM):
        backbone = name.removeprefix(RANDOM)
        encoder = loading.untrained(backbone).encoder
        return encoder, {"checksum": _of_weights(backbone, encoder)}
    return _whole(name, lambda: _open_model(name))


def _whole(name, read):
    """Calls `read` again if the export is replaced meanwhile."""
    path = Path(name)
    # A run may write to its workdir at any time.
    if name.startswith(RANDOM) or (path / FLAGS_FILE).exists():
        return read()
    return unreplaced(path, read)


def _open_model(name):
    path = Path(name)
    if path.is_file() and path.suffix == ".keras":
        return _from_keras_file(path), {"checksum": sha256(path)}
    if (path / FLAGS_FILE).exists():
        return _from_workdir(path)
    if path.is_dir():
        metadata = _metadata(path)
        encoder = _from_keras_file(path / keras_file.KERAS_FILE)
        return encoder, metadata | {"checksum": _of_files(path)}
    raise UserError(_NOTHING.format(name=name))


def require_weights(name: str) -> None:
    """Makes sure that there is something to train.

    Raises:
        UserError: If the encoder is `pixels`.
    """
    if name == PIXELS:
        raise UserError(
            "`encoder`=pixels has no weights to train; give an export, a"
            " workdir or random:BACKBONE"
        )


def trained_at(name: str) -> int | None:
    """Side of the images that an encoder was trained at, or None.

    Raises:
        UserError: If the encoder is not there.
    """
    folder = Path(name)
    if name == PIXELS or name.startswith(RANDOM) or folder.is_file():
        return None
    if (folder / FLAGS_FILE).exists():
        return int(pretraining_flags(folder, "encoder")["image_size"])
    if not folder.is_dir():
        raise UserError(_NOTHING.format(name=name))
    return _metadata(folder)["image_size"]


def _is_saved_model(folder):
    return (folder / saved_model.GRAPH_FILE).exists() and not (
        folder / FLAGS_FILE
    ).exists()


def _metadata(folder):
    if not (folder / METADATA_FILE).exists():
        saved_model.load(folder)  # says what an export is
    return read_metadata(folder)


def _from_keras_file(path):
    if not path.exists():
        raise UserError(
            f"{path} is missing; export the encoder anew, or name another one"
        )
    return keras_file.as_encoder(keras.saving.load_model(path, compile=False))


def _from_workdir(folder):
    loaded = loading.from_run(folder, setting="encoder")
    backbone = loaded.metadata["backbone"]
    return loaded.encoder, {
        "backbone": backbone,
        "image_size": loaded.metadata["image_size"],
        "steps": loaded.metadata["steps"],
        "checksum": _of_weights(backbone, loaded.encoder),
    }


def _of_files(folder):
    files = [
        folder / saved_model.GRAPH_FILE,
        *sorted(folder.glob("variables/*")),
        folder / keras_file.KERAS_FILE,
    ]
    return checksum(
        *((file.name, sha256(file)) for file in files if file.exists())
    )


def _of_weights(backbone, encoder):
    return checksum(backbone, *encoder.get_weights())


def _pixels(images):
    """The baseline that looks at raw pixels: `[n, h, w, 3]` to `[n, hw3]`."""
    return tf.reshape(images, [tf.shape(images)[0], -1])
