"""Evaluation: scores the encoders of a config by its protocol."""

import contextlib
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from absl import logging

from mec_tf.config import EvaluateConfig
from mec_tf.distribution.session import session
from mec_tf.evaluations import protocols, results
from mec_tf.evaluations.subjects import make_subjects
from mec_tf.evaluations.tasks import make_task
from mec_tf.files.atomic import replaced_file
from mec_tf.formats import encoders
from mec_tf.training import run_record, workdir


def evaluate(
    config: EvaluateConfig,
    *,
    default_output: Path | None = None,
    say: Callable[[str], None] = logging.info,
    catch_signals: bool = False,
) -> dict[str, Any]:
    """Scores every encoder of a config by its protocol.

    A process may evaluate several times; its settings are restored. Inside the
    scope of a `tf.distribute.Strategy` that strategy is used.

    Args:
        config: What is scored, on what and how.
        default_output: Where the JSON goes if the config names neither an
            `output` nor a `workdir`. Default: nowhere, it is only returned.
        say: Prints a line for the user. Default: absl's log.
        catch_signals: Whether a signal such as SIGTERM ends training after the
            current step, with a checkpoint. For mains, in the main thread.

    Returns:
        What stands in the JSON: `protocol`; `flags`, every setting; `seconds`;
        `results`, a row for each encoder; and what else the protocol tells.

    Raises:
        UserError: If something that the config names cannot be used.

    Example:
        >>> config = EvaluateConfig(encoder="pixels", dataset="digits",
        ...                         image_size=8)
        >>> evaluate(config)["top1"] > 0.9
        True
    """
    started = time.monotonic()
    config = protocols.resolve(config)
    protocol = protocols.find(config.protocol)
    scorer = protocols.find(config.fitted_by)
    if idle := protocols.without_effect(config):
        names = ", ".join(f"`{name}`" for name in idle)
        have = "has" if len(idle) == 1 else "have"
        say(f"{names} {have} no effect on {config.fitted_by}")
    with contextlib.ExitStack() as stack:
        computing = stack.enter_context(
            session(
                strategy=config.strategy,
                logical_cpus=config.logical_cpus,
                deterministic=config.deterministic,
                seed=config.seed,
            )
        )
        config = config.replace(deterministic=computing.deterministic)
        if scorer.needs_weights:
            for name in config.encoder:
                encoders.require_weights(name)
        task = None
        if protocol.needs_labels:
            task = make_task(config, metric=config.metric)
            config = config.replace(metric=task.metric)
        subjects = make_subjects(
            config.encoder,
            image_size=config.image_size,
            crop_fraction=config.crop_fraction,
        )
        if len({subject.image_size for subject in subjects}) == 1:
            _, size, fraction = subjects[0]  # else each row says its own
            config = config.replace(image_size=size, crop_fraction=fraction)
        output = results.scores_path(
            config,
            trains=scorer.trains,
            check=protocol.output_check,
            default=default_output,
        )
        if config.workdir and scorer.trains:
            stack.enter_context(_claimed(config))
        found = protocol.run(
            protocols.Evaluation(
                config=config,
                strategy=computing.strategy,
                subjects=subjects,
                task=task,
                say=say,
                catch_signals=catch_signals,
            )
        )
        result = {
            "protocol": config.protocol,
            "flags": config.values(),
            "seconds": round(time.monotonic() - started, 1),
            **found,
        }
        text = json.dumps(result, indent=2)
        if output is not None:
            with replaced_file(output) as partial:
                partial.write_text(text + "\n")
            say(f"scores: {output}")
    return json.loads(text)


def _claimed(config):
    """Claims the workdir for the evaluation."""
    return workdir.claim(
        Path(config.workdir),
        config.values(),
        kind=run_record.EVALUATION,
        defaults=type(config).defaults(),
        formerly=type(config).formerly(),
        overwrite=config.overwrite,
        ignored=tuple(config.may_differ()),
    )
