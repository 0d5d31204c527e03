"""Rows of a run on a disk that does not take them."""

import types

import pytest
import tensorflow as tf

from mec_tf.monitors.history import History


def test_tensorboard_on_a_full_disk_is_one_line(tmp_path, monkeypatch):
    history = History(tmp_path, first_step=0, at_step={})
    history.set_model(types.SimpleNamespace(steps_taken=5))

    def full():
        raise tf.errors.ResourceExhaustedError(None, None, "No space left")

    monkeypatch.setattr(history.tensorboard, "flush", full)
    with pytest.raises(OSError, match="tensorboard could not .*No space left"):
        history.on_epoch_end(0, {"loss": 1.0})
