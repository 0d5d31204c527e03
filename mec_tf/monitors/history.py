"""What each epoch measured: `metrics.csv` and TensorBoard."""

import contextlib
import csv
import io

import keras
import tensorflow as tf

from mec_tf.files import replaced_file


class History(keras.callbacks.Callback):
    """Appends one row per epoch; a resumed run goes on without a seam.

    Args:
        workdir: `pathlib.Path` of the run.
        first_step: Step that training starts from. Later rows, written by a
            run that was interrupted after its last checkpoint, are dropped:
            they will be measured again.
        at_step: Dict of name to function of the step: the schedules, logged
            with the value that the epoch's last step used.
        logged: Names of what the objective logs besides the loss.
    """

    def __init__(self, workdir, *, first_step, at_step, logged=()):
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
        with self._faults_named():
            self.tensorboard = tf.summary.create_file_writer(str(self.folder))

    def on_epoch_end(self, epoch, logs=None):
        """Writes the epoch's row.

        Raises:
            OSError: If the disk does not take it.
        """
        step = self.model.steps_taken
        for name, schedule in self.at_step.items():
            logs[name] = float(schedule(step - 1))
        row = {"step": step, "epoch": epoch + 1} | {
            name: logs[name] for name in self.columns if name in logs
        }
        self.rows.append(row)
        self._write()
        with self._faults_named():
            with self.tensorboard.as_default(step):
                for name, value in row.items():
                    if name != "step":
                        tf.summary.scalar(name, value)
            self.tensorboard.flush()

    @contextlib.contextmanager
    def _faults_named(self):
        """TensorFlow has errors of its own for a full disk."""
        try:
            yield
        except tf.errors.OpError as error:
            raise OSError(
                f"{self.folder} could not be written: {error.message}; earlier"
                " checkpoints are intact: make room and run the same command,"
                " without --overwrite, again"
            ) from error

    def _write(self):
        text = io.StringIO()
        table = csv.DictWriter(text, self.columns, lineterminator="\n")
        table.writeheader()
        table.writerows(self.rows)
        with replaced_file(self.path) as partial:
            partial.write_text(text.getvalue())


def read(path):
    """Rows of a `metrics.csv` as dicts of strings; none without the file."""
    if not path.exists():
        return []
    with open(path, newline="") as file:
        return list(csv.DictReader(file))


def last_scores(workdir, step=None):
    """The newest `rankme` and `knn_accuracy` of a run, a dict of floats.

    Args:
        workdir: `pathlib.Path` of the run.
        step: What was measured later does not count; None: all does.
    """
    scores = {}
    for row in read(workdir / "metrics.csv"):
        for name in ("rankme", "knn_accuracy"):
            if row[name] and (step is None or int(row["step"]) <= step):
                scores[name] = float(row[name])
    return scores
