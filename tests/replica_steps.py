"""Five training steps under one strategy; all that they changed, to a file.

    python replica_steps.py FOLDER cpus COUNT      (logical CPUs)
    python replica_steps.py FOLDER workers         (TF_CONFIG)

FOLDER/NAME.npz then holds, by case, the logs of each step, every gradient,
weight, velocity and running statistic, the samples of each step, and the state
after going on from what one device saved after three steps. One device then
waits for a line on standard input, goes on from what the others saved after
three steps, and writes FOLDER/from-NAME.npz.
"""

import dataclasses
import functools
import sys

import keras
import numpy as np
import tensorflow as tf
from objectives.centred_info_nce import CentredInfoNCE

import mec_tf  # noqa: F401, sets oneDNN before TensorFlow is loaded
from benchmarks import scaling
from mec_tf.augment import policy as policies
from mec_tf.data import pipeline, sources
from mec_tf.distribution import strategies
from mec_tf.models import SiameseModel, heads
from mec_tf.models.batch_norm import BatchNormalization
from mec_tf.objectives import Objective, spectral_norm
from mec_tf.objectives.mec import MEC
from mec_tf.optimizers import LARS, SGD
from mec_tf.training.checkpoint import Checkpoints
from tests.drills import two_workers

BATCH, STEPS, SAVED = 32, 5, 3
# 1,438 digits are 44 batches and a rest of 30: the third step begins an epoch.
FIRST_STEP = 42
# The guard's iterations are unrolled: fewer of them compile sooner.
spectral_norm.POWER_ITERATIONS = 1


class Kept:
    """Keeps each gradient as the optimizer gets it, summed over replicas.

    LARS hides a gradient's scale in what it makes of it.
    """

    def build(self, variables):
        super().build(variables)
        self.kept = self.add_optimizer_variables(variables, "kept")

    def update_step(self, gradient, variable, learning_rate):
        kept = self.kept[self._get_variable_index(variable)]
        self.assign(kept, gradient)
        super().update_step(gradient, variable, learning_rate)


@functools.cache
def source():
    return sources.load(
        dataset="digits",
        data_dir=None,
        train_split="train",
        test_split="test",
        seed=0,
    ).pretrain


@functools.cache
def policy():
    """Random crops, some solarized: little to compile."""
    digits = policies.preset("digits", image_size=8)
    views = [
        dataclasses.replace(
            view, jitter=0.0, grey=0.0, blur=0.0, noise=0.0, solarize=0.5
        )
        for view in digits.views
    ]
    return dataclasses.replace(digits, views=tuple(views))


class Diary(keras.callbacks.Callback):
    """The logs and the gradients of each step."""

    def __init__(self, found):
        super().__init__()
        self.found = found

    def on_train_batch_end(self, batch, logs=None):
        step = self.model.steps_taken
        for name, value in logs.items():
            self.found[f"{step}/{name}"] = float(value)
        for k, variable in enumerate(self.model.optimizer.kept):
            self.found[f"{step}/gradient {k}"] = variable.numpy()


class BothForms(Objective):
    """The mean of the batch-wise and the feature-wise loss."""

    logged = MEC.logged

    def call(self, embeddings, **options):
        results = [
            MEC(0.3, form=form).call(embeddings, **options)
            for form in ("batch", "feature")
        ]
        return tf.nest.map_structure(lambda a, b: (a + b) / 2, *results)


# By name: the optimizer, and an objective without and one with state.
CASES = {
    "sgd": (type("KeptSGD", (Kept, SGD), {}), BothForms),
    "lars": (type("KeptLARS", (Kept, LARS), {}), CentredInfoNCE),
}


def make_model(optimizer, objective):
    keras.utils.set_random_seed(0)
    images = keras.Input((None, None, 3))
    x = keras.layers.Conv2D(6, 3, use_bias=False, name="conv")(images)
    x = keras.layers.ReLU()(BatchNormalization(name="bn")(x))
    x = keras.layers.GlobalAveragePooling2D()(x)
    model = SiameseModel(
        keras.Model(images, x),
        heads.build_projector(6, dim=12, layers=2),
        None,
        policy=policy(),
        objective=objective(),
        ema_momentum=lambda step: 0.9,
    )
    optimizer = optimizer(0.02, momentum=0.5)
    optimizer.build(model.learned)
    model.compile(optimizer=optimizer, jit_compile=False)
    return model


