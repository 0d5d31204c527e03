import keras
import numpy as np
import pytest
import tensorflow as tf

from mec_tf.optimizers import LARS, WarmupCosine


def lars(w, v, g, lr, *, momentum, weight_decay, trust_coefficient):
    """One step of one parameter, in float64."""
    if w.ndim >= 2:
        g = g + weight_decay * w
        w_norm, g_norm = np.linalg.norm(w), np.linalg.norm(g)
        if w_norm > 0 and g_norm > 0:
            g = g * trust_coefficient * w_norm / g_norm
    v = momentum * v + g
    return w - lr * v, v


def random_parameters(rng):
    shapes = {"kernel": (3, 3, 2, 4), "dense": (4, 5), "gamma": (4,)}
    return {
        name: keras.Variable(rng.normal(size=shape), dtype="float32", name=name)
        for name, shape in shapes.items()
    }


@pytest.mark.parametrize("jit", [False, True])
def test_follows_the_equations_over_several_steps(jit):
    rng = np.random.default_rng(0)
    parameters = random_parameters(rng)
    constants = {
        "momentum": 0.9,
        "weight_decay": 0.1,
        "trust_coefficient": 0.02,
    }
    schedule = WarmupCosine(2.0, warmup_steps=3, total_steps=8)
    optimizer = LARS(schedule, **constants)
    w = {n: p.numpy().astype(np.float64) for n, p in parameters.items()}
    v = {n: np.zeros_like(value) for n, value in w.items()}
    optimizer.build(list(parameters.values()))
    update = tf.function(optimizer.apply, jit_compile=jit)
    for step in range(6):
        g = {n: rng.normal(size=value.shape) for n, value in w.items()}
        update([tf.constant(gradient, tf.float32) for gradient in g.values()])
        lr = [0.0, 1.0, 2.0, 2.0, 0, 0][step]
        if step > 3:
            lr = 1 + np.cos(np.pi * (step - 3) / 5)
        for n in w:
            w[n], v[n] = lars(w[n], v[n], g[n], lr, **constants)
            np.testing.assert_allclose(
                parameters[n], w[n], rtol=1e-5, atol=1e-5
            )


def test_zero_weights_and_zero_gradients_are_not_scaled():
    weight = keras.Variable(np.zeros((2, 2)), dtype="float32")
    LARS(1.0, momentum=0.0).apply([tf.ones((2, 2))], [weight])
    np.testing.assert_array_equal(weight, -np.ones((2, 2)))

    weight = keras.Variable(np.ones((2, 2)), dtype="float32")
    LARS(1.0).apply([tf.zeros((2, 2))], [weight])
    np.testing.assert_array_equal(weight, np.ones((2, 2)))


def test_a_vector_of_any_name_neither_decays_nor_scales():
    for name in ("kernel", "gamma", "batch_normalization_gamma"):
        vector = keras.Variable(np.ones(3), dtype="float32", name=name)
        LARS(0.5, weight_decay=1.0).apply([tf.ones(3)], [vector])
        np.testing.assert_array_equal(vector, np.full(3, 0.5))


def test_loss_scaling_skips_a_step_that_overflows():
    weight = keras.Variable(np.ones((2, 2)), dtype="float32")
    inner = LARS(0.5, momentum=0.0, trust_coefficient=1.0)
    optimizer = keras.optimizers.LossScaleOptimizer(inner)
    optimizer.build([weight])
    update = tf.function(optimizer.apply)
    update([tf.fill((2, 2), np.inf)])
    np.testing.assert_array_equal(weight, np.ones((2, 2)))
    # The gradient takes the norm of the weight, whatever the scale.
    update([tf.ones((2, 2))])
    np.testing.assert_allclose(weight, np.full((2, 2), 0.5), rtol=1e-5)


def test_survives_serialisation():
    schedule = WarmupCosine(0.3, warmup_steps=2, total_steps=9)
    optimizer = LARS(schedule, weight_decay=1.5e-6, trust_coefficient=0.01)
    copy = keras.optimizers.deserialize(keras.optimizers.serialize(optimizer))
    assert isinstance(copy, LARS)
    assert copy.get_config() == optimizer.get_config()
    assert copy.get_config()["weight_decay"] == 1.5e-6


@pytest.mark.parametrize(
    "wrong",
    [{"momentum": 1.0}, {"weight_decay": -0.1}, {"trust_coefficient": 0}],
)
def test_constants_out_of_range_are_an_error(wrong):
    with pytest.raises(ValueError, match=f"Received {next(iter(wrong))}"):
        LARS(0.1, **wrong)
