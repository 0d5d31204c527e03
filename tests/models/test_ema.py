import keras
import numpy as np
import tensorflow as tf

from mec_tf.models.ema import copy_as_target, update_ema
from mec_tf.models.heads import build_predictor


def a_batch(seed):
    return np.random.default_rng(seed).normal(size=(16, 6)).astype(np.float32)


def test_target_starts_equal_and_is_not_trained():
    online = build_predictor(6, hidden_dim=4)
    online(a_batch(0), training=True)
    target = copy_as_target(online)
    assert target.trainable_variables == []
    assert len(online.trainable_variables) == 5
    for training in (False, True):
        np.testing.assert_array_equal(
            target(a_batch(1), training=training),
            online(a_batch(1), training=training),
        )


def test_parameters_follow_and_running_statistics_do_not():
    online = build_predictor(6, hidden_dim=4)
    target = copy_as_target(online)
    rng = np.random.default_rng(2)
    expected = {}
    for parameter in online.trainable_variables:
        before = parameter.numpy()
        parameter.assign(rng.normal(size=parameter.shape))
        expected[parameter.path] = 0.9 * before + 0.1 * parameter.numpy()
    target(a_batch(3), training=True)
    statistics = {w.path: w.numpy() for w in target.non_trainable_variables}

    tf.function(update_ema)(target, online, tf.constant(0.9))

    for weight in target.weights:
        if "moving" in weight.path:
            np.testing.assert_array_equal(weight, statistics[weight.path])
            assert np.any(weight != online.get_layer("bn1").moving_mean)
        else:
            np.testing.assert_allclose(
                weight, expected[weight.path], rtol=1e-5, atol=1e-6
            )


def test_momentum_one_stays_and_zero_copies():
    online = build_predictor(6, hidden_dim=4)
    target = copy_as_target(online)
    before = target.get_weights()
    online.get_layer("linear1").kernel.assign_add(np.ones((6, 4)))
    update_ema(target, online, 1.0)
    for weight, expected in zip(target.get_weights(), before, strict=True):
        np.testing.assert_array_equal(weight, expected)
    update_ema(target, online, 0.0)
    np.testing.assert_allclose(
        target.get_layer("linear1").kernel,
        online.get_layer("linear1").kernel,
        atol=1e-6,
    )


def test_target_stays_float32_in_mixed_precision():
    keras.mixed_precision.set_dtype_policy("mixed_bfloat16")
    try:
        online = build_predictor(6, hidden_dim=4)
        target = copy_as_target(online)
    finally:
        keras.mixed_precision.set_dtype_policy("float32")
    online.get_layer("linear1").kernel.assign_add(np.ones((6, 4)))
    before = target.get_layer("linear1").kernel.numpy()
    # In bfloat16 a step of 0.001 of 1 would be lost.
    update_ema(target, online, 0.999)
    moved = target.get_layer("linear1").kernel.numpy() - before
    np.testing.assert_allclose(moved, 0.001, rtol=1e-2)
