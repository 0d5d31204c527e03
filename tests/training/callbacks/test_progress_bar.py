"""One tidy line an epoch; a bar meanwhile where a person looks."""

import io
import sys
import types

import pytest

from mec_tf.training.callbacks import progress_bar
from mec_tf.training.callbacks.progress_bar import ProgressBar
from mec_tf.training.schedule import make_schedule


@pytest.fixture
def train(monkeypatch):
    """Two epochs of two steps; what was written to standard error."""

    def train(*, terminal, stop_at=None):
        stream = io.StringIO()
        stream.isatty = lambda: terminal
        monkeypatch.setattr(sys, "stderr", stream)
        monkeypatch.setattr(progress_bar, "_SECONDS", -1.0)
        monkeypatch.setenv("TERM", "xterm")
        monkeypatch.setenv("COLUMNS", "120")
        schedule = make_schedule(8, batch_size=4, epochs=2)
        bar = ProgressBar(schedule, plotted={"norm": "Norm"})
        model = types.SimpleNamespace(steps_taken=0)
        bar.set_model(model)
        for epoch in range(2):
            bar.on_epoch_begin(epoch)
            for step in range(2):
                model.steps_taken += 1
                logs = {"loss": 0.5, "norm": 0.25, "other": 9.0}
                bar.on_train_batch_end(step, logs)
                if model.steps_taken == stop_at:
                    bar.close()
                    return stream
            bar.on_epoch_end(epoch, logs)
            assert logs["images_per_second"] > 0
        return stream

    return train


def test_piped_it_is_one_line_an_epoch(train):
    stream = train(terminal=False)
    first, second = stream.getvalue().splitlines()
    assert first.startswith("epoch 1/2 [==========          ]")
    assert second.startswith("epoch 2/2 [====================]")
    assert second.endswith("0:00:00 left  loss 0.5  norm 0.25")


@pytest.mark.parametrize("stop_at", [None, 3])
def test_on_a_terminal_the_bar_goes_and_the_lines_stay(train, stop_at):
    stream = train(terminal=True, stop_at=stop_at)
    assert sys.stderr is stream  # as it was, not the bar's
    text = stream.getvalue()
    assert "\x1b[?25l" not in text  # the cursor is not hidden
    assert "epoch 1/2" in text and "━" in text
    *_, kept = text.split("\x1b[2K")  # what is erased before
    assert kept.count("epoch 2/2") == (stop_at is None)
