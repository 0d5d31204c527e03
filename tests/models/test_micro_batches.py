"""Two passes over micro-batches against one tape over everything."""

import os
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf

from mec_tf.augment import photometric
from mec_tf.augment import policy as policies
from mec_tf.models import SiameseModel, heads, micro_batches
from mec_tf.objectives.mec import MEC
from mec_tf.optimizers import SGD

REPOSITORY = Path(__file__).parents[2]
SIZE, DIM = 8, 6
N, PARTS = 12, 3
# (predictor, momentum of the target)
NETWORKS = {
    "target": (True, 0.9),
    "no predictor": (False, 0.9),
    "simsiam": (True, None),
    "algorithm 1": (False, None),
}


def small_backbone():
    images = keras.Input((None, None, 3))
    x = keras.layers.Conv2D(5, 3)(images)
    return keras.Model(images, keras.layers.GlobalAveragePooling2D()(x))


def model_of(network, parts, *, local_crops=0, build=small_backbone):
    predictor, momentum = NETWORKS[network]
    keras.utils.set_random_seed(0)
    backbone = build()
    model = SiameseModel(
        backbone,
        heads.build_projector(backbone.output_shape[-1], dim=DIM, layers=2),
        heads.build_predictor(DIM, hidden_dim=4) if predictor else None,
        policy=policies.preset(
            "none", image_size=SIZE, local_crops=local_crops, local_size=6
        ),
        objective=MEC(0.5),
        ema_momentum=momentum and (lambda step: momentum),
        micro_batches=parts,
    )
    # The weights lose exactly the gradient.
    model.compile(optimizer=SGD(1.0, momentum=0.0))
    return model


def batch_of(model, n=N):
    generator = np.random.default_rng(1)
    views = model.policy.views
    return {
        "views": tuple(
            tf.constant(
                generator.integers(0, 256, (n, view.size, view.size, 3)),
                tf.uint8,
            )
            for view in views
        ),
        "draws": tuple(
            tf.constant(
                generator.random((n, photometric.NUM_DRAWS)), tf.float32
            )
            for _ in views
        ),
        "index": tf.range(n, dtype=tf.int64),
    }


def step(model, batch, jit=False):
    """Gradient by variable, and what was logged, of one compiled step."""
    before = [v.numpy() for v in model.learned]
    logs = tf.function(model.train_step, jit_compile=jit)(batch)
    gradients = [
        b - v.numpy() for b, v in zip(before, model.learned, strict=True)
    ]
    return gradients, {name: float(value) for name, value in logs.items()}


def assert_close(gradients, expected):
    """Within 1e-5 of the whole gradient's length, variable by variable."""
    length = np.sqrt(sum(np.sum(np.square(g)) for g in expected))
    assert length > 1e-3
    for one, other in zip(gradients, expected, strict=True):
        assert np.linalg.norm(one - other) < 1e-5 * length


def freeze_batch_norm(model):
    """Inference mode, with statistics that are not the initial ones."""
    generator = np.random.default_rng(2)
    for network in (model.online, model.target, model.predictor):
        for layer in network._flatten_layers() if network else ():
            if hasattr(layer, "moving_mean"):
                d = layer.moving_mean.shape
                layer.moving_mean.assign(generator.normal(0, 0.1, d))
                layer.moving_variance.assign(generator.uniform(0.5, 2, d))
                layer.trainable = False


@pytest.mark.parametrize(
    ("network", "local_crops"),
    # Where there is a target, local views are there besides the global ones.
    [(network, 2 * (network == "target")) for network in NETWORKS],
)
def test_equals_one_pass_with_batch_norm_in_inference_mode(
    network, local_crops
):
    results = []
    for parts in (1, PARTS):
        model = model_of(network, parts, local_crops=local_crops)
        freeze_batch_norm(model)
        results.append(step(model, batch_of(model)))
    (expected, expected_logs), (gradients, logs) = results
    assert_close(gradients, expected)
    assert logs == pytest.approx(expected_logs, rel=1e-5, abs=1e-5)


