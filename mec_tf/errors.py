"""Errors: `UserError`, which a main prints as one line, and its kinds."""

import signal


class UserError(ValueError):
    """Input that cannot be used: received, expected, how to mend it.

    A main turns it, and nothing else that is raised on purpose, into one line
    and exit code 1. Settings are written as fields in backticks, with their
    values where that helps: "`batch_size`=96 cannot be shared evenly by 5
    replicas; give a multiple of 5". A main shows them as its flags.
    """


class Unwritten(UserError, OSError):
    """A file could not be written; earlier files are intact."""


class Diverged(UserError, FloatingPointError):
    """The loss became NaN or infinite."""


class MissingPackage(UserError, ImportError):
    """An extra that is needed here is not installed."""


class MissingPath(UserError, FileNotFoundError):
    """There is nothing at a path that was named."""


class LostWorkers(UserError, ConnectionError):
    """Workers that train together did not come, or were lost."""


class Interrupted(Exception):
    """A signal ended a run, whose state was saved.

    A main turns it into its line and exit code 128 + n.

    Args:
        number: Of the signal.
        step: That was saved, to go on from.
        is_chief: Whether this process is the worker that reports it.
    """

    def __init__(
        self, number: int, step: int, *, is_chief: bool = True
    ) -> None:
        self.number = number
        self.step = step
        super().__init__(
            f"{signal.Signals(number).name}: saved step {step}; the same"
            " command goes on from it (unless it is told to overwrite it)"
            if is_chief
            else ""
        )
