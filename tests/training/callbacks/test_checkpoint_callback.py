"""Signals end a run with its state saved, and only those that should."""

import os
import signal
import time
import types

import keras
import numpy as np
import pytest
import tensorflow as tf

from mec_tf.data.pipeline import Gate
from mec_tf.distribution import strategies
from mec_tf.errors import Interrupted
from mec_tf.optimizers import SGD
from mec_tf.training.callbacks import checkpoint
from mec_tf.training.callbacks.checkpoint import SIGNALS, CheckpointCallback
from mec_tf.training.checkpoint import Checkpoints


class Counter(keras.Model):
    """Learns one number; `metrics` and `steps_taken` as our models have."""

    def __init__(self):
        super().__init__()
        self.dense = keras.layers.Dense(1)
        self.dense.build((None, 1))
        self.mean = keras.metrics.Mean("loss")
        self.built = True
        optimizer = SGD(0.01, momentum=0.9, weight_decay=0.0)
        optimizer.build(self.dense.trainable_variables)
        self.compile(optimizer=optimizer, jit_compile=False)

    @property
    def metrics(self):
        return [self.mean]

    @property
    def steps_taken(self):
        return int(self.optimizer.iterations.numpy())

    @steps_taken.setter
    def steps_taken(self, step):
        self.optimizer.iterations.assign(step)

    def call(self, images, training=False):
        return self.dense(images)

    @tf.autograph.experimental.do_not_convert
    def train_step(self, batch):
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean(self.dense(batch) ** 2)
        variables = self.dense.trainable_variables
        self.optimizer.apply(tape.gradient(loss, variables), variables)
        self.mean.update_state(loss)
        return {"loss": self.mean.result()}


class At(keras.callbacks.Callback):
    """Calls a function once a step is taken."""

    def __init__(self, step, act):
        super().__init__()
        self.step, self.act = step, act

    def on_train_batch_end(self, batch, logs=None):
        if self.model.steps_taken == self.step:
            self.act()


@pytest.fixture
def make(tmp_path):
    """A `CheckpointCallback` and its model; restores signal handlers."""
    made = []

    def make(**options):
        model = Counter()
        checkpoints = Checkpoints(
            tmp_path / f"{len(made)}",
            max_to_keep=9,
            model=model.dense,
            optimizer=model.optimizer,
            means=[v.value for v in model.mean.variables],
        )
        schedule = types.SimpleNamespace(steps_per_epoch=10, total_steps=10**6)
        strategy = tf.distribute.get_strategy()
        callback = CheckpointCallback(
            checkpoints,
            schedule,
            minutes=99,
            each_epoch=False,
            workers=strategies.Workers(strategy),
            **options,
        )
        callback.set_model(model)
        callback.catch_signals()
        made.append(callback)
        return model, callback

    yield make
    for callback in made:
        callback.release_signals()


def batches():
    return tf.data.Dataset.from_tensors(tf.ones([2, 1])).repeat()


def fit(model, *callbacks, data=None):
    model.fit(
        batches() if data is None else data,
        steps_per_epoch=10,
        epochs=10**5,
        callbacks=callbacks,
        verbose=0,
    )


@pytest.mark.parametrize("number", SIGNALS)
def test_every_signal_saves_and_leaves(make, number):
    model, callback = make()
    with pytest.raises(Interrupted) as ended:
        fit(model, At(3, lambda: os.kill(os.getpid(), number)), callback)
    assert (ended.value.number, ended.value.step) == (number, 3)
    assert callback.checkpoints.steps() == [3]
    assert signal.Signals(number).name in str(ended.value)


def test_nohup_stays_ignored(make):
    former = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        _, callback = make()
        assert signal.getsignal(signal.SIGHUP) == signal.SIG_IGN
        assert signal.getsignal(signal.SIGTERM) == callback._on_signal
    finally:
        signal.signal(signal.SIGHUP, former)


def test_signals_are_given_back(make):
    before = [signal.getsignal(number) for number in SIGNALS]
    _, callback = make()
    callback.release_signals()
    assert [signal.getsignal(number) for number in SIGNALS] == before


class Left(BaseException):
    """Instead of the end of the process."""


@pytest.mark.parametrize("hung_in", ["batch", "callback"])
def test_a_run_that_hangs_leaves_with_its_last_step(
    make, monkeypatch, hung_in, capfd
):
    codes, closed = [], []
    monkeypatch.setattr(checkpoint, "_exit", codes.append)
    monkeypatch.setattr(checkpoint, "BETWEEN_SECONDS", 2.0)
    gate = Gate()
    model, callback = make(gate=gate, close_epoch=closed.append)

    def hang():
        os.kill(os.getpid(), signal.SIGTERM)
        began = time.monotonic()
        while not codes and time.monotonic() - began < 60:
            time.sleep(0.1)
        # As the process would have ended here.
        callback.gate.lock.release()
        raise Left

    def deliver(step):
        if hung_in == "batch" and step == 15:
            # TensorFlow makes batches ahead of the steps that take them.
            while not (callback.in_step and callback.completed == 15):
                time.sleep(0.01)
            try:
                hang()
            except Left:
                raise ValueError("left") from None
        gate.through(step)
        return np.ones([2, 1], np.float32)

    data = tf.data.Dataset.range(10**6).map(
        lambda step: tf.ensure_shape(
            tf.numpy_function(deliver, [step], tf.float32), [2, 1]
        )
    )
    weights = {}

    def look(step):
        return lambda: weights.update({step: model.dense.get_weights()})

    class Epoch(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            if hung_in == "callback" and epoch == 1:
                hang()

    with pytest.raises((Left, tf.errors.OpError)):
        fit(
            model,
            At(15, look(15)),
            At(20, look(20)),
            Epoch(),
            callback,
            data=data,
        )
    assert codes == [128 + signal.SIGTERM]
    step = 15 if hung_in == "batch" else 20
    assert closed == ([] if hung_in == "batch" else [20])
    assert "SIGTERM" in capfd.readouterr().err
    # What was saved is that step's, its counters, too.
    assert callback.checkpoints.steps() == [step]
    model.dense.set_weights([np.zeros([1, 1]), np.zeros([1])])
    model.steps_taken = 0
    assert callback.checkpoints.restore()[0] == step
    assert model.steps_taken == step
    assert int(model.mean.count) == (step % 10 or 10)
    for one, other in zip(
        model.dense.get_weights(), weights[step], strict=True
    ):
        np.testing.assert_array_equal(one, other)
