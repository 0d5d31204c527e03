"""Linear probing: a linear classifier on frozen features.

The paper's protocol: features in inference mode, of a fresh random crop and
flip of each image in every epoch; LARS, cosine, no decay. Several rates are
tried in one pass: each has a head of its own, and only the encoder's work,
which is nearly all there is, is shared.
"""

import tensorflow as tf

from mec_tf.evaluations.classifier import Classifier
from mec_tf.models.batch_norm import BatchNormalization
from mec_tf.optimizers import LARS


def run(
    encode,
    train,
    test,
    *,
    recipe,
    head_lrs,
    feature_norm=False,
    metric="top1",
    validation=None,
    strategy,
    keep=None,
    watch,
):
    """Scores an encoder by the protocol.

    Args:
        encode: Function of float32 RGB `[n, h, w, 3]` in [0, 1] that returns
            features `[n, d]`, opened in the strategy's scope.
        train: Labelled `data.sources.Source`.
        test: Labelled `Source` to score.
        recipe: `supervised.Recipe`.
        head_lrs: Base rates, one head each: lr = base * batch / 256.
        feature_norm: Whether features are standardised by a batch norm without
            affine (epsilon 1e-6), as in the authors' code.
        metric: The score that chooses the head, of `metrics.METRICS`.
        validation: Labelled `Source` that chooses; None: the test images do,
            as the literature on ImageNet has it.
        strategy: `tf.distribute.Strategy`.
        keep: Folder of checkpoints, or None.
        watch: See `Recipe.train`.

    Returns:
        Dict: the scores of `metrics` of the best head, its `base_lr`, and
        `sweep`, a dict from each base rate to the score that chose.
    """
    passes = recipe.passes(train, strategy)
    size = recipe.image_size
    feature_dim = encode(tf.zeros([1, size, size, 3])).shape[-1]
    with strategy.scope():
        norm = None
        if feature_norm:
            norm = BatchNormalization(epsilon=1e-6, center=False, scale=False)
            norm.build((None, feature_dim))
        heads = [
            recipe.head(feature_dim, len(train.class_names)) for _ in head_lrs
        ]
        groups = [
            (
                recipe.optimizer(
                    LARS,
                    head.trainable_variables,
                    base_lr=base_lr,
                    passes=passes,
                ),
                head.trainable_variables,
            )
            for head, base_lr in zip(heads, head_lrs, strict=True)
        ]

        def represent(images, training):
            features = tf.stop_gradient(encode(images))
            return norm(features, training=training) if norm else features

        model = Classifier(
            represent,
            heads,
            groups,
            statistics=norm.variables if norm else (),
            multi_label=train.multi_label,
        )
    recipe.train(model, train, passes=passes, keep=keep, watch=watch)
    names = train.class_names
    scores = model.score(recipe.batches(test), names)
    judged = scores
    if validation is not None:
        judged = model.score(recipe.batches(validation), names)
    sweep = {
        base_lr: one[metric]
        for base_lr, one in zip(head_lrs, judged, strict=True)
    }
    best = max(sweep, key=sweep.get)
    chosen = scores[head_lrs.index(best)]
    return {**chosen, "base_lr": best, "sweep": sweep}