def batches(strategy, first_step=FIRST_STEP):
    make_batches = functools.partial(
        pipeline.training_batches,
        source(),
        policy(),
        batch_size=BATCH,
        seed=3,
        first_step=first_step,
    )
    return strategies.spread(strategy, make_batches, BATCH)


def fit(model, strategy, last_step, found):
    first_step = model.steps_taken
    model.fit(
        batches(strategy, FIRST_STEP + first_step),
        steps_per_epoch=last_step - first_step,
        callbacks=[Diary(found)],
        shuffle=False,
        verbose=0,
    )
    for k, variable in enumerate([*model.weights, *model.optimizer.variables]):
        found[f"{last_step}/{k} {variable.name}"] = variable.numpy()


def samples(strategy):
    """`[steps, rows of this process]`, replica after replica."""
    data = iter(batches(strategy))
    steps = (next(data)["index"] for _ in range(STEPS))
    return np.stack(
        [
            np.concatenate(strategy.experimental_local_results(step))
            for step in steps
        ]
    )


def checkpoints(model, folder):
    return Checkpoints(
        folder,
        max_to_keep=1,
        model=model,
        optimizer=model.optimizer,
        means=[v.value for mean in model.metrics for v in mean.variables],
    )


def calls(model, strategy):
    """Collectives of a step of `BothForms`, as `scaling` has them."""
    exchanges = {
        (e.what, form if e.what in ("objective", "guard") else "any"): e.calls
        for form in ("batch", "feature")
        for e in scaling.collectives(
            backbone=model.backbone,
            projector=model.projector,
            predictor=None,
            rows=BATCH // strategy.num_replicas_in_sync,
            replicas=strategy.num_replicas_in_sync,
            form=form,
        )
    }
    return sum(exchanges.values())


def collect(strategy, folder, name):
    """Writes what the strategy found; its models, by case."""
    found, models = {"samples": samples(strategy)}, {}
    traced = []
    two_workers.counted(traced)
    for case, parts in CASES.items():
        with strategy.scope():
            model = models[case] = make_model(*parts)
        straight = {}
        traced.clear()
        fit(model, strategy, SAVED, straight)
        straight["collectives"] = [len(traced), calls(model, strategy)]
        if name != "worker1":
            checkpoints(model, f"{folder}/{name}/{case}").save(SAVED)
        fit(model, strategy, STEPS, straight)
        found |= {f"{case}/{key}": v for key, v in straight.items()}
        found |= resume(model, strategy, f"{folder}/1/{case}", case)
    np.savez(f"{folder}/{name}.npz", **found)
    return models


def resume(model, strategy, saved, case):
    """What follows from a checkpoint of a model, perhaps of another strategy.

    It is the same model, so that nothing is compiled again.
    """
    found = {}
    restored = checkpoints(model, saved).restore()
    assert restored == (SAVED, []), restored
    found["means"] = [float(mean.result()) for mean in model.metrics]
    fit(model, strategy, STEPS, found)
    return {f"{case}/resumed {key}": v for key, v in found.items()}


def main():
    folder, kind, *count = sys.argv[1:]
    if kind == "workers":
        strategy = strategies.get_strategy("multi_worker")
        index = strategies.Workers(strategy).index
        collect(strategy, folder, f"worker{index}")
        return
    strategies.split_cpu(int(*count))
    one = count == ["1"]
    strategy = strategies.get_strategy("one_device" if one else "mirrored")
    models = collect(strategy, folder, *count)
    if not one:
        return
    print("ready", flush=True)
    for name in input().split():
        found = {}
        for case, model in models.items():
            found |= resume(model, strategy, f"{folder}/{name}/{case}", case)
        np.savez(f"{folder}/from-{name}.npz", **found)


if __name__ == "__main__":
    main()
