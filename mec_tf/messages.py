"""Messages to the user, on standard error."""

import sys


def say(line: str) -> None:
    """Writes one line to standard error."""
    print(f"mec_tf: {line}", file=sys.stderr, flush=True)


def discard(line: str) -> None:
    """Drops a line: of several workers only the chief prints."""
