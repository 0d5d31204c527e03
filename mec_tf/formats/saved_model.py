"""The export contract: an encoder that serves, fine-tunes and converts.

A folder with `saved_model.pb` and `variables/` (TensorFlow's reusable
SavedModel), `encoder.keras`, and `encoder.json` that says what it is.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from absl import logging

from mec_tf.errors import UserError
from mec_tf.files.atomic import replaced_folder
from mec_tf.files.literal_paths import is_pattern, literal
from mec_tf.formats import keras_file
from mec_tf.formats.image_bytes import read_images
from mec_tf.formats.metadata import METADATA_FILE, read_metadata, write_metadata
from mec_tf.formats.pixel_range import as_float32, to_unit_range
from mec_tf.models.encoder import with_more_outputs

GRAPH_FILE = "saved_model.pb"
IMAGES, BYTES, DOUBLES = (
    tf.TensorSpec([None, None, None, 3], dtype, name="images")
    for dtype in (tf.float32, tf.uint8, tf.float64)
)
FILES = tf.TensorSpec([None], tf.string, name="images")


def reusable(encoder):
    """The object that `tensorflow_hub` and Keras 2 and 3 know how to reuse.

    Args:
        encoder: `keras.Model`, float32 RGB `[n, h, w, 3]` in [0, 1] to
            features `[n, d]`.

    Returns:
        A trackable with `__call__(inputs, training)`, `variables`,
        `trainable_variables` and `regularization_losses`, and, for
        `keras.layers.TFSMLayer`, the endpoints `serve` (inference) and `train`
        (batch norm by the batch, running statistics updated). They return
        features `[n, d]` of images float32, in [0, 1], or uint8; `__call__` of
        float64, too (`pixel_range.to_unit_range`).
    """

    @tf.function(autograph=False)
    def call(inputs, training=False):
        if inputs.dtype == tf.float32:
            return encoder(to_unit_range(inputs), training=training)
        return call(as_float32(inputs), training)

    @tf.function(autograph=False)
    def serve(images):
        return call(as_float32(images), False)

    @tf.function(autograph=False)
    def train(images):
        return call(as_float32(images), True)

    # What was traced is saved. Loading takes time for each, so that only the
    # first two hold the network, and what nobody has is left out.
    for images in (IMAGES, BYTES, DOUBLES):
        for training in (False, True):
            call.get_concrete_function(images, training)
    for images in (IMAGES, BYTES):
        serve.get_concrete_function(images)
        train.get_concrete_function(images)
    root = tf.train.Checkpoint(
        variables=[v.value for v in encoder.variables],
        trainable_variables=[v.value for v in encoder.trainable_variables],
        regularization_losses=[],
    )
    root.__call__, root.serve, root.train = call, serve, train
    return root


def signatures(encoder, image_size, *, projector=None, intermediate=False):
    """The serving signatures: functions from `images` to a dict.

    Args:
        encoder: As for `reusable`.
        image_size: Side that `serve_bytes` resizes to, pixels.
        projector: `keras.Model`, features `[n, d]` to embeddings `[n, k]`, or
            None.
        intermediate: Whether to offer the stages' maps.

    Returns:
        A dict. "serving_default": float32 RGB `[n, h, w, 3]` in [0, 1] to
        `features` `[n, d]`. "serve_uint8": uint8 RGB to `features`.
        "serve_bytes": string `[n]`, files of images, to `features`.
        "embedding": images to `embedding` `[n, k]`, with a projector.
        "intermediate": images to `res2` to `res5`.
    """
    model = with_more_outputs(
        encoder, projector=projector, intermediate=intermediate
    )

    def offer(*names):
        @tf.function(input_signature=[IMAGES], autograph=False)
        def serve(images):
            outputs = model(_not_empty(to_unit_range(images)), training=False)
            n = tf.shape(images)[0]
            return {name: outputs[name][:n] for name in names}

        return serve

    serve = offer("features")

    @tf.function(input_signature=[BYTES], autograph=False)
    def serve_uint8(images):
        return serve(as_float32(images))

    @tf.function(input_signature=[FILES], autograph=False)
    def serve_bytes(images):
        pixels = _not_empty(read_images(images, image_size))
        features = encoder(pixels, training=False)
        return {"features": features[: tf.size(images)]}

    offered = {
        "serving_default": serve,
        "serve_uint8": serve_uint8,
        "serve_bytes": serve_bytes,
    }
    if projector is not None:
        offered["embedding"] = offer("embedding")
    if intermediate:
        offered["intermediate"] = offer("res2", "res3", "res4", "res5")
    return offered


def _not_empty(images):
    """Adds a blank to a batch of none: TensorFlow's convolutions refuse it."""
    shape = tf.shape(images)
    blanks = tf.cast(shape[:1] == 0, tf.int32)
    blank = tf.zeros(tf.concat([blanks, shape[1:]], axis=0), images.dtype)
    return tf.concat([images, blank], axis=0)


