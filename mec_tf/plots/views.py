"""A picture of what the network really sees."""

import os

from matplotlib.figure import Figure

from mec_tf.augment import photometric
from mec_tf.data import pipeline

# Side of one picture in the grid, in inches.
_SIDE = 1.25
# Room for the titles, in inches.
_HEAD = 0.8


def draw_views(source, policy, path, *, samples=8, seed=0):
    """Draws the views of some images: a row per image, a column per view.

    The views come through the training pipeline itself, as a run's first step
    sees them, and are shown pixel by pixel, before normalisation.

    Args:
      source: the `mec_tf.data.sources.Source` to read.
      policy: the `mec_tf.augment.policy.Policy` with the views.
      path: the PNG file to write.
      samples: number of images; of a smaller source, all.
      seed: the run's seed.
    """
    (batch,) = pipeline.training_batches(
        source, policy, batch_size=min(samples, source.size), seed=seed
    ).take(1)
    columns = [
        photometric.augment(pixels, draws, view).numpy()
        for pixels, draws, view in zip(
            batch["views"], batch["draws"], policy.views, strict=True
        )
    ]
    figure = Figure(
        figsize=(_SIDE * len(columns), _SIDE * len(columns[0]) + _HEAD),
        layout="constrained",
    )
    figure.suptitle(source.description, fontsize="small", wrap=True)
    grid = figure.subplots(len(columns[0]), len(columns), squeeze=False)
    for number, (column, view) in enumerate(
        zip(columns, policy.views, strict=True)
    ):
        grid[0, number].set_title(
            f"view {number + 1}\n{view.size} pixels", fontsize="x-small"
        )
        for axes, image in zip(grid[:, number], column, strict=True):
            axes.imshow(image, interpolation="nearest")
            axes.set_axis_off()
    # A reader never meets half a picture.
    unfinished = f"{path}.unfinished"
    figure.savefig(unfinished, format="png", dpi=160)
    os.replace(unfinished, path)
