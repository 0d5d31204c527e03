"""The encoder that is exported: normalisation and backbone."""

import re
from collections.abc import Sequence

import keras

from mec_tf.errors import UserError


def build_encoder(
    backbone: keras.Model, *, mean: Sequence[float], std: Sequence[float]
) -> keras.Model:
    """Puts the normalisation of the training images in front of a backbone.

    Args:
        backbone: `keras.Model`, normalised images `[n, h, w, 3]` to features
            `[n, d]`. Its variables are shared, not copied.
        mean: Three floats, the mean per colour of images in [0, 1].
        std: Three floats, their standard deviation.

    Returns:
        `keras.Model`: float32 RGB images `[n, h, w, 3]` in [0, 1], any n, h and
        w, to features `[n, d]`.
    """
    normalization = keras.layers.Normalization(
        mean=list(mean),
        variance=[deviation**2 for deviation in std],
        name="normalization",
    )
    return join(normalization, backbone)


def join(normalization, backbone, *, before=None):
    """Joins existing layers to an encoder, as `build_encoder` returns it.

    Args:
        normalization: `keras.layers.Normalization`, which is copied.
        backbone: As for `build_encoder`.
        before: Function of the symbolic images that goes before both, or None.

    Returns:
        `keras.Model`; the backbone is shared.
    """
    # In two models it would have two outputs.
    normalization = normalization.from_config(normalization.get_config())
    images = keras.Input((None, None, 3), name="images")
    prepared = images if before is None else before(images)
    features = backbone(normalization(prepared))
    return keras.Model(images, features, name="encoder")


def in_float32(encoder: keras.Model) -> keras.Model:
    """A copy that computes in float32, whatever the training computed in.

    Args:
        encoder: What `build_encoder` returned, under any precision policy.

    Returns:
        `keras.Model` with copies of the weights; features are float32.
    """
    # Not `clone_model`: it keeps the half precision of inputs of models inside
    # a model, and has nothing to say on operations that are no layers.
    copy = keras.Model.from_config(_float32_config(encoder.get_config()))
    copy.set_weights(encoder.get_weights())
    return copy


def _float32_config(config):
    """A configuration whose policies and dtypes are all float32."""
    if isinstance(config, dict):
        return {
            name: "float32" if name == "dtype" else _float32_config(value)
            for name, value in config.items()
        }
    if isinstance(config, list | tuple):
        return type(config)(map(_float32_config, config))
    return config


def backbone_of(encoder: keras.Model) -> keras.Model:
    """The backbone, `keras.Model`, inside what `build_encoder` returned."""
    return encoder.layers[-1]


def normalization_of(encoder: keras.Model) -> keras.layers.Layer:
    """Its `keras.layers.Normalization`."""
    return encoder.get_layer("normalization")


def with_more_outputs(
    encoder: keras.Model,
    *,
    projector: keras.Model | None = None,
    intermediate: bool = False,
) -> keras.Model:
    """Adds outputs to an encoder.

    Args:
        encoder: What `build_encoder` returned. Its variables are shared.
        projector: `keras.Model`, features `[n, d]` to embeddings `[n, k]`, or
            None.
        intermediate: Whether to return the maps after each of the four stages
            of a residual network.

    Returns:
        `keras.Model` from the same images to a dict: "features" `[n, d]`;
        "embedding" `[n, k]` where there is a projector; "res2" to "res5", each
        `[n, h', w', c]`, where `intermediate` (Detectron2's names).

    Raises:
        UserError: If the backbone has no such stages.
    """
    normalization, backbone = normalization_of(encoder), backbone_of(encoder)
    outputs = {"features": backbone.output}
    if intermediate:
        outputs |= _stages(backbone)
    tapped = keras.Model(backbone.input, outputs, name=backbone.name)
    outputs = tapped(normalization.output)
    if projector is not None:
        outputs["embedding"] = projector(outputs["features"])
    return keras.Model(encoder.input, outputs, name="encoder")


def _stages(backbone):
    """The last map of each stage; a later block replaces an earlier one."""
    maps = {}
    for layer in backbone.layers:
        block_end = re.fullmatch(r"layer(\d)_\d+_relu", layer.name)
        if block_end:
            maps[f"res{int(block_end[1]) + 1}"] = layer.output
    if list(maps) != ["res2", "res3", "res4", "res5"]:
        raise UserError(
            f"Received backbone {backbone.name!r}, which has no stages res2 to"
            " res5; expected one of mec_tf's residual networks. Leave out"
            " `intermediate`."
        )
    return maps
