"""An objective of one file, from its first step to its last."""

import csv
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf
from conftest import REPOSITORY, SMALL, environment
from objectives.centred_info_nce import CentredInfoNCE

from mec_tf.augment import photometric
from mec_tf.augment import policy as policies
from mec_tf.errors import UserError
from mec_tf.models import SiameseModel
from mec_tf.objectives import Embeddings, Objective, mec, spectral_norm
from mec_tf.objectives.replicas import ALONE, Replicas
from mec_tf.optimizers import SGD
from mec_tf.training.checkpoint import Checkpoints

HERE = Path(__file__).parent
SIZE, DIM, N = 8, 6, 12


def model_with(objective, *, parts=1, local_crops=0, target=True):
    keras.utils.set_random_seed(0)
    images = keras.Input((None, None, 3))
    x = keras.layers.Conv2D(5, 3)(images)
    model = SiameseModel(
        keras.Model(images, keras.layers.GlobalAveragePooling2D()(x)),
        keras.Sequential([keras.Input((5,)), keras.layers.Dense(DIM)]),
        None,
        policy=policies.preset(
            "none", image_size=SIZE, local_crops=local_crops, local_size=6
        ),
        objective=objective,
        ema_momentum=(lambda step: 0.9) if target else None,
        micro_batches=parts,
    )
    optimizer = SGD(0.1)
    optimizer.build(model.learned)
    model.compile(optimizer=optimizer, jit_compile=False)
    return model


def batches(model, seed=0, **more):
    """The same batch again and again."""
    generator = np.random.default_rng(seed)
    views = model.policy.views
    batch = {
        "views": tuple(
            tf.constant(
                generator.integers(0, 256, (N, view.size, view.size, 3)),
                tf.uint8,
            )
            for view in views
        ),
        "draws": (tf.zeros([N, photometric.NUM_DRAWS]),) * len(views),
        **more,
    }
    return tf.data.Dataset.from_tensors(batch).repeat()


def fit(model, steps, **more):
    return model.fit(
        batches(model, **more), steps_per_epoch=steps, shuffle=False, verbose=0
    ).history


def weights(model):
    return [v.numpy() for v in [*model.weights, *model.optimizer.variables]]


def checkpoints(model, folder):
    return Checkpoints(
        folder, max_to_keep=1, model=model, optimizer=model.optimizer
    )


def test_its_state_is_saved_and_resumed_to_the_bit(tmp_path):
    straight = model_with(CentredInfoNCE())
    logs = fit(straight, 3)
    assert set(logs) == {"loss", "similarity"}
    centre = straight.objective.centre.numpy()
    assert np.abs(centre).min() > 0
    checkpoints(straight, tmp_path).save(3)
    fit(straight, 3)
    assert np.all(straight.objective.centre.numpy() != centre)

    resumed = model_with(CentredInfoNCE())
    assert checkpoints(resumed, tmp_path).restore() == (3, [])
    assert np.array_equal(resumed.objective.centre, centre)
    fit(resumed, 3)
    for one, other in zip(weights(straight), weights(resumed), strict=True):
        assert np.array_equal(one, other)


def test_its_state_is_not_learnt():
    model = model_with(CentredInfoNCE())
    centre = model.objective.centre
    assert not any(v is centre for v in model.learned)
    assert not any(v is centre for v in model.trainable_variables)
    assert any(v is centre for v in model.weights)


@pytest.mark.parametrize("target", [True, False])
def test_over_micro_batches_it_sees_the_whole_batch(target):
    class Kept(CentredInfoNCE):
        def call(self, embeddings, **options):
            kept.append(embeddings)
            return super().call(embeddings, **options)

        def update(self, embeddings, **options):
            kept.append(embeddings)
            super().update(embeddings, **options)

    found = {}
    for parts in (1, 3):
        kept = []
        model = model_with(Kept(), parts=parts, target=target)
        label = tf.range(N)
        batch = next(iter(batches(model, label=label)))
        loss = float(model.train_step(batch)["loss"])
        for embeddings in kept:
            assert [z.shape for z in embeddings.online] == [(N, DIM)] * 2
            assert (embeddings.target is None) == (not target)
            assert np.array_equal(embeddings.labels, label)
        found[parts] = [loss, model.objective.centre, *weights(model)]
        assert len(kept) == 2
    for one, other in zip(found[1], found[3], strict=True):
        np.testing.assert_allclose(other, one, rtol=1e-5, atol=1e-5)


def test_a_state_follows_the_optimizer_and_the_target():
    order = []

    class Last(Objective):
        def call(self, embeddings, *, step, replicas):
            return tf.reduce_mean(embeddings.online[0] ** 2), {}

        def update(self, embeddings, *, step, replicas):
            order.append((int(step), model.steps_taken, target()))

    model = model_with(Last())

    def target():
        return float(tf.reduce_sum(model.target.weights[0] ** 2))

    before = target()
    model.train_step(next(iter(batches(model))))
    ((step, steps_taken, after),) = order
    assert (step, steps_taken) == (0, 1)
    assert after == target() != before


