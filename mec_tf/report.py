"""Pictures of a run.

python -m mec_tf.report --workdir=runs/digits
"""

from pathlib import Path

from mec_tf import command, config
from mec_tf.monitors import history
from mec_tf.plots.curves import draw_curves

FLAGS = config.FLAGS
config.report()


def main():
    """Draws the curves of one or more runs into the first one's `figures/`."""
    workdirs = [Path(name) for name in FLAGS.workdir]
    runs = {path.name: history.read(path / "metrics.csv") for path in workdirs}
    for path, rows in zip(workdirs, runs.values(), strict=True):
        if not rows:
            raise ValueError(
                f"--workdir={path} holds no run with a finished epoch"
                " (metrics.csv); name the folder of a run"
            )
    figures = workdirs[0] / "figures"
    figures.mkdir(exist_ok=True)
    draw_curves(runs, figures / "curves.png")
    print(f"curves: {figures / 'curves.png'}")


if __name__ == "__main__":
    command.run(main)
