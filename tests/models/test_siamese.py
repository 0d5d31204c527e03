"""One training step against the paper's equations in NumPy, float64."""

import functools

import keras
import numpy as np
import pytest
import tensorflow as tf

from mec_tf.augment import photometric
from mec_tf.augment import policy as policies
from mec_tf.models import SiameseModel, heads
from mec_tf.objectives import Embeddings, pairing
from mec_tf.objectives.mec import MEC
from mec_tf.optimizers import SGD

SIZE, DIM = 8, 6


def small_backbone():
    images = keras.Input((None, None, 3))
    x = keras.layers.Conv2D(5, 3)(images)
    return keras.Model(images, keras.layers.GlobalAveragePooling2D()(x))


def small_model(
    *, order=4, predictor=True, momentum=0.9, guard=False, lr=0.1, seed=0
):
    keras.utils.set_random_seed(seed)
    backbone = small_backbone()
    model = SiameseModel(
        backbone,
        heads.build_projector(5, dim=DIM, layers=2),
        heads.build_predictor(DIM, hidden_dim=4) if predictor else None,
        policy=policies.preset("none", image_size=SIZE),
        objective=MEC(0.5, order=order, guard=guard),
        ema_momentum=momentum and (lambda step: momentum),
    )
    model.compile(optimizer=SGD(lr, momentum=0.0))
    return model


def batch(n=16, seed=0):
    generator = np.random.default_rng(seed)
    views = [
        tf.constant(generator.integers(0, 256, (n, SIZE, SIZE, 3)), tf.uint8)
        for _ in range(2)
    ]
    draws = [
        tf.constant(generator.random((n, photometric.NUM_DRAWS)), tf.float32)
        for _ in range(2)
    ]
    return {
        "views": tuple(views),
        "draws": tuple(draws),
        "index": tf.range(n, dtype=tf.int64),
    }


def normalised_views(model, data):
    return [
        photometric.normalize(
            tf.cast(view, tf.float32) / 255,
            model.policy.mean,
            model.policy.std,
        )
        for view in data["views"]
    ]


def numpy_loss(z1, z2, distortion, order):
    """-eps_d^2 Tr log(I + lambda z1 z2^T), to `order` terms; 0: exact."""
    z1, z2 = (np.asarray(z, np.float64) for z in (z1, z2))
    z1, z2 = (z / np.linalg.norm(z, axis=1, keepdims=True) for z in (z1, z2))
    c = z1 @ z2.T / (len(z1) * distortion)
    if order == 0:
        trace = np.linalg.slogdet(np.eye(len(z1)) + c)[1]
    else:
        power, trace = np.eye(len(z1)), 0.0
        for k in range(1, order + 1):
            power = power @ c
            trace += (-1) ** (k + 1) / k * np.trace(power)
    return -distortion * trace


@pytest.mark.parametrize("order", [0, 1, 4])
def test_the_loss_is_the_symmetrised_mean_over_both_pairs(order):
    model, data = small_model(order=order), batch()
    views = normalised_views(model, data)
    # Training mode: batch norm normalises by the batch in both networks.
    online = [
        model.predictor(model.online(view, training=True), training=True)
        for view in views
    ]
    target = [model.target(view, training=True) for view in views]
    expected = (
        numpy_loss(online[0], target[1], 0.5, order)
        + numpy_loss(online[1], target[0], 0.5, order)
    ) / 2
    logs = model.train_step(data)
    assert float(logs["loss"]) == pytest.approx(expected, rel=1e-5)
    # L = -loss * mu / eps_d^2, in nats
    mu = (16 + DIM) / 2
    assert float(logs["coding_length"]) == pytest.approx(
        -expected * mu / 0.5, rel=1e-5
    )


def test_the_target_follows_after_the_optimizer_step():
    model, data = small_model(momentum=0.75), batch()
    before = [w.numpy() for w in model.target.weights]
    model.train_step(data)
    moved = 0
    for old, target, online in zip(
        before, model.target.weights, model.online.weights, strict=True
    ):
        if online.trainable:
            expected = 0.75 * old + 0.25 * online.numpy()
            np.testing.assert_allclose(target.numpy(), expected, atol=1e-6)
            moved += np.abs(target.numpy() - old).max() > 0
    assert moved > 0


def test_the_target_learns_only_by_averaging():
    model = small_model(momentum=1.0)
    before = [w.numpy() for w in model.target.weights]
    model.train_step(batch())
    changed = {
        online.name
        for old, new, online in zip(
            before, model.target.weights, model.online.weights, strict=True
        )
        if not np.array_equal(old, new.numpy())
    }
    # Its batch norm keeps running statistics of its own batches.
    assert changed == {"moving_mean", "moving_variance"}


def gradient_of_step(model, data, weight):
    """What one step of plain SGD at rate 1 takes off a weight."""
    before = weight.numpy().astype(np.float64)
    model.train_step(data)
    return before - weight.numpy()