@pytest.mark.parametrize("network", ["target", "algorithm 1"])
def test_equals_one_tape_with_statistics_per_micro_batch(network):
    model = model_of(network, PARTS)
    batch = batch_of(model)
    kept = [v.numpy() for v in model.variables]
    with tf.GradientTape() as tape:
        parts = []
        for k in range(PARTS):
            rows = slice(k * N // PARTS, (k + 1) * N // PARTS)
            part = tf.nest.map_structure(lambda t, rows=rows: t[rows], batch)
            parts.append(model.embed(model.augment(part)))
        online, targets = (
            [
                tf.concat(z, 0)
                for z in zip(*(part[side] for part in parts), strict=True)
            ]
            for side in (0, 1)
        )
        loss, _ = model.compare(online, targets, batch, tf.constant(0))
    expected = [g.numpy() for g in tape.gradient(loss, model.learned)]
    moved_once = [v.numpy() for v in model.variables if not v.trainable]
    for variable, value in zip(model.variables, kept, strict=True):
        variable.assign(value)
    gradients, _ = step(model, batch)
    assert_close(gradients, expected)
    # Running statistics of both networks: once per pass over the data.
    state = {id(v) for v in model.online.non_trainable_variables}
    if model.target is not None:
        state |= {id(v) for v in model.target.variables if "moving" in v.name}
    checked = 0
    for variable, value in zip(
        (v for v in model.variables if not v.trainable),
        moved_once,
        strict=True,
    ):
        if id(variable) in state:
            np.testing.assert_allclose(variable.numpy(), value, rtol=1e-5)
            checked += 1
    assert checked == len(state) >= 4


def test_the_second_pass_draws_the_dropout_of_the_first():
    seen = []

    class Spy(keras.layers.Layer):
        def call(self, x):
            seen.append(x.numpy())
            return x

        def compute_output_shape(self, shape):
            return shape

    def backbone():
        plain = small_backbone()
        x = Spy()(keras.layers.Dropout(0.5, seed=3)(plain.output))
        return keras.Model(plain.input, x)

    model = model_of("algorithm 1", PARTS, build=backbone)
    model.train_step(batch_of(model))
    calls = 2 * PARTS  # views and parts
    assert len(seen) == 2 * calls
    for first, second in zip(seen[:calls], seen[calls:], strict=True):
        np.testing.assert_array_equal(first, second)
    assert not np.array_equal(seen[0] == 0, seen[1] == 0)


def test_compiled_by_xla_it_is_the_same():
    results = []
    for jit in (False, True):
        model = model_of("target", PARTS)
        results.append(step(model, batch_of(model), jit=jit))
    (expected, expected_logs), (gradients, logs) = results
    assert_close(gradients, expected)
    assert logs == pytest.approx(expected_logs, rel=1e-5, abs=1e-5)


@pytest.mark.parametrize(
    ("size", "replicas", "expected"),
    [(0, 2, 1), (1024, 1, 1), (64, 1, 16), (64, 2, 16)],
)
def test_micro_batches_are_global_like_the_batch(size, replicas, expected):
    count = micro_batches.count(size, batch_size=1024, replicas=replicas)
    assert count == expected


@pytest.mark.parametrize(("size", "replicas"), [(100, 1), (2048, 1), (32, 3)])
def test_what_does_not_divide_is_refused_in_one_line(size, replicas):
    with pytest.raises(ValueError, match=f"`micro_batch_size`={size}"):
        micro_batches.count(size, batch_size=1024, replicas=replicas)


# A process has one set of logical devices, so this one gets its own.
TWO_REPLICAS_AGAINST_ONE = """
import mec_tf  # sets oneDNN before TensorFlow is loaded
import numpy as np
import tensorflow as tf
from test_micro_batches import PARTS, batch_of, model_of

cpu = tf.config.list_physical_devices("CPU")[0]
half = tf.config.LogicalDeviceConfiguration()
tf.config.set_logical_device_configuration(cpu, [half, half])
two = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
with two.scope():
    model = model_of("target", PARTS)
before = [v.numpy() for v in model.learned]
batch = batch_of(model)
data = tf.data.Dataset.from_tensors(batch).unbatch().batch(12, True)
model.fit(data, verbose=0, shuffle=False)
results = [b - v.numpy() for b, v in zip(before, model.learned)]

# One replica meets the images of a micro-batch of both in one of its own.
order = np.arange(12).reshape(2, PARTS, -1).swapaxes(0, 1).reshape(-1)
one = model_of("target", PARTS)
batch = tf.nest.map_structure(lambda rows: tf.gather(rows, order), batch)
one.fit(tf.data.Dataset.from_tensors(batch), verbose=0, shuffle=False)
expected = [b - v.numpy() for b, v in zip(before, one.learned)]

length = np.sqrt(sum(np.sum(g**2) for g in expected))
for result, gradient in zip(results, expected):
    assert np.linalg.norm(result - gradient) < 1e-5 * length
for v, w in zip(model.online.weights, one.online.weights):
    np.testing.assert_allclose(v, w, atol=1e-5, err_msg=v.path)
print("equal")
"""


def test_two_replicas_take_micro_batches_as_one_does():
    paths = [str(REPOSITORY), str(Path(__file__).parent)]
    ended = subprocess.run(
        [sys.executable, "-c", TWO_REPLICAS_AGAINST_ONE],
        env=os.environ | {"PYTHONPATH": os.pathsep.join(paths)},
        capture_output=True,
        text=True,
        timeout=1200,
    )
    assert ended.stdout.endswith("equal\n"), ended.stderr
