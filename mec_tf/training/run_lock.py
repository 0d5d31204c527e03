"""A lock file for one process at a time, with holder and stale-lock detection.

The kernel's `flock` decides between processes of one machine, and frees the
lock of a process that is killed. It is not enough alone: some network file
systems do not share it between machines, some do not have it. So the file also
says which process holds it, and its time of change is renewed as long as that
process runs.
"""

import datetime
import errno
import functools
import json
import os
import socket
import tempfile
import threading
import time
from pathlib import Path
from typing import NamedTuple

import psutil

from mec_tf.errors import UserError

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None

# Seconds between the signs of life of a holder.
BEAT_SECONDS = 20.0
# A holder on another machine that gave none for so long is gone.
STALE_SECONDS = 180.0
# Seconds between two attempts of who waits.
_POLL_SECONDS = 0.1
# Where there is no `flock`: by then whoever came at the same time has written.
_SETTLE_SECONDS = 0.3
# Written at once, so that a reader finds one holder or another.
_LENGTH = 1024
_NO_FLOCK = {
    errno.EINVAL,
    errno.ENOLCK,
    errno.ENOSYS,
    errno.ENOTSUP,
    errno.EOPNOTSUPP,
}
# Precision of processes' start times, seconds.
_SAME_START = 2.0


class Holder(NamedTuple):
    """A process that holds a lock.

    Attributes:
        host: Name of its machine.
        boot: Identifier of the machine's boot, None where there is none.
        namespace: Of its process number, which containers have of their own.
        pid: Its number.
        started: When it started, seconds since 1970.
        since: When it took the lock, for people.
    """

    host: str
    boot: str | None
    namespace: str | None
    pid: int
    started: float
    since: str = ""

    def is_same_process(self, other) -> bool:
        """Whether both are one process."""
        return self[:4] == other[:4] and (
            abs(self.started - other.started) < _SAME_START
        )


class Lock:
    """A context manager that one process at a time is inside of.

    Args:
        path: `pathlib.Path` of the lock's file, in a folder that exists. The
            file goes when the lock is released, and stays, to no effect, if
            the process is killed.
        what: What is locked, for people.
        remedy: What else one can do than wait, for people.
        wait: Seconds to wait for a holder.

    Raises:
        UserError: On entering, if another process is inside.
    """

    def __init__(
        self, path: Path, what: str, *, remedy: str, wait: float = 0
    ) -> None:
        self.path = path
        self.what = what
        self.remedy = remedy
        self.wait = wait
        self._file = None

    def __enter__(self):
        end = time.monotonic() + self.wait
        while (holder := self._try()) is not None:
            if time.monotonic() >= end:
                raise self._refusal(holder)
            time.sleep(_POLL_SECONDS)
        self._released = threading.Event()
        self._beats = threading.Thread(target=self._beat, daemon=True)
        self._beats.start()
        return self

    def __exit__(self, *_):
        self._released.set()
        self._beats.join()
        try:
            if _names(self.path, self._file) and not _taken(self.path):
                self.path.unlink()
        finally:
            os.close(self._file)

    def _try(self):
        """Takes the lock and returns None, or returns the `Holder`, or ""."""
        while True:
            file = os.open(self.path, os.O_RDWR | os.O_CREAT, 0o666)
            try:
                flocked = _flock(file)
                if flocked is None:
                    holder = _read(self.path) or ""
                elif not _names(self.path, file):
                    continue  # its holder removed it just now
                else:
                    holder = _living(self.path, flocked)
                if holder is None:
                    _write(file)
                    if not flocked:
                        time.sleep(_SETTLE_SECONDS)
                        holder = _taken(self.path)
                if holder is None:
                    self._file, file = file, None
                return holder
            finally:
                if file is not None:
                    os.close(file)

    def _beat(self):
        while not self._released.wait(BEAT_SECONDS):
            try:
                os.utime(self._file)
            except OSError:
                continue  # a server that is away; the next beat may do

    def _refusal(self, holder):
        if not holder:
            who = "another process, which has just begun"
        else:
            who = (
                f"process {holder.pid} on {holder.host} since {holder.since}"
                f" (its last sign of life: {_age(self.path):.0f} s ago)"
            )
        return UserError(
            f"{self.what} is in use by {who}; wait until it has ended,"
            f" {self.remedy}"
        )


