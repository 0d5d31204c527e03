"""InfoNCE over the global batch, of embeddings without their running mean."""

import tensorflow as tf

from mec_tf.objectives import objective, pairing


class CentredInfoNCE(objective.Objective):
    logged = ("similarity",)  # a column of metrics.csv
    plotted = {"similarity": "cosine of positives"}  # and a curve

    def __init__(self, temperature=0.5):
        super().__init__()
        self.temperature = temperature

    def build(self, input_shape):  # (None, d)
        self.centre = self.add_state("centre", input_shape[1:])

    def call(self, embeddings, *, step, replicas):
        losses, similarities = [], []
        for pair in pairing.pairs(embeddings):
            z1, z2 = (self.centred(replicas.gather(z)) for z in pair)  # [m, d]
            cosines = tf.matmul(z1, z2, transpose_b=True)
            likely = tf.nn.log_softmax(cosines / self.temperature)
            losses.append(-tf.reduce_mean(tf.linalg.diag_part(likely)))
            similarities.append(tf.reduce_mean(tf.linalg.diag_part(cosines)))
        loss = tf.reduce_mean(losses)
        return loss, {"similarity": tf.reduce_mean(similarities)}

    def update(self, embeddings, *, step, replicas):
        mean = tf.reduce_mean(unit(tf.concat(embeddings.online, 0)), 0)
        mean = replicas.sum(mean) / replicas.count
        self.centre.assign(0.9 * self.centre + 0.1 * mean)

    def centred(self, z):
        return unit(unit(z) - self.centre)


def unit(z):
    return tf.math.l2_normalize(tf.cast(z, tf.float32), 1)
