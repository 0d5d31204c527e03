"""Plots runs: their metrics, and the augmented views of their images."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from mec_tf.augment import policy as policies
from mec_tf.config.report import ReportConfig
from mec_tf.data import sources
from mec_tf.errors import UserError
from mec_tf.plots.curves import draw_curves
from mec_tf.plots.views import draw_views
from mec_tf.training import workdir
from mec_tf.training.callbacks import csv_logger


class Report(NamedTuple):
    """The files that were drawn.

    Attributes:
        curves: PNG of the runs' curves; None without runs.
        views: PNG of what the network sees; None where it was not asked for.
    """

    curves: Path | None
    views: Path | None


def report(
    config: ReportConfig,
    *,
    given: Mapping[str, Any] | None = None,
    name: str | None = None,
) -> Report:
    """Draws the curves of the runs named, and views if asked for them.

    Args:
        config: Of the report. Views are those of the first run, where one is
            named.
        given: Settings that overrule that run's. Default: those of the config
            that are not at their default.
        name: That the picture of views begins with where there is no run.
            Default: the dataset.

    Returns:
        Where the pictures are.

    Raises:
        UserError: If there is nothing to draw, a folder holds no run of
            pretraining with a finished epoch, or images cannot be read.
    """
    runs = [Path(path) for path in config.workdir or ()]
    if not (runs or config.draw_views):
        raise UserError(
            "nothing to draw: give `workdir`=RUN or `views` (in Python:"
            " draw_views=True)"
        )
    texts = [workdir.pretraining_flags(run, "workdir") for run in runs]
    curves = _curves(runs) if runs else None
    if not config.draw_views:
        return Report(curves, None)
    if runs:
        if given is None:
            given = _changed(config)
        config = ReportConfig.from_flags(texts[0]).replace(**given)
        path = runs[0] / "figures/views.png"
    else:
        path = Path(f"{name or config.dataset.replace('/', '_')}_views.png")
    splits = sources.load(**config.source_options())
    policy = policies.preset(**config.policy_options())
    draw_views(splits.pretrain, policy, path, seed=config.seed)
    return Report(curves, path)


def _changed(config: ReportConfig) -> dict[str, Any]:
    default = vars(ReportConfig())
    return {
        name: value
        for name, value in vars(config).items()
        if value != default[name]
    }


def _curves(runs: list[Path]) -> Path:
    """Draws the curves of one or more runs into one picture."""
    rows = {}
    for path, name in zip(runs, workdir.distinct_names(runs), strict=True):
        rows[name] = csv_logger.read(path / "metrics.csv")
        if not rows[name]:
            raise UserError(
                f"`workdir`={path} holds no run with a finished epoch"
                " (metrics.csv); name the folder of a run"
            )
    picture = runs[0] / "figures/curves.png"
    picture.parent.mkdir(exist_ok=True)
    draw_curves(rows, picture)
    return picture
