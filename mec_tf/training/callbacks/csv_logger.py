"""Logs the metrics of each epoch to `metrics.csv` and TensorBoard."""

import contextlib
import csv
import io
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import keras
import tensorflow as tf

from mec_tf.errors import Unwritten
from mec_tf.files.atomic import replaced_file


class MetricsLogger(keras.callbacks.Callback):
    """Appends one row per epoch, also across interruptions.

    Args:
        workdir: `pathlib.Path` of the run.
        first_step: Step that training starts from. Later rows, written by a
            run that was interrupted after its last checkpoint, are dropped:
            they will be measured again.
        at_step: Dict of name to function of the step: the schedules, logged
            with the value that the epoch's last step used.
        logged: Names of what the objective logs besides the loss.
    """

    def __init__(
        self,
        workdir: Path,
        *,
        first_step: int,
        at_step: Mapping[str, Callable],
        logged: Sequence[str] = (),
    ) -> None:
        super().__init__()
        self.path = workdir / "metrics.csv"
        self.at_step = at_step
        self.rows = [
            row for row in read(self.path) if int(row["step"]) <= first_step
        ]
        columns = (
            *("step", "epoch", "loss"),
            *logged,
            *at_step,
            *("lr", "ema_momentum"),
            *("images_per_second", "rankme", "knn_accuracy"),
        )
        # Whatever another version of this program has written stays.
        former = self.rows[0] if self.rows else ()
        self.columns = tuple(dict.fromkeys([*columns, *former]))
        self._write()
        self.folder = workdir / "tensorboard"
        self._forget_later_events(first_step)
        with self._reporting_write_errors(self.folder):
            self.tensorboard = tf.summary.create_file_writer(str(self.folder))

    def on_epoch_begin(self, epoch, logs=None):
        """Remembers which epoch it is."""
        self.epoch = epoch

    def on_train_batch_end(self, batch, logs=None):
        """Remembers the means so far, for `close_epoch`."""
        self.logs = dict(logs)

    def close_epoch(self, step):
        """Writes the row of an epoch whose `on_epoch_end` was never called.

        The row has the means of the steps, but not the scores that are
        measured at an epoch's end. An existing row is kept.

        Args:
            step: The epoch's last.

        Raises:
            UserError: If the file cannot be written.
        """
        if not self.rows or int(self.rows[-1]["step"]) < step:
            logs = {name: float(value) for name, value in self.logs.items()}
            self._add(step, self.epoch, logs)

    def on_epoch_end(self, epoch, logs=None):
        """Writes the epoch's row.

        Raises:
            UserError: If the file cannot be written.
        """
        step = self.model.steps_taken
        row = self._add(step, epoch, logs)
        with self._reporting_write_errors(self.folder):
            with self.tensorboard.as_default(step):
                for name, value in row.items():
                    if name != "step":
                        tf.summary.scalar(name, value)
            self.tensorboard.flush()

    def _forget_later_events(self, first_step):
        """Drops TensorBoard's events that, as rows, will be measured again."""
        for path in self.folder.glob("events.out.tfevents.*"):
            events, later = [], False
            records = iter(tf.data.TFRecordDataset(str(path)))
            # The last record of a process that was killed may be cut off.
            with contextlib.suppress(StopIteration, tf.errors.DataLossError):
                while True:
                    record = next(records).numpy()
                    if tf.compat.v1.Event.FromString(record).step > first_step:
                        later = True
                    else:
                        events.append(record)
            if later:
                with (
                    self._reporting_write_errors(path),
                    replaced_file(path) as partial,
                    tf.io.TFRecordWriter(str(partial)) as file,
                ):
                    for record in events:
                        file.write(record)

    @contextlib.contextmanager
    def _reporting_write_errors(self, path):
        """Turns the errors of a full disk, TensorFlow's too, into one line."""
        try:
            yield
        except (tf.errors.OpError, OSError) as error:
            reason = getattr(error, "message", None) or error
            raise Unwritten(
                f"{path} could not be written: {reason}; earlier checkpoints"
                " are intact: make room and run the same command, without"
                " `overwrite`, again"
            ) from error

    def _add(self, step, epoch, logs):
        for name, schedule in self.at_step.items():
            logs[name] = float(schedule(step - 1))
        row = {"step": step, "epoch": epoch + 1} | {
            name: logs[name] for name in self.columns if name in logs
        }
        self.rows.append(row)
        self._write()
        return row

    def _write(self):
        text = io.StringIO()
        table = csv.DictWriter(text, self.columns, lineterminator="\n")
        table.writeheader()
        table.writerows(self.rows)
        with (
            self._reporting_write_errors(self.path),
            replaced_file(self.path) as partial,
        ):
            partial.write_text(text.getvalue())


def read(path: Path) -> list[dict[str, str]]:
    """Rows of a `metrics.csv` as dicts of strings; none without the file."""
    if not path.exists():
        return []
    with open(path, newline="") as file:
        return list(csv.DictReader(file))


def read_numbers(path: Path) -> list[dict[str, float | None]]:
    """Rows of a `metrics.csv` as numbers; None where a field is empty."""
    return [
        {name: float(text) if text else None for name, text in row.items()}
        for row in read(path)
    ]


def last_scores(workdir: Path, step: int | None = None) -> dict[str, float]:
    """The newest `rankme` and `knn_accuracy` of a run, a dict of floats.

    Args:
        workdir: `pathlib.Path` of the run.
        step: Rows of later steps are ignored; None: none are.
    """
    scores = {}
    for row in read(workdir / "metrics.csv"):
        for name in ("rankme", "knn_accuracy"):
            if row[name] and (step is None or int(row["step"]) <= step):
                scores[name] = float(row[name])
    return scores
