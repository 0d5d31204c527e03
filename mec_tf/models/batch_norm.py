"""Batch normalisation with PyTorch's semantics: fused, or synchronised."""

import keras
import tensorflow as tf

# Most replicas that exchange their statistics in one go, which grows with their
# number; more of them do it in two, which does not but waits twice. For
# ResNet-50 `benchmarks.scaling` has them level between 64 and 128.
TOGETHER = 64


@keras.saving.register_keras_serializable(package="mec_tf")
class BatchNormalization(keras.layers.Layer):
    """Normalises each channel by the statistics of the global batch.

    Keras' own layer is not fused on TensorFlow and keeps the population
    variance; PyTorch, which the published results come from, keeps the unbiased
    one, n / (n - 1), 6.7 % apart at n = 16. On one device one fused kernel
    normalises and updates the running statistics. In a replica context of more
    than one replica the statistics, and their gradients, are those of all
    replicas together, so that N replicas compute what one would.

    As in Keras, `trainable = False` means inference mode: the running
    statistics normalise, and stay.

    Statistics and parameters are float32 whatever the inputs are.

    Args:
        momentum: Float in [0, 1], the weight of the old running statistics (in
            PyTorch's sense one minus this).
        epsilon: Float > 0, added to the variance.
        center: Whether to add a learned offset, beta.
        scale: Whether to multiply by a learned factor, gamma.
        gamma_initializer: Keras initializer of gamma.
        **kwargs: Those of `keras.layers.Layer`.

    Raises:
        ValueError: On building, when the inputs have neither two nor four
            dimensions or an unknown number of channels.

    Source: Ioffe and Szegedy, 2015, https://arxiv.org/abs/1502.03167.
    """

    def __init__(
        self,
        *,
        momentum=0.9,
        epsilon=1e-5,
        center=True,
        scale=True,
        gamma_initializer="ones",
        **kwargs,
    ):
        super().__init__(**kwargs)
        self.momentum = momentum
        self.epsilon = epsilon
        self.center = center
        self.scale = scale
        self.gamma_initializer = keras.initializers.get(gamma_initializer)

    def build(self, input_shape):
        """Creates gamma and beta and the running statistics, `[d]` each."""
        if len(input_shape) not in (2, 4) or input_shape[-1] is None:
            raise ValueError(
                f"Received inputs of shape {tuple(input_shape)}; expected "
                "[n, d] or [n, h, w, d] with a known d. Reshape the inputs, or "
                "fix their last dimension."
            )
        vector = {
            "shape": (input_shape[-1],),
            "dtype": "float32",
            "autocast": False,
        }
        self.gamma = self.beta = None
        if self.scale:
            self.gamma = self.add_weight(
                name="gamma", initializer=self.gamma_initializer, **vector
            )
        if self.center:
            self.beta = self.add_weight(
                name="beta", initializer="zeros", **vector
            )
        # Every replica computes the same statistics, so that none needs to be
        # reduced: the first one's are as good as the mean.
        vector |= {"trainable": False, "aggregation": "only_first_replica"}
        self.moving_mean = self.add_weight(
            name="moving_mean", initializer="zeros", **vector
        )
        self.moving_variance = self.add_weight(
            name="moving_variance", initializer="ones", **vector
        )

    def call(self, inputs, training=None):
        """Normalises `[n, d]` or `[n, h, w, d]`.

        Args:
            inputs: Tensor `[n, d]` or `[n, h, w, d]`, float16, bfloat16 or
                float32.
            training: Whether to normalise by the statistics of this batch and
                update the running ones, or to use the running ones.

        Returns:
            A tensor of the shape and dtype of `inputs`.
        """
        d = inputs.shape[-1]
        gamma = tf.ones([d]) if self.gamma is None else self.gamma.value
        beta = tf.zeros([d]) if self.beta is None else self.beta.value
        mean = self.moving_mean.value
        variance = self.moving_variance.value
        # The fused kernel knows images only.
        x = inputs if inputs.shape.rank == 4 else inputs[:, None, None, :]
        replica = tf.distribute.get_replica_context()
        if not (training and self.trainable):
            y = _fused(x, gamma, beta, mean, variance, self.epsilon).y
        elif replica is None or replica.num_replicas_in_sync == 1:
            y, mean, variance, *_ = _fused(
                x,
                gamma,
                beta,
                mean,
                variance,
                self.epsilon,
                is_training=True,
                exponential_avg_factor=1.0 - self.momentum,
            )
            self.moving_mean.assign(mean)
            self.moving_variance.assign(variance)
        else:
            y, batch_mean, batch_variance = _normalise_over_replicas(
                replica, x, gamma, beta, self.epsilon
            )
            m = self.momentum
            self.moving_mean.assign(m * mean + (1.0 - m) * batch_mean)
            self.moving_variance.assign(
                m * variance + (1.0 - m) * batch_variance
            )
        return y if inputs.shape.rank == 4 else y[:, 0, 0, :]

    def compute_output_shape(self, input_shape):
        """The shape of the inputs."""
        return input_shape

    def get_config(self):
        """The arguments of the constructor, for serialisation."""
        return super().get_config() | {
            "momentum": self.momentum,
            "epsilon": self.epsilon,
            "center": self.center,
            "scale": self.scale,
            "gamma_initializer": keras.initializers.serialize(
                self.gamma_initializer
            ),
        }


