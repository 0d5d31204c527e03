"""Saves a run by the clock, at epochs' ends and before it is taken away.

Of several workers the chief writes. All of them agree on when, and leave at the
same step: about once a second each tells the others what signal it got.
"""

import signal
import sys
import time

import keras

# Seconds between the questions that workers ask one another inside an epoch.
ASKING_SECONDS = 1.0


class Saver(keras.callbacks.Callback):
    """Writes checkpoints; leaves on SIGTERM and SIGINT once one is written.

    The last callback of a run: at an epoch's end the row of `metrics.csv`
    comes first, so that no checkpoint lies between an epoch and its row.

    Args:
        checkpoints: `checkpoint.Checkpoints`.
        plan: `plan.Plan` of the run.
        minutes: Between checkpoints; they fall on a step's end.
        each_epoch: Also at the end of each epoch. The run's end is always one.
        workers: `distribute.Workers` of the run.
    """

    def __init__(self, checkpoints, plan, *, minutes, each_epoch, workers):
        super().__init__()
        self.checkpoints = checkpoints
        self.plan = plan
        self.seconds = 60 * minutes
        self.each_epoch = each_epoch
        self.workers = workers
        self.signal = None
        self.saved = time.monotonic()
        self.next_question = 0
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

    def on_train_begin(self, logs=None):
        """Starts the clock that says how long a step takes."""
        self.asked, self.asked_at = time.monotonic(), self.model.steps_taken

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
        inside = (
            step % self.plan.steps_per_epoch and step < self.plan.total_steps
        )
        if inside and step >= self.next_question:
            self._save_if(step, wanted=False)

    def on_epoch_end(self, epoch, logs=None):
        """Saves between epochs."""
        step = self.model.steps_taken
        finished = step >= self.plan.total_steps
        self._save_if(step, wanted=self.each_epoch or finished)

    def on_train_end(self, logs=None):
        """Gives signals back once there is nothing more to save."""
        if self.model.steps_taken >= self.plan.total_steps:
            for number, handler in self.former.items():
                signal.signal(number, handler)

    def _save_if(self, step, wanted):
        number, due = self._agree(step)
        if not (wanted or due or number):
            return
        if self.workers.is_chief:
            self.checkpoints.save(step)
        self.saved = time.monotonic()
        if number and step < self.plan.total_steps:
            self.workers.wait()  # until the chief has saved
            if self.workers.is_chief:
                print(
                    f"{signal.Signals(number).name}: saved step {step}; the"
                    " same command goes on from it (without --overwrite, which"
                    " would remove it)",
                    file=sys.stderr,
                )
            sys.exit(128 + number)

    def _agree(self, step):
        """The signal that any worker got, or 0; is a checkpoint due?"""
        now = time.monotonic()
        seconds_per_step = (now - self.asked) / max(step - self.asked_at, 1)
        due = now - self.saved >= self.seconds
        answers = self.workers.gather([self.signal or 0, due, seconds_per_step])
        signals, due_there, pace = answers.T
        if self.workers.count > 1:
            # From numbers that all share, so that all ask at the same step.
            pause = ASKING_SECONDS // max(pace.max(), 1e-9)
            self.next_question = step + max(1, int(pause))
            self.asked, self.asked_at = time.monotonic(), step
        return int(signals.max()), bool(due_there[0])

    def _on_signal(self, number, frame):
        if self.signal == number == signal.SIGINT:
            raise KeyboardInterrupt  # the second Ctrl-C does not wait
        self.signal = number
