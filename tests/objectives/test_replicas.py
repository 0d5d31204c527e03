"""Two replicas compute the loss and the gradients of one."""

import subprocess
import sys
from pathlib import Path

from conftest import environment

# A process has one set of logical devices, so this one gets its own.
TWO_REPLICAS_AGAINST_ONE = """
import itertools

import mec_tf  # sets oneDNN before TensorFlow is loaded
import numpy as np
import tensorflow as tf

from mec_tf.distribution.strategies import current_replicas
from mec_tf.objectives import Embeddings, mec
from mec_tf.objectives.replicas import ALONE

from objectives.centred_info_nce import CentredInfoNCE

cpu = tf.config.list_physical_devices("CPU")[0]
half = tf.config.LogicalDeviceConfiguration()
tf.config.set_logical_device_configuration(cpu, [half, half])
strategy = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
m, d = 8, 6
CASES = [
    ("auto", "l2", 1),
    ("auto", "l2", 4),
    *itertools.product(("batch", "feature"), ("l2", "batch"), (0, 4)),
]
random = np.random.default_rng(0)
z1 = random.normal(size=(m, d))
z2 = z1 + 0.5 * random.normal(size=(m, d))


info_nce = CentredInfoNCE()
info_nce.build((None, d))


def by_autodiff(z1, z2, replicas):
    # Of gathered rows, of each row by itself, and of a product of both.
    nce, _ = info_nce(
        Embeddings([z1, z2], [z2, z1]), step=tf.constant(0), replicas=replicas
    )
    rows = tf.cast(replicas.count * tf.shape(z1)[0], z1.dtype)
    mean = replicas.sum(tf.reduce_sum(tf.tanh(z1 * z2))) / rows
    everyone = replicas.gather(z1)[:, None] ** 2 * replicas.gather(z2)
    return tf.cast(nce, z1.dtype) + mean * tf.reduce_mean(everyone) ** 2


def results(z1, z2, replicas):
    values, gradients = [], []
    for form, norm, order in CASES:
        with tf.GradientTape() as tape:
            tape.watch([z1, z2])
            loss = mec.mec_loss(
                z1,
                z2,
                distortion=0.5,
                order=order,
                form=form,
                embedding_norm=norm,
                replicas=replicas,
            )
        values.append(loss)
        gradients.append(tf.stack(tape.gradient(loss, [z1, z2])))
    with tf.GradientTape() as tape:
        tape.watch([z1, z2])
        values.append(by_autodiff(z1, z2, replicas))
    gradients.append(tf.stack(tape.gradient(values[-1], [z1, z2])))
    values.append(
        mec.spectral_norm(
            z1,
            z2,
            distortion=0.5,
            seed=[1, 2],
            embedding_norm="batch",
            replicas=replicas,
        )
    )
    return tf.stack(values), tf.stack(gradients, 2)  # [2, m, cases, d]


def shard(z):
    return strategy.experimental_distribute_values_from_function(
        lambda context: tf.constant(
            np.split(z, 2)[context.replica_id_in_sync_group]
        )
    )


@tf.function
def on_two(z1, z2):
    return strategy.run(
        lambda z1, z2: results(z1, z2, current_replicas()), (z1, z2)
    )


@tf.function
def numbered():
    def number():
        replicas = current_replicas()
        own = tf.fill([3, 2], tf.cast(replicas.index, tf.float32))
        everyones = replicas.gather(own)
        return everyones, replicas.own_rows(everyones) - own

    return strategy.run(number)


def check(z1, z2):
    values, gradients = on_two(shard(z1), shard(z2))
    want, want_gradients = results(tf.constant(z1), tf.constant(z2), ALONE)
    for value in strategy.experimental_local_results(values):
        np.testing.assert_allclose(value, want, rtol=1e-6)
        # Of these the one by autodiff computes in float32.
        exact = np.arange(len(want)) != len(CASES)
        np.testing.assert_allclose(value[exact], want[exact], rtol=1e-12)
    rows = strategy.experimental_local_results(gradients)
    rows = np.concatenate(rows, 1)
    np.testing.assert_allclose(
        rows[:, :, :-1], want_gradients[:, :, :-1], rtol=1e-9, atol=1e-14
    )
    np.testing.assert_allclose(
        rows[:, :, -1], want_gradients[:, :, -1], rtol=1e-5, atol=1e-7
    )


for everyones, rest in zip(
    *map(strategy.experimental_local_results, numbered()), strict=True
):
    assert np.array_equal(everyones[:, 0], [0, 0, 0, 1, 1, 1]), everyones
    assert not np.any(rest)


check(z1, z2)
check(np.tile(z1[:4], (2, 1)), np.tile(z2[:4], (2, 1)))  # replicas alike
check(np.tile(z1[:4], (2, 1)), z2)  # alike in one view only
print("equal")
"""


def test_two_replicas_give_the_loss_and_gradients_of_one():
    process = subprocess.run(
        [sys.executable, "-c", TWO_REPLICAS_AGAINST_ONE],
        cwd=Path(__file__).parents[1],  # to find `objectives`
        env=environment(),
        capture_output=True,
        text=True,
    )
    assert process.stdout.endswith("equal\n"), process.stderr