def save(
    encoder: keras.Model,
    folder: Path,
    *,
    projector: keras.Model | None = None,
    intermediate: bool = False,
    **metadata: Any,
) -> None:
    """Writes an encoder to a folder, whole or not at all.

    A warning names a folder in which TensorFlow itself does not find it.

    Args:
        encoder: As for `reusable`.
        folder: Where to; what stands there is replaced.
        projector: As for `signatures`.
        intermediate: As for `signatures`.
        **metadata: What `write_metadata` takes: `backbone`, `image_size`,
            `mean`, `std`, `objective`, `dataset`, `steps`, `scores` and `run`.
    """
    root = reusable(encoder)
    offered = signatures(
        encoder,
        metadata["image_size"],
        projector=projector,
        intermediate=intermediate,
    )
    # What is not reachable from the root is not saved.
    root.projector = projector
    with replaced_folder(folder) as partial:
        tf.saved_model.save(root, str(partial), offered)
        keras_file.write(encoder, partial / keras_file.KERAS_FILE)
        write_metadata(partial, encoder, **metadata)
    if is_pattern(folder):
        logging.warning(
            "%s: TensorFlow takes brackets and backslashes in a path for a"
            " pattern. mec_tf opens the encoder; for other programs link to the"
            " folder, or rename it.",
            folder,
        )


def holds(folder: Path, encoder: keras.Model) -> bool:
    """Whether the weights of an export are those of an encoder, bit for bit.

    Args:
        folder: `pathlib.Path` of a folder that `save` wrote.
        encoder: `keras.Model`.
    """
    weights = encoder.get_weights()
    saved = [tf.Variable(np.zeros_like(array)) for array in weights]
    # By the object's graph: the names in the file are TensorFlow's own.
    root = tf.train.Checkpoint(variables=saved)
    try:
        status = root.read(str(folder / "variables/variables"))
        status.assert_existing_objects_matched().expect_partial()
    except (AssertionError, ValueError, tf.errors.OpError):
        return False  # of another format, or of another network
    return all(map(np.array_equal, saved, weights))


def load(folder: Path) -> tuple[Callable, dict[str, Any]]:
    """Reads an exported encoder from disk alone.

    Args:
        folder: A folder that `save` wrote.

    Returns:
        (encode, metadata): a function of RGB images `[n, h, w, 3]`, as
        `pixel_range.to_unit_range` takes them, that returns features `[n, d]`,
        and the dict of `encoder.json`.

    Raises:
        UserError: If the folder is not an export.
    """
    try:
        metadata = read_metadata(folder)
        with literal(folder) as place:
            root = tf.saved_model.load(str(place))
        serve = root.signatures["serving_default"]
    except (OSError, ValueError, KeyError) as error:
        raise UserError(
            f"{folder} is not an exported encoder: it needs saved_model.pb,"
            f" variables/ and {METADATA_FILE}; name a folder that"
            " mec_tf.train or mec_tf.export wrote"
        ) from error

    def encode(images, root=root):  # which owns the variables
        return serve(images=to_unit_range(images))["features"]

    return encode, metadata
