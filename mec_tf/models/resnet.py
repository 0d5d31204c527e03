"""Residual networks with torchvision's geometry, names and initialisation.

Layers bear torchvision's names, so that weights map one to one, with "_" for
its "." ("layer1_0_conv1"): Keras' PyTorch backend takes no dots in names.
Strided convolutions pad explicitly and alike on all sides, as PyTorch does;
TensorFlow's "same" pads more at the end.
"""

import dataclasses

import keras

from mec_tf.models.batch_norm import BatchNormalization


@dataclasses.dataclass(frozen=True)
class Architecture:
    """The shape of a residual network.

    Attributes:
        depths: Number of residual blocks in each of the four stages.
        bottleneck: Whether blocks are 1x1, 3x3, 1x1 convolutions that end four
            times as wide, or two 3x3 convolutions.
        width: Channels of the stem and of the first stage; each further stage
            doubles it.
        cifar_stem: Whether the stem is a 3x3 convolution, for images of 16 to
            64 pixels, or a strided 7x7 convolution and a max-pool.
    """

    depths: tuple[int, int, int, int]
    bottleneck: bool = True
    width: int = 64
    cifar_stem: bool = False


ARCHITECTURES = {
    "resnet18": Architecture((2, 2, 2, 2), bottleneck=False),
    "resnet34": Architecture((3, 4, 6, 3), bottleneck=False),
    "resnet50": Architecture((3, 4, 6, 3)),
    "resnet101": Architecture((3, 4, 23, 3)),
    "resnet152": Architecture((3, 8, 36, 3)),
}
ARCHITECTURES |= {
    f"{name}_cifar": dataclasses.replace(architecture, cifar_stem=True)
    for name, architecture in ARCHITECTURES.items()
}
ARCHITECTURES |= {
    # Every layer twice as wide, d = 4096: BYOL's and SimCLR's "2x", not
    # torchvision's wide_resnet50_2, which widens the 3x3 convolutions only.
    "resnet50w2": Architecture((3, 4, 6, 3), width=128),
    "resnet_tiny": Architecture(
        (1, 1, 1, 1), bottleneck=False, width=16, cifar_stem=True
    ),
}


def resnet(name: str) -> keras.Model:
    """Builds the residual network of that name.

    Every residual branch starts at zero: the last batch norm of each block has
    gamma = 0 (Goyal et al., 2017, section 5.1).

    Args:
        name: A key of `ARCHITECTURES`.

    Returns:
        A functional `keras.Model` from normalised RGB images `[n, h, w, 3]`, of
        any n, h and w, to globally average-pooled features `[n, d]`, with d the
        width of the last stage.

    Source: He et al., 2016, https://arxiv.org/abs/1512.03385, with the stride
    on the 3x3 convolution of a bottleneck, as in torchvision.
    """
    architecture = ARCHITECTURES[name]
    images = keras.Input((None, None, 3), name="images")
    if architecture.cifar_stem:
        x = _convolution(images, architecture.width, 3, name="conv1")
        x = _batch_norm_relu(x, "bn1")
    else:
        x = _convolution(images, architecture.width, 7, strides=2, name="conv1")
        x = _batch_norm_relu(x, "bn1")
        # Zeros pad as well as -inf, since nothing is negative after the ReLU.
        x = keras.layers.ZeroPadding2D(1, name="maxpool_pad")(x)
        x = keras.layers.MaxPooling2D(3, strides=2, name="maxpool")(x)
    block = _bottleneck if architecture.bottleneck else _basic_block
    for stage, depth in enumerate(architecture.depths):
        for index in range(depth):
            x = block(
                x,
                architecture.width * 2**stage,
                strides=2 if stage > 0 and index == 0 else 1,
                name=f"layer{stage + 1}_{index}",
            )
    features = keras.layers.GlobalAveragePooling2D(name="avgpool")(x)
    return keras.Model(images, features, name=name)


def _basic_block(x, width, *, strides, name):
    y = _convolution(x, width, 3, strides=strides, name=f"{name}_conv1")
    y = _batch_norm_relu(y, f"{name}_bn1")
    y = _convolution(y, width, 3, name=f"{name}_conv2")
    y = _zero_batch_norm(y, f"{name}_bn2")
    return _add_shortcut(x, y, strides=strides, name=name)


def _bottleneck(x, width, *, strides, name):
    y = _convolution(x, width, 1, name=f"{name}_conv1")
    y = _batch_norm_relu(y, f"{name}_bn1")
    y = _convolution(y, width, 3, strides=strides, name=f"{name}_conv2")
    y = _batch_norm_relu(y, f"{name}_bn2")
    y = _convolution(y, 4 * width, 1, name=f"{name}_conv3")
    y = _zero_batch_norm(y, f"{name}_bn3")
    return _add_shortcut(x, y, strides=strides, name=name)


def _add_shortcut(x, y, *, strides, name):
    if x.shape[-1] != y.shape[-1] or strides != 1:
        x = _convolution(
            x, y.shape[-1], 1, strides=strides, name=f"{name}_downsample_0"
        )
        x = BatchNormalization(name=f"{name}_downsample_1")(x)
    y = keras.layers.Add(name=f"{name}_add")([y, x])
    return keras.layers.ReLU(name=f"{name}_relu")(y)


def _convolution(x, filters, size, *, strides=1, name):
    if strides > 1 and size > 1:
        x = keras.layers.ZeroPadding2D(size // 2, name=f"{name}_pad")(x)
    return keras.layers.Conv2D(
        filters,
        size,
        strides=strides,
        padding="same" if strides == 1 else "valid",
        use_bias=False,
        # PyTorch's kaiming_normal_(mode="fan_out", nonlinearity="relu").
        kernel_initializer=keras.initializers.VarianceScaling(
            2.0, mode="fan_out", distribution="untruncated_normal"
        ),
        name=name,
    )(x)


def _batch_norm_relu(x, name):
    x = BatchNormalization(name=name)(x)
    return keras.layers.ReLU(name=f"{name}_relu")(x)


def _zero_batch_norm(x, name):
    return BatchNormalization(gamma_initializer="zeros", name=name)(x)