def _fused(x, gamma, beta, mean, variance, epsilon, **options):
    # The raw operation, because the public wrapper raises epsilon to 1.001e-5.
    return tf.raw_ops.FusedBatchNormV3(
        x=x,
        scale=gamma,
        offset=beta,
        mean=mean,
        variance=variance,
        epsilon=epsilon,
        **{"is_training": False, **options},
    )


def _normalise_over_replicas(replica, x, gamma, beta, epsilon):
    """Batch norm by the statistics of all replicas' x `[n, h, w, d]`.

    One collective forward, or two (see `TOGETHER`), and one backward.

    Returns:
        y, like x; mean and unbiased variance over all replicas, `[d]` float32.
    """
    replicas = replica.num_replicas_in_sync
    d = x.shape[-1]

    def add_over_replicas(tensor):
        return replica.all_reduce(tf.distribute.ReduceOp.SUM, tensor)

    @tf.custom_gradient
    def normalise(x, gamma, beta):
        x32 = tf.cast(x, tf.float32)
        mean_r, variance_r = tf.nn.moments(x32, axes=[0, 1, 2])
        n_r = tf.cast(tf.size(x) // d, tf.float32)
        # Sums of squares over replicas would cancel where the mean is large.
        # Each replica's own mean and variance do not.
        if replicas <= TOGETHER:
            # Each writes a row of a matrix of zeros, since NCCL adds but does
            # not gather.
            row = tf.concat([mean_r, variance_r, n_r[None]], axis=0)  # [2d + 1]
            here = tf.one_hot(replica.replica_id_in_sync_group, replicas)
            rows = add_over_replicas(here[:, None] * row)  # [N, 2d + 1]
            means, variances, counts = tf.split(rows, [d, d, 1], axis=1)
            n = tf.reduce_sum(counts)
            weights = counts / n  # [N, 1]
            mean = tf.reduce_sum(weights * means, axis=0)
            variance = tf.reduce_sum(
                weights * (variances + tf.square(means - mean)), axis=0
            )
        else:
            sums = add_over_replicas(
                tf.concat([n_r * mean_r, n_r[None]], axis=0)  # [d + 1]
            )
            n = sums[d]
            mean = sums[:d] / n
            # About the mean of all, so that nothing cancels here either.
            squares_r = n_r * (variance_r + tf.square(mean_r - mean))
            variance = add_over_replicas(squares_r) / n
        y = _fused(x, gamma, beta, mean, variance, epsilon).y
        inverse_deviation = tf.math.rsqrt(variance + epsilon)

        # The running statistics are not differentiated.
        def gradient(dy, *_):
            dy = tf.cast(dy, tf.float32)
            normalised = (x32 - mean) * inverse_deviation
            dbeta_r = tf.reduce_sum(dy, axis=[0, 1, 2])
            dgamma_r = tf.reduce_sum(dy * normalised, axis=[0, 1, 2])
            dbeta, dgamma = tf.split(
                add_over_replicas(tf.concat([dbeta_r, dgamma_r], axis=0)), 2
            )
            dx = (gamma * inverse_deviation) * (
                dy - (dbeta + normalised * dgamma) / n
            )
            # The optimizer adds gamma's and beta's gradients over replicas.
            return tf.cast(dx, x.dtype), dgamma_r, dbeta_r

        unbiased = variance * (n / tf.maximum(n - 1.0, 1.0))
        return (y, mean, unbiased), gradient

    return normalise(x, gamma, beta)
