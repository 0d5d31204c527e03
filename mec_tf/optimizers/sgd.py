"""Stochastic gradient descent with PyTorch's semantics."""

import keras
import tensorflow as tf

from mec_tf.errors import UserError


@keras.saving.register_keras_serializable(package="mec_tf")
class SGD(keras.optimizers.Optimizer):
    """SGD with the decay inside the gradient, the rate outside the momentum.

        g = g + weight_decay * w
        v = momentum * v + g
        w = w - learning_rate * v

    Keras' own SGD keeps the learning rate inside the momentum, so that past
    gradients keep the rate of their step, and decays weights apart from the
    momentum, which at momentum 0.9 is ten times weaker for the same value.

    Args:
        learning_rate: Float or `keras.optimizers.schedules` schedule, >= 0.
        momentum: Float in [0, 1).
        weight_decay: Float >= 0, the factor of the L2 penalty.
        decay_low_rank: Whether parameters of fewer than two dimensions (biases,
            batch norm) decay too, as in PyTorch. Exclusion goes by the number
            of dimensions, never by name.
        name: Name of the optimizer.
        **kwargs: Those of `keras.optimizers.Optimizer`.

    Raises:
        UserError: If `momentum` or `weight_decay` is out of range.

    Source: Sutskever et al., 2013, in the form of `torch.optim.SGD`.
    """

    def __init__(
        self,
        learning_rate,
        momentum=0.9,
        weight_decay=0.0,
        decay_low_rank=True,
        name="sgd",
        **kwargs,
    ):
        # Keras would decay by itself, apart from the momentum, if it were
        # handed the weight decay.
        super().__init__(learning_rate=learning_rate, name=name, **kwargs)
        if not 0 <= momentum < 1:
            raise UserError(
                f"Received momentum={momentum}; expected a float in [0, 1). "
                "Pass 0.9 for the usual one."
            )
        if weight_decay < 0:
            raise UserError(
                f"Received weight_decay={weight_decay}; expected a float >= 0. "
                "Pass 0 for none."
            )
        self.momentum = momentum
        self.coupled_weight_decay = weight_decay
        self.decay_low_rank = decay_low_rank

    def build(self, variables):
        """Creates one velocity per variable."""
        if not self.built:
            super().build(variables)
            self.velocities = self.add_optimizer_variables(
                variables, "velocity"
            )

    def update_step(self, gradient, variable, learning_rate):
        """Updates one variable, and its velocity, in place."""
        gradient = self.direction(tf.cast(gradient, variable.dtype), variable)
        velocity = self.velocities[self._get_variable_index(variable)]
        # Both lines as one kernel: an update is bound by memory, and this one
        # passes over it half as often.
        tf.raw_ops.ResourceApplyMomentum(
            var=variable.handle,
            accum=velocity.value.handle,
            lr=tf.cast(learning_rate, variable.dtype),
            grad=gradient,
            momentum=tf.cast(self.momentum, variable.dtype),
        )

    def direction(self, gradient, variable):
        """The gradient with weight decay, which the velocity adds up."""
        if self.decay_low_rank or len(variable.shape) >= 2:
            gradient = gradient + self.coupled_weight_decay * variable
        return gradient

    def get_config(self):
        """The arguments of the constructor, for serialisation."""
        return super().get_config() | {
            "momentum": self.momentum,
            "weight_decay": self.coupled_weight_decay,
            "decay_low_rank": self.decay_low_rank,
        }
