"""Linear probing and fine-tuning: optimum, resumption, replicas, seeds."""

import functools
import json
import subprocess
import sys

import keras
import numpy as np
import pytest
import tensorflow as tf
from conftest import environment
from sklearn.linear_model import LogisticRegression

from mec_tf.data import labelled, pipeline, sources
from mec_tf.evaluations import finetune, linear
from mec_tf.evaluations.supervised import HeadTraining
from mec_tf.models import build_backbone
from mec_tf.models.encoder import build_encoder

ONE = tf.distribute.OneDeviceStrategy("/cpu:0")


@pytest.fixture(scope="module")
def digits():
    splits = sources.load("digits")
    return splits.references, splits.test


pytestmark = pytest.mark.usefixtures("deterministic")


def blocks(images):
    """Means of 2x2 blocks, centred: 16 features of an 8x8 image."""
    pooled = tf.nn.avg_pool2d(images[..., :1], 2, 2, "VALID")
    return tf.reshape(pooled, [-1, 16]) - 0.3


def head_training(**changes):
    settings = {
        "batch_size": 256,
        "epochs": 2,
        "image_size": 8,
        "crop_area": (1.0, 1.0),
        "flip": 0.0,
    }
    return HeadTraining(**(settings | changes))


def watch(model, schedule, base_lrs, checkpoints, first_step, seen=None):
    if seen is not None:
        seen["model"] = model
    return []


def test_a_linear_head_reaches_scikit_learn_s_optimum(digits, monkeypatch):
    train, test = digits
    decay, seen = 3e-3, {}
    (batch,) = head_training().batches(train).unbatch().batch(2000)
    # Without crops every epoch is this batch: spare its reading 600 times.
    monkeypatch.setattr(
        pipeline,
        "training_batches",
        lambda *_, **__: tf.data.Dataset.from_tensors(
            {"views": (batch["image"],), "label": batch["label"]}
        ).repeat(),
    )
    found = linear.run(
        blocks,
        train,
        test,
        training=head_training(batch_size=2000, epochs=600, weight_decay=decay),
        head_lrs=[3.0, 30.0],
        strategy=ONE,
        make_callbacks=functools.partial(watch, seen=seen),
    )

    def features_of(source):
        (batch,) = head_training().batches(source).unbatch().batch(2000)
        return blocks(tf.cast(batch["image"], tf.float32) / 255).numpy()

    x, y = features_of(train), train.labels
    # mean loss + decay / 2 |W|^2, the offset free.
    reference = LogisticRegression(
        C=1 / (decay * len(y)), max_iter=5000, tol=1e-9
    ).fit(x.astype(np.float64), y)

    def objective(weights, offsets):
        logits = x @ weights + offsets
        losses = keras.ops.logsumexp(logits, axis=1) - logits[range(len(y)), y]
        return float(np.mean(losses)) + decay / 2 * np.sum(weights**2)

    least = objective(reference.coef_.T, reference.intercept_)
    reached = [objective(*head.get_weights()) for head in seen["model"].heads]
    assert least <= min(reached) + 1e-6
    assert min(reached) < least * 1.001, (least, reached)
    accuracy = reference.score(features_of(test), test.labels)
    assert abs(found["top1"] - accuracy) < 0.006  # two images
    assert found["sweep"][found["base_lr"]] == found["top1"]


def test_the_validation_part_chooses(digits):
    train, test = (source.part(range(300), "300") for source in digits)
    validation = labelled.hold_out(train, 0.2, seed=0)
    options = {
        "training": head_training(batch_size=100, epochs=10),
        "feature_norm": True,
        "strategy": ONE,
        "make_callbacks": watch,
    }
    found = linear.run(
        blocks,
        train,
        test,
        # LARS moves weights little: the first not at all; the last is blown up.
        head_lrs=[1e-12, 1e4, 1e30],
        validation=validation,
        **options,
    )
    assert found["chosen_on"] == "validation"
    assert found["base_lr"] == 1e4
    assert found["sweep"][1e30] < 0.2 < found["sweep"][1e4]
    # The head that is scored learnt from all images at the rate chosen.
    alone = linear.run(blocks, train, test, head_lrs=[1e4], **options)
    assert alone["chosen_on"] == "test"
    assert found["per_class"] == alone["per_class"]
    assert found["steps"] == alone["steps"] == 10 * 3
    assert found["peak_lr"] == 1e4 * 100 / 256


