"""Saves a run by the clock, at epochs' ends and before it is taken away."""

import signal
import sys
import time

import keras


class Saver(keras.callbacks.Callback):
    """Writes checkpoints; leaves on SIGTERM and SIGINT once one is written.

    The last callback of a run: at an epoch's end the row of `metrics.csv`
    comes first, so that no checkpoint lies between an epoch and its row.

    Args:
        checkpoints: `checkpoint.Checkpoints`.
        plan: `plan.Plan` of the run.
        minutes: Between checkpoints; they fall on a step's end.
        each_epoch: Also at the end of each epoch. The run's end is always one.
    """

    def __init__(self, checkpoints, plan, *, minutes, each_epoch):
        super().__init__()
        self.checkpoints = checkpoints
        self.plan = plan
        self.seconds = 60 * minutes
        self.each_epoch = each_epoch
        self.signal = None
        self.saved = time.monotonic()
        self.resumed_means = None
        self.former = {}

    def catch_signals(self):
        """Lets a signal end the run at the end of its step."""
        self.former = {
            number: signal.signal(number, self._on_signal)
            for number in (signal.SIGTERM, signal.SIGINT)
        }

    def keep_means(self, model):
        """Carries the restored means of an unfinished epoch over `fit`'s reset.

        Args:
            model: `SiameseModel`, just restored.
        """
        self.resumed_means = [
            keras.ops.convert_to_numpy(variable)
            for mean in model.metrics
            for variable in mean.variables
        ]

    def on_epoch_begin(self, epoch, logs=None):
        """Gives a resumed epoch the sums that it had."""
        if (
            self.resumed_means
            and self.model.steps_taken % self.plan.steps_per_epoch
        ):
            variables = [
                variable
                for mean in self.model.metrics
                for variable in mean.variables
            ]
            for variable, value in zip(
                variables, self.resumed_means, strict=True
            ):
                variable.assign(value)
        self.resumed_means = None

    def on_train_batch_end(self, batch, logs=None):
        """Saves inside an epoch; its last step is left to `on_epoch_end`."""
        step = self.model.steps_taken
        if step % self.plan.steps_per_epoch and step < self.plan.total_steps:
            self._save_if(self._due())

    def on_epoch_end(self, epoch, logs=None):
        """Saves between epochs."""
        finished = self.model.steps_taken >= self.plan.total_steps
        self._save_if(self.each_epoch or finished or self._due())

    def on_train_end(self, logs=None):
        """Gives signals back once there is nothing more to save."""
        if self.model.steps_taken >= self.plan.total_steps:
            for number, handler in self.former.items():
                signal.signal(number, handler)

    def _due(self):
        return time.monotonic() - self.saved >= self.seconds

    def _save_if(self, wanted):
        if not (wanted or self.signal):
            return
        step = self.model.steps_taken
        self.checkpoints.save(step)
        self.saved = time.monotonic()
        if self.signal and step < self.plan.total_steps:
            name = signal.Signals(self.signal).name
            print(
                f"{name}: saved step {step}; the same command goes on from it",
                file=sys.stderr,
            )
            sys.exit(128 + self.signal)

    def _on_signal(self, number, frame):
        if self.signal == number == signal.SIGINT:
            raise KeyboardInterrupt  # the second Ctrl-C does not wait
        self.signal = number
