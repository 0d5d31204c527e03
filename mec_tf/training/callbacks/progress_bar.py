"""A progress bar with speed, remaining time, loss and scores."""

import sys
import time
from collections.abc import Iterable

import keras
from rich import progress_bar
from rich.console import Console
from rich.live import Live
from rich.table import Table

from mec_tf.training.schedule import Schedule

_BAR = 20  # characters
_SECONDS = 0.2  # between two drawings


class ProgressBar(keras.callbacks.Callback):
    """Prints one line per epoch, kept up to date inside it on a terminal.

    Adds `images_per_second`, without the time that other callbacks take, to the
    logs of the epoch. Put it after the callbacks whose logs it shows.

    Args:
        schedule: `schedule.Schedule` of the run.
        plotted: Names of the objective's logs that are shown.
    """

    def __init__(self, schedule: Schedule, plotted: Iterable[str] = ()) -> None:
        super().__init__()
        self.schedule = schedule
        self.shown = ("loss", *plotted, "rankme", "knn_accuracy")
        self.terminal = _Terminal(file=sys.stderr, highlight=False)
        self.live = None

    def on_epoch_begin(self, epoch, logs=None):
        """Starts the epoch's clock."""
        self.began = self.ended = self.drawn = time.monotonic()
        self.first_step = self.model.steps_taken
        if self.terminal.is_terminal and self.live is None:
            # Whatever else is printed meanwhile goes above the bar.
            self.live = Live(
                console=self.terminal,
                auto_refresh=False,
                transient=True,
                redirect_stdout=False,
            )
            self.live.start()

    def on_train_batch_end(self, batch, logs=None):
        """Draws the bar, at most five times a second."""
        self.ended = time.monotonic()
        if self.live and self.ended - self.drawn > _SECONDS:
            self.drawn = self.ended
            self.live.update(self._line(logs), refresh=True)

    def on_epoch_end(self, epoch, logs=None):
        """Prints the epoch's line for good."""
        logs["images_per_second"] = self._speed()
        self.close()
        if self.terminal.is_terminal:
            self.terminal.print(self._line(logs))
            return
        epoch, values = self._texts(logs)
        bar = "=" * (_BAR * self._step() // self.schedule.total_steps)
        line = f"{epoch} [{bar:<{_BAR}}] {values}"
        print(line, file=sys.stderr, flush=True)

    def close(self):
        """Releases the terminal and removes an unfinished bar."""
        if self.live is not None:
            self.live.stop()
            self.live = None

    def _step(self):
        return self.model.steps_taken

    def _speed(self):
        elapsed = max(self.ended - self.began, 1e-9)
        steps = self._step() - self.first_step
        return steps * self.schedule.batch_size / elapsed

    def _texts(self, logs):
        """The texts before and after the bar."""
        schedule, speed, done = self.schedule, self._speed(), self._step()
        images = (schedule.total_steps - done) * schedule.batch_size
        left = images / max(speed, 1e-9)
        values = "  ".join(
            f"{name} {logs[name]:.4g}" for name in self.shown if name in logs
        )
        return (
            f"epoch {-(-done // schedule.steps_per_epoch)}/{schedule.epochs}",
            f"{speed:,.0f} images/s  {_duration(left)} left  {values}",
        )

    def _line(self, logs):
        epoch, values = self._texts(logs)
        bar = progress_bar.ProgressBar(
            self.schedule.total_steps, self._step(), width=_BAR
        )
        line = Table.grid(padding=(0, 1))
        line.add_column(no_wrap=True)
        line.add_column(no_wrap=True)
        line.add_column(no_wrap=True, overflow="ellipsis")
        line.add_row(epoch, bar, values)
        return line


class _Terminal(Console):
    """Never hides the cursor: a process that is killed could not show it."""

    def show_cursor(self, show=True):
        return False


def _duration(seconds):
    minutes, seconds = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{seconds:02d}"
