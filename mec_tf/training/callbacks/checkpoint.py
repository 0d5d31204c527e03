"""Saves checkpoints: every few minutes, at epochs' ends and on signals.

Of several workers only the chief writes. All workers save and stop at the same
step: about once a second they exchange the signals that they have received.

Python handles a signal in its main thread, which may be waiting inside
TensorFlow for a batch that a dead network drive never delivers. Then a second
thread saves the last completed step and ends the process.
"""

import contextlib
import os
import select
import signal
import sys
import threading
import time
from collections.abc import Callable

import keras

from mec_tf.data.bad_images import TooManyBadImages
from mec_tf.data.pipeline import Gate
from mec_tf.distribution.strategies import Workers
from mec_tf.errors import Interrupted
from mec_tf.training.checkpoint import Checkpoints
from mec_tf.training.schedule import Schedule

# Seconds between the questions that workers ask one another inside an epoch.
ASKING_SECONDS = 1.0
# Every ordinary way in which a run is ended: by an operator or a scheduler, by
# Ctrl-C, a terminal that closes, Slurm's `--signal`, a limit on CPU time.
SIGNALS = (
    signal.SIGTERM,
    signal.SIGINT,
    signal.SIGHUP,
    signal.SIGUSR1,
    signal.SIGUSR2,
    signal.SIGXCPU,
)
# Seconds after a signal that a step may wait for its batch, that what comes
# between steps may take, and that the main thread has after a second Ctrl-C.
BATCH_SECONDS = 2.0
BETWEEN_SECONDS = 20.0
SECOND_SECONDS = 2.0


