"""Ctrl-C during start-up: one line and exit code 130.

This module is imported first and therefore imports almost nothing. Only the
mains use it: a program that imports `mec_tf` keeps its own handlers.
"""

import contextlib
import os
import signal
from collections.abc import Callable, Iterator
from types import FrameType

CODE = 128 + signal.SIGINT
LINE = "mec_tf: Ctrl-C: stopped at once; only what was saved before is kept\n"
_standard_error = 2
_printed = False


def end_at_once() -> None:
    """Ends the process where Ctrl-C comes while it is still being loaded.

    An exception would be caught, or printed at length, by the import that it
    hits. A process that was started to ignore Ctrl-C goes on ignoring it.
    """
    _handle(_exit)


def raise_once() -> None:
    """Raises `KeyboardInterrupt` at the first Ctrl-C; the second one exits.

    The line is printed at once. Later messages are discarded: clean-up that is
    cut short may complain.
    """
    _handle(_raise)


@contextlib.contextmanager
def printing_to(descriptor: int) -> Iterator[None]:
    """Sends the line to a descriptor while 2 is redirected."""
    global _standard_error
    _standard_error = descriptor
    try:
        yield
    finally:
        _standard_error = 2


def print_line() -> None:
    """Writes the one line, once, and nothing after it, to standard error."""
    global _printed
    if _printed:
        return
    _printed = True
    with contextlib.suppress(OSError):  # nobody reads it any more
        os.write(_standard_error, LINE.encode())
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)
    os.close(nowhere)


def _handle(handler: Callable[[int, FrameType | None], None]) -> None:
    if signal.getsignal(signal.SIGINT) is not signal.SIG_IGN:
        signal.signal(signal.SIGINT, handler)


def _exit(number: int, frame: FrameType | None) -> None:
    print_line()
    os._exit(CODE)


def _raise(number: int, frame: FrameType | None) -> None:
    print_line()
    signal.signal(signal.SIGINT, lambda *_: os._exit(CODE))
    raise KeyboardInterrupt
