"""Curves of runs over their steps."""

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt  # noqa: E402

from mec_tf.files import replaced_file  # noqa: E402

PANELS = (
    ("loss", "loss"),
    ("knn_accuracy", "kNN accuracy"),
    ("rankme", "RankMe"),
    ("spectral_norm", r"$\Vert\lambda Z_1 Z_2^T\Vert$"),
)


def draw_curves(runs, path):
    """Draws loss, kNN accuracy, RankMe and the series' norm by epoch.

    Args:
        runs: Dict of name to rows of its `metrics.csv` (`history.read`).
        path: PNG to write.
    """
    figure, axes = plt.subplots(
        1, len(PANELS), figsize=(3.2 * len(PANELS), 2.6), layout="constrained"
    )
    for axis, (column, title) in zip(axes, PANELS, strict=True):
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
    plt.close(figure)
