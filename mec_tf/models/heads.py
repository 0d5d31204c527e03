"""The projector and the predictor, initialised as PyTorch's layers are."""

import math

import keras

from mec_tf.errors import UserError
from mec_tf.models.batch_norm import BatchNormalization


def build_projector(
    input_dim: int, *, dim: int, layers: int, hidden_dim: int | None = None
) -> keras.Model:
    """Builds the projector, from features to embeddings.

    Each layer is a linear map without bias and a batch norm; all but the last
    end in a ReLU, and the last batch norm has neither gamma nor beta.

    Args:
        input_dim: Width of the features, > 0.
        dim: Width of the embeddings, > 0.
        layers: Number of linear maps, > 0; 3 in the paper on ImageNet, 2 on
            CIFAR-10.
        hidden_dim: Width of all layers but the last, > 0; None: `dim`. The
            authors' code takes that of the features, 2048 for ResNet-50 as for
            its embeddings.

    Returns:
        A functional `keras.Model`, `[n, input_dim]` to `[n, dim]`.

    Raises:
        UserError: If `layers` is not positive.

    Source: the MEC paper's implementation details; its authors' code.
    """
    if layers < 1:
        raise UserError(
            f"Received layers={layers}; expected 1 or more. Pass 3 for the "
            "paper's projector."
        )
    features = keras.Input((input_dim,), name="features")
    x = features
    for index in range(1, layers):
        x = _linear(x, hidden_dim or dim, use_bias=False, name=f"linear{index}")
        x = BatchNormalization(name=f"bn{index}")(x)
        x = keras.layers.ReLU(name=f"relu{index}")(x)
    x = _linear(x, dim, use_bias=False, name=f"linear{layers}")
    x = BatchNormalization(center=False, scale=False, name=f"bn{layers}")(x)
    return keras.Model(features, x, name="projector")


def build_predictor(input_dim: int, *, hidden_dim: int) -> keras.Model:
    """Builds the predictor, from online embeddings to target embeddings.

    Linear without bias, batch norm, ReLU, linear with bias.

    Args:
        input_dim: Width of the embeddings, > 0.
        hidden_dim: Width of the hidden layer, > 0; 512 in the paper.

    Returns:
        A functional `keras.Model`, `[n, input_dim]` to `[n, input_dim]`.

    Source: the MEC paper's implementation details; its authors' code.
    """
    embeddings = keras.Input((input_dim,), name="embeddings")
    x = _linear(embeddings, hidden_dim, use_bias=False, name="linear1")
    x = BatchNormalization(name="bn1")(x)
    x = keras.layers.ReLU(name="relu1")(x)
    x = _linear(x, input_dim, use_bias=True, name="linear2")
    return keras.Model(embeddings, x, name="predictor")


def _linear(x, dim, *, use_bias, name):
    # PyTorch draws weight and bias from U(-1/sqrt(fan_in), 1/sqrt(fan_in)).
    bound = 1.0 / math.sqrt(x.shape[-1])
    return keras.layers.Dense(
        dim,
        use_bias=use_bias,
        kernel_initializer=keras.initializers.RandomUniform(-bound, bound),
        bias_initializer=keras.initializers.RandomUniform(-bound, bound),
        name=name,
    )(x)
