"""A step that overflows changes nothing but the scale and the count."""

import os
import subprocess
import sys

import keras
import numpy as np
import pytest
import tensorflow as tf
from conftest import REPOSITORY

from mec_tf.optimizers import SGD, LossScale

START = np.array([1.0, -2.0, 3.0], np.float32)
FINITE = np.array([0.5, 0.25, -1.0], np.float32)


def scaled_sgd(**options):
    weights = keras.Variable(START)
    optimizer = LossScale(SGD(0.1, momentum=0.9), **options)
    optimizer.build([weights])
    return optimizer, weights


def apply(optimizer, weights, gradient):
    """A compiled step with the gradient of a loss, not yet scaled."""

    @tf.function
    def step():
        scale = optimizer.scale_loss(tf.constant(1.0))
        optimizer.apply([tf.constant(gradient) * scale], [weights])

    step()


@pytest.mark.parametrize("bad", [np.inf, -np.inf, np.nan])
def test_an_overflow_is_skipped_halves_the_scale_and_counts(bad):
    optimizer, weights = scaled_sgd(initial_scale=8.0)
    apply(optimizer, weights, FINITE)
    before = weights.numpy(), [v.numpy() for v in optimizer.variables]
    overflowed = FINITE.copy()
    overflowed[1] = bad
    apply(optimizer, weights, overflowed)
    np.testing.assert_array_equal(weights, before[0])
    velocity = next(v for v in optimizer.variables if "velocity" in v.path)
    np.testing.assert_array_equal(velocity, FINITE)
    assert float(optimizer.dynamic_scale) == 4.0
    assert int(optimizer.iterations) == 2
    apply(optimizer, weights, FINITE)
    # v = 0.9 v + g twice, in NumPy: the skipped step left no trace.
    np.testing.assert_allclose(
        weights, START - 0.1 * FINITE - 0.1 * 1.9 * FINITE, rtol=1e-6
    )
    assert int(optimizer.iterations) == 3


def test_finite_steps_are_those_of_the_inner_optimizer():
    optimizer, weights = scaled_sgd(initial_scale=1024.0)
    plain = keras.Variable(START)
    sgd = SGD(0.1, momentum=0.9)
    for k in range(3):
        apply(optimizer, weights, FINITE * (k + 1))
        sgd.apply([tf.constant(FINITE * (k + 1))], [plain])
    np.testing.assert_array_equal(weights, plain)


def test_the_scale_doubles_after_a_row_of_finite_steps():
    optimizer, weights = scaled_sgd(initial_scale=4.0, dynamic_growth_steps=2)
    scales = []
    for _ in range(5):
        apply(optimizer, weights, FINITE)
        scales.append(float(optimizer.dynamic_scale))
    assert scales == [4.0, 8.0, 8.0, 16.0, 16.0]


# A process has one set of logical devices, so this one gets its own.
ONE_OF_TWO_REPLICAS_OVERFLOWS = """
import mec_tf
import keras, numpy as np
import tensorflow as tf
from mec_tf.optimizers import SGD, LossScale

cpu = tf.config.list_physical_devices("CPU")[0]
half = tf.config.LogicalDeviceConfiguration()
tf.config.set_logical_device_configuration(cpu, [half, half])
to_numpy = keras.ops.convert_to_numpy
strategy = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
with strategy.scope():
    weights = keras.Variable([1.0, 2.0])
    optimizer = LossScale(SGD(0.1, momentum=0.9), initial_scale=8.0)
    optimizer.build([weights])

@tf.function
def step(gradients):
    strategy.run(lambda g: optimizer.apply([g], [weights]), [gradients])

def both(first, second):
    rows = [[first, 1.0], [second, 1.0]]
    return strategy.experimental_distribute_values_from_function(
        lambda context: tf.constant(
            rows[context.replica_id_in_sync_group]) * 8)

for first, second in ((float("inf"), 1.0), (1.0, float("nan"))):
    step(both(first, second))
np.testing.assert_array_equal(to_numpy(weights), [1.0, 2.0])
assert to_numpy(optimizer.iterations) == 2
assert to_numpy(optimizer.dynamic_scale) == 2.0
optimizer.dynamic_scale.assign(8.0)
step(both(1.0, 2.0))
# Keras adds gradients up over replicas.
np.testing.assert_allclose(
    to_numpy(weights), [1 - 0.1 * 3, 2 - 0.1 * 2], rtol=1e-6
)
for value in strategy.experimental_local_results(weights.value):
    np.testing.assert_array_equal(value, to_numpy(weights))
print("agreed")
"""


def test_replicas_skip_a_step_together():
    ended = subprocess.run(
        [sys.executable, "-c", ONE_OF_TWO_REPLICAS_OVERFLOWS],
        env=os.environ | {"PYTHONPATH": str(REPOSITORY)},
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert ended.stdout.endswith("agreed\n"), ended.stderr
