"""RankMe and kNN accuracy during pretraining."""

import keras
import tensorflow as tf

from mec_tf.evaluations import features, knn
from mec_tf.evaluations.rankme import rankme


class RepresentationMonitor(keras.callbacks.Callback):
    """Scores the representation: RankMe, and kNN accuracy if labelled.

    Adds `rankme`, of the projector's embeddings of the references, and
    `knn_accuracy` of the backbone's features to the logs of the
    epochs that are scored.

    Args:
        references: Dataset of evaluation batches (`data.pipeline`).
        queries: The same of the held-out images, or None without labels.
        every: Epochs between scores; the last epoch is always scored.
        epochs: Epochs of the run.
    """

    def __init__(self, references, queries, *, every, epochs):
        super().__init__()
        self.references = references
        self.queries = queries
        self.every = every
        self.epochs = epochs

    def set_model(self, model):
        """Compiles the encoder for inference, once for all batch sizes."""
        super().set_model(model)
        self.encode = tf.function(
            lambda images: model.encoder(images, training=False),
            input_signature=[tf.TensorSpec([None, None, None, 3])],
            autograph=False,
        )
        self.project = tf.function(
            lambda values: model.projector(values, training=False),
            input_signature=[
                tf.TensorSpec([None, model.projector.input_shape[-1]])
            ],
            autograph=False,
        )

    def on_epoch_end(self, epoch, logs=None):
        """Scores the representation, every `every` epochs."""
        if (epoch + 1) % self.every and epoch + 1 != self.epochs:
            return
        references = features.extract(self.encode, self.references)
        logs["rankme"] = rankme(self.project(references.values))
        if self.queries is not None:
            queries = features.extract(self.encode, self.queries)
            logs["knn_accuracy"] = knn.accuracy(references, queries)
