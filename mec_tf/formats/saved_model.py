"""The export contract: an encoder that serves, fine-tunes and converts.

A folder with `saved_model.pb` and `variables/` (TensorFlow's reusable
SavedModel), `encoder.keras`, and `encoder.json` that says what it is.
"""

import json

import tensorflow as tf

from mec_tf.files import replaced_folder
from mec_tf.version import __version__

CARD = "encoder.json"
KERAS_FILE = "encoder.keras"
IMAGES = tf.TensorSpec([None, None, None, 3], tf.float32, name="images")


def reusable(encoder):
    """The object that `tensorflow_hub` and Keras 2 and 3 know how to reuse.

    Args:
        encoder: `keras.Model`, float32 RGB `[n, h, w, 3]` in [0, 1] to
            features `[n, d]`.

    Returns:
        A trackable with `__call__(inputs, training)`, `variables`,
        `trainable_variables`, `regularization_losses` and the signature
        `serve`: `images` to `{"features": [n, d]}`.
    """

    @tf.function
    def call(inputs, training=False):
        return encoder(inputs, training=training)

    @tf.function(input_signature=[IMAGES])
    def serve(images):
        return {"features": encoder(images, training=False)}

    # Tracing both modes puts both into the SavedModel.
    for training in (False, True):
        call.get_concrete_function(IMAGES, training)
    root = tf.train.Checkpoint(
        variables=[v.value for v in encoder.variables],
        trainable_variables=[v.value for v in encoder.trainable_variables],
        regularization_losses=[],
    )
    root.__call__ = call
    root.serve = serve
    return root


def save(
    encoder,
    folder,
    *,
    backbone,
    image_size,
    mean,
    std,
    objective,
    dataset,
    steps,
    scores,
):
    """Writes an encoder to a folder, whole or not at all.

    Args:
        encoder: `keras.Model`, float32 RGB `[n, h, w, 3]` in [0, 1] to
            features `[n, d]`.
        folder: Where to; what stands there is replaced.
        backbone: Name of the backbone.
        image_size: Side that it was trained at, pixels.
        mean: The normalisation inside the encoder, three floats.
        std: Likewise.
        objective: Name of the loss, None if it was not trained.
        dataset: What it was trained on.
        steps: For how many steps.
        scores: Dict of measured scores, each named with its split.
    """
    root = reusable(encoder)
    card = {
        "backbone": backbone,
        "feature_dim": encoder.output_shape[-1],
        "image_size": image_size,
        "input_range": [0.0, 1.0],
        "mean": list(mean),
        "std": list(std),
        "objective": objective,
        "dataset": dataset,
        "steps": steps,
        "version": __version__,
        "scores": scores,
    }
    with replaced_folder(folder) as partial:
        tf.saved_model.save(root, str(partial), {"serving_default": root.serve})
        encoder.save(partial / KERAS_FILE)
        (partial / CARD).write_text(json.dumps(card, indent=2) + "\n")


def load(folder):
    """Reads an exported encoder from disk alone.

    Args:
        folder: A folder that `save` wrote.

    Returns:
        (encode, card): a function of float32 RGB `[n, h, w, 3]` in [0, 1] that
        returns features `[n, d]`, and the dict of `encoder.json`.

    Raises:
        ValueError: If the folder is not an export.
    """
    try:
        card = json.loads((folder / CARD).read_text())
        root = tf.saved_model.load(str(folder))
        serve = root.signatures["serving_default"]
    except (OSError, ValueError, KeyError) as error:
        raise ValueError(
            f"{folder} is not an exported encoder: it needs saved_model.pb,"
            f" variables/ and {CARD}; name a folder that mec_tf.train or"
            " mec_tf.export wrote"
        ) from error

    def encode(images, root=root):  # which owns the variables
        return serve(images=images)["features"]

    return encode, card
