"""Fine-tuning: encoder and head learn from few or all labels.

The paper's semi-supervised protocol, which is SimCLR's: SGD with momentum 0.9,
rate linear in the batch, cosine, no decay. Batch norm is in training mode: it
normalises by the batch and moves its running statistics, which then score.
"""

from mec_tf.evaluations.classifier import Classifier
from mec_tf.evaluations.head_settings import (
    checkpoints_folder,
    head_training,
    make_callbacks_of,
)
from mec_tf.evaluations.protocols import TRAINING, on_labelled_images
from mec_tf.formats import encoders
from mec_tf.optimizers import SGD


def run(
    encoder,
    train,
    test,
    *,
    training,
    base_lr,
    head_lr=None,
    strategy,
    checkpoints=None,
    make_callbacks,
):
    """Scores an encoder by the protocol; its weights change.

    Args:
        encoder: `keras.Model`, float32 RGB `[n, h, w, 3]` in [0, 1] to
            features `[n, d]`, opened in the strategy's scope.
        train: Labelled `data.sources.Source`.
        test: Labelled `Source` to score.
        training: `supervised.HeadTraining`.
        base_lr: Of the encoder: lr = base * batch / 256.
        head_lr: Of the head, likewise; None: `base_lr`.
        strategy: `tf.distribute.Strategy`.
        checkpoints: Folder of checkpoints, or None.
        make_callbacks: `watch` of `HeadTraining.train`.

    Returns:
        Dict: the scores of `metrics`, `labelled_images`, and what came of the
        training: `batch_size`, `steps` and `peak_lr` (the encoder's).
    """
    if head_lr is None:
        head_lr = base_lr
    schedule = training.schedule(train, strategy)
    with strategy.scope():
        head = training.head(encoder.output_shape[-1], len(train.class_names))
        groups = [
            (
                training.optimizer(
                    SGD, variables, base_lr=rate, schedule=schedule
                ),
                variables,
            )
            for variables, rate in (
                (encoder.trainable_variables, base_lr),
                (head.trainable_variables, head_lr),
            )
        ]
        model = Classifier(
            lambda images, training: encoder(images, training=training),
            [head],
            groups,
            statistics=encoder.non_trainable_variables,
            multi_label=train.multi_label,
        )
    training.train(
        model,
        train,
        schedule=schedule,
        base_lrs=sorted({base_lr, head_lr}),
        checkpoint_dir=checkpoints,
        make_callbacks=make_callbacks,
    )
    (scores,) = training.score(model, test)
    return {
        **scores,
        "labelled_images": train.size,
        **training.summary(schedule, base_lr),
    }


def _score(subject, task, evaluation):
    config = evaluation.config
    with evaluation.strategy.scope():
        encoder, metadata = encoders.open_model(subject.name)
    (head_lr,) = config.head_lr
    return run(
        encoder,
        task.train,
        task.test,
        training=head_training(subject, config),
        base_lr=config.base_lr,
        head_lr=head_lr,
        strategy=evaluation.strategy,
        checkpoints=checkpoints_folder(config, metadata, task.train),
        make_callbacks=make_callbacks_of(evaluation),
    )


PROTOCOL = on_labelled_images(
    _score,
    settings=TRAINING | {"base_lr"},
    defaults={
        "batch_size": 1024,
        "epochs": 50,
        "head_lr": lambda config: (config.base_lr,),
    },
    trains=True,
    needs_weights=True,
)
