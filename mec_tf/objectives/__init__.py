"""Objectives: the losses that embeddings are trained with."""

from typing import Any

from mec_tf.errors import UserError
from mec_tf.objectives.mec import MEC
from mec_tf.objectives.objective import Embeddings as Embeddings
from mec_tf.objectives.objective import Objective as Objective
from mec_tf.objectives.replicas import Replicas as Replicas

OBJECTIVES: dict[str, type[Objective]] = {"mec": MEC}
"""The objectives by the name that a run gives."""


def build(name: str, settings: Any, schedule: Any) -> Objective:
    """Makes the objective of a run.

    Args:
        name: a key of `OBJECTIVES`.
        settings: has one attribute per setting, by its name.
        schedule: `schedule.Schedule` of the run.

    Raises:
        UserError: an unknown name; the message lists the known ones.
    """
    if name not in OBJECTIVES:
        raise UserError(
            f"`objective`={name} is not known; choose one of"
            f" {', '.join(sorted(OBJECTIVES))}"
        )
    return OBJECTIVES[name].from_settings(settings, schedule)


def plotted() -> dict[str, str]:
    """Columns of `metrics.csv` worth a curve, of any objective, and titles."""
    return {
        column: title
        for objective in OBJECTIVES.values()
        for column, title in objective.plotted.items()
    }
