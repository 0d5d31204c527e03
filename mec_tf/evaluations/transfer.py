"""Transfer to the sets of a suite: one row of scores for each encoder."""

import numpy as np

from mec_tf.config import EvaluateConfig
from mec_tf.errors import UserError
from mec_tf.evaluations import results
from mec_tf.evaluations.protocols import Evaluation, Protocol, find, score_one
from mec_tf.evaluations.suites import PUBLISHED, SUITES, Transfer
from mec_tf.evaluations.tasks import Task, make_task


def run(evaluation: Evaluation) -> dict:
    """Scores every encoder on every set.

    Returns:
        Dict: `suite`; `by`, the protocol of each set; `table`, a row of scores
        for each encoder, their mean last; `published`, rows of papers; and
        `results`, a row for each encoder and set.

    Raises:
        UserError: If a set is not of the suite, or is not there.
    """
    config = evaluation.config
    by = find(config.transfer_by)
    chosen = _chosen(config)
    tasks = _tasks(chosen, config)
    for one in chosen:
        task = tasks[one.name]
        sizes = (task.train.size, task.test.size)
        if sizes != one.images:
            evaluation.say(
                f"{one.name}: {sizes[0]:,} + {sizes[1]:,} images; in the"
                f" literature {one.images[0]:,} + {one.images[1]:,}"
            )
    table, rows = [], []
    for subject in evaluation.subjects:
        found = {
            name: score_one(subject, task, evaluation, by.score)
            for name, task in tasks.items()
        }
        scores = {
            name: found[name][task.metric] for name, task in tasks.items()
        }
        table.append(_row(subject.name, scores, tasks))
        rows += [
            {"set": name, "metric": tasks[name].metric, **row}
            for name, row in found.items()
        ]
    return {
        "suite": config.suite,
        "by": config.transfer_by,
        "table": table,
        "published": _published(config, tasks),
        "results": rows,
    }


def show(result: dict) -> None:
    """Prints the rows of encoders, and those of papers below them."""
    table = result["table"]
    results.print_table(
        [*table, *result["published"]], shares=table[0].keys() - {"encoder"}
    )


def _chosen(config: EvaluateConfig) -> list[Transfer]:
    suite = SUITES[config.suite]
    names = [one.name for one in suite]
    unknown = set(config.sets or ()) - set(names)
    if unknown:
        raise UserError(
            f"`sets`={','.join(sorted(unknown))} is not in the suite; choose of"
            f" {', '.join(names)}"
        )
    return [one for one in suite if not config.sets or one.name in config.sets]


def _tasks(chosen: list[Transfer], config: EvaluateConfig) -> dict[str, Task]:
    tasks, missing = {}, []
    for one in chosen:
        try:
            tasks[one.name] = make_task(
                config,
                metric=one.metric,
                dataset=one.dataset,
                train_split=one.train_split,
                test_split=one.test_split,
            )
        except UserError as error:
            missing.append(f"{one.name}: {error}")
    if missing:
        raise UserError(
            f"{len(missing)} of {len(chosen)} sets cannot be scored on; "
            + " | ".join(missing)
        )
    return tasks


def _published(config, tasks):
    names = [one.name for one in SUITES[config.suite]]
    rows = []
    for one in PUBLISHED[config.suite][config.transfer_by]:
        per_cent = dict(zip(names, one.scores, strict=True))
        scores = {name: per_cent[name] / 100 for name in tasks}
        label = f"{one.method} (paper: {one.source})"
        rows.append(_row(label, scores, tasks))
    return rows


def _row(label, scores, tasks):
    shares = {
        f"{name} ({task.metric})": scores[name] for name, task in tasks.items()
    }
    mean = float(np.mean(list(shares.values())))
    return {"encoder": label, **shares, "mean": mean}


PROTOCOL = Protocol(
    run=run,
    show=show,
    settings=frozenset(
        {"suite", "sets", "transfer_by", "label_fraction", "split_file"}
    ),
)
