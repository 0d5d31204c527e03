"""Schedules of the step: learning rate, EMA momentum.

Steps count from 0, and the first is the one that the optimizer takes first. As
in the authors' code a warm-up of W steps is a line through both its ends: its
first step has the start value and its last step, W - 1, the final one.
"""

import math
from typing import Any

import keras
from keras import ops

from mec_tf.errors import UserError


@keras.saving.register_keras_serializable(package="mec_tf")
class WarmupCosine(keras.optimizers.schedules.LearningRateSchedule):
    """Linear warm-up from 0 to the peak, then half a cosine towards 0.

    The first step's rate is 0 where there is a warm-up; steps `warmup_steps`
    - 1 and `warmup_steps` both have the peak; step `total_steps` would have 0.

    Args:
        peak: Highest learning rate, >= 0.
        warmup_steps: Steps of warm-up, in [0, total_steps].
        total_steps: Steps of the whole run, > 0.

    Raises:
        UserError: If the steps are out of range.

    Source: the MEC authors' code, which sets the rate at every step.
    """

    def __init__(self, peak, *, warmup_steps, total_steps):
        super().__init__()
        if not 0 <= warmup_steps <= total_steps or total_steps < 1:
            raise UserError(
                f"Received warmup_steps={warmup_steps} and "
                f"total_steps={total_steps}; expected 0 <= warmup_steps <= "
                "total_steps and total_steps > 0. Shorten the warm-up or "
                "lengthen the run."
            )
        self.peak = peak
        self.warmup_steps = warmup_steps
        self.total_steps = total_steps

    def __call__(self, step):
        """The learning rate at a step, a float32 scalar."""
        after = ops.cast(step, "float32") - self.warmup_steps
        cosine = _half_cosine(after, self.total_steps - self.warmup_steps)
        return self.peak * ops.where(
            after < 0, _warmed_up(step, self.warmup_steps), cosine
        )

    def get_config(self):
        """The arguments of the constructor, for serialisation."""
        return {
            "peak": self.peak,
            "warmup_steps": self.warmup_steps,
            "total_steps": self.total_steps,
        }


def ema_momentum(step: Any, *, base: float, total_steps: int) -> Any:
    """The momentum of the target network, from `base` at step 0 towards 1.

    tau_k = 1 - (1 - tau_0) (cos(pi k / K) + 1) / 2.

    Args:
        step: k, integer or integer tensor in [0, total_steps].
        base: tau_0 in [0, 1]; 0.996 in the paper.
        total_steps: K, steps of the whole run, > 0.

    Returns:
        tau_k, a float32 scalar tensor in [base, 1].

    Source: BYOL, section 3.3, https://arxiv.org/abs/2006.07733; the MEC
    authors' code.
    """
    k = ops.cast(step, "float32")
    return 1.0 - (1.0 - base) * _half_cosine(k, total_steps)


def _warmed_up(step, warmup_steps):
    """Rises from 0 at step 0 to 1 at step `warmup_steps` - 1, and stays."""
    k = ops.cast(step, "float32")
    rising = ops.minimum(k / max(warmup_steps - 1, 1), 1.0)
    return ops.where(k < warmup_steps, rising, 1.0)


def _half_cosine(k, steps):
    """Falls from 1 at k = 0 to 0 at k = `steps`, and stays."""
    share = ops.clip(k / max(steps, 1), 0.0, 1.0)
    return (ops.cos(math.pi * share) + 1.0) / 2.0
