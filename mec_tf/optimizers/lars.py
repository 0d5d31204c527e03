"""LARS: layer-wise adaptive rate scaling."""

import keras
import tensorflow as tf


@keras.saving.register_keras_serializable(package="mec_tf")
class LARS(keras.optimizers.Optimizer):
    """SGD whose rate each layer scales by the norms of weight and gradient.

        g = g + weight_decay * w
        g = g * trust_coefficient * |w| / |g|    (unless |w| or |g| is 0)
        v = momentum * v + g
        w = w - learning_rate * v

    Parameters of fewer than two dimensions (biases, batch norm) are excluded
    from the decay and from the scaling; exclusion goes by the number of
    dimensions, never by name. The learning rate stays outside the momentum.
    BYOL, Barlow Twins and MoCo v3 agree on all of this.

    Args:
        learning_rate: Float or `keras.optimizers.schedules` schedule, >= 0.
        momentum: Float in [0, 1).
        weight_decay: Float >= 0, the factor of the L2 penalty.
        trust_coefficient: Float > 0.
        name: Name of the optimizer.
        **kwargs: Those of `keras.optimizers.Optimizer`.

    Raises:
        ValueError: If `momentum`, `weight_decay` or `trust_coefficient` is out
            of range.

    Source: You et al., 2017, https://arxiv.org/abs/1708.03888.
    """

    def __init__(
        self,
        learning_rate,
        momentum=0.9,
        weight_decay=0.0,
        trust_coefficient=0.001,
        name="lars",
        **kwargs,
    ):
        # Keras would decay by itself, apart from the momentum, if it were
        # handed the weight decay.
        super().__init__(learning_rate=learning_rate, name=name, **kwargs)
        if not 0 <= momentum < 1:
            raise ValueError(
                f"Received momentum={momentum}; expected a float in [0, 1). "
                "Pass 0.9 for the usual one."
            )
        if weight_decay < 0:
            raise ValueError(
                f"Received weight_decay={weight_decay}; expected a float >= 0. "
                "Pass 0 for none."
            )
        if trust_coefficient <= 0:
            raise ValueError(
                f"Received trust_coefficient={trust_coefficient}; expected a "
                "float > 0. Pass 0.001 for the usual one."
            )
        self.momentum = momentum
        self.coupled_weight_decay = weight_decay
        self.trust_coefficient = trust_coefficient

    def build(self, variables):
        """Creates one velocity per variable."""
        if not self.built:
            super().build(variables)
            self.velocities = self.add_optimizer_variables(
                variables, "velocity"
            )

    def update_step(self, gradient, variable, learning_rate):
        """Updates one variable, and its velocity, in place."""
        gradient = tf.cast(gradient, variable.dtype)
        learning_rate = tf.cast(learning_rate, variable.dtype)
        if len(variable.shape) >= 2:
            gradient = gradient + self.coupled_weight_decay * variable
            gradient = gradient * self._trust(variable, gradient)
        velocity = self.velocities[self._get_variable_index(variable)]
        self.assign(velocity, self.momentum * velocity + gradient)
        self.assign_sub(variable, learning_rate * velocity)

    def _trust(self, variable, gradient):
        w, g = tf.norm(variable), tf.norm(gradient)
        ratio = self.trust_coefficient * tf.math.divide_no_nan(w, g)
        return tf.where(ratio > 0, ratio, tf.ones_like(ratio))

    def get_config(self):
        """What the constructor takes, for serialisation."""
        return super().get_config() | {
            "momentum": self.momentum,
            "weight_decay": self.coupled_weight_decay,
            "trust_coefficient": self.trust_coefficient,
        }
