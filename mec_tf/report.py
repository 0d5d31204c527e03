"""Pictures of runs: their curves, and what their networks really see.

python -m mec_tf.report --workdir=runs/digits --views
python -m mec_tf.report --views --flagfile=flags/imagenet.cfg --data_dir=DIR
"""

import sys
from pathlib import Path

from mec_tf import legacy_command, legacy_flags
from mec_tf.augment import policy as policies
from mec_tf.data import sources
from mec_tf.distribution import strategies
from mec_tf.errors import UserError
from mec_tf.files import path_lists
from mec_tf.models import backbones
from mec_tf.objectives import OBJECTIVES
from mec_tf.plots.curves import draw_curves
from mec_tf.plots.views import draw_views
from mec_tf.training import workdir
from mec_tf.training.callbacks import history

FLAGS = legacy_flags.FLAGS
# Every flag that a flagfile for training may hold.
legacy_flags.data(image_size=224)
legacy_flags.views(policies.PRESETS, bare=True)
legacy_flags.model(backbones.NAMES)
legacy_flags.objective(OBJECTIVES)
legacy_flags.optimisation()
legacy_flags.seed()
legacy_flags.device(strategies.STRATEGIES)
legacy_flags.running()


def main():
    """Draws the curves of the runs named, and views if asked for them."""
    # A flagfile's `--views=PRESET` says which, not that they are wanted.
    wants_views = legacy_flags.is_named("views", sys.argv)
    flagfile = legacy_flags.flagfile_name(sys.argv)
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
            legacy_flags.parse([program, kept, *flags])
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
    splits = sources.load(**legacy_flags.source_options())
    policy = policies.preset(**legacy_flags.policy_options())
    draw_views(splits.pretrain, policy, path, seed=FLAGS.seed)
    print(f"views: {path}")


if __name__ == "__main__":
    legacy_command.run(main)
