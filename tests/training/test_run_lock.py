"""A lock that one process holds, and that is free once that one is gone."""

import errno
import json
import os
import signal
import subprocess
import sys
import time

import pytest
from conftest import environment

from mec_tf.errors import UserError
from mec_tf.training import run_lock

HOLD = """
import sys, time
from pathlib import Path
from mec_tf.training.run_lock import Lock
with Lock(Path(sys.argv[1]), "the thing", remedy=""):
    print("inside", flush=True)
    time.sleep(60)
"""


def lock(path, **options):
    return run_lock.Lock(path, "the thing", remedy="or leave it", **options)


def is_free(path):
    try:
        with lock(path):
            return True
    except UserError:
        return False


@pytest.fixture
def path(tmp_path):
    return tmp_path / ".lock"


@pytest.fixture
def other(path):
    """Another process, which holds the lock."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(path)],
        env=environment(),
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout.readline() == "inside\n"
    yield process
    process.kill()
    process.wait()


@pytest.fixture
def no_flock(monkeypatch):
    """As on file systems without such locks."""

    def refuse(*_):
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(run_lock.fcntl, "flock", refuse)
    monkeypatch.setattr(run_lock, "_SETTLE_SECONDS", 0.01)


def holder(path, **changes):
    """Writes a lock file as this process would, but for some changes."""
    me = run_lock._this_process(os.getpid())
    path.write_text(json.dumps(me._replace(since="then", **changes)._asdict()))


def test_it_is_gone_when_it_is_released(path):
    with lock(path):
        assert path.exists()
    assert not path.exists()
    assert is_free(path)


def test_one_process_holds_it_once(path):
    with lock(path), pytest.raises(UserError, match=str(os.getpid())):
        lock(path).__enter__()


def test_a_second_process_is_told_who_holds_it(path, other):
    with pytest.raises(UserError) as refused:
        lock(path).__enter__()
    assert f"process {other.pid} on " in str(refused.value)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("flocked", [True, False])
def test_killed_it_is_free_and_stopped_it_is_not(path, other, flocked, request):
    if not flocked:
        request.getfixturevalue("no_flock")
    other.send_signal(signal.SIGSTOP)
    assert not is_free(path)
    other.kill()
    while is_free(path) is False and other.returncode is None:
        time.sleep(0.01)  # also as a zombie, that nobody has waited for
        if not path.exists():
            break
    assert is_free(path)


def test_who_waits_gets_it_when_it_is_free(path, other):
    other.kill()
    with lock(path, wait=10):
        assert not is_free(path)


def test_a_number_that_another_process_has_by_now(path, no_flock):
    holder(path)
    assert not is_free(path)
    holder(path, started=run_lock._this_process(os.getpid()).started - 99)
    assert is_free(path)


def test_on_another_machine_signs_of_life_count(path):
    for seconds, free in ((5, False), (2 * run_lock.STALE_SECONDS, True)):
        holder(path, host="elsewhere", boot="another")
        then = time.time() - seconds
        os.utime(path, (then, then))
        assert is_free(path) == free


def test_another_container_of_this_machine(path, no_flock, monkeypatch):
    # Its numbers are others; without the kernel's word its signs count.
    holder(path, namespace="pid:[1]", pid=2**22 + 1)
    assert not is_free(path)
    monkeypatch.undo()
    assert is_free(path)


def test_a_holder_gives_signs_of_life(path, monkeypatch):
    monkeypatch.setattr(run_lock, "BEAT_SECONDS", 0.02)
    with lock(path):
        os.utime(path, (1, 1))
        end = time.monotonic() + 10
        while path.stat().st_mtime == 1 and time.monotonic() < end:
            time.sleep(0.01)
        assert path.stat().st_mtime > 1


def test_who_was_taken_for_gone_writes_no_more(path):
    with lock(path):
        run_lock.require_own(path, "the thing")
        holder(path, host="elsewhere", boot="another")
        with pytest.raises(UserError, match="taken over by .* on elsewhere"):
            run_lock.require_own(path, "the thing")
    assert "elsewhere" in path.read_text()


@pytest.mark.parametrize("content", ["", "{}", "[]", "no lock", '{"a": 1}'])
def test_a_file_that_names_nobody_is_free(path, content):
    path.write_text(content)
    assert is_free(path)
