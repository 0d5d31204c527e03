"""Plot runs: their metrics, and the augmented views of their images.

python -m mec_tf.report --workdir=runs/digits --views
python -m mec_tf.report --views --flagfile=flags/imagenet.cfg --data_dir=DIR
"""

from mec_tf import callable_module
from mec_tf.command_line import command
from mec_tf.config import ReportConfig
from mec_tf.config.flags import Parsed

CONFIG = ReportConfig
callable_module.make(__name__, "mec_tf.reports.run", "report")


def main(parsed: Parsed) -> None:
    """Draws what the command line asks for."""
    from mec_tf.reports.run import report

    config = parsed.config
    # A flagfile's `--views=PRESET` says which, not that they are wanted.
    if "views" in parsed.named:
        config = config.replace(draw_views=True)
    # A flagfile's views are its own, whatever run they are put beside.
    given = vars(config) if parsed.name else parsed.given
    for what, path in (
        report(config, given=given, name=parsed.name)._asdict().items()
    ):
        if path:
            print(f"{what}: {path}")


if __name__ == "__main__":
    command.run(main, CONFIG)
