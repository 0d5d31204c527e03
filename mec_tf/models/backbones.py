"""Backbones by name: our residual networks, or any of keras.applications."""

import inspect

import keras

from mec_tf.models.resnet import ARCHITECTURES, resnet

NAMES = (*ARCHITECTURES, "keras:NAME")
_KERAS_PREFIX = "keras:"


def build_backbone(name):
    """Builds an encoder from images to features, with fresh weights.

    Args:
        name: One of "resnet18", "resnet34", "resnet50", "resnet101",
            "resnet152", the same with "_cifar" appended (a 3x3 stem without
            max-pool, for small images), "resnet50w2" (twice as wide) and
            "resnet_tiny" (for images of 16 to 64 pixels on CPUs); or
            "keras:NAME" for a model of `keras.applications`, such as
            "keras:EfficientNetV2B0", without its classifier and without its own
            preprocessing. The latter keep Keras' own batch norm, which is not
            synchronised over replicas.

    Returns:
        A functional `keras.Model` from normalised RGB images `[n, h, w, 3]` to
        globally average-pooled features `[n, d]`; any n, h and w.

    Raises:
        ValueError: If the name is unknown.

    Example:
        >>> build_backbone("resnet_tiny").output_shape
        (None, 256)
    """
    if name in ARCHITECTURES:
        return resnet(name)
    applications = _keras_applications()
    if name.removeprefix(_KERAS_PREFIX) not in applications or (
        not name.startswith(_KERAS_PREFIX)
    ):
        known = [*ARCHITECTURES, *(_KERAS_PREFIX + a for a in applications)]
        raise ValueError(
            f"Received backbone {name!r}; expected one of "
            f"{', '.join(known)}. Choose one of these names."
        )
    build = applications[name.removeprefix(_KERAS_PREFIX)]
    options = {}
    if "include_preprocessing" in inspect.signature(build).parameters:
        options["include_preprocessing"] = False
    return build(
        include_top=False,
        weights=None,
        input_shape=(None, None, 3),
        pooling="avg",
        **options,
    )


def _keras_applications():
    return {
        name: build
        for name, build in vars(keras.applications).items()
        if inspect.isfunction(build)
    }
