"""What every main does first and last: flags in, one line for a mistake out.

Exit codes: 0 done; 1 a mistake that the line on stderr explains; 2 a wrong
command line; 128 + n ended by signal n (130 Ctrl-C, 143 SIGTERM). A run says
which step it saved, from which the same command, without --overwrite, goes on.
A second Ctrl-C, or a signal before training begins, ends it without saving.
"""

import errno
import re
import signal
import sys
import traceback

import keras
import tensorflow as tf
from absl import app, logging

from mec_tf import legacy_flags
from mec_tf.command_line import output
from mec_tf.distribution import strategies
from mec_tf.errors import Interrupted, UserError

FLAGS = legacy_flags.FLAGS
# Of a disk: such errors come without the name of a file.
_OF_DISKS = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.EROFS)


def run(main):
    """Parses the flags and runs `main()`; never returns.

    A `UserError`, and an `OSError` that names a file or is about a disk, is a
    user's matter: it ends in one line (`--verbosity=1` shows where it came
    from). Anything else is a defect and keeps its traceback.
    """

    def guarded(_):
        if not FLAGS["verbosity"].present:
            logging.set_verbosity(logging.WARNING)
        try:
            main()
        except Interrupted as ending:
            if str(ending):
                say(str(ending))
            sys.exit(128 + ending.number)
        except (UserError, OSError) as error:
            if not _is_users_matter(error):
                raise
            if logging.get_verbosity() > logging.INFO:
                traceback.print_exc()
            sys.exit(f"mec_tf: {' '.join(as_flags(str(error)).split())}")
        except KeyboardInterrupt:
            say("Ctrl-C: stopped at once; only what was saved before is kept")
            sys.exit(128 + signal.SIGINT)

    with output.lenient():
        app.run(guarded, flags_parser=legacy_flags.parse)


def as_flags(message):
    """A message in which fields in backticks are written as flags."""
    return re.sub(
        r"`(\w+)`",
        lambda field: f"--{field[1]}" if field[1] in FLAGS else field[0],
        message,
    )


def prepare_devices(*, compiled=False):
    """Applies the flags that must come before anything is computed.

    Args:
        compiled: Whether XLA is asked for, which excludes determinism.

    Returns:
        The `tf.distribute.Strategy` of the flags of `legacy_flags.device`.
    """
    if FLAGS.logical_cpus > 1:
        if FLAGS.strategy == "multi_worker":
            raise UserError(
                f"--logical_cpus={FLAGS.logical_cpus} is for mirrored; with"
                " --strategy=multi_worker start more workers instead"
            )
        strategies.split_cpu(FLAGS.logical_cpus)
    if FLAGS.deterministic is None:
        gpus = tf.config.list_physical_devices("GPU")
        FLAGS.deterministic = not gpus and not compiled
    if FLAGS.deterministic:
        tf.config.experimental.enable_op_determinism()
    keras.utils.set_random_seed(FLAGS.seed)
    return strategies.get_strategy(FLAGS.strategy)


def say(line):
    """Tells the user something that is not the command's result."""
    print(f"mec_tf: {line}", file=sys.stderr, flush=True)


def _is_users_matter(error):
    return (
        isinstance(error, UserError)
        or error.filename is not None
        or error.errno in _OF_DISKS
    )
