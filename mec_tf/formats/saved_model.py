"""The export contract: an encoder that serves, fine-tunes and converts.

A folder with `saved_model.pb` and `variables/` (TensorFlow's reusable
SavedModel), `encoder.keras`, and `encoder.json` that says what it is.
"""

import tensorflow as tf

from mec_tf.errors import UserError
from mec_tf.files import replaced_folder
from mec_tf.formats.card import CARD, read_card, write_card
from mec_tf.formats.image_bytes import read_images
from mec_tf.models.encoder import with_more_outputs

GRAPH_FILE = "saved_model.pb"
KERAS_FILE = "encoder.keras"
IMAGES = tf.TensorSpec([None, None, None, 3], tf.float32, name="images")
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
        (batch norm by the batch, running statistics updated). All return
        features `[n, d]`.
    """

    @tf.function(autograph=False)
    def call(inputs, training=False):
        return encoder(inputs, training=training)

    # Tracing both modes puts both into the SavedModel.
    for training in (False, True):
        call.get_concrete_function(IMAGES, training)
    root = tf.train.Checkpoint(
        variables=[v.value for v in encoder.variables],
        trainable_variables=[v.value for v in encoder.trainable_variables],
        regularization_losses=[],
    )
    root.__call__ = call
    for name, training in (("serve", False), ("train", True)):
        endpoint = tf.function(
            lambda images, training=training: encoder(
                images, training=training
            ),
            input_signature=[IMAGES],
            autograph=False,
        )
        setattr(root, name, endpoint)
    return root


def signatures(encoder, image_size, *, projector=None, intermediate=False):
    """What a server offers, each a function from `images` to a dict.

    Args:
        encoder: As for `reusable`.
        image_size: Side that `serve_bytes` resizes to, pixels.
        projector: `keras.Model`, features `[n, d]` to embeddings `[n, k]`, or
            None.
        intermediate: Whether to offer the stages' maps.

    Returns:
        A dict. "serving_default": float32 RGB `[n, h, w, 3]` in [0, 1] to
        `features` `[n, d]`. "serve_bytes": string `[n]`, files of images, to
        `features`. "embedding": images to `embedding` `[n, k]`, with a
        projector. "intermediate": images to `res2` to `res5`.
    """
    model = with_more_outputs(
        encoder, projector=projector, intermediate=intermediate
    )

    def offer(*names):
        @tf.function(input_signature=[IMAGES], autograph=False)
        def serve(images):
            outputs = model(_not_empty(images), training=False)
            n = tf.shape(images)[0]
            return {name: outputs[name][:n] for name in names}

        return serve

    @tf.function(input_signature=[FILES], autograph=False)
    def serve_bytes(images):
        pixels = _not_empty(read_images(images, image_size))
        features = encoder(pixels, training=False)
        return {"features": features[: tf.size(images)]}

    offered = {"serving_default": offer("features"), "serve_bytes": serve_bytes}
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


def save(encoder, folder, *, projector=None, intermediate=False, **about):
    """Writes an encoder to a folder, whole or not at all.

    Args:
        encoder: As for `reusable`.
        folder: Where to; what stands there is replaced.
        projector: As for `signatures`.
        intermediate: As for `signatures`.
        **about: What `card.write_card` takes: `backbone`, `image_size`,
            `mean`, `std`, `objective`, `dataset`, `steps` and `scores`.
    """
    root = reusable(encoder)
    offered = signatures(
        encoder,
        about["image_size"],
        projector=projector,
        intermediate=intermediate,
    )
    # What is not reachable from the root is not saved.
    root.projector = projector
    with replaced_folder(folder) as partial:
        tf.saved_model.save(root, str(partial), offered)
        encoder.save(partial / KERAS_FILE)
        write_card(partial, encoder, **about)


def load(folder):
    """Reads an exported encoder from disk alone.

    Args:
        folder: A folder that `save` wrote.

    Returns:
        (encode, card): a function of float32 RGB `[n, h, w, 3]` in [0, 1] that
        returns features `[n, d]`, and the dict of `encoder.json`.

    Raises:
        UserError: If the folder is not an export.
    """
    try:
        card = read_card(folder)
        root = tf.saved_model.load(str(folder))
        serve = root.signatures["serving_default"]
    except (OSError, ValueError, KeyError) as error:
        raise UserError(
            f"{folder} is not an exported encoder: it needs saved_model.pb,"
            f" variables/ and {CARD}; name a folder that mec_tf.train or"
            " mec_tf.export wrote"
        ) from error

    def encode(images, root=root):  # which owns the variables
        return serve(images=images)["features"]

    return encode, card
