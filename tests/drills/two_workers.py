"""Whether the model of `benchmarks.scaling` holds for two processes.

    python -m tests.drills.two_workers

trains a small network with one process and with two, on one core each, and
compares, for both forms of the objective: how often the two exchange something
in a step (counted while TensorFlow builds it), how many bytes the loopback
interface carries, and how long a step takes. Linux; nothing else should be
using the loopback interface.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf
from tensorflow.python.ops import collective_ops

from benchmarks import scaling
from mec_tf.augment import photometric
from mec_tf.augment import policy as policies
from mec_tf.distribution import strategies
from mec_tf.models import SiameseModel, build_backbone, heads
from mec_tf.objectives.mec import MEC
from mec_tf.optimizers import SGD
from tests.drills import loopback

ROWS, SIZE, DIM = 64, 16, 128  # of each replica
WARM_UP, STEPS = 3, 20


class Clock(keras.callbacks.Callback):
    """Time and bytes of the steps after the first few."""

    def on_train_batch_end(self, batch, logs=None):
        """Reads the clock and the counter."""
        now = time.perf_counter(), loopback_bytes()
        if batch + 1 == WARM_UP:
            self.begin = now
        if batch + 1 == WARM_UP + STEPS:
            self.seconds, self.bytes = (
                (end - begin) / STEPS
                for begin, end in zip(self.begin, now, strict=True)
            )


def loopback_bytes():
    """Bytes that the loopback interface has carried so far."""
    path = Path("/sys/class/net/lo/statistics/tx_bytes")
    return int(path.read_text())


def counted(traced):
    """Makes TensorFlow note every collective that it builds.

    Args:
        traced: List; gets the name of every collective that is built.
    """
    for name in ("all_reduce_v2", "all_gather_v2"):
        made = getattr(collective_ops, name)
        setattr(collective_ops, name, _counting(made, traced))


def _counting(made, traced):
    def make(tensor, *rest, **named):
        traced.append(made.__name__)
        return made(tensor, *rest, **named)

    return make


def build(form):
    """The small model that both measure."""
    model = SiameseModel(
        build_backbone("resnet_tiny"),
        heads.build_projector(128, dim=DIM, layers=2),
        None,
        policy=policies.preset("none", image_size=SIZE),
        objective=MEC(0.06, form=form),
        ema_momentum=lambda step: 0.99,
    )
    optimizer = SGD(0.01)
    optimizer.build(model.learned)
    model.compile(optimizer=optimizer, jit_compile=False)
    return model


def batches(worker, workers):
    """The same random views again and again."""
    random = np.random.default_rng(worker)
    shape = (ROWS, SIZE, SIZE, 3)
    batch = {
        "views": tuple(
            random.integers(0, 256, shape).astype(np.uint8) for _ in range(2)
        ),
        "draws": tuple(
            random.random((ROWS, photometric.NUM_DRAWS), np.float32)
            for _ in range(2)
        ),
        "index": np.arange(ROWS),
    }
    return tf.data.Dataset.from_tensors(batch).repeat()


def empty_call(strategy):
    """Seconds of an all-reduce of one number, and of a million more of them."""

    def timed(size, rounds):
        @tf.function
        def exchange(tensor):
            def add(tensor):
                context = tf.distribute.get_replica_context()
                for _ in range(rounds):
                    tensor = context.all_reduce(
                        tf.distribute.ReduceOp.SUM, tensor * 0.5
                    )
                return tensor

            return strategy.run(add, (tensor,))

        tensor = tf.ones([size])
        exchange(tensor)
        begin = time.perf_counter()
        for _ in range(5):
            exchange(tensor)
        return (time.perf_counter() - begin) / 5 / rounds

    return timed(1, 50), timed(1_000_000, 5)


def measure(form):
    """What one process found, printed as JSON."""
    traced = []
    if "TF_CONFIG" in os.environ:
        strategy = strategies.get_strategy("multi_worker")
    else:
        strategy = strategies.get_strategy("one_device")
    workers = strategies.Workers(strategy)
    cores = sorted(os.sched_getaffinity(0))
    os.sched_setaffinity(0, {cores[workers.index % len(cores)]})
    with strategy.scope():
        model = build(form)
    found = {}
    if workers.count > 1:
        found["one"], found["million"] = empty_call(strategy)
    counted(traced)
    clock = Clock()
    data = strategies.spread(strategy, batches, ROWS * workers.count)
    steps = {"steps_per_epoch": WARM_UP + STEPS, "shuffle": False, "verbose": 0}
    model.fit(data, callbacks=[clock], **steps)
    print(
        json.dumps(
            found
            | {
                "calls": len(traced),
                "bytes": clock.bytes,
                "seconds": clock.seconds,
                "model": [
                    list(e)
                    for e in scaling.collectives(
                        backbone=model.backbone,
                        projector=model.projector,
                        predictor=None,
                        rows=ROWS,
                        replicas=workers.count,
                        form=form,
                    )
                ],
            }
        )
    )


def _found(process, log):
    if process.wait():
        raise OSError(f"a process ended with {process.returncode}: {log}")
    return json.loads(log.read_text().splitlines()[-1])


def compare(form):
    """Runs one process, then two; the lines of their table."""
    command = [sys.executable, "-m", "tests.drills.two_workers", form]
    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder) / "alone.log"
        with open(log, "w") as file:
            alone = _found(
                subprocess.Popen(command, stdout=file, stderr=file), log
            )
        with loopback.workers(2, command, Path(folder)) as processes:
            two = [
                _found(process, Path(folder) / f"worker{k}.log")
                for k, process in enumerate(processes)
            ][0]
    exchanges = [scaling.Collective(*fields) for fields in two["model"]]
    calls = sum(e.calls for e in exchanges)
    sent = sum(e.sent(2) for e in exchanges)
    per_byte = (two["million"] - two["one"]) / (scaling.BYTES * 1e6)
    expected = alone["seconds"] + calls * two["one"] + sent * per_byte
    return [
        ("collectives", f"{calls:,}", f"{two['calls']:,}"),
        ("kB sent", f"{sent / 1e3:,.1f}", f"{two['bytes'] / 2e3:,.1f}"),
        (
            "ms of a step",
            f"{1e3 * expected:.1f}",
            f"{1e3 * two['seconds']:.1f}",
        ),
        ("ms alone", "", f"{1e3 * alone['seconds']:.1f}"),
        ("ms of an empty collective", "", f"{1e3 * two['one']:.2f}"),
        ("MB/s", "", f"{1e-6 / per_byte:.0f}"),
    ]


def main():
    """Runs the command of this module."""
    if len(sys.argv) > 1:
        measure(sys.argv[1])
        return
    for form in ("batch", "feature"):
        print(f"\n| {form}-wise, per worker and step | model | measured |")
        print("|---|---:|---:|")
        for row in compare(form):
            print("| " + " | ".join(row) + " |", flush=True)


if __name__ == "__main__":
    main()