def require_own(path: Path, what: str) -> None:
    """Makes sure that this process still holds a lock that it took.

    A process that was suspended for minutes may find that one on another
    machine took it for gone, and its place.

    Args:
        path: Of the lock's file.
        what: What is locked, for people.

    Raises:
        UserError: If another process holds it.
    """
    try:
        other = _taken(path)
    except OSError:
        return  # a server that is away says nothing of who holds it
    if other is not None:
        raise UserError(
            f"{what} was taken over by process {other.pid} on {other.host} at"
            f" {other.since}, while this one gave no sign of life; nothing more"
            " is written to it here"
        )


def _taken(path):
    """The holder if it is another process than this one, else None."""
    holder = _read(path)
    if holder is None or holder.is_same_process(_this_process(os.getpid())):
        return None
    return holder


def _flock(file):
    """True: locked; False: there are no such locks here; None: held."""
    if fcntl is None:
        return False
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return None
    except OSError as error:
        if error.errno in _NO_FLOCK:
            return False
        raise
    return True


def _names(path, file):
    """Whether a path is (still) that of an open file."""
    try:
        return os.path.samestat(os.stat(path), os.fstat(file))
    except FileNotFoundError:
        return False


def _living(path, flocked):
    """The holder that a lock's file names, if it may still be running."""
    holder = _read(path)
    if holder is None:
        return None
    here = _this_process(os.getpid())
    if here.boot is None:
        same_machine = holder.host == here.host
    else:
        same_machine = holder.boot == here.boot
    if same_machine and holder.namespace == here.namespace:
        return holder if _is_running(holder) else None
    # Of another container on this machine the number says nothing, but the
    # kernel has just said that nobody holds the file.
    if same_machine and flocked:
        return None
    return holder if _age(path) < STALE_SECONDS else None


def _is_running(holder):
    """Whether a process of this machine runs, and is not another by now."""
    try:
        process = psutil.Process(holder.pid)
        return (
            abs(process.create_time() - holder.started) < _SAME_START
            and process.status() != psutil.STATUS_ZOMBIE
        )
    except psutil.NoSuchProcess:
        return False


def _age(path):
    """Seconds since the last sign of life, by the clock of the disk."""
    with tempfile.TemporaryFile(dir=path.parent) as probe:
        now = os.fstat(probe.fileno()).st_mtime
    try:
        return max(0.0, now - path.stat().st_mtime)
    except FileNotFoundError:
        return 0.0


def _read(path):
    """The `Holder` that a lock's file names, or None."""
    try:
        return Holder(**json.loads(path.read_text()))
    except (FileNotFoundError, ValueError, TypeError):
        return None  # nobody has written it yet, or it is no lock of ours


def _write(file):
    now = datetime.datetime.now().astimezone().isoformat(timespec="seconds")
    holder = _this_process(os.getpid())._replace(since=now)
    text = json.dumps(holder._asdict()).encode()
    os.lseek(file, 0, os.SEEK_SET)
    os.write(file, text.ljust(_LENGTH))


@functools.lru_cache(maxsize=1)
def _this_process(pid):
    return Holder(
        host=socket.gethostname(),
        boot=_text_of("/proc/sys/kernel/random/boot_id"),
        namespace=_link_of("/proc/self/ns/pid"),
        pid=pid,
        started=psutil.Process(pid).create_time(),
    )


def _text_of(path):
    try:
        return Path(path).read_text().strip()
    except OSError:
        return None


def _link_of(path):
    try:
        return os.readlink(path)
    except OSError:
        return None
