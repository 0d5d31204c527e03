"""Fine-tuning: encoder and head learn from few or all labels.

The paper's semi-supervised protocol, which is SimCLR's: SGD with momentum 0.9,
rate linear in the batch, cosine, no decay. Batch norm is in training mode: it
normalises by the batch and moves its running statistics, which then score.
"""

from mec_tf.evaluations.classifier import Classifier
from mec_tf.optimizers import SGD


def run(
    encoder,
    train,
    test,
    *,
    recipe,
    base_lr,
    head_lr=None,
    strategy,
    keep=None,
    watch,
):
    """Scores an encoder by the protocol; its weights change.

    Args:
        encoder: `keras.Model`, float32 RGB `[n, h, w, 3]` in [0, 1] to
            features `[n, d]`, opened in the strategy's scope.
        train: Labelled `data.sources.Source`.
        test: Labelled `Source` to score.
        recipe: `supervised.Recipe`.
        base_lr: Of the encoder: lr = base * batch / 256.
        head_lr: Of the head, likewise; None: `base_lr`.
        strategy: `tf.distribute.Strategy`.
        keep: Folder of checkpoints, or None.
        watch: See `Recipe.train`.

    Returns:
        Dict: the scores of `metrics`, `labelled_images`, and what came of the
        recipe: `batch_size`, `steps` and `peak_lr` (the encoder's).
    """
    if head_lr is None:
        head_lr = base_lr
    passes = recipe.passes(train, strategy)
    with strategy.scope():
        head = recipe.head(encoder.output_shape[-1], len(train.class_names))
        groups = [
            (
                recipe.optimizer(SGD, variables, base_lr=rate, passes=passes),
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
    recipe.train(
        model,
        train,
        passes=passes,
        base_lrs=sorted({base_lr, head_lr}),
        keep=keep,
        watch=watch,
    )
    (scores,) = recipe.score(model, test)
    return {
        **scores,
        "labelled_images": train.size,
        **recipe.facts(passes, base_lr),
    }