@pytest.mark.parametrize(("predictor", "both"), [(True, False), (False, True)])
def test_without_a_target_gradients_stop_only_where_there_is_a_predictor(
    predictor, both
):
    data = batch()
    model = small_model(predictor=predictor, momentum=None, lr=1.0)
    views = normalised_views(model, data)
    weight = model.backbone.trainable_variables[0]

    def loss(held):
        z = [model.online(view, training=True) for view in views]
        p = [model.predictor(v, training=True) if predictor else v for v in z]
        t = [tf.stop_gradient(v) for v in z] if held else z
        terms = []
        for a, b in ((p[0], t[1]), (p[1], t[0])):
            a, b = tf.math.l2_normalize(a, 1), tf.math.l2_normalize(b, 1)
            c = tf.matmul(a, b, transpose_b=True) / (16 * 0.5)
            c2 = c @ c
            terms.append(
                -0.5 * tf.linalg.trace(c - c2 / 2 + c2 @ c / 3 - c2 @ c2 / 4)
            )
        return (terms[0] + terms[1]) / 2

    expected = {}
    for held in (True, False):
        with tf.GradientTape() as tape:
            value = loss(held)
        expected[held] = tape.gradient(value, weight.value).numpy()
    taken = gradient_of_step(model, data, weight)
    np.testing.assert_allclose(taken, expected[not both], atol=1e-5)
    assert np.abs(expected[True] - expected[False]).max() > 1e-4


@pytest.mark.parametrize("symmetric", [False, True])
def test_local_views_meet_both_global_targets(symmetric):
    model = small_model(
        predictor=not symmetric, momentum=None if symmetric else 0.9
    )
    views = [
        tf.random.stateless_normal([4, SIZE, SIZE, 3], [k, 0]) for k in range(2)
    ]
    views += [
        tf.random.stateless_normal([4, 6, 6, 3], [k, 1]) for k in range(3)
    ]
    online, targets = model.embed(views)
    met = pairing.pairs(Embeddings(online, targets or None))
    others = online[:2] if symmetric else targets
    pairs = {
        (
            next(i for i, z in enumerate(online) if z is a),
            next(j for j, z in enumerate(others) if z is b),
        )
        for a, b in met
    }
    globally = {(1, 0)} if symmetric else {(1, 0), (0, 1)}
    assert len(met) == len(pairs)
    assert pairs == globally | {(i, j) for i in (2, 3, 4) for j in (0, 1)}


def collapsed_model(guard):
    model = small_model(predictor=False, guard=guard)
    constant = keras.layers.Dense(
        DIM, kernel_initializer="zeros", bias_initializer="ones"
    )
    return SiameseModel(
        model.backbone,
        keras.Sequential([keras.Input((5,)), constant]),
        None,
        policy=model.policy,
        objective=model.objective,
        ema_momentum=model.ema_momentum,
    )


def test_the_guard_keeps_the_series_inside_and_is_logged():
    logs = {}
    for guard in (False, True):
        model = collapsed_model(guard)
        model.compile(optimizer=SGD(0.1))
        logs[guard] = model.train_step(batch())
    # At collapse ||lambda z1 z2^T|| = lambda m = 1 / eps_d^2 = 2.
    assert float(logs[False]["spectral_norm"]) == pytest.approx(2.0, rel=1e-3)
    assert float(logs[False]["effective_distortion"]) == pytest.approx(0.5)
    assert float(logs[True]["spectral_norm"]) < 1
    assert float(logs[True]["effective_distortion"]) > 1


def test_fit_learns():
    model = small_model(guard=True)
    data = tf.data.Dataset.from_tensors(batch()).repeat()
    run = functools.partial(model.fit, data, steps_per_epoch=10, verbose=0)
    losses = run(epochs=5, shuffle=False).history["loss"]
    assert losses[-1] < losses[0] - 0.05


def test_call_gives_features_of_raw_images():
    model = small_model()
    images = tf.random.stateless_uniform([3, 9, 11, 3], [1, 2])
    expected = model.backbone(
        photometric.normalize(images, model.policy.mean, model.policy.std)
    )
    np.testing.assert_allclose(model(images), expected, atol=1e-5)


def test_compiled_by_xla_a_step_is_the_same():
    weights, logs = {}, {}
    for jit in (False, True):
        model = small_model(guard=True)
        model.compile(optimizer=SGD(0.1), jit_compile=jit)
        assert model.jit_compile == jit
        data = tf.data.Dataset.from_tensors(batch())
        logs[jit] = model.fit(data, verbose=0, shuffle=False).history
        weights[jit] = [v.numpy() for v in model.learned]
    for one, other in zip(weights[True], weights[False], strict=True):
        np.testing.assert_allclose(one, other, atol=1e-5)
    for name, (value,) in logs[False].items():
        assert logs[True][name][0] == pytest.approx(value, rel=1e-4, abs=1e-5)
