"""Two replicas compute the loss and the gradients of one."""

import subprocess
import sys

# A process has one set of logical devices, so this one gets its own.
TWO_REPLICAS_AGAINST_ONE = """
import itertools

import mec_tf  # sets oneDNN before TensorFlow is loaded
import numpy as np
import tensorflow as tf

from mec_tf.objectives import mec
from mec_tf.objectives.replicas import ALONE, Replicas

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


def this_replica():
    context = tf.distribute.get_replica_context()
    return Replicas(
        count=context.num_replicas_in_sync,
        gather=lambda tensor: context.all_gather(tensor, 0),
        sum=lambda tensor: context.all_reduce("SUM", tensor),
    )


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
        lambda z1, z2: results(z1, z2, this_replica()), (z1, z2)
    )


def check(z1, z2):
    values, gradients = on_two(shard(z1), shard(z2))
    want, want_gradients = results(tf.constant(z1), tf.constant(z2), ALONE)
    for value in strategy.experimental_local_results(values):
        np.testing.assert_allclose(value, want, rtol=1e-12)
    rows = strategy.experimental_local_results(gradients)
    np.testing.assert_allclose(
        np.concatenate(rows, 1), want_gradients, rtol=1e-9, atol=1e-14
    )


check(z1, z2)
check(np.tile(z1[:4], (2, 1)), np.tile(z2[:4], (2, 1)))  # replicas alike
check(np.tile(z1[:4], (2, 1)), z2)  # alike in one view only
print("equal")
"""


def test_two_replicas_give_the_loss_and_gradients_of_one():
    process = subprocess.run(
        [sys.executable, "-c", TWO_REPLICAS_AGAINST_ONE],
        capture_output=True,
        text=True,
    )
    assert process.stdout.endswith("equal\n"), process.stderr
