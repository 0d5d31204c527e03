"""Ends a run that another process has taken over."""

import time
from pathlib import Path

import keras

from mec_tf.training.run_lock import require_own
from mec_tf.training.workdir import LOCK_FILE

# Seconds between two looks at the lock.
_SECONDS = 1.0


class Ownership(keras.callbacks.Callback):
    """Makes sure that the workdir is still this process's.

    It comes before the callbacks that write there.

    Args:
        workdir: Of the run, which this process has claimed.
    """

    def __init__(self, workdir: Path) -> None:
        super().__init__()
        self.workdir = workdir
        self.looked = time.monotonic()

    def on_train_batch_end(self, batch, logs=None):
        """Looks, once a second.

        Raises:
            UserError: If another process has taken the workdir over.
        """
        now = time.monotonic()
        if now - self.looked >= _SECONDS:
            self.looked = now
            require_own(self.workdir / LOCK_FILE, f"`workdir`={self.workdir}")

    def on_epoch_end(self, epoch, logs=None):
        """Looks again before the epoch's row is written."""
        require_own(self.workdir / LOCK_FILE, f"`workdir`={self.workdir}")
