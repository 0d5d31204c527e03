"""Pretrain an image encoder without labels, then export it.

python -m mec_tf.train --flagfile=flags/digits.cfg
"""

import functools

from mec_tf.command_line import command
from mec_tf.config import PretrainConfig
from mec_tf.config.flags import Parsed

CONFIG = PretrainConfig


def main(parsed: Parsed) -> None:
    """Pretrains, or tries one step, as the command line says."""
    from mec_tf.command_line.table import print_pairs
    from mec_tf.distribution import strategies
    from mec_tf.pretraining.dry_run import dry_run
    from mec_tf.pretraining.run import pretrain

    config = parsed.config
    say = functools.partial(command.say, config=CONFIG)
    if config.logical_cpus > 1:
        strategies.split_cpu(config.logical_cpus)
    if config.dry_run:
        print_pairs(dry_run(config, say=say))
        return
    run = pretrain(config, say=say, catch_signals=True)
    if run.is_chief:
        print(
            f"encoder: {run.export_dir}\n"
            "    import tensorflow as tf\n"
            f'    features = tf.saved_model.load("{run.export_dir}")(images)'
            "  # float32 RGB [n, h, w, 3] in [0, 1]"
        )


if __name__ == "__main__":
    command.run(main, CONFIG)
