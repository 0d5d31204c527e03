"""Linear probing: a linear classifier on frozen features.

The paper's protocol: features in inference mode, of a fresh random crop and
flip of each image in every epoch; LARS, cosine, no decay. Several rates are
tried in one pass: each has a head of its own, and only the encoder's work,
which is nearly all there is, is shared.
"""

import numpy as np
import tensorflow as tf

from mec_tf.evaluations.classifier import Classifier
from mec_tf.evaluations.head_settings import (
    checkpoints_folder,
    head_training,
    make_callbacks_of,
)
from mec_tf.evaluations.protocols import TRAINING, on_labelled_images
from mec_tf.evaluations.tasks import validation_part
from mec_tf.formats import encoders
from mec_tf.models.batch_norm import BatchNormalization
from mec_tf.optimizers import LARS


def run(
    encode,
    train,
    test,
    *,
    training,
    head_lrs,
    feature_norm=False,
    metric="top1",
    validation=None,
    strategy,
    checkpoints=None,
    make_callbacks,
):
    """Scores an encoder by the protocol.

    Args:
        encode: Function of float32 RGB `[n, h, w, 3]` in [0, 1] that returns
            features `[n, d]`, opened in the strategy's scope.
        train: Labelled `data.sources.Source`.
        test: Labelled `Source` to score.
        training: `supervised.HeadTraining`.
        head_lrs: Base rates, one head each: lr = base * batch / 256.
        feature_norm: Whether features are standardised by a batch norm without
            affine (epsilon 1e-6), as in the authors' code.
        metric: The score that chooses the head, of `metrics.METRICS`.
        validation: Boolean `[n]` of the training images: where the head is
            chosen; a head of its rate then learns from all of them. None: the
            test images choose, as often in the literature on ImageNet.
        strategy: `tf.distribute.Strategy`.
        checkpoints: Folder of checkpoints, or None.
        make_callbacks: `watch` of `HeadTraining.train`.

    Returns:
        Dict: the scores of `metrics` of the best head, its `base_lr`;
        `chosen_on`, "test" or "validation"; `sweep`, a dict from each base rate
        to the score that chose; and what came of the training: `batch_size`,
        `steps` and `peak_lr`.
    """
    size = training.image_size
    feature_dim = encode(tf.zeros([1, size, size, 3])).shape[-1]

    def trained(source, base_lrs, folder):
        """The heads after training, and the run in numbers."""
        schedule = training.schedule(source, strategy)
        with strategy.scope():
            model = _classifier(
                encode,
                source,
                feature_dim,
                training=training,
                schedule=schedule,
                base_lrs=base_lrs,
                feature_norm=feature_norm,
            )
        training.train(
            model,
            source,
            schedule=schedule,
            base_lrs=base_lrs,
            checkpoint_dir=folder,
            make_callbacks=make_callbacks,
        )
        return model, schedule

    if validation is None:
        model, schedule = trained(train, head_lrs, checkpoints)
        judged = scores = training.score(model, test)
    else:
        kept, held_out = np.flatnonzero(~validation), np.flatnonzero(validation)
        model, _ = trained(
            train.part(kept, "all but the validation part"),
            head_lrs,
            checkpoints and checkpoints / "search",
        )
        judged = training.score(
            model, train.part(held_out, "the validation part")
        )
    sweep = {
        base_lr: one[metric]
        for base_lr, one in zip(head_lrs, judged, strict=True)
    }
    best = max(sweep, key=sweep.get)
    if validation is None:
        chosen = scores[head_lrs.index(best)]
    else:
        model, schedule = trained(
            train, [best], checkpoints and checkpoints / "final"
        )
        (chosen,) = training.score(model, test)
    return {
        **chosen,
        "base_lr": best,
        "chosen_on": "test" if validation is None else "validation",
        "sweep": sweep,
        **training.summary(schedule, best),
    }


def _classifier(
    encode, train, feature_dim, *, training, schedule, base_lrs, feature_norm
):
    """A `Classifier` with a head and a LARS for each base rate."""
    norm = None
    if feature_norm:
        norm = BatchNormalization(epsilon=1e-6, center=False, scale=False)
        norm.build((None, feature_dim))
    heads = [
        training.head(feature_dim, len(train.class_names)) for _ in base_lrs
    ]
    groups = [
        (
            training.optimizer(
                LARS,
                head.trainable_variables,
                base_lr=base_lr,
                schedule=schedule,
            ),
            head.trainable_variables,
        )
        for head, base_lr in zip(heads, base_lrs, strict=True)
    ]

    def represent(images, training):
        features = tf.stop_gradient(encode(images))
        return norm(features, training=training) if norm else features

    return Classifier(
        represent,
        heads,
        groups,
        statistics=norm.variables if norm else (),
        multi_label=train.multi_label,
    )


def _score(subject, task, evaluation):
    config = evaluation.config
    with evaluation.strategy.scope():
        encode, metadata = encoders.open_encoder(subject.name)
    return run(
        encode,
        task.train,
        task.test,
        training=head_training(subject, config),
        head_lrs=list(config.head_lr),
        feature_norm=config.feature_norm,
        metric=task.metric,
        validation=validation_part(task.train, config),
        strategy=evaluation.strategy,
        checkpoints=checkpoints_folder(config, metadata, task.train),
        make_callbacks=make_callbacks_of(evaluation),
    )


PROTOCOL = on_labelled_images(
    _score,
    settings=TRAINING | {"feature_norm", "validation_fraction"},
    defaults={
        "batch_size": 4096,
        "epochs": 100,
        "head_lr": (0.03, 0.1, 0.3, 1.0, 3.0),
        "validation_fraction": 0.0,
    },
    trains=True,
)
