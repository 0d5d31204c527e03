"""Score encoders by an evaluation protocol.

python -m mec_tf.evaluate --protocol=knn --encoder=exports/digits \
    --dataset=digits
"""

from pathlib import Path

from mec_tf import callable_module
from mec_tf.command_line import command
from mec_tf.config import EvaluateConfig
from mec_tf.config.flags import Parsed, as_flags

CONFIG = EvaluateConfig
callable_module.make(__name__, "mec_tf.evaluations.run", "evaluate")


def main(parsed: Parsed) -> None:
    """Scores every encoder on the same images, prints one table."""
    from mec_tf.distribution import strategies
    from mec_tf.evaluations import protocols
    from mec_tf.evaluations.run import evaluate

    config = parsed.config
    if config.logical_cpus > 1:
        strategies.split_cpu(config.logical_cpus)
    result = evaluate(
        config,
        default_output=Path(
            f"runs/{parsed.name or config.protocol}_scores.json"
        ),
        say=lambda line: command.say(as_flags(CONFIG, line)),
        catch_signals=True,
    )
    protocols.find(config.protocol).show(result)


if __name__ == "__main__":
    command.run(main, CONFIG)
