"""A line that says how far a run is, how fast, and what the loss does."""

import sys
import time

import keras


class Progress(keras.callbacks.Callback):
    """Prints one line per epoch, kept up to date inside it on a terminal.

    Adds `images_per_second`, without the time that other monitors take, to the
    logs of the epoch; it stands behind those whose logs it shows.

    Args:
        plan: `plan.Plan` of the run.
        plotted: Names of the objective's logs that are worth a place.
    """

    def __init__(self, plan, plotted=()):
        super().__init__()
        self.plan = plan
        self.shown = ("loss", *plotted, "rankme", "knn_accuracy")
        self.live = sys.stderr.isatty()

    def on_epoch_begin(self, epoch, logs=None):
        """Starts the epoch's clock."""
        self.began = self.ended = self.drawn = time.monotonic()
        self.first_step = self.model.steps_taken

    def on_train_batch_end(self, batch, logs=None):
        """Draws the bar, at most five times a second."""
        self.ended = time.monotonic()
        if self.live and self.ended - self.drawn > 0.2:
            self.drawn = self.ended
            self._print(logs, end="")

    def on_epoch_end(self, epoch, logs=None):
        """Prints the epoch's line for good."""
        logs["images_per_second"] = self._speed()
        self._print(logs, end="\n")

    def _speed(self):
        elapsed = max(self.ended - self.began, 1e-9)
        steps = self.model.steps_taken - self.first_step
        return steps * self.plan.m / elapsed

    def _print(self, logs, end):
        plan, speed = self.plan, self._speed()
        done = self.model.steps_taken
        left = (plan.total_steps - done) * plan.m / max(speed, 1e-9)
        bar = "=" * (20 * done // plan.total_steps)
        values = "  ".join(
            f"{name} {logs[name]:.4g}" for name in self.shown if name in logs
        )
        line = (
            f"epoch {-(-done // plan.steps_per_epoch)}/{plan.epochs}"
            f" [{bar:<20}] {speed:,.0f} images/s"
            f"  {_duration(left)} left  {values}"
        )
        if self.live:
            line = f"\r{line}\x1b[K"
        print(line, end=end, file=sys.stderr, flush=True)


def _duration(seconds):
    minutes, seconds = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{seconds:02d}"