class CheckpointCallback(keras.callbacks.Callback):
    """Writes checkpoints, and on one of `SIGNALS` also ends the run.

    Signals are handled only after `catch_signals` has been called.

    Put it last among the callbacks: at an epoch's end the row of `metrics.csv`
    is written first, so that no checkpoint lies between an epoch and its row.

    Args:
        checkpoints: `checkpoint.Checkpoints`.
        schedule: `schedule.Schedule` of the run.
        minutes: Minutes between checkpoints.
        each_epoch: Whether to save at the end of each epoch, too. The end of
            the run is always saved.
        workers: `strategies.Workers` of the run.
        gate: `data.pipeline.Gate` of the training batches.
        close_epoch: Function of the last step of an epoch, or None. It writes
            what is due at that epoch's end (`MetricsLogger.close_epoch`) if the
            process has to end before `on_epoch_end` is called.
    """

    def __init__(
        self,
        checkpoints: Checkpoints,
        schedule: Schedule,
        *,
        minutes: float,
        each_epoch: bool,
        workers: Workers,
        gate: Gate | None = None,
        close_epoch: Callable[[int], None] | None = None,
    ) -> None:
        super().__init__()
        self.checkpoints = checkpoints
        self.schedule = schedule
        self.seconds = 60 * minutes
        self.each_epoch = each_epoch
        self.workers = workers
        self.gate = gate or Gate()
        self.close_epoch = close_epoch
        self.signal = None
        self.saved = time.monotonic()
        self.next_question = 0
        self.resumed_means = None
        self.former = {}
        self.completed = None  # steps, once training has begun
        self.in_step = False
        self.alarm = None

    def catch_signals(self):
        """Makes signals end the run after the current step; for mains only.

        `fit_resumable` restores the handlers, however training ends.
        SIGHUP stays
        ignored where the parent ignores it, as `nohup` does.
        """
        self.former = {
            number: signal.signal(number, self._on_signal)
            for number in SIGNALS
            if number != signal.SIGHUP
            or signal.getsignal(number) != signal.SIG_IGN
        }
        # Signals write their numbers there, whatever the main thread does.
        reader, self.alarm = os.pipe()
        os.set_blocking(self.alarm, False)
        signal.set_wakeup_fd(self.alarm, warn_on_full_buffer=False)
        threading.Thread(
            target=self._attend, args=(reader,), daemon=True
        ).start()

    def release_signals(self):
        """Restores the former signal handlers."""
        for number, handler in self.former.items():
            signal.signal(number, handler)
        self.former = {}
        if self.alarm is not None:
            signal.set_wakeup_fd(-1)
            os.close(self.alarm)
            self.alarm = None

    @contextlib.contextmanager
    def saved_on_bad_images(self):
        """Saves the last completed step if images cannot be read any more.

        Raises:
            TooManyBadImages: As raised inside the context.
        """
        try:
            yield
        except TooManyBadImages:
            # Of several steps in one call the last may have been cut off.
            whole = self.steps_per_call == 1 or not self.in_step
            if whole and self.completed is not None and self.workers.is_chief:
                self._save_completed()
            raise

    @property
    def steps_per_call(self):
        """Training steps between two calls of this callback."""
        return getattr(self.schedule, "steps_per_execution", 1)

    def keep_means(self, model):
        """Keeps the restored means of an unfinished epoch from `fit`'s reset.

        Args:
            model: `SiameseModel`, just restored.
        """
        self.resumed_means = [
            keras.ops.convert_to_numpy(variable)
            for mean in model.metrics
            for variable in mean.variables
        ]

    def on_train_begin(self, logs=None):
        """Starts to measure how long a step takes."""
        self.asked, self.asked_at = time.monotonic(), self.model.steps_taken
        self.completed = self.asked_at

    def on_epoch_begin(self, epoch, logs=None):
        """Restores the means of a resumed epoch."""
        if (
            self.resumed_means
            and self.model.steps_taken % self.schedule.steps_per_epoch
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

    def on_train_batch_begin(self, batch, logs=None):
        """Notes that the state may now change."""
        with self.gate.lock:
            self.in_step = True

    def on_train_batch_end(self, batch, logs=None):
        """Saves inside an epoch; `on_epoch_end` saves its last step."""
        step = self.model.steps_taken
        with self.gate.lock:
            self.completed, self.in_step = step, False
        inside = (
            step % self.schedule.steps_per_epoch
            and step < self.schedule.total_steps
        )
        if inside and step >= self.next_question:
            self._save_if(step, wanted=False)

    def on_epoch_end(self, epoch, logs=None):
        """Saves between epochs."""
        step = self.model.steps_taken
        finished = step >= self.schedule.total_steps
        self._save_if(step, wanted=self.each_epoch or finished)

    def _save_if(self, step, wanted):
        number, due = self._agree(step)
        if not (wanted or due or number):
            return
        if self.workers.is_chief:
            with self.gate.lock:
                self.checkpoints.save(step)
        self.saved = time.monotonic()
        if number and step < self.schedule.total_steps:
            self.workers.wait()  # until the chief has saved
            raise Interrupted(number, step, is_chief=self.workers.is_chief)

    def _agree(self, step):
        """Agrees with all workers: (a signal or 0, whether to save now)."""
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

    def _attend(self, reader):
        """Ends the process if the main thread does not get to it."""
        numbers, since, leaving = [], None, False
        with open(reader, "rb", buffering=0) as alarms:
            while True:
                if select.select([alarms], [], [], 0.1)[0]:
                    received = alarms.read(64)
                    if not received:
                        return  # signals were given back
                    numbers += [n for n in received if n in self.former]
                    if numbers.count(signal.SIGINT) == 2:
                        threading.Thread(
                            target=_end_at_once, daemon=True
                        ).start()
                if not numbers or leaving:
                    continue
                now, stuck = time.monotonic(), self._waits_for_a_batch()
                if not (stuck or not self.in_step):
                    since = None
                    continue
                since = since or now
                patience = BATCH_SECONDS if stuck else BETWEEN_SECONDS
                if now - since >= patience:
                    leaving = True
                    threading.Thread(
                        target=self._leave, args=(numbers[0],), daemon=True
                    ).start()

    def _waits_for_a_batch(self):
        return self.in_step and self.gate.step <= self.completed

    def _leave(self, number):
        """Ends the process while its main thread is stuck."""
        code = 128 + number
        # Never given back: nothing may move while it is saved, or afterwards.
        self.gate.lock.acquire()
        if self.in_step and not self._waits_for_a_batch():
            self.gate.lock.release()  # the batch came: the main thread leaves
            return
        try:
            if self.completed is not None and self.workers.is_chief:
                self._save_completed()
                line = Interrupted(number, self.completed)
                print(f"mec_tf: {line}", file=sys.stderr, flush=True)
        except OSError as error:
            print(f"mec_tf: {error}", file=sys.stderr)
            code = 1
        _exit(code)

    def _save_completed(self):
        """Saves the last completed step while another one is unfinished.

        A step that waits for its batch may already have changed what does not
        depend on the batch: `iterations` and the counts of the means. Both are
        set back first.
        """
        step, size = self.completed, self.schedule.steps_per_epoch
        self.saved = time.monotonic()
        if step in self.checkpoints.steps():
            return
        self.model.steps_taken = step
        for mean in self.model.metrics:
            mean.count.assign(step % size or size)
        if self.close_epoch and step and step % size == 0:
            self.close_epoch(step)
        self.checkpoints.save(step)


def _end_at_once():
    """Ends the process after a second Ctrl-C."""
    time.sleep(SECOND_SECONDS)
    print(
        "mec_tf: Ctrl-C: stopped at once; only what was saved before is kept",
        file=sys.stderr,
    )
    _exit(128 + signal.SIGINT)


def _exit(code):
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError):
            stream.flush()
    os._exit(code)
