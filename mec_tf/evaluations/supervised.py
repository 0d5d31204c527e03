"""Training and scoring of heads on labelled images: linear and fine-tuned.

Training uses one random resized crop and flip of each image per epoch, scoring
the centre crop. An interrupted run goes on from its last checkpoint, on a CPU
to the same bits.
"""

import dataclasses
import functools

import keras
from absl import logging

from mec_tf.augment.policy import Policy, View
from mec_tf.data import pipeline
from mec_tf.optimizers import WarmupCosine
from mec_tf.training.checkpoint import Checkpoints
from mec_tf.training.fit import fit_resumable
from mec_tf.training.schedule import make_schedule


@dataclasses.dataclass(frozen=True)
class HeadTraining:
    """Trains and scores heads, for linear probing and fine-tuning alike.

    Attributes:
        batch_size: Images per step; a set that is smaller is one batch.
        epochs: Epochs to train for.
        steps: Steps in all; 0: as `epochs` say.
        weight_decay: Coupled (L2).
        image_size: Side of crops, pixels.
        crop_area: Least and greatest area of the training crop, share.
        flip: Probability of a flip while training.
        interpolation: "bicubic" or "bilinear".
        resize: How test images are resized, see `crops.centre_crop`.
        crop_fraction: How test images are cropped, see `evaluation_batches`.
        seed: Seeds crops, order and heads.
    """

    batch_size: int
    epochs: int
    image_size: int
    steps: int = 0
    weight_decay: float = 0.0
    crop_area: tuple[float, float] = (0.08, 1.0)
    flip: float = 0.5
    interpolation: str = "bicubic"
    resize: str = "short"
    crop_fraction: float | None = None
    seed: int = 0

    def schedule(self, source, strategy):
        """The `schedule.Schedule` over a source."""
        return make_schedule(
            source.size,
            batch_size=self.batch_size,
            epochs=self.epochs,
            steps=self.steps,
            replicas=strategy.num_replicas_in_sync,
            cut=True,
        )

    def head(self, feature_dim, classes):
        """A linear head, built; the same numbers for the same seed."""
        head = keras.layers.Dense(
            classes,
            kernel_initializer=keras.initializers.RandomNormal(
                stddev=0.01, seed=self.seed
            ),
            dtype="float32",
        )
        head.build((None, feature_dim))
        return head

    def optimizer(self, kind, variables, *, base_lr, schedule):
        """An optimizer, built; its rate falls from its peak by a cosine."""
        rate = WarmupCosine(
            schedule.peak_lr(base_lr),
            warmup_steps=0,
            total_steps=schedule.total_steps,
        )
        optimizer = kind(rate, momentum=0.9, weight_decay=self.weight_decay)
        optimizer.build(variables)
        return optimizer

    def score(self, model, source):
        """The scores of each of a `Classifier`'s heads."""
        return model.score(source, self.batches(source))

    def batches(self, source):
        """Batches to score on."""
        return pipeline.evaluation_batches(
            source,
            image_size=self.image_size,
            batch_size=256,
            crop_fraction=self.crop_fraction,
            interpolation=self.interpolation,
            resize=self.resize,
        )

    def summary(self, schedule, base_lr):
        """The settings of a training that its result tells, a dict."""
        return {
            "batch_size": schedule.batch_size,
            "steps": schedule.total_steps,
            "peak_lr": schedule.peak_lr(base_lr),
        }

    def train(
        self,
        model,
        source,
        *,
        schedule,
        base_lrs,
        checkpoint_dir=None,
        make_callbacks,
    ):
        """Trains a `Classifier`, from its last checkpoint on.

        Args:
            model: `classifier.Classifier`.
            source: Labelled `data.sources.Source`.
            schedule: `schedule.Schedule`.
            base_lrs: Base rates of the groups, for `make_callbacks`.
            checkpoint_dir: Folder of checkpoints, or None: none are saved.
            make_callbacks: Function of (model, schedule, base_lrs, checkpoints,
                first_step) that returns Keras callbacks; `checkpoints` is None
                where none are saved, and training goes on from the step. A
                `CheckpointCallback` comes last.
        """
        checkpoints, first_step = None, 0
        if checkpoint_dir is not None:
            checkpoints = Checkpoints(
                checkpoint_dir,
                max_to_keep=1,
                learned=[[v.value for v in group] for _, group in model.groups],
                statistics=[v.value for v in model.statistics],
                optimizers=[optimizer for optimizer, _ in model.groups],
                means=[v.value for m in model.metrics for v in m.variables],
            )
            first_step, warnings = checkpoints.restore()
            for line in warnings:
                logging.warning(line)
            checkpoints.set_aside_damaged(first_step)
        view = View(
            size=self.image_size, crop_area=self.crop_area, flip=self.flip
        )
        callbacks = make_callbacks(
            model, schedule, base_lrs, checkpoints, first_step
        )
        policy = Policy(
            views=(view,),
            mean=(0.0,) * 3,
            std=(1.0,) * 3,
            interpolation=self.interpolation,
        )
        fit_resumable(
            model,
            functools.partial(
                pipeline.training_batches,
                source,
                policy,
                batch_size=schedule.batch_size,
                seed=self.seed,
                labelled=True,
            ),
            schedule,
            first_step,
            callbacks,
            sources=[source],
        )
