"""The part of a network that is handed on: normalisation and backbone."""

import keras


def build_encoder(backbone, *, mean, std):
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
    images = keras.Input((None, None, 3), name="images")
    normalised = keras.layers.Normalization(
        mean=list(mean),
        variance=[deviation**2 for deviation in std],
        name="normalization",
    )(images)
    return keras.Model(images, backbone(normalised), name="encoder")


def in_float32(encoder):
    """A copy that computes in float32, whatever the training computed in.

    Args:
        encoder: What `build_encoder` returned, under any precision policy.

    Returns:
        `keras.Model` with copies of the weights; features are float32.
    """

    def convert(layer):
        config = layer.get_config() | {"dtype": "float32"}
        return type(layer).from_config(config)

    copy = keras.models.clone_model(
        encoder, clone_function=convert, recursive=True
    )
    copy.set_weights(encoder.get_weights())
    return copy
