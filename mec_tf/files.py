"""Files and folders that appear whole or not at all."""

import contextlib
import os
import shutil
from pathlib import Path


@contextlib.contextmanager
def replaced_file(path):
    """A path to write to that takes the name `path` when the block succeeds."""
    path = Path(path)
    partial = path.with_name(f".{path.name}.partial")
    try:
        yield partial
        _sync(partial)
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)


@contextlib.contextmanager
def replaced_folder(path):
    """A fresh folder that takes the name `path` when the block succeeds.

    What stood at `path` is removed only once the new folder is complete and on
    disk; if the block fails it stays as it was. If a process was killed between
    the two renames, the next one to come here puts it back.
    """
    path = Path(path)
    partial = path.with_name(f".{path.name}.partial")
    former = path.with_name(f".{path.name}.former")
    shutil.rmtree(partial, ignore_errors=True)
    if former.exists() and not path.exists():
        os.replace(former, path)
    partial.mkdir(parents=True)
    try:
        yield partial
        for file in partial.rglob("*"):
            if file.is_file():
                _sync(file)
        if path.exists():
            shutil.rmtree(former, ignore_errors=True)
            os.replace(path, former)
        try:
            os.replace(partial, path)
        except OSError:
            if former.exists():
                os.replace(former, path)
            raise
        shutil.rmtree(former, ignore_errors=True)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _sync(path):
    with open(path, "rb") as file:
        os.fsync(file.fileno())
