"""A line that says how far a run is, how fast, and what the loss does."""

import sys
import time

import keras


class Progress(keras.callbacks.Callback):
    """Prints one line per epoch, kept up to date inside it on a terminal.

    Adds `images_per_second` (training alone, without what other monitors
    take) to the logs of the epoch, for those that come after it.

    Args:
        plan: `plan.Plan` of the run.
        shown: Names of the logs on the line, in order.
    """

    def __init__(self, plan, shown=("loss", "rankme", "knn_accuracy")):
        super().__init__()
        self.plan = plan
        self.shown = shown
        self.live = sys.stderr.isatty()

    def on_epoch_begin(self, epoch, logs=None):
        """Starts the epoch's clock."""
        self.began = self.drawn = time.monotonic()
        self.steps = 0

    def on_train_batch_end(self, batch, logs=None):
        """Draws the bar, at most five times a second."""
        self.steps += 1
        now = time.monotonic()
        if self.live and now - self.drawn > 0.2:
            self.drawn = now
            done = int(self.model.optimizer.iterations)
            print(f"\r{self._line(done, logs)}\x1b[K", end="", file=sys.stderr)

    def on_epoch_end(self, epoch, logs=None):
        """Measures the epoch's speed."""
        logs["images_per_second"] = self._speed()

    def report(self, logs):
        """Prints the epoch's line for good, with all that monitors added."""
        done = int(self.model.optimizer.iterations)
        end = "\r" if self.live else ""
        clear = "\x1b[K" if self.live else ""
        print(f"{end}{self._line(done, logs)}{clear}", file=sys.stderr)

    def _speed(self):
        elapsed = time.monotonic() - self.began
        return self.steps * self.plan.m / max(elapsed, 1e-9)

    def _line(self, done, logs):
        plan = self.plan
        speed = logs.get("images_per_second") or self._speed()
        left = (plan.total_steps - done) * plan.m / max(speed, 1e-9)
        epoch = -(-done // plan.steps_per_epoch)
        shares = 20 * done // plan.total_steps
        values = "  ".join(
            f"{name} {logs[name]:.4g}"
            for name in self.shown
            if logs.get(name) is not None
        )
        return (
            f"epoch {epoch}/{plan.epochs}"
            f" [{'=' * shares}{' ' * (20 - shares)}]"
            f" {speed:,.0f} images/s  {_duration(left)} left  {values}"
        )


class Report(keras.callbacks.Callback):
    """Prints the line of a `Progress` after every other monitor has spoken."""

    def __init__(self, progress):
        super().__init__()
        self.progress = progress

    def on_epoch_end(self, epoch, logs=None):
        """Prints it."""
        self.progress.report(logs)


def _duration(seconds):
    minutes, seconds = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{seconds:02d}"
