"""Plots augmented views as the network gets them."""

from matplotlib.figure import Figure

from mec_tf.augment import photometric
from mec_tf.data import pipeline
from mec_tf.files.atomic import replaced_file

# Side of one picture in the grid, in inches.
_SIDE = 1.25
# Room for the titles, in inches.
_HEAD = 0.8


def draw_views(source, policy, path, *, samples=8, seed=0):
    """Draws the views of some images: a row per view, a column per image.

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
    rows = [
        photometric.augment(pixels, draws, view).numpy()
        for pixels, draws, view in zip(
            batch["views"], batch["draws"], policy.views, strict=True
        )
    ]
    figure = Figure(
        figsize=(_SIDE * len(rows[0]), _SIDE * len(rows) + _HEAD),
        layout="constrained",
    )
    figure.suptitle(
        source.description,
        fontsize="small",
        wrap=True,
        parse_math=False,  # a `$` is part of a path
    )
    grid = figure.subplots(len(rows), len(rows[0]), squeeze=False)
    for number, (row, view) in enumerate(zip(rows, policy.views, strict=True)):
        grid[number, 0].set_title(
            f"view {number + 1}, {view.size} pixels",
            fontsize="x-small",
            loc="left",
        )
        for axes, image in zip(grid[number], row, strict=True):
            axes.imshow(image, interpolation="nearest")
            axes.set_axis_off()
    # A reader never finds half a picture.
    with replaced_file(path) as partial:
        figure.savefig(partial, format="png", dpi=120)
