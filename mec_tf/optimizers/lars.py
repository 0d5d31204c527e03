"""LARS: layer-wise adaptive rate scaling."""

import keras
import tensorflow as tf

from mec_tf.errors import UserError
from mec_tf.optimizers.sgd import SGD


@keras.saving.register_keras_serializable(package="mec_tf")
class LARS(SGD):
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
        UserError: If `momentum`, `weight_decay` or `trust_coefficient` is out
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
        super().__init__(
            learning_rate,
            momentum=momentum,
            weight_decay=weight_decay,
            decay_low_rank=False,
            name=name,
            **kwargs,
        )
        if trust_coefficient <= 0:
            raise UserError(
                f"Received trust_coefficient={trust_coefficient}; expected a "
                "float > 0. Pass 0.001 for the usual one."
            )
        self.trust_coefficient = trust_coefficient

    def direction(self, gradient, variable):
        """The scaled gradient with weight decay, which the velocity adds up."""
        gradient = super().direction(gradient, variable)
        if len(variable.shape) >= 2:
            gradient = gradient * self._trust(variable, gradient)
        return gradient

    def _trust(self, variable, gradient):
        w, g = _norm(variable), _norm(gradient)
        ratio = self.trust_coefficient * tf.math.divide_no_nan(w, g)
        return tf.where(ratio > 0, ratio, tf.ones_like(ratio))

    def get_config(self):
        """The arguments of the constructor, for serialisation."""
        config = super().get_config()
        del config["decay_low_rank"]
        return config | {"trust_coefficient": self.trust_coefficient}


def _norm(tensor):
    """Euclidean norm, a scalar; of one pass, where `tf.norm` takes three."""
    return tf.sqrt(2.0 * tf.nn.l2_loss(tensor))
