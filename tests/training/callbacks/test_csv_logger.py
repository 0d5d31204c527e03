"""Rows of a run on a disk that does not take them."""

import errno
import os
import types

import pytest
import tensorflow as tf

from mec_tf.errors import UserError
from mec_tf.training.callbacks import csv_logger
from mec_tf.training.callbacks.csv_logger import MetricsLogger, read


def test_tensorboard_on_a_full_disk_is_one_line(tmp_path, monkeypatch):
    logger = MetricsLogger(tmp_path, first_step=0, at_step={})
    logger.set_model(types.SimpleNamespace(steps_taken=5))

    def full():
        raise tf.errors.ResourceExhaustedError(None, None, "No space left")

    monkeypatch.setattr(logger.tensorboard, "flush", full)
    with pytest.raises(OSError, match="tensorboard could not .*No space left"):
        logger.on_epoch_end(0, {"loss": 1.0})


def test_rows_on_a_full_disk_are_one_line(tmp_path, monkeypatch):
    logger = MetricsLogger(tmp_path, first_step=0, at_step={})
    logger.set_model(types.SimpleNamespace(steps_taken=5))

    def full(_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))  # as `write`

    monkeypatch.setattr(csv_logger, "replaced_file", full)
    with pytest.raises(UserError, match="metrics.csv could not .*No space"):
        logger.on_epoch_end(0, {"loss": 1.0})


def points(folder):
    """(step, tag) of every scalar in TensorBoard's files, as they lie there."""
    found = []
    for path in folder.glob("tensorboard/events*"):
        for record in tf.data.TFRecordDataset(str(path)):
            event = tf.compat.v1.Event.FromString(record.numpy())
            found += [(event.step, one.tag) for one in event.summary.value]
    return found


def epochs(folder, *, first_step, steps):
    logger = MetricsLogger(folder, first_step=first_step, at_step={})
    for epoch, step in enumerate(steps):
        logger.set_model(types.SimpleNamespace(steps_taken=step))
        logger.on_epoch_end(epoch, {"loss": 1.0})
    logger.tensorboard.close()


def test_a_resumed_run_has_no_point_twice(tmp_path):
    epochs(tmp_path, first_step=0, steps=[5, 10, 15])
    # The killed process's last event was cut off.
    (path,) = tmp_path.glob("tensorboard/events*")
    path.write_bytes(path.read_bytes()[:-3])
    epochs(tmp_path, first_step=10, steps=[15, 20])
    found = points(tmp_path)
    losses = sorted(step for step, tag in found if tag == "loss")
    assert losses == [5, 10, 15, 20]
    assert len(found) == len(set(found))
    assert [row["step"] for row in read(tmp_path / "metrics.csv")] == [
        "5",
        "10",
        "15",
        "20",
    ]


def test_an_epoch_that_nobody_came_to_the_end_of_has_a_row(tmp_path):
    logger = MetricsLogger(
        tmp_path, first_step=0, at_step={"lr": lambda _: 0.5}
    )
    logger.on_epoch_begin(0)
    logger.on_train_batch_end(4, {"loss": tf.constant(2.0)})
    logger.close_epoch(5)
    logger.close_epoch(5)
    (row,) = read(tmp_path / "metrics.csv")
    assert (row["step"], row["epoch"], row["loss"]) == ("5", "1", "2.0")
    assert (row["lr"], row["knn_accuracy"]) == ("0.5", "")
