"""Training of heads from an evaluation's config."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from mec_tf.config import EvaluateConfig
from mec_tf.data.sources import Source, checksum
from mec_tf.distribution import strategies
from mec_tf.evaluations.protocols import Evaluation
from mec_tf.evaluations.subjects import Subject
from mec_tf.evaluations.supervised import HeadTraining
from mec_tf.training.callbacks.checkpoint import CheckpointCallback
from mec_tf.training.callbacks.progress_bar import ProgressBar
from mec_tf.training.callbacks.stop_on_divergence import StopOnDivergence
from mec_tf.training.callbacks.workdir_guard import WorkdirGuard


def head_training(subject: Subject, config: EvaluateConfig) -> HeadTraining:
    """The `HeadTraining` of a config."""
    return HeadTraining(
        batch_size=config.batch_size,
        epochs=config.epochs,
        steps=config.steps or 0,
        weight_decay=config.weight_decay,
        image_size=subject.image_size,
        crop_area=config.crop_area,
        flip=config.flip,
        interpolation=config.interpolation,
        resize=config.test_resize,
        crop_fraction=subject.crop_fraction,
        seed=config.seed,
    )


def checkpoints_folder(
    config: EvaluateConfig, metadata: Mapping[str, Any], source: Source
) -> Path | None:
    """Folder of checkpoints: another one if encoder or images change."""
    if not config.workdir:
        return None
    key = checksum(metadata["checksum"], source.fingerprint())[:16]
    return Path(config.workdir) / "checkpoints" / key


def make_callbacks_of(evaluation: Evaluation) -> Callable[..., list]:
    """The `make_callbacks` of `HeadTraining.train`."""
    config = evaluation.config

    def make_callbacks(model, schedule, base_lrs, checkpoints, first_step):
        evaluation.say(schedule.summary(base_lrs))
        total = schedule.total_steps
        if first_step:
            evaluation.say(f"going on from step {first_step} of {total}")
        callbacks = [
            StopOnDivergence(remedy="lower `base_lr` or `head_lr`"),
            ProgressBar(schedule),
        ]
        if checkpoints is not None:
            checkpointing = CheckpointCallback(
                checkpoints,
                schedule,
                minutes=config.checkpoint_minutes,
                each_epoch=False,
                workers=strategies.Workers(model.distribute_strategy),
            )
            callbacks.insert(0, WorkdirGuard(Path(config.workdir)))
            checkpointing.keep_means(model)
            # `fit_resumable` restores the handlers.
            if evaluation.catch_signals and first_step < total:
                checkpointing.catch_signals()
            callbacks.append(checkpointing)
        return callbacks

    return make_callbacks
