"""Plots metrics of runs over their steps."""

from matplotlib.figure import Figure

from mec_tf import objectives
from mec_tf.files.atomic import replaced_file

PANELS = (
    ("loss", "loss"),
    ("knn_accuracy", "kNN accuracy"),
    ("rankme", "RankMe"),
)


def draw_curves(runs, path):
    """Draws loss, kNN accuracy, RankMe and what the objective plots by epoch.

    Args:
        runs: Dict of name to rows of its `metrics.csv` (`csv_logger.read`).
        path: PNG to write.
    """
    measured = {
        column
        for rows in runs.values()
        for row in rows
        for column, value in row.items()
        if value
    }
    declared = objectives.plotted().items()
    panels = [*PANELS, *(p for p in declared if p[0] in measured)]
    # Not pyplot's, which would choose how a notebook draws.
    figure = Figure(figsize=(3.2 * len(panels), 2.6), layout="constrained")
    axes = figure.subplots(1, len(panels))
    for axis, (column, title) in zip(axes, panels, strict=True):
        for name, rows in runs.items():
            points = [
                (float(row["epoch"]), float(row[column]))
                for row in rows
                if row.get(column)
            ]
            if points:
                axis.plot(*zip(*points, strict=True), ".-", label=name)
        axis.set(title=title, xlabel="epoch")
        axis.grid(alpha=0.3)
    if len(runs) > 1:
        legend = axes[0].legend(fontsize="small")
        for text in legend.get_texts():
            text.set_parse_math(False)  # a `$` is part of a name
    with replaced_file(path) as partial:
        figure.savefig(partial, format="png", dpi=120)
