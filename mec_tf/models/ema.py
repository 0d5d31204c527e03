"""The target network: an exponential moving average of the online network."""

import keras
import tensorflow as tf


def copy_as_target(online: keras.Model) -> keras.Model:
    """Copies a network, with equal weights, as one that is not trained.

    The copy has no trainable variables, but its layers stay in training mode
    when called with `training=True`: its batch norm uses the statistics of its
    own batch and keeps running statistics of its own, as in the authors' code.
    (`trainable = False` would freeze its batch norm.)

    Args:
        online: A built functional or sequential `keras.Model`.

    Returns:
        A `keras.Model` of the same architecture and weights.
    """
    target = keras.models.clone_model(online)
    target.set_weights(online.get_weights())
    for parameter in target.trainable_variables:
        parameter.trainable = False
    return target


def update_ema(
    target: keras.Model, online: keras.Model, momentum: float | tf.Tensor
) -> None:
    """Moves the target's parameters towards the online network's.

    target <- momentum * target + (1 - momentum) * online, for every parameter
    that is trained in the online network. Running statistics stay the target's
    own.

    Args:
        target: What `copy_as_target(online)` returned.
        online: The network that the optimizer trains.
        momentum: Scalar in [0, 1], Python float or float32 tensor: see
            `mec_tf.optimizers.ema_momentum`.

    Source: BYOL, equation 1, https://arxiv.org/abs/2006.07733; the MEC authors'
    code.
    """
    for average, parameter in zip(target.weights, online.weights, strict=True):
        if parameter.trainable:
            # Equal in exact arithmetic, with fewer passes over memory.
            tf.raw_ops.ResourceApplyGradientDescent(
                var=average.value.handle,
                alpha=tf.cast(1.0 - momentum, average.dtype),
                delta=average - parameter,
            )
