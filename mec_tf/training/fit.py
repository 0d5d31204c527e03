"""One way of training for encoders and classifiers: it can be taken up."""

import contextlib
from collections.abc import Callable, Sequence

import keras

from mec_tf.data import bad_images
from mec_tf.data.pipeline import Gate
from mec_tf.training.callbacks.progress import Progress
from mec_tf.training.callbacks.saver import Saver
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

    However it ends, a `Saver` among the callbacks has given signals back, and a
    `Progress` its terminal; where images cannot be read any more, the last
    completed step is saved.

    Args:
        model: Compiled, its state that of the first step.
        batches: Function of (first_step, gate), by keyword, that returns what
            `Model.fit` takes: endless, from the batch of that step on, each let
            through by the `data.pipeline.Gate`.
        schedule: Of the run.
        first_step: Step to go on from, 0 to begin.
        callbacks: As `Model.fit` takes them. A `Saver` comes last.
        sources: `data.sources.Source`s that are read meanwhile, or None.

    Raises:
        TooManyBadImages: If too many of their images cannot be read.
        Interrupted: If a signal ended it that the `Saver` had to catch.
    """
    gate = Gate()
    with contextlib.ExitStack() as held:
        for callback in callbacks:
            if isinstance(callback, Progress):
                held.callback(callback.close)
            elif isinstance(callback, Saver):
                gate = callback.gate
                held.callback(callback.release_signals)
                held.enter_context(callback.kept_without_images())
        held.enter_context(bad_images.named(sources))
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
