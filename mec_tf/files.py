"""Files and folders that appear whole or not at all."""

import contextlib
import os
import shutil
from pathlib import Path


@contextlib.contextmanager
def replaced_file(path):
    """A path to write to that takes the name `path` when the block succeeds."""
    path = Path(path)
    partial = partial_of(path)
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
    partial, former = partial_of(path), _former_of(path)
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


def remove_folder(path):
    """Removes a folder, or a link to one; no part of it stays in its place."""
    if path.is_symlink():
        path.unlink()
        return
    former = _former_of(path)
    shutil.rmtree(former, ignore_errors=True)
    os.replace(path, former)
    shutil.rmtree(former)


def remove_leftovers(folder, pattern):
    """Removes what a killed process had begun to write or to replace.

    Args:
        folder: `pathlib.Path`; nobody may be writing there.
        pattern: Glob of the names, such as `step-*`.
    """
    for ending in ("partial", "former"):
        for path in folder.glob(f".{pattern}.{ending}"):
            shutil.rmtree(path, ignore_errors=True)


def partial_of(path):
    """Where the new content of `path` grows until it is whole."""
    return path.with_name(f".{path.name}.partial")


def _former_of(path):
    return path.with_name(f".{path.name}.former")


def _sync(path):
    with open(path, "rb") as file:
        os.fsync(file.fileno())
