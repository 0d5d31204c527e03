"""Loss scaling for float16, whose smallest gradients would vanish."""

import keras
import tensorflow as tf


@keras.saving.register_keras_serializable(package="mec_tf")
class LossScale(keras.optimizers.LossScaleOptimizer):
    """Keras' dynamic loss scale, for schedules and for replicas.

    The loss is multiplied by a scale and the gradients are divided by it. A
    step whose gradients are not finite leaves weights and momenta as they are
    and halves the scale; after 2,000 finite ones in a row it doubles.

    It helps gradients alone. Where a forward pass overflows, the loss itself is
    not finite and batch norm's running statistics have taken that up, which no
    skipped step takes back: `StopOnDivergence` then ends the run.

    Two things differ from Keras' own: a skipped step counts as a step, so that
    schedules, epochs and the order of the images stay in step with it; and a
    step is skipped if the gradients of *any* replica are not finite, where
    Keras asks the first one for all.

    Args:
        inner_optimizer: `keras.optimizers.Optimizer` that takes the steps.
        **kwargs: Those of `keras.optimizers.LossScaleOptimizer`.

    Source: Micikevicius et al., 2018, section 3.2,
    https://arxiv.org/abs/1710.03740.
    """

    def apply(self, grads, trainable_variables=None):
        """Takes one step, or skips it.

        Args:
            grads: Gradients of `scale_loss(loss)`, float32, one per variable.
            trainable_variables: The variables.
        """
        step = tf.convert_to_tensor(self.iterations)
        super().apply(_spoilt_for_all(grads), trainable_variables)
        self.iterations.assign(step + 1)


def _spoilt_for_all(gradients):
    """The gradients; not a number where another replica's are not finite."""
    replica = tf.distribute.get_replica_context()
    if replica is None or replica.num_replicas_in_sync == 1:
        return gradients
    # A sum of zeros, or of at least one NaN: 0 * inf is one, too.
    spoilt = tf.add_n([tf.reduce_sum(0.0 * gradient) for gradient in gradients])
    spoilt = replica.all_reduce(tf.distribute.ReduceOp.SUM, spoilt)
    return [gradient + spoilt for gradient in gradients]
