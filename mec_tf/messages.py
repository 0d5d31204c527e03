"""What a user is told that is not a result."""

import sys


def say(line: str) -> None:
    """Writes one line to standard error."""
    print(f"mec_tf: {line}", file=sys.stderr, flush=True)


def keep_silent(line: str) -> None:
    """What a worker says that is not the chief."""
