"""Imports TensorFlow without the log lines of its C++ code.

While it is loaded, TensorFlow writes to file descriptor 2 before it reads any
log level; importing Keras makes it do so again.
"""

import contextlib
import importlib
import os
import re
import sys
import tempfile
from collections.abc import Iterator

from mec_tf.command_line import interrupt

# Below fatal: glog's and TensorFlow's older form.
_LOGGED = re.compile(
    rb"WARNING: All log messages before absl::InitializeLog\b"
    rb"|[IWE]\d{4} \d\d:\d\d:\d+\.\d+ "
    rb"|\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d+: [IWE] "
)


def import_tensorflow(*, quiet: bool = True) -> None:
    """Imports TensorFlow and Keras.

    Args:
        quiet: Whether lines that TensorFlow's C++ logs are left out. All else
            that is written to standard error is given back, and if the import
            fails, everything.
    """
    if {"tensorflow", "keras"} <= sys.modules.keys():
        return
    with _logs_left_out() if quiet else contextlib.nullcontext():
        importlib.import_module("tensorflow")
        importlib.import_module("keras")


@contextlib.contextmanager
def _logs_left_out() -> Iterator[None]:
    try:
        real = os.dup(2)
    except OSError:  # closed, as of some daemons: nobody reads it
        yield
        return
    with tempfile.TemporaryFile() as kept:
        sys.stderr.flush()
        os.dup2(kept.fileno(), 2)
        failed = True
        try:
            with interrupt.printing_to(real):
                yield
            failed = False
        finally:
            sys.stderr.flush()
            os.dup2(real, 2)
            os.close(real)
            kept.seek(0)
            for line in kept:
                if failed or not _LOGGED.match(line):
                    _write(line)


def _write(line: bytes) -> None:
    while line:
        line = line[os.write(2, line) :]
