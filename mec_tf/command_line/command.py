"""Runs a main: parses its flags, prints a mistake as one line, sets exit codes.

Exit codes: 0 done; 1 a mistake that the line on stderr explains; 2 a wrong
command line; 128 + n ended by signal n (130 Ctrl-C, 143 SIGTERM). A run says
which step it saved, from which the same command, without --overwrite, goes on.
A second Ctrl-C, or a signal before training begins, ends it without saving.
"""

import errno
import faulthandler
import signal
import sys
import traceback
from collections.abc import Callable

from absl import flags as absl_flags
from absl import logging

from mec_tf import messages
from mec_tf.command_line import interrupt, output, startup
from mec_tf.config import flags
from mec_tf.config.config import Config
from mec_tf.errors import Interrupted, UserError
from mec_tf.version import __version__

# Of a disk: such errors come without the name of a file.
_OF_DISKS = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.EROFS)


def run(
    main: Callable[[flags.Parsed], None],
    config: type[Config],
    arguments: list[str] | None = None,
) -> None:
    """Parses the command line, then imports TensorFlow, then runs `main`.

    A `UserError`, and an `OSError` that names a file or is about a disk, is the
    user's matter: it ends in one line (`--verbosity=1` shows where it came
    from). Anything else is a defect and keeps its traceback.

    Args:
        main: Takes what the command line says; imports what it needs inside.
        config: Class of the settings that it takes.
        arguments: Of the command line. Default: those of this process.

    Raises:
        SystemExit: Unless all is done.
    """
    former = signal.getsignal(signal.SIGINT)
    interrupt.end_at_once()
    try:
        with output.lenient():
            _run(main, config, sys.argv[1:] if arguments is None else arguments)
    finally:
        signal.signal(signal.SIGINT, former)


def say(line: str, config: type[Config] | None = None) -> None:
    """Prints a message to the user that is not a result.

    Args:
        line: The message.
        config: Whose fields in backticks are written as flags.
    """
    messages.say(line if config is None else flags.as_flags(config, line))


def _run(main, config, arguments):
    parsed = None
    try:
        parsed = flags.parse(config, arguments)
        verbosity = _set_up_logging(parsed.verbosity)
        startup.import_tensorflow(quiet=verbosity < logging.INFO)
        interrupt.raise_once()
        main(parsed)
    except flags.HelpRequested as request:
        print(_answer(request, main, config))
    except Interrupted as ending:
        if str(ending):
            say(str(ending))
        sys.exit(128 + ending.number)
    except (UserError, OSError) as error:
        if not _is_users_matter(error):
            raise
        if parsed and (parsed.verbosity or 0) > logging.INFO:
            traceback.print_exc()
        line = " ".join(flags.as_flags(config, str(error)).split())
        if isinstance(error, flags.CommandLineError):
            say(f"{line} (see --help)")
            sys.exit(2)
        say(line)
        sys.exit(1)
    except KeyboardInterrupt:  # training handles its own signals
        interrupt.print_line()
        sys.exit(interrupt.CODE)


def _set_up_logging(verbosity):
    """absl's, whose settings stand in its own flags."""
    if sys.__stderr__ is not None and not faulthandler.is_enabled():
        faulthandler.enable(sys.__stderr__)
    absl_flags.FLAGS.mark_as_parsed()  # or it says that they are not
    logging.use_absl_handler()
    # What is logged goes where all else goes, and cannot end a run either.
    logging.get_absl_handler().python_handler.stream = sys.stderr
    level = logging.WARNING if verbosity is None else verbosity
    logging.set_verbosity(level)
    return level


def _is_users_matter(error):
    return (
        isinstance(error, UserError)
        or error.filename is not None
        or error.errno in _OF_DISKS
    )


def _answer(request, main, config):
    if str(request) == "version":
        return f"mec_tf {__version__}"
    document = sys.modules[main.__module__].__doc__ or ""
    return f"{document.strip()}\n\n{flags.help_text(config)}"
