import keras
import numpy as np
import pytest
import tensorflow as tf

from mec_tf.optimizers import WarmupCosine, ema_momentum


def test_learning_rate_is_the_authors_table_of_steps():
    # Their code tabulates the run by linspace, then half a cosine.
    cosine = 0.5 * (1 + np.cos(np.pi * np.arange(15) / 15))
    table = 0.7 * np.concatenate([np.linspace(0, 1, 5), cosine])
    schedule = WarmupCosine(0.7, warmup_steps=5, total_steps=20)
    ours = [schedule(step) for step in range(20)]
    np.testing.assert_allclose(ours, table, atol=1e-6)
    assert float(schedule(20)) == pytest.approx(0.0, abs=1e-6)
    assert float(schedule(25)) == pytest.approx(0.0, abs=1e-6)


def test_learning_rate_without_warmup_starts_at_the_peak():
    schedule = WarmupCosine(0.7, warmup_steps=0, total_steps=10)
    assert float(schedule(0)) == pytest.approx(0.7)
    assert float(schedule(5)) == pytest.approx(0.35)


def test_a_run_that_is_all_warmup_ends_at_the_peak():
    schedule = WarmupCosine(0.7, warmup_steps=3, total_steps=3)
    ours = [schedule(step) for step in range(3)]
    np.testing.assert_allclose(ours, [0.0, 0.35, 0.7])


def test_learning_rate_survives_serialisation():
    schedule = WarmupCosine(0.7, warmup_steps=3, total_steps=9)
    config = keras.optimizers.schedules.serialize(schedule)
    copy = keras.optimizers.schedules.deserialize(config)
    assert float(copy(4)) == float(schedule(4))


@pytest.mark.parametrize(
    ("warmup_steps", "total_steps"), [(5, 4), (-1, 4), (0, 0)]
)
def test_impossible_steps_are_an_error(warmup_steps, total_steps):
    with pytest.raises(ValueError, match=f"warmup_steps={warmup_steps}"):
        WarmupCosine(0.7, warmup_steps=warmup_steps, total_steps=total_steps)


def test_ema_momentum_at_its_corners():
    momentum = [
        float(ema_momentum(k, base=0.996, total_steps=8)) for k in (0, 4, 8)
    ]
    np.testing.assert_allclose(momentum, [0.996, 0.998, 1.0], atol=1e-6)


@pytest.mark.parametrize(
    "schedule",
    [
        WarmupCosine(0.7, warmup_steps=3, total_steps=9),
        lambda step: ema_momentum(step, base=0.99, total_steps=9),
    ],
)
def test_graphs_and_integers_agree(schedule):
    in_graph = tf.function(schedule)
    for step in (0, 2, 3, 8):
        value = in_graph(tf.constant(step, tf.int64))
        assert value.dtype == tf.float32
        assert value.shape == ()
        np.testing.assert_allclose(value, schedule(step), rtol=1e-6)
