"""What every main does first and last: flags in, one line for a mistake out.

Exit codes: 0 done; 1 a mistake that the line on stderr explains; 2 a wrong
command line; 128 + n ended by signal n with everything saved (130 Ctrl-C, 143
SIGTERM): the same command goes on.
"""

import sys
import traceback

from absl import app, logging

from mec_tf import config

FLAGS = config.FLAGS
_USERS_MATTER = (ValueError, FloatingPointError, ImportError, OSError)


def run(main):
    """Parses the flags and runs `main()`; never returns.

    A `ValueError`, `FloatingPointError` or `ImportError` (a missing extra) that
    this package raised on purpose and every `OSError` is a user's matter: it
    ends in one line (`--verbosity=1` shows where it came from). Anything else
    is a defect and keeps its traceback.
    """

    def guarded(_):
        if not FLAGS["verbosity"].present:
            logging.set_verbosity(logging.WARNING)
        try:
            main()
        except _USERS_MATTER as error:
            if not (isinstance(error, OSError) or _raised_here(error)):
                raise
            if logging.get_verbosity() > logging.INFO:
                traceback.print_exc()
            sys.exit(f"mec_tf: {' '.join(str(error).split())}")

    app.run(guarded, flags_parser=config.parse)


def say(line):
    """Tells the user something that is not the command's result."""
    print(f"mec_tf: {line}", file=sys.stderr, flush=True)


def _raised_here(error):
    *_, (frame, _) = traceback.walk_tb(error.__traceback__)
    return frame.f_globals.get("__name__", "").startswith(
        ("mec_tf", "__main__")
    )
