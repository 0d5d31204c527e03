"""Stops a run when its loss becomes NaN or infinite."""

import math

import keras

from mec_tf.errors import Diverged


class StopOnDivergence(keras.callbacks.Callback):
    """Raises when the loss becomes NaN or infinite.

    Put it before the checkpoint callback, so that the last good checkpoint
    stays the newest.

    Args:
        remedy: What the user can do about it.
    """

    def __init__(self, remedy: str) -> None:
        super().__init__()
        self.remedy = remedy

    def on_train_batch_end(self, batch, logs=None):
        """Checks the running mean of the loss; a NaN stays in it.

        Raises:
            Diverged: At the first such step.
        """
        if not math.isfinite(logs["loss"]):
            step = self.model.steps_taken
            # A loss scale skips steps whose gradients overflow, and their loss
            # is finite. Where the forward pass did, batch norm's statistics
            # are spoilt, too.
            half = self.model.compute_dtype == "float16"
            raise Diverged(
                f"the loss became {logs['loss']} at step {step}; the last good"
                " checkpoint is kept: "
                + ("try `precision`=mixed_bfloat16, or " if half else "")
                + self.remedy
            )
