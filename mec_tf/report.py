"""Pictures of runs: their curves, and what their networks really see.

python -m mec_tf.report --workdir=runs/digits --views
python -m mec_tf.report --views --flagfile=flags/imagenet.cfg --data_dir=DIR
"""

import sys
from pathlib import Path

from mec_tf import command, config, distribute, path_lists, workdir
from mec_tf.augment import policy as policies
from mec_tf.data import sources
from mec_tf.errors import UserError
from mec_tf.models import backbones
from mec_tf.monitors import history
from mec_tf.objectives import OBJECTIVES
from mec_tf.plots.curves import draw_curves
from mec_tf.plots.views import draw_views

FLAGS = config.FLAGS
# Every flag that a flagfile for training may hold.
config.data(image_size=224)
config.views(policies.PRESETS, bare=True)
config.model(backbones.NAMES)
config.objective(OBJECTIVES)
config.optimisation()
config.seed()
config.device(distribute.STRATEGIES)
config.running()


def main():
    """Draws the curves of the runs named, and views if asked for them."""
    # A flagfile's `--views=PRESET` says which, not that they are wanted.
    wants_views = config.is_named("views", sys.argv)
    flagfile = config.flagfile_name(sys.argv)
    names = FLAGS.workdir and path_lists.split(FLAGS.workdir, field="workdir")
    runs = [Path(name) for name in names or ()]
    if not (runs or wants_views):
        raise UserError("nothing to draw: give --workdir=RUN or --views")
    for run in runs:
        workdir.pretraining_flags(run, "workdir")
    if runs:
        figures = runs[0] / "figures"
        curves(runs, figures)
    if wants_views:
        if runs and not flagfile:
            # The run's flags first: the command line has the last word.
            program, *flags = sys.argv
            kept = f"--flagfile={runs[0] / workdir.FLAGS_FILE}"
            config.parse([program, kept, *flags])
        name = flagfile or FLAGS.dataset.replace("/", "_")
        path = figures / "views.png" if runs else Path(f"{name}_views.png")
        views(path)


def curves(runs, figures):
    """Draws the curves of one or more runs into one picture."""
    rows = {}
    for path, name in zip(runs, workdir.distinct_names(runs), strict=True):
        rows[name] = history.read(path / "metrics.csv")
        if not rows[name]:
            raise UserError(
                f"`workdir`={path} holds no run with a finished epoch"
                " (metrics.csv); name the folder of a run"
            )
    figures.mkdir(exist_ok=True)
    draw_curves(rows, figures / "curves.png")
    print(f"curves: {figures / 'curves.png'}")


def views(path):
    """Draws a grid of the views of the flags' data."""
    splits = sources.load(**config.source_options())
    policy = policies.preset(**config.policy_options())
    draw_views(splits.pretrain, policy, path, seed=FLAGS.seed)
    print(f"views: {path}")


if __name__ == "__main__":
    command.run(main)
