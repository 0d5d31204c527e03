"""`encoder.keras`: an encoder that Keras alone reads, on any backend.

Its batch norm is Keras' own, which in inference computes what ours does. Read
back here it is ours again, so that it trains as the rest of `mec_tf` does.
"""

from pathlib import Path

import keras

from mec_tf.formats.pixel_range import with_guess
from mec_tf.models.batch_norm import BatchNormalization
from mec_tf.models.encoder import join, with_more_outputs
from mec_tf.models.resnet import ARCHITECTURES, resnet

KERAS_FILE = "encoder.keras"


def write(
    encoder: keras.Model,
    path: Path,
    *,
    projector: keras.Model | None = None,
    intermediate: bool = False,
) -> None:
    """Writes an encoder so that it loads without `mec_tf`.

    Args:
        encoder: What `models.encoder.build_encoder` returned.
        path: The file to write; its name ends in ".keras". The model in it
            takes images in [0, 255], too (`pixel_range.guess_unit_range`).
        projector: As for `models.encoder.with_more_outputs`.
        intermediate: Likewise.
    """
    portable = with_guess(_with_keras_batch_norm(encoder))
    if projector is not None:
        projector = _with_keras_batch_norm(projector)
    if projector is not None or intermediate:
        portable = with_more_outputs(
            portable, projector=projector, intermediate=intermediate
        )
    portable.save(path)


def as_encoder(model: keras.Model) -> keras.Model:
    """An encoder of ours out of what Keras read from a file.

    Args:
        model: `keras.Model` of an `encoder.keras`, of this version or an older
            one, or of anybody's file.

    Returns:
        What `models.encoder.build_encoder` returns, if it is an export's, with
        the features as its only output. Other models come as they are.
    """
    normalizations = [
        layer
        for layer in model.layers
        if type(layer) is keras.layers.Normalization
    ]
    backbones = [
        layer
        for layer in model.layers
        if isinstance(layer, keras.Model) and layer.name != "projector"
    ]
    if (
        model.name != "encoder"
        or not len(normalizations) == len(backbones) == 1
    ):
        return model
    (backbone,) = backbones
    if backbone.name in ARCHITECTURES:
        backbone = _with_our_batch_norm(backbone)
    elif isinstance(backbone.output, dict):
        features = backbone.output["features"]
        backbone = keras.Model(backbone.input, features, name=backbone.name)
    return join(normalizations[0], backbone)


def _with_keras_batch_norm(model):
    """A copy in which our batch norm is Keras' own."""
    copy = keras.Model.from_config(_keras_config(model.get_config()))
    copy.set_weights(model.get_weights())
    return copy


def _keras_config(config):
    if isinstance(config, list | tuple):
        return type(config)(map(_keras_config, config))
    if not isinstance(config, dict):
        return config
    config = {key: _keras_config(value) for key, value in config.items()}
    ours = keras.saving.get_registered_name(BatchNormalization)
    if config.get("registered_name") == ours:
        config |= {
            "module": "keras.layers",
            "class_name": "BatchNormalization",
            "registered_name": None,
        }
    return config


def _with_our_batch_norm(backbone):
    """The residual network of a file, as `resnet` builds it."""
    ours = resnet(backbone.name)
    for layer in backbone.layers:
        if layer.weights:
            # Names of version 0.1 have dots.
            name = layer.name.replace(".", "_")
            ours.get_layer(name).set_weights(layer.get_weights())
    return ours