@pytest.fixture(scope="module")
def short_runs(digits):
    """(result, line told, weights learned) of three probes of 80 images."""
    few = [source.part(range(80), "80") for source in digits]

    def run(**changes):
        seen = {}

        def look(model, schedule, base_lrs, *_):
            seen.update(model=model, told=schedule.summary(base_lrs))
            return []

        found = linear.run(
            blocks,
            *few,
            training=head_training(
                batch_size=1024, crop_area=(0.3, 1.0), **changes
            ),
            head_lrs=[0.1],
            strategy=ONE,
            make_callbacks=look,
        )
        return found, seen["told"], seen["model"].heads[0].get_weights()[0]

    return run(epochs=3), run(steps=3), run(steps=5, seed=1)


def test_a_batch_beyond_the_set_is_told(short_runs):
    for (found, told, _), steps in zip(short_runs, (3, 3, 5), strict=True):
        assert found["batch_size"] == 80
        assert found["steps"] == steps
        assert found["peak_lr"] == pytest.approx(0.1 * 80 / 256)
        assert told == (
            f"80 images per step (cut from 1,024), {steps} steps,"
            " peak rate 0.0312"
        )


def test_a_seed_decides_what_a_head_learns(short_runs):
    (*_, first), (*_, same), (*_, other) = short_runs
    assert np.array_equal(first, same)
    assert not np.allclose(first, other)


