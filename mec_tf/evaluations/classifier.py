"""A Keras model of classification heads on top of an encoder."""

import keras
import numpy as np
import tensorflow as tf

from mec_tf.data import bad_images
from mec_tf.distribution import strategies
from mec_tf.evaluations import metrics
from mec_tf.evaluations.features import require_some


class Classifier(keras.Model):
    """One or several linear heads that learn side by side.

    Args:
        represent: Function of `(images, training)`: float32 RGB `[n, h, w, 3]`
            in [0, 1] to features `[n, d]`.
        heads: `keras.layers.Dense` layers, built, `[n, d]` to `[n, classes]`;
            each has a loss of its own.
        groups: Pairs of an optimizer and the variables that it moves. The
            heads share nothing that learns unless a group says so.
        statistics: Variables that move without gradients, such as those of
            batch norm; what a checkpoint must hold beside the groups.
        multi_label: Whether an image may be of several classes: labels are
            then int64 `[n, classes]` (1, 0, or -1: does not count) and the loss
            is the binary cross-entropy.
    """

    def __init__(
        self, represent, heads, groups, *, statistics=(), multi_label=False
    ):
        super().__init__(name="classifier")
        self.represent = represent
        self.heads = heads
        self.groups = groups
        self.statistics = statistics
        self.multi_label = multi_label
        self.means = [keras.metrics.Mean(f"loss{k}") for k in range(len(heads))]
        self.built = True
        self.compile(optimizer=groups[0][0], jit_compile=False)

    @property
    def metrics(self):
        """The running means that `fit` resets at each epoch."""
        return self.means

    @property
    def steps_taken(self):
        """Training steps so far, an int."""
        return int(keras.ops.convert_to_numpy(self.optimizer.iterations))

    @steps_taken.setter
    def steps_taken(self, step):
        for optimizer, _ in self.groups:
            optimizer.iterations.assign(step)

    def call(self, images, training=False):
        """Scores of each head, a list of float32 `[n, classes]`."""
        features = tf.cast(self.represent(images, training), tf.float32)
        return [head(features) for head in self.heads]

    @tf.autograph.experimental.do_not_convert
    def train_step(self, batch):
        """One step on a labelled batch; returns the best head's mean loss.

        Args:
            batch: Dict with `views`, a tuple of one uint8 `[n, s, s, 3]`, and
                `label`, int64 `[n]` or `[n, classes]`.
        """
        (view,) = batch["views"]
        images = tf.cast(view, tf.float32) / 255.0
        with tf.GradientTape() as tape:
            losses = [
                self._loss(batch["label"], scores)
                for scores in self(images, training=True)
            ]
            # Keras' optimizers add gradients over replicas.
            replicas = strategies.current_replicas().count
            total = tf.add_n(losses) / replicas
        gradients = tape.gradient(total, [list(v) for _, v in self.groups])
        for (optimizer, variables), gradient in zip(
            self.groups, gradients, strict=True
        ):
            optimizer.apply(gradient, variables)
        for mean, loss in zip(self.means, losses, strict=True):
            mean.update_state(loss)
        means = tf.stack([mean.result() for mean in self.means])
        # A head whose rate is too high may diverge; if all do, it shows.
        finite = tf.math.is_finite(means)
        means = tf.where(
            finite | ~tf.reduce_any(finite), means, means.dtype.max
        )
        return {"loss": tf.reduce_min(means)}

    def _loss(self, labels, scores):
        if not self.multi_label:
            return tf.reduce_mean(
                tf.nn.sparse_softmax_cross_entropy_with_logits(labels, scores)
            )
        counted = tf.cast(labels >= 0, tf.float32)
        losses = tf.nn.sigmoid_cross_entropy_with_logits(
            tf.cast(labels == 1, tf.float32), scores
        )
        return tf.reduce_mean(tf.reduce_sum(counted * losses, axis=1))

    def score(self, source, batches):
        """Scores every head.

        Args:
            source: Labelled `data.sources.Source`.
            batches: Of it, by `pipeline.evaluation_batches`.

        Returns:
            A list of the dicts of `metrics`, one per head.

        Raises:
            ValueError: If none or too few of the images can be read.
        """
        answer = tf.function(
            lambda images: self(images, training=False),
            autograph=False,
            reduce_retracing=True,
        )
        labels, found = [], [[] for _ in self.heads]
        with bad_images.reporting_failures([source]):
            for batch in batches:
                images = tf.cast(batch["image"], tf.float32) / 255.0
                labels.append(batch["label"].numpy())
                for kept, scores in zip(found, answer(images), strict=True):
                    # Of a single label only its rank is needed: 50,000 images
                    # of 1,000 classes would take 200 MB per head.
                    kept.append(
                        scores.numpy()
                        if self.multi_label
                        else metrics.ranks(scores, labels[-1])
                    )
        require_some(labels, source.description)
        measure = (
            metrics.mean_average_precision
            if self.multi_label
            else metrics.accuracies
        )
        labels = np.concatenate(labels)
        return [
            measure(np.concatenate(kept), labels, source.class_names)
            for kept in found
        ]