def test_what_it_needs_is_checked_with_the_model():
    with pytest.raises(UserError, match="`ema_base`"):
        model_with(mec.MEC(order=1), target=False)


@pytest.mark.parametrize("order", [0, 1])
def test_no_norm_is_computed_where_there_is_no_series(order, monkeypatch):
    monkeypatch.setattr(mec, "spectral_norms", None)
    logs = fit(model_with(mec.MEC(0.01, order=order)), 1)
    assert set(logs) == {"loss", "coding_length", "effective_distortion"}
    assert logs["effective_distortion"][0] == pytest.approx(0.01)


@pytest.mark.parametrize("norm", ["l2", "batch"])
@pytest.mark.parametrize("form", ["batch", "feature"])
def test_pairs_together_are_pairs_one_by_one(form, norm):
    generator = np.random.default_rng(0)
    shared = generator.normal(size=(8, 5))
    online, target = (
        [
            tf.constant(shared + generator.normal(size=(8, 5)))
            for _ in range(count)
        ]
        for count in (4, 2)
    )
    options = dict(form=form, embedding_norm=norm)
    pairs = [(2, 0), (1, 0), (3, 0), (0, 1), (2, 1), (3, 1)]

    def separately():
        return tf.reduce_mean(
            [
                mec.mec_loss(online[i], target[j], distortion=0.875, **options)
                for i, j in pairs
            ]
        )

    def together():
        objective = mec.MEC(0.875, guard=False, **options)
        embeddings = Embeddings(online, target)
        loss, logs = objective(embeddings, step=tf.constant(0), replicas=ALONE)
        norms = [
            mec.spectral_norm(
                online[i],
                target[j],
                distortion=0.875,
                seed=[0, 0],
                embedding_norm=norm,
            )
            for i, j in pairs
        ]
        assert float(logs["spectral_norm"]) == pytest.approx(
            float(tf.reduce_max(norms)), rel=1e-6
        )
        return loss

    gradients = []
    for loss in (separately, together):
        with tf.GradientTape() as tape:
            tape.watch(online)
            value = loss()
        gradients.append([value, *tape.gradient(value, online)])
    for one, other in zip(*gradients, strict=True):
        np.testing.assert_allclose(other, one, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("form", ["batch", "feature"])
def test_crops_share_what_they_exchange(form):
    calls = []

    def all_gather(rows):
        calls.append("gather")
        return tf.concat([rows, rows], 0)

    def all_reduce(tensor):
        calls.append("sum")
        return 2 * tensor

    two = Replicas(2, 0, all_gather, all_reduce)
    views = list(tf.random.stateless_normal([8, 4, 5], [1, 2]))
    mec.MEC(form=form)(
        Embeddings(views, views[:2]), step=tf.constant(0), replicas=two
    )
    guard = 2 * spectral_norm.POWER_ITERATIONS
    if form == "batch":
        assert (calls.count("gather"), calls.count("sum")) == (1, guard)
    else:  # a matrix for each of 14 pairs
        assert (calls.count("gather"), calls.count("sum")) == (0, guard + 14)


# A program that gives the table one more objective and is then `train`.
TRAIN = """
from objectives.centred_info_nce import CentredInfoNCE
from mec_tf import choices
choices.OBJECTIVES = (*choices.OBJECTIVES, "centred_info_nce")
from mec_tf import objectives
from mec_tf.command_line import command
objectives.OBJECTIVES["centred_info_nce"] = CentredInfoNCE
from mec_tf import train
command.run(train.main, train.CONFIG)
"""


def test_a_run_has_the_columns_that_its_objective_declares(tmp_path):
    flags = ["--objective=centred_info_nce", "--epochs=1", "--workdir=run"]
    environment_ = environment()
    environment_["PYTHONPATH"] = f"{REPOSITORY}:{HERE.parent}"
    ended = subprocess.run(
        [sys.executable, "-c", TRAIN, *SMALL, *flags],
        cwd=tmp_path,
        env=environment_,
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert ended.returncode == 0, ended.stderr
    with open(tmp_path / "run/metrics.csv", newline="") as file:
        (row,) = csv.DictReader(file)
    assert -1 < float(row["similarity"]) < 1
    assert float(row["lr"]) > 0
    assert "coding_length" not in row
    assert "distortion" not in row
    assert f"similarity {float(row['similarity']):.4g}" in ended.stderr
    assert (tmp_path / "exports/digits/saved_model.pb").exists()


def test_the_documentation_shows_this_objective():
    text = (REPOSITORY / "docs/extending.md").read_text()
    shown = text.split("```python\n")[1].split("```")[0]
    assert shown == (HERE / "centred_info_nce.py").read_text()
    assert shown.count("\n") <= 40