def test_the_loss_is_no_number_once_all_heads_diverged(digits):
    """One diverged head is passed over, `StopOnDivergence` sees all."""
    few = [source.part(range(64), "64") for source in digits]

    class Listener(keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            self.loss = logs["loss"]

    def last_loss(head_lrs):
        listener = Listener()
        linear.run(
            blocks,
            *few,
            training=head_training(batch_size=32, epochs=3),
            head_lrs=head_lrs,
            strategy=ONE,
            make_callbacks=lambda *_: [listener],
        )
        return listener.loss

    assert 0 < last_loss([1e37, 1.0]) < 3
    assert not np.isfinite(last_loss([1e37, 1e38]))


def tiny_encoder(seed=0):
    keras.utils.set_random_seed(seed)
    with ONE.scope():
        return build_encoder(
            build_backbone("resnet_tiny"), mean=(0.3,) * 3, std=(0.4,) * 3
        )


class Leaves(keras.callbacks.Callback):
    """Saves at a step and is gone, as by SIGTERM."""

    def __init__(self, checkpoints, step):
        super().__init__()
        self.checkpoints, self.step = checkpoints, step

    def on_train_batch_end(self, batch, logs=None):
        if self.model.steps_taken == self.step:
            self.checkpoints.save(self.step)
            raise KeyboardInterrupt


class Ends(keras.callbacks.Callback):
    """Saves at the end, as `CheckpointCallback` does."""

    def __init__(self, checkpoints, schedule):
        super().__init__()
        self.checkpoints, self.step = checkpoints, schedule.total_steps

    def on_train_batch_end(self, batch, logs=None):
        if self.model.steps_taken == self.step:
            self.checkpoints.save(self.step)


def interrupted_and_not(run, folder, step, leave_with=99):
    """What both runs return, and all that they learned.

    The interrupted one leaves in a training of fewer rates than `leave_with`.
    """
    results, learned = [], []

    def keep_model(model, schedule, base_lrs, checkpoints, first_step):
        learned.append(model)
        return [Ends(checkpoints, schedule)] if checkpoints else []

    def leave(model, schedule, base_lrs, checkpoints, first_step):
        assert first_step == 0
        if len(base_lrs) < leave_with:
            return [Leaves(checkpoints, step)]
        return [Ends(checkpoints, schedule)]

    results.append(run(checkpoints=None, make_callbacks=keep_model))
    whole = learned[-1]
    with pytest.raises(KeyboardInterrupt):
        run(checkpoints=folder, make_callbacks=leave)
    results.append(run(checkpoints=folder, make_callbacks=keep_model))
    assert results[0] == results[1]
    for one, other in zip(whole.groups, learned[-1].groups, strict=True):
        for group in zip(one[1], other[1], strict=True):
            assert np.array_equal(*map(keras.ops.convert_to_numpy, group))
        states = zip(one[0].variables, other[0].variables, strict=True)
        for state in states:
            assert np.array_equal(*map(keras.ops.convert_to_numpy, state))


def test_an_interrupted_linear_probe_ends_the_same(digits, tmp_path):
    def run(**options):
        return linear.run(
            blocks,
            *digits,
            training=head_training(epochs=3, crop_area=(0.3, 1.0), flip=0.5),
            head_lrs=[0.3, 3.0],
            feature_norm=True,
            strategy=ONE,
            **options,
        )

    interrupted_and_not(run, tmp_path / "linear", step=7)  # inside an epoch


def test_an_interruption_after_the_choice_does_not_choose_again(
    digits, tmp_path
):
    few, test = (source.part(range(200), "200") for source in digits)
    trained = []

    def run(*, make_callbacks, **options):
        def listen(model, schedule, base_lrs, checkpoints, first_step):
            trained.append((len(base_lrs), first_step))
            return make_callbacks(
                model, schedule, base_lrs, checkpoints, first_step
            )

        return linear.run(
            blocks,
            few,
            test,
            training=head_training(batch_size=50, epochs=2),
            head_lrs=[0.3, 3.0],
            validation=labelled.hold_out(few, 0.2, seed=0),
            strategy=ONE,
            make_callbacks=listen,
            **options,
        )

    interrupted_and_not(run, tmp_path / "final", step=3, leave_with=2)
    # Undisturbed; interrupted; and on from there.
    assert trained == [(2, 0), (1, 0), (2, 0), (1, 0), (2, 6), (1, 3)]


def test_an_interrupted_fine_tuning_ends_the_same(digits, tmp_path):
    train, test = digits
    few = labelled.fraction(train, 0.2, seed=0)

    def run(**options):
        return finetune.run(
            tiny_encoder(),
            few,
            test,
            training=head_training(batch_size=64),
            base_lr=0.1,
            head_lr=0.5,
            strategy=ONE,
            **options,
        )

    interrupted_and_not(run, tmp_path / "finetune", step=5)


def test_fine_tuning_moves_everything_and_learns(digits):
    encoder = tiny_encoder()
    before = [w.copy() for w in encoder.get_weights()]
    found = finetune.run(
        encoder,
        *digits,
        training=head_training(batch_size=64, epochs=3, crop_area=(0.8, 1.0)),
        base_lr=0.2,
        strategy=ONE,
        make_callbacks=watch,
    )
    assert found["top1"] > 0.85
    assert found["labelled_images"] == 1438
    moved = [
        not np.array_equal(one, other)
        for one, other in zip(before, encoder.get_weights(), strict=True)
    ]
    fixed = [
        variable.path
        for variable, has in zip(encoder.weights, moved, strict=True)
        if not has
    ]
    assert all("normalization" in path.split("/")[0] for path in fixed), fixed


REPLICAS = """
import json, sys
from mec_tf.distribution import strategies
strategies.split_cpu(2)
import tensorflow as tf, keras
tf.config.experimental.enable_op_determinism()
from mec_tf.data import sources
from mec_tf.evaluations import finetune, linear
from mec_tf.evaluations.supervised import HeadTraining
from mec_tf.formats import encoders, saved_model
from mec_tf.models import build_backbone
from mec_tf.models.encoder import build_encoder
splits = sources.load("digits")
training = HeadTraining(batch_size=128, epochs=2, image_size=8,
                        crop_area=(0.5, 1.0))
keras.utils.set_random_seed(0)
encoder = build_encoder(build_backbone("resnet_tiny"), mean=(0.3,) * 3,
                        std=(0.4,) * 3)
saved_model.save(encoder, "export", backbone="resnet_tiny", image_size=8,
                 mean=(0.3,) * 3, std=(0.4,) * 3, objective=None,
                 dataset="digits", steps=0, scores={})
results = {}
for name in ("one_device", "mirrored"):
    strategy = strategies.get_strategy(name)
    models = []
    def watch(model, *_):
        models.append(model)
        return []
    common = {"training": training, "strategy": strategy,
              "make_callbacks": watch}
    with strategy.scope():
        encode, _ = encoders.open_encoder("export")
        model, _ = encoders.open_model("export")
    linear.run(encode, splits.references, splits.test, head_lrs=[1.0],
               feature_norm=True, **common)
    finetune.run(model, splits.references, splits.test, base_lr=0.02, **common)
    results[name] = [
        float(keras.ops.convert_to_numpy(v).astype("float64").sum())
        for model in models for _, group in model.groups for v in group
    ] + [m.heads[0].get_weights()[0].tolist() for m in models]
json.dump(results, open("results.json", "w"))
"""


def test_two_replicas_learn_what_one_does(tmp_path):
    ended = subprocess.run(
        [sys.executable, "-c", REPLICAS],
        cwd=tmp_path,
        env=environment(),
        capture_output=True,
        text=True,
        timeout=900,
    )
    assert ended.returncode == 0, ended.stderr
    results = json.loads((tmp_path / "results.json").read_text())
    *_, linear_one, tuned_one = results["one_device"]
    *_, linear_two, tuned_two = results["mirrored"]
    assert np.allclose(linear_one, linear_two, atol=1e-5)
    assert np.allclose(tuned_one, tuned_two, atol=2e-4)
