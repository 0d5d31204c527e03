"""Resumable training, shared by pretraining and the classifiers."""

import contextlib
from collections.abc import Callable, Sequence

import keras

from mec_tf.data import bad_images
from mec_tf.data.pipeline import Gate
from mec_tf.training.callbacks.checkpoint import CheckpointCallback
from mec_tf.training.callbacks.progress_bar import ProgressBar
from mec_tf.training.schedule import Schedule, segments


def fit_resumable(
    model: keras.Model,
    batches: Callable,
    schedule: Schedule,
    first_step: int,
    callbacks: Sequence[keras.callbacks.Callback],
    *,
    sources: Sequence = (),
) -> None:
    """Trains a model from a step on to the end of its run.

    However training ends, signals are given back by the `CheckpointCallback`
    among the callbacks, and the terminal by the `ProgressBar`. If images cannot
    be read any more, the last completed step is saved.

    Args:
        model: Compiled, its state that of the first step.
        batches: Function of (first_step, gate), by keyword, that returns what
            `Model.fit` takes: endless, from the batch of that step on, each let
            through by the `data.pipeline.Gate`.
        schedule: Of the run.
        first_step: Step to go on from, 0 to begin.
        callbacks: As `Model.fit` takes them. A `CheckpointCallback`
            comes last.
        sources: `data.sources.Source`s that are read meanwhile, or None.

    Raises:
        TooManyBadImages: If too many of their images cannot be read.
        Interrupted: If a signal ended the run and the `CheckpointCallback`
            caught it.
    """
    gate = Gate()
    with contextlib.ExitStack() as stack:
        for callback in callbacks:
            if isinstance(callback, ProgressBar):
                stack.callback(callback.close)
            elif isinstance(callback, CheckpointCallback):
                gate = callback.gate
                stack.callback(callback.release_signals)
                stack.enter_context(callback.saved_on_bad_images())
        stack.enter_context(bad_images.reporting_failures(sources))
        for segment in segments(schedule, first_step):
            model.fit(
                batches(first_step=segment.first_step, gate=gate),
                initial_epoch=segment.initial_epoch,
                epochs=segment.epochs,
                steps_per_epoch=segment.steps_per_epoch,
                callbacks=list(callbacks),
                shuffle=False,
                verbose=0,
            )
