"""Sets determinism, precision policy and seeds, and restores them afterwards.

They are settings of the whole process. A program that calls several runs, or
does something else afterwards, gets its own settings back.
"""

import contextlib
import random
from collections.abc import Iterator
from typing import NamedTuple

import keras
import numpy as np
import tensorflow as tf
from tensorflow.python.framework import config as framework

from mec_tf.distribution import strategies
from mec_tf.errors import UserError


class Session(NamedTuple):
    """Strategy, workers and determinism of a computation.

    Attributes:
        strategy: The caller's, where one is in scope, or that of the settings.
        workers: The processes that compute together.
        deterministic: Whether operations are.
    """

    strategy: tf.distribute.Strategy
    workers: strategies.Workers
    deterministic: bool


@contextlib.contextmanager
def session(
    *,
    strategy: str,
    logical_cpus: int,
    deterministic: bool | None,
    seed: int,
    precision: str = "float32",
    compiled: bool = False,
) -> Iterator[Session]:
    """Sets the process up, and back when the context is left.

    Only TensorFlow's and Keras' own random seeds stay set: they cannot be read.

    Args:
        strategy: As `strategies.get_strategy` takes it; inside the scope of a
            `tf.distribute.Strategy` that one counts.
        logical_cpus: Parts that the CPU must have been split into, by
            `strategies.split_cpu`, which a process can do only once.
        deterministic: Whether operations are to be; None: where there is no GPU
            and XLA is not asked for.
        seed: Of every generator of the process.
        precision: Keras' dtype policy.
        compiled: Whether XLA is asked for, which excludes determinism.

    Raises:
        UserError: If there are fewer logical CPUs, or as `get_strategy`.
        LostWorkers: If another worker is lost meanwhile, or did not come.
    """
    if deterministic is None:
        gpus = tf.config.list_physical_devices("GPU")
        deterministic = not gpus and not compiled
    with (
        _operations(deterministic),
        _seeded(seed),
        dtype_policy(precision),
    ):
        if tf.distribute.has_strategy():
            found = tf.distribute.get_strategy()
        else:
            _require_cpus(logical_cpus)
            found = strategies.get_strategy(strategy)
        workers = strategies.Workers(found)
        with workers.reporting_lost_workers():
            yield Session(found, workers, deterministic)


def _require_cpus(count: int) -> None:
    if count == 1:
        return
    there = len(tf.config.list_logical_devices("CPU"))
    if there != count:
        raise UserError(
            f"`logical_cpus`={count}, but this process has split its CPU into"
            f" {there}; call mec_tf.distribution.strategies.split_cpu({count})"
            " before TensorFlow computes anything"
        )


@contextlib.contextmanager
def _operations(deterministic: bool) -> Iterator[None]:
    former = framework.is_op_determinism_enabled()
    _enable(deterministic)
    try:
        yield
    finally:
        _enable(former)


def _enable(deterministic: bool) -> None:
    if deterministic:
        tf.config.experimental.enable_op_determinism()
    else:  # there is no public way
        framework.disable_op_determinism()


@contextlib.contextmanager
def _seeded(seed: int) -> Iterator[None]:
    python, numpy = random.getstate(), np.random.get_state()
    keras.utils.set_random_seed(seed)
    try:
        yield
    finally:
        random.setstate(python)
        np.random.set_state(numpy)


@contextlib.contextmanager
def dtype_policy(name: str) -> Iterator[None]:
    """Sets Keras' policy of precision for a while."""
    former = keras.config.dtype_policy()
    keras.config.set_dtype_policy(name)
    try:
        yield
    finally:
        keras.config.set_dtype_policy(former)
