"""Protocols by name, and the interface that each implements.

A protocol is a module of this folder that defines `PROTOCOL`, and one line of
`choices.PROTOCOL_MODULES`. It is imported on demand.
"""

import dataclasses
import functools
import importlib
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import keras
import tensorflow as tf

from mec_tf.choices import PROTOCOL_MODULES
from mec_tf.config import EvaluateConfig
from mec_tf.evaluations import results
from mec_tf.evaluations.subjects import Subject
from mec_tf.evaluations.tasks import Task

# Settings that mean something to every protocol.
COMMON = frozenset(
    {
        *("encoder", "protocol", "output", "image_size", "workdir", "seed"),
        *("dataset", "data_dir", "train_split", "test_split"),
        *("crop_fraction", "interpolation", "test_resize"),
        *("strategy", "logical_cpus", "deterministic"),
    }
)
# To those that score labelled images, and to those of them that train.
LABELS = frozenset({"label_fraction", "split_file", "metric"})
TRAINING = frozenset(
    {
        *("batch_size", "epochs", "steps", "head_lr", "weight_decay"),
        *("crop_area", "flip", "checkpoint_minutes", "overwrite"),
    }
)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Evaluation:
    """The input of a protocol.

    Attributes:
        config: With the protocol's defaults in place.
        strategy: Strategy to train under.
        subjects: Encoders to score.
        task: Labelled images, if the protocol needs labels; else None.
        say: Prints a line for the user.
        catch_signals: Whether a signal may end training once it is saved.
    """

    config: EvaluateConfig
    strategy: tf.distribute.Strategy
    subjects: tuple[Subject, ...]
    task: Task | None
    say: Callable[[str], None]
    catch_signals: bool = False


@dataclasses.dataclass(frozen=True, kw_only=True)
class Protocol:
    """A way of scoring encoders.

    Attributes:
        run: Function of an `Evaluation` that returns the protocol's part of the
            JSON.
        settings: Names of the settings that it uses besides `COMMON`.
        defaults: Default values of settings, or functions of the config that
            return them.
        trains: Whether it saves checkpoints, in a workdir of its own.
        needs_weights: Whether the encoder must have trainable weights.
        needs_labels: Whether it is given a `Task` of the config's data.
        output_check: For a protocol whose `output` is a file of its own and not
            the JSON: checks that path and returns the path of the JSON.
        show: Prints the result of `run`.
        score: Scores one encoder on one task and returns a row of the results;
            None if scores are not of labelled images.
    """

    run: Callable[[Evaluation], dict[str, Any]]
    settings: frozenset[str]
    defaults: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    trains: bool = False
    needs_weights: bool = False
    needs_labels: bool = False
    output_check: Callable[[str], Path] | None = None
    show: Callable[[Mapping[str, Any]], None] = results.show_scores
    score: Callable[[Subject, Task, Evaluation], dict[str, Any]] | None = None


def on_labelled_images(
    score: Callable[[Subject, Task, Evaluation], dict[str, Any]],
    *,
    settings: frozenset[str],
    **declared: Any,
) -> Protocol:
    """A protocol that scores each encoder on one labelled set.

    Args:
        score: Of `Protocol`.
        settings: Of `Protocol`, beside `LABELS`.
        **declared: Other attributes of `Protocol`.
    """
    return Protocol(
        run=functools.partial(_score_subjects, score),
        score=score,
        settings=settings | LABELS,
        needs_labels=True,
        **declared,
    )


def find(name: str) -> Protocol:
    """The protocol of a name of `choices.PROTOCOLS`."""
    module = f"mec_tf.evaluations.{PROTOCOL_MODULES[name]}"
    return importlib.import_module(module).PROTOCOL


def resolve(config: EvaluateConfig) -> EvaluateConfig:
    """The config with the protocol's defaults for what is not given."""
    defaults = find(config.fitted_by).defaults
    return config.replace(
        **{
            name: value(config) if callable(value) else value
            for name, value in defaults.items()
            if getattr(config, name) is None
        }
    )


def without_effect(config: EvaluateConfig) -> list[str]:
    """Names of settings that were given and mean nothing to the protocol."""
    heeded = COMMON | find(config.protocol).settings
    heeded |= find(config.fitted_by).settings
    return sorted(
        field.name
        for field in dataclasses.fields(config)
        if field.name not in heeded
        and getattr(config, field.name) != field.default
    )


def score_one(
    subject: Subject,
    task: Task,
    evaluation: Evaluation,
    score: Callable[[Subject, Task, Evaluation], dict[str, Any]],
) -> dict[str, Any]:
    """Scores one encoder on one labelled set: a row of the results."""
    started = time.monotonic()
    # The same untrained weights wherever in the list they stand.
    keras.utils.set_random_seed(evaluation.config.seed)
    scores = score(subject, task, evaluation)
    return {
        "encoder": subject.name,
        **scores,
        "image_size": subject.image_size,
        "crop_fraction": subject.crop_fraction,
        "seconds": round(time.monotonic() - started, 1),
    }


def _score_subjects(score, evaluation):
    task = evaluation.task
    rows = [
        score_one(subject, task, evaluation, score)
        for subject in evaluation.subjects
    ]
    evaluation.say(f"trained or referenced on: {task.train.description}")
    evaluation.say(f"scored on: {task.test.description}")
    found = {
        "train": task.train.description,
        "test": task.test.description,
        "metric": task.metric,
        "results": rows,
    }
    if "top1" in rows[0]:
        found["top1"] = rows[0]["top1"]
    return found
