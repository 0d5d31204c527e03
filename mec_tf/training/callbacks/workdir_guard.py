"""Stops a run if another process has taken over its workdir."""

import time
from pathlib import Path

import keras

from mec_tf.training.run_lock import require_own
from mec_tf.training.workdir import LOCK_FILE

# Seconds between two checks of the lock.
_SECONDS = 1.0


class WorkdirGuard(keras.callbacks.Callback):
    """Checks, once a second, that this process still holds the workdir.

    Put it before the callbacks that write to the workdir.

    Args:
        workdir: Workdir of the run, claimed by this process.
    """

    def __init__(self, workdir: Path) -> None:
        super().__init__()
        self.workdir = workdir
        self.checked_at = time.monotonic()

    def on_train_batch_end(self, batch, logs=None):
        """Checks the lock, at most once a second.

        Raises:
            UserError: If another process has taken the workdir over.
        """
        now = time.monotonic()
        if now - self.checked_at >= _SECONDS:
            self.checked_at = now
            require_own(self.workdir / LOCK_FILE, f"`workdir`={self.workdir}")

    def on_epoch_end(self, epoch, logs=None):
        """Checks the lock before the epoch's row is written."""
        require_own(self.workdir / LOCK_FILE, f"`workdir`={self.workdir}")
