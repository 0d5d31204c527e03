"""Atomic writing: files and folders appear whole or not at all.

Any number of processes may write, replace, remove and read the same path at a
time. Whoever writes has temporaries of its own beside the path, whose names say
whose they are:

    .NAME.HOST-PID-BIRTH-RANDOM.partial   being written, or being removed
    .NAME.HOST-PID-BIRTH-RANDOM.former    what stood at the path: always whole

While the process lives, nobody else touches them. What a process left that has
ended is removed by the next one to write the path; but if it ended between the
two renames of a folder, so that nothing stands at the path, the former content
is put back. Of another host, or of a container, one cannot see who lives there:
what came from it goes by age.
"""

import contextlib
import errno
import fnmatch
import functools
import hashlib
import os
import secrets
import shutil
import socket
import time
from pathlib import Path

# Seconds after which what another host wrote counts as left behind. A partial
# may grow for days; a former content is put back only where nothing stands.
_PARTIAL_AGE = 7 * 24 * 3600
_FORMER_AGE = 60
# Seconds that a reader waits for a path that is just being replaced.
_PATIENCE = 2
# What a rename says of a place that is taken.
_TAKEN = (errno.ENOTEMPTY, errno.EEXIST, errno.ENOTDIR)


@contextlib.contextmanager
def replaced_file(path):
    """A path to write to that takes the name `path` when the block succeeds."""
    path = Path(path)
    _mend(path)
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
    disk; if the block fails it stays as it was. Of several that write at a time
    the last to finish remains.
    """
    path = Path(path)
    _mend(path)
    partial = partial_of(path)
    partial.mkdir(parents=True)
    try:
        yield partial
        for file in partial.rglob("*"):
            if file.is_file():
                _sync(file)
        _put_in_place(partial, path)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def remove_folder(path):
    """Removes a folder, or a link to one; no part of it stays in its place."""
    path = Path(path)
    _mend(path)
    # Renamed first, so that no reader finds half of it.
    doomed = partial_of(path)
    with contextlib.suppress(FileNotFoundError):
        os.rename(path, doomed)
        doomed.unlink() if doomed.is_symlink() else shutil.rmtree(doomed)


def remove_leftovers(folder, pattern):
    """Removes what ended processes had begun to write or to replace.

    What stood where now nothing stands is put back. What belongs to a living
    process stays.

    Args:
        folder: `pathlib.Path`.
        pattern: Pattern of the names, such as `step-*`.
    """
    for name in sorted({name for name, *_ in _temporaries(folder)}):
        if fnmatch.fnmatchcase(name, pattern):
            _mend(folder / name)


def unreplaced(path, read):
    """Reads a folder that others may replace meanwhile, without a mixture.

    Args:
        path: The folder.
        read: Function without arguments that reads it; called again if the
            folder was replaced while it did.

    Returns:
        What `read` returns.

    Raises:
        Exception: What `read` raises of a folder that stayed as it was.
    """
    path = Path(path)
    deadline = time.monotonic() + _PATIENCE
    while True:
        before = _identity(path)
        if before is None:
            _mend(path)
            before = _identity(path)
        try:
            found = read()
        except Exception:
            # Asked before the identity: what is not moved aside any more has
            # been replaced by then.
            aside = _identity(path) is None and _formers(path)
            if _identity(path) == before and not (
                aside and time.monotonic() < deadline
            ):
                raise
            time.sleep(0.001)
            continue
        if _identity(path) == before:
            return found


def partial_of(path):
    """A unique temporary name next to `path`, to write to."""
    return _temporary_of(path, "partial")


def former_of(path):
    """Likewise, for what stood at `path`."""
    return _temporary_of(path, "former")


def temporaries_of(path):
    """The temporaries of `path` that are there, whosever: a set of paths."""
    path = Path(path)
    return {
        path.with_name(entry)
        for name, entry, _ in _temporaries(path.parent)
        if name == path.name
    }


def _put_in_place(partial, path):
    formers = []
    try:
        while True:
            try:
                os.rename(partial, path)
                return
            except OSError as error:
                if error.errno not in _TAKEN:
                    raise
            formers.append(former_of(path))
            # Another may have moved it aside already.
            with contextlib.suppress(FileNotFoundError):
                os.rename(path, formers[-1])
    except BaseException:
        if formers:
            _put_back(formers.pop(), path)
        raise
    finally:
        for former in formers:
            _discard(former, path)


def _put_back(former, path):
    """Restores the former content of the path if nothing is there."""
    try:
        if not os.path.lexists(path):
            os.rename(former, path)
            return
    except FileNotFoundError:
        return  # another put it back
    except OSError as error:
        if error.errno not in _TAKEN:
            raise
    _discard(former, path)


def _mend(path):
    """Sees to what ended processes left of a path."""
    formers = []
    for name, entry, owner in _temporaries(path.parent):
        temporary = path.with_name(entry)
        if name != path.name or not _is_abandoned(temporary, owner):
            continue
        if entry.endswith(".former"):
            formers.append(temporary)
        else:
            _remove(temporary)
    # Who lives and has moved something aside will put something in its place.
    if set(_formers(path)) - set(formers):
        return
    for former in sorted(formers, key=_moved, reverse=True):
        _put_back(former, path)


def _discard(former, path):
    """Removes a former content; what is called so is whole at any time."""
    doomed = partial_of(path)
    with contextlib.suppress(FileNotFoundError):
        os.rename(former, doomed)
    _remove(doomed)


def _remove(partial):
    if partial.is_dir() and not partial.is_symlink():
        shutil.rmtree(partial, ignore_errors=True)
    else:
        with contextlib.suppress(OSError):  # another user's
            partial.unlink()


def _temporary_of(path, kind):
    owner = f"{_host()}-{os.getpid()}-{_birth(os.getpid())}"
    random = secrets.token_hex(4)
    return path.with_name(f".{path.name}.{owner}-{random}.{kind}")


def _temporaries(folder):
    """Of each temporary in a folder: (name that it is of, its name, owner).

    The owner is [host, pid, birth, random], or None: earlier versions did not
    say it.
    """
    try:
        entries = os.listdir(folder)
    except (FileNotFoundError, NotADirectoryError):
        return
    for entry in entries:
        if not entry.startswith(".") or not entry.endswith(
            (".partial", ".former")
        ):
            continue
        name = entry[1:].rsplit(".", 1)[0]
        stem, _, owner = name.rpartition(".")
        owner = owner.split("-")
        if stem and len(owner) == 4 and owner[1].isdecimal():
            yield stem, entry, owner
        else:
            yield name, entry, None


def _formers(path):
    return [
        path for path in temporaries_of(path) if path.name.endswith(".former")
    ]


def _is_abandoned(temporary, owner):
    if owner and owner[0] == _host() and os.name == "posix":
        return not _is_running(int(owner[1]), owner[2])
    if temporary.name.endswith(".former"):
        return time.time() - _moved(temporary) > _FORMER_AGE
    return time.time() - _written(temporary) > _PARTIAL_AGE


def _moved(former):
    """When it got its name; what is no more, now."""
    try:
        return former.lstat().st_ctime
    except FileNotFoundError:
        return time.time()


def _written(partial):
    """When anything of it was last written to."""
    times = []
    for part in (partial, *partial.rglob("*")):
        with contextlib.suppress(FileNotFoundError):
            times.append(part.lstat().st_mtime)
    return max(times, default=time.time())


def _is_running(pid, birth):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass  # somebody else's, and alive
    return _birth(pid) in (birth, "0")


def _birth(pid):
    """When a process began, as its system counts; "0" where none says it.

    The number of a process is given again to another one. One that was killed
    and is only kept for its parent to ask after has no birth any more.
    """
    try:
        text = Path(f"/proc/{pid}/stat").read_text(errors="replace")
    except OSError:
        return "0"
    fields = text.rpartition(")")[2].split()
    return "" if fields[0] in "ZX" else fields[19]


@functools.cache
def _host():
    """Eight digits for the space in which a process' number means something."""
    parts = [socket.gethostname()]
    with contextlib.suppress(OSError):  # Linux says more
        parts.append(Path("/proc/sys/kernel/random/boot_id").read_text())
        parts.append(os.readlink("/proc/self/ns/pid"))
    return hashlib.sha256(repr(parts).encode()).hexdigest()[:8]


def _identity(path):
    try:
        status = os.stat(path)
    except OSError:
        return None
    return status.st_dev, status.st_ino, status.st_ctime_ns


def _sync(path):
    with open(path, "rb") as file:
        os.fsync(file.fileno())
