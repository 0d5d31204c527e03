"""Stops a run whose loss is no number any more."""

import math

import keras

from mec_tf.errors import Diverged


class Divergence(keras.callbacks.Callback):
    """Raises when the loss becomes NaN or infinite.

    It stands before whatever saves the run, so that the last good checkpoint
    stays the newest.

    Args:
        remedy: What the user can do about it.
    """

    def __init__(self, remedy):
        super().__init__()
        self.remedy = remedy

    def on_train_batch_end(self, batch, logs=None):
        """Looks at the running mean of the loss, which keeps a NaN.

        Raises:
            Diverged: At the first step that shows it.
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
