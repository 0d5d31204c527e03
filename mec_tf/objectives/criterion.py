"""The MEC objective of one training step: warm-up, guard, mean over pairs."""

import dataclasses
from collections.abc import Callable

import tensorflow as tf

from mec_tf.objectives import mec


@dataclasses.dataclass(frozen=True)
class MECCriterion:
    """Averages the MEC loss over pairs of embeddings.

    Attributes:
        distortion: Function of the step: epsilon_d squared, a scalar above 0.
        order: Terms of the Taylor series, eq. (2); 0: exact log-det, eq. (1).
        form: `auto`, `batch` or `feature`: the side of the matrix.
        embedding_norm: `l2` (rows) or `batch` (columns).
        guard: Raise the distortion of a step where the series would leave its
            region of convergence; without effect at order 0.
        seed: Seeds the start vectors of the guard's power iterations.
    """

    distortion: Callable
    order: int = 4
    form: str = "auto"
    embedding_norm: str = "l2"
    guard: bool = True
    seed: int = 0

    logged = ("coding_length", "spectral_norm", "effective_distortion")

    def __call__(self, pairs, *, step, replicas):
        """Returns the loss, equal on every replica, and what to log.

        Args:
            pairs: List of (z1, z2), raw embeddings `[n, d]` of this replica.
            step: Integer scalar, the training step from 0.
            replicas: `objectives.replicas.Replicas`.
        """
        distortion = tf.convert_to_tensor(self.distortion(step), tf.float32)
        seed = tf.stack([tf.cast(self.seed, tf.int64), tf.cast(step, tf.int64)])
        # One distortion for all pairs of a step, so that their mean is the
        # objective at one lambda: the widest pair decides.
        norm = tf.reduce_max(
            [
                mec.spectral_norm(
                    z1,
                    z2,
                    distortion=distortion,
                    seed=seed,
                    embedding_norm=self.embedding_norm,
                    replicas=replicas,
                )
                for z1, z2 in pairs
            ]
        )
        effective = distortion
        if self.guard and self.order > 0:
            effective = mec.guarded_distortion(norm, distortion)
        losses = [
            mec.mec_loss(
                z1,
                z2,
                distortion=effective,
                order=self.order,
                form=self.form,
                embedding_norm=self.embedding_norm,
                replicas=replicas,
            )
            for z1, z2 in pairs
        ]
        loss = tf.reduce_mean(losses)
        m = replicas.count * tf.shape(pairs[0][0])[0]
        mu = tf.cast(m + pairs[0][0].shape[-1], loss.dtype) / 2
        return loss, {
            # mec_loss = -coding_length / (mu lambda m), lambda m = 1 / eps_d^2.
            "coding_length": -loss * mu / tf.cast(effective, loss.dtype),
            "spectral_norm": norm * distortion / effective,
            "effective_distortion": effective,
        }
