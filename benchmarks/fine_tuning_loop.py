"""The training that `benchmarks.fine_tuning` repeats on every route.

Plain TensorFlow, of 2.15 or 2.21, and nothing of this package, so that it runs
in environments that know nothing of it.
"""

import numpy as np
import tensorflow as tf

RATE, MOMENTUM, BATCH = 0.02, 0.9, 64


def fine_tune(encode, variables, digits, *, seed, epochs):
    """Trains an encoder and a linear head on labelled digits.

    Args:
        encode: function of images `[n, 8, 8, 3]` in [0, 1] and of a bool,
            `training`, that returns features `[n, d]`.
        variables: the encoder's trainable `tf.Variable`s.
        digits: dict of float32 `train_images`, int64 `train_labels`, and
            `test_images` and `test_labels`.
        seed: decides the order and the head.
        epochs: passes over the training images.

    Returns:
        Accuracy on the test images, in [0, 1].
    """
    generator = np.random.default_rng(seed)
    images, labels = digits["train_images"], digits["train_labels"]
    d = int(encode(images[:1], False).shape[-1])
    head = tf.Variable(generator.normal(0, d**-0.5, [d, 10]), dtype=tf.float32)
    learned = [*variables, head]
    velocities = [tf.Variable(tf.zeros_like(v)) for v in learned]

    @tf.function
    def step(x, y):
        with tf.GradientTape() as tape:
            logits = tf.matmul(encode(x, True), head)
            loss = tf.reduce_mean(
                tf.nn.sparse_softmax_cross_entropy_with_logits(y, logits)
            )
        gradients = tape.gradient(loss, learned)
        for velocity, variable, gradient in zip(
            velocities, learned, gradients, strict=True
        ):
            velocity.assign(MOMENTUM * velocity + gradient)
            variable.assign_sub(RATE * velocity)

    for _ in range(epochs):
        order = generator.permutation(len(labels))
        for begin in range(0, len(order) - BATCH + 1, BATCH):
            chosen = order[begin : begin + BATCH]
            step(tf.constant(images[chosen]), tf.constant(labels[chosen]))
    logits = tf.matmul(encode(digits["test_images"], False), head)
    hits = np.argmax(logits, axis=-1) == digits["test_labels"]
    return float(np.mean(hits))


def accuracies(route, export, digits, *, seeds, epochs):
    """The accuracy of each seed, each with a freshly opened encoder."""
    return [
        fine_tune(*route(export), digits, seed=seed, epochs=epochs)
        for seed in range(seeds)
    ]
