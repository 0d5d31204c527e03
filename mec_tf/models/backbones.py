"""Backbones by name: our residual networks, or any of keras.applications."""

import inspect

import keras

from mec_tf.errors import UserError
from mec_tf.models.resnet import ARCHITECTURES, resnet

# NASNet decides by the size of its maps where to shrink them, so Keras builds
# it for one size of images, and our encoders take any.
_ONE_SIZE = "keras:NASNet"
_APPLICATIONS = {
    f"keras:{name}": build
    for name, build in vars(keras.applications).items()
    if inspect.isfunction(build) and not f"keras:{name}".startswith(_ONE_SIZE)
}
NAMES = (*ARCHITECTURES, "keras:NAME")


def build_backbone(name: str) -> keras.Model:
    """Builds an encoder from images to features, with fresh weights.

    Args:
        name: One of "resnet18", "resnet34", "resnet50", "resnet101",
            "resnet152"; one of these with "_cifar" appended (a 3x3 stem without
            max-pool, for small images); "resnet50w2" (twice as wide);
            "resnet_tiny" (for images of 16 to 64 pixels on CPUs); or
            "keras:NAME" for a model of `keras.applications`, such as
            "keras:EfficientNetV2B0", without its classifier and without its own
            preprocessing. These keep Keras' own batch norm, which is not
            synchronised over replicas, and Inception its smallest image, 75
            pixels. NASNet is left out: Keras builds it for one size of images.

    Returns:
        A functional `keras.Model` from normalised RGB images `[n, h, w, 3]` to
        globally average-pooled features `[n, d]`; any n, h and w.

    Raises:
        UserError: If the name is unknown.

    Example:
        >>> build_backbone("resnet_tiny").output_shape
        (None, 128)
    """
    if name in ARCHITECTURES:
        return resnet(name)
    if name in _APPLICATIONS:
        return _without_top(_APPLICATIONS[name])
    if name.startswith(_ONE_SIZE):
        raise UserError(
            f"Received backbone {name!r}, which Keras builds for one size of "
            "images; expected a network for images of any size. Choose another "
            "one, such as keras:EfficientNetV2B0."
        )
    raise UserError(
        f"Received backbone {name!r}; expected one of "
        f"{', '.join([*ARCHITECTURES, *_APPLICATIONS])}. Choose one of these."
    )


def _without_top(build):
    images = x = keras.Input((None, None, 3), name="images")
    options = {}
    if "include_preprocessing" in inspect.signature(build).parameters:
        options["include_preprocessing"] = False
    elif build.__name__.startswith("EfficientNet"):
        # It divides by 255 unasked, which its batch norm's epsilon of 0.001
        # would not forgive images that are normalised already.
        x = keras.layers.Rescaling(255.0)(images)
    model = build(
        include_top=False,
        weights=None,
        input_tensor=x,
        pooling="avg",
        **options,
    )
    return keras.Model(images, model.output, name=model.name)
