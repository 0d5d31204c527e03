"""Standard output and error whose failures do not end a run.

A closed pipe (`| head`), a terminal that is gone or a full disk under a log
file must not cost a day of training.
"""

import contextlib
import io
import os
import sys


class Lenient(io.TextIOBase):
    """A text stream that drops what cannot be written.

    Args:
        stream: The stream to write to, or None: there is none.
    """

    def __init__(self, stream):
        super().__init__()
        self.stream = stream

    def write(self, text):
        """Writes what can be written; returns the length of the text."""
        if self.stream is not None:
            with contextlib.suppress(OSError, ValueError):
                try:
                    self.stream.write(text)
                except UnicodeEncodeError:  # a locale without these letters
                    plain = text.encode("ascii", "backslashreplace")
                    self.stream.write(plain.decode("ascii"))
        return len(text)

    def flush(self):
        """Hands on what was written, if that is possible."""
        if self.stream is not None:
            with contextlib.suppress(OSError, ValueError):
                self.stream.flush()

    def isatty(self):
        """Whether a person reads along."""
        with contextlib.suppress(OSError, ValueError):
            return self.stream is not None and self.stream.isatty()
        return False

    def writable(self):
        """True: to write never fails."""
        return True

    def fileno(self):
        """The descriptor below, where there is one."""
        if self.stream is None:
            raise io.UnsupportedOperation("no stream")
        return self.stream.fileno()

    @property
    def encoding(self):
        """As of the stream."""
        return getattr(self.stream, "encoding", None) or "utf-8"


@contextlib.contextmanager
def lenient():
    """Makes `sys.stdout` and `sys.stderr` lenient for a while."""
    _occupy_standard_descriptors()
    former = sys.stdout, sys.stderr
    sys.stdout, sys.stderr = map(Lenient, former)
    try:
        yield
    finally:
        sys.stdout, sys.stderr = former
        for stream in former:
            _give_up_if_broken(stream)


def _occupy_standard_descriptors():
    """Lest a file of the run, opened next, became its standard error."""
    while (number := os.open(os.devnull, os.O_RDWR)) <= 2:
        pass
    os.close(number)


def _give_up_if_broken(stream):
    """Points a broken stream nowhere, or Python would end with code 120."""
    try:
        if stream is not None:
            stream.flush()
    except (OSError, ValueError):
        with contextlib.suppress(OSError, ValueError):
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, stream.fileno())
            os.close(nowhere)
