"""What appears whole or not at all, whoever else writes or is killed."""

import os
import random
import signal
import subprocess
import sys
import threading
import time

import pytest
from conftest import REPOSITORY, left_by_the_dead

from mec_tf.files import atomic
from mec_tf.files.atomic import (
    partial_of,
    remove_folder,
    remove_leftovers,
    replaced_file,
    replaced_folder,
    temporaries_of,
    unreplaced,
)

# Workers are light: they know `mec_tf.files.atomic` alone, without TensorFlow.
WORKER = """
import os, sys, time
from pathlib import Path
from mec_tf.files import atomic

folder, who = Path(sys.argv[1]), sys.argv[2]
assert "tensorflow" not in sys.modules
for k in range(int(sys.argv[3])):
    mark = f"{who}-{k}"
    with atomic.replaced_folder(folder / "artifact") as partial:
        (partial / "deeper").mkdir()
        for name in ("a", "b", "deeper/c"):
            (partial / name).write_text(mark * 500)
    with atomic.replaced_file(folder / "file") as partial:
        partial.write_text(mark * 5000)
print("done")
"""
# Stops itself between the renames of a folder: its place is empty then.
STOPPED = """
import os, signal, sys
from pathlib import Path
from mec_tf.files import atomic

rename = os.rename
def renames_and_stops(source, target):
    rename(source, target)
    if str(target).endswith(".former"):
        os.rename = rename
        os.kill(os.getpid(), signal.SIGSTOP)
os.rename = renames_and_stops
with atomic.replaced_folder(Path(sys.argv[1]) / "artifact") as partial:
    (partial / "deeper").mkdir()
    for name in ("a", "b", "deeper/c"):
        (partial / name).write_text("stopped")
print("done")
"""


@pytest.fixture
def start(request):
    """Starts a script with arguments; it does not outlive the test."""

    def begin(script, *arguments):
        process = subprocess.Popen(
            [sys.executable, "-c", script, *map(str, arguments)],
            env=os.environ | {"PYTHONPATH": str(REPOSITORY)},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        request.addfinalizer(process.communicate)
        request.addfinalizer(process.kill)
        return process

    return begin


def put(folder, text):
    with replaced_folder(folder) as partial:
        (partial / "a").write_text(text)


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def stop_between_renames(start, folder):
    put(folder / "artifact", "before")
    stopped = start(STOPPED, folder)
    deadline = time.monotonic() + 30
    while not list(folder.glob("*.former")) or state(stopped.pid) != "T":
        assert stopped.poll() is None, stopped.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.01)
    assert not (folder / "artifact").exists()
    return stopped


def state(pid):
    with open(f"/proc/{pid}/stat") as file:
        return file.read().rpartition(")")[2].split()[0]


needs_proc = pytest.mark.skipif(
    not os.path.exists("/proc/self/stat"), reason="asks Linux for the state"
)


def test_a_folder_and_a_file_are_replaced_and_nothing_else_stays(tmp_path):
    for text in ("one", "two"):
        put(tmp_path / "artifact", text)
        with replaced_file(tmp_path / "file") as partial:
            partial.write_text(text)
    assert (tmp_path / "artifact/a").read_text() == "two"
    assert (tmp_path / "file").read_text() == "two"
    assert names(tmp_path) == ["artifact", "file"]


def test_a_failed_block_leaves_what_was_there(tmp_path):
    put(tmp_path / "artifact", "before")
    for change in (replaced_folder, replaced_file):
        with pytest.raises(OSError, match="no"), change(tmp_path / "artifact"):
            raise OSError("no")
    assert (tmp_path / "artifact/a").read_text() == "before"
    assert names(tmp_path) == ["artifact"]


def test_a_link_is_replaced_and_what_it_names_stays(tmp_path):
    put(tmp_path / "elsewhere", "kept")
    for target in ("elsewhere", "nowhere"):
        (tmp_path / "artifact").symlink_to(target)
        put(tmp_path / "artifact", "new")
        assert (tmp_path / "artifact/a").read_text() == "new"
        assert (tmp_path / "elsewhere/a").read_text() == "kept"
        assert names(tmp_path) == ["artifact", "elsewhere"]
        remove_folder(tmp_path / "artifact")


def test_temporaries_of_the_living_are_left_alone(tmp_path):
    with replaced_folder(tmp_path / "artifact") as partial:
        (partial / "a").write_text("first")
        put(tmp_path / "artifact", "second")
        remove_leftovers(tmp_path, "*")
        assert temporaries_of(tmp_path / "artifact") == {partial}
    assert (tmp_path / "artifact/a").read_text() == "first"
    assert names(tmp_path) == ["artifact"]


@pytest.mark.parametrize("how", ["write", "remove"])
def test_partials_of_the_dead_are_removed(tmp_path, how):
    partial = left_by_the_dead(tmp_path / "artifact", "partial")
    put(partial / "inner", "half")
    if how == "remove":
        remove_leftovers(tmp_path, "*")
        assert names(tmp_path) == []
    put(tmp_path / "artifact", "new")
    assert names(tmp_path) == ["artifact"]


def test_a_pid_that_is_used_again_is_no_life(tmp_path):
    mine = partial_of(tmp_path / "artifact")
    birth = mine.name.split("-")[-2]
    if birth == "0":
        pytest.skip("this system does not say when a process began")
    other = mine.with_name(mine.name.replace(f"-{birth}-", "-1-"))
    mine.mkdir(), other.mkdir()
    remove_leftovers(tmp_path, "*")
    assert names(tmp_path) == [mine.name]


def test_another_hosts_former_comes_back_after_a_while(tmp_path, monkeypatch):
    former = tmp_path / ".a.0badc0de-1-1-00aa.former"
    put(former, "former")
    remove_leftovers(tmp_path, "*")
    assert names(tmp_path) == [former.name]
    now = time.time()
    monkeypatch.setattr("mec_tf.files.atomic.time.time", lambda: now + 3600)
    remove_leftovers(tmp_path, "*")
    assert names(tmp_path) == ["a"]


@pytest.mark.parametrize("name", [".a.0badc0de-1-1-00aa.partial", ".a.partial"])
def test_what_another_host_writes_goes_by_age(tmp_path, name):
    (tmp_path / name).mkdir()
    (tmp_path / name / "data").write_text("half")
    old = time.time() - 30 * 24 * 3600
    for path in (tmp_path / name, tmp_path / name / "data"):
        remove_leftovers(tmp_path, "*")
        put(tmp_path / "a", "new")
        assert name in names(tmp_path)
        os.utime(path, (old, old))
    remove_leftovers(tmp_path, "*")
    assert names(tmp_path) == ["a"]


@pytest.mark.parametrize("by", ["writer", "reader", "remover"])
def test_what_a_killed_process_moved_aside_comes_back(tmp_path, by):
    former = left_by_the_dead(tmp_path / "artifact", "former")
    former.mkdir()
    (former / "a").write_text("former")
    if by == "writer":
        with (
            pytest.raises(OSError, match="no"),
            replaced_folder(tmp_path / "artifact"),
        ):
            raise OSError("no")
    elif by == "reader":
        text = unreplaced(
            tmp_path / "artifact", lambda: (tmp_path / "artifact/a").read_text()
        )
        assert text == "former"
    else:
        remove_leftovers(tmp_path, "art*")
    assert (tmp_path / "artifact/a").read_text() == "former"
    assert names(tmp_path) == ["artifact"]


def test_a_removed_folder_does_not_come_back(tmp_path, monkeypatch):
    put(tmp_path / "artifact", "unwanted")

    def killed(*arguments, **options):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("mec_tf.files.atomic.shutil.rmtree", killed)
        with pytest.raises(KeyboardInterrupt):
            remove_folder(tmp_path / "artifact")
    assert not (tmp_path / "artifact").exists()
    remove_leftovers(tmp_path, "*")
    assert not (tmp_path / "artifact").exists()


def test_a_folder_that_cannot_be_put_in_place_brings_the_former_back(
    tmp_path, monkeypatch
):
    put(tmp_path / "artifact", "former")
    rename, tries = os.rename, []

    def fails_at_the_last(source, target):
        if str(source).endswith(".partial") and target.name == "artifact":
            tries.append(target)
            if len(tries) > 1:
                raise OSError(5, "Input/output error")
        rename(source, target)

    monkeypatch.setattr("mec_tf.files.atomic.os.rename", fails_at_the_last)
    with pytest.raises(OSError, match="Input/output"):
        put(tmp_path / "artifact", "new")
    assert (tmp_path / "artifact/a").read_text() == "former"
    assert names(tmp_path) == ["artifact"]


@needs_proc
@pytest.mark.parametrize("then", [signal.SIGCONT, signal.SIGKILL])
def test_a_process_stopped_between_the_renames(tmp_path, start, then):
    stopped = stop_between_renames(start, tmp_path)
    # It lives, so what it moved aside is its own, and nobody waits for it.
    remove_leftovers(tmp_path, "*")
    assert not (tmp_path / "artifact").exists()
    put(tmp_path / "artifact", "meanwhile")
    assert len(list(tmp_path.glob(".artifact.*"))) == 2
    stopped.send_signal(then)
    out, err = stopped.communicate(timeout=30)
    if then == signal.SIGCONT:
        assert (stopped.returncode, out) == (0, "done\n"), err
        assert (tmp_path / "artifact/a").read_text() == "stopped"
    else:
        remove_leftovers(tmp_path, "*")
        assert (tmp_path / "artifact/a").read_text() == "meanwhile"
    assert names(tmp_path) == ["artifact"]


@needs_proc
def test_one_killed_between_the_renames_loses_nothing(tmp_path, start):
    stopped = stop_between_renames(start, tmp_path)
    stopped.kill()
    stopped.wait()
    remove_leftovers(tmp_path, "*")
    assert (tmp_path / "artifact/a").read_text() == "before"
    assert names(tmp_path) == ["artifact"]


def test_a_reader_never_mixes_what_is_replaced(tmp_path):
    folder, over = tmp_path / "artifact", threading.Event()
    put(folder, "0")

    def write():
        for k in range(200):
            with replaced_folder(folder) as partial:
                for name in ("a", "b"):
                    (partial / name).write_text(str(k))
        over.set()

    def read():
        one = (folder / "a").read_text()
        time.sleep(0.0005)
        return one, (folder / "b").read_text()

    with replaced_folder(folder) as partial:
        for name in ("a", "b"):
            (partial / name).write_text("0")
    writer = threading.Thread(target=write)
    writer.start()
    seen = set()
    while not over.is_set():
        one, other = unreplaced(folder, read)
        assert one == other
        seen.add(one)
    writer.join()
    assert unreplaced(folder, read) == ("199", "199")
    assert len(seen) > 1


def test_a_readers_own_error_is_raised(tmp_path):
    calls = []

    def fails():
        calls.append(1)
        raise ValueError("not this")

    for folder in (tmp_path, tmp_path / "missing"):
        with pytest.raises(ValueError, match="not this"):
            unreplaced(folder, fails)
    assert len(calls) == 2


@needs_proc
def test_many_writers_some_killed_leave_whole_artifacts(tmp_path, start):
    """Six writers at once; three are killed, one is stopped for a while."""
    generator = random.Random(0)
    stopped = stop_between_renames(start, tmp_path)
    writers = [start(WORKER, tmp_path, k, 60) for k in range(3)]
    endless = [start(WORKER, tmp_path, k, 10**9) for k in (7, 8, 9)]
    deadline = time.monotonic() + 20

    def alive(process):
        return process.poll() is None

    time.sleep(1)
    while any(map(alive, writers)) and time.monotonic() < deadline:
        time.sleep(generator.uniform(0, 0.2))
        if not any(map(alive, endless)) or generator.random() < 0.3:
            victim = endless.pop(generator.randrange(3))
            victim.kill()
            victim.communicate()
            endless.append(start(WORKER, tmp_path, len(endless), 10**9))
        if stopped.poll() is None and generator.random() < 0.2:
            stopped.send_signal(signal.SIGCONT)
        check_whole(tmp_path)
    for process in endless:
        process.kill()
        process.communicate()
    for process in writers:
        out, err = process.communicate(timeout=20)
        assert (process.returncode, out, err) == (0, "done\n", "")
    stopped.send_signal(signal.SIGCONT)
    assert stopped.wait(timeout=20) == 0, stopped.communicate()
    remove_leftovers(tmp_path, "*")
    check_whole(tmp_path, finally_there=True)
    assert names(tmp_path) == ["artifact", "file"]


def check_whole(folder, *, finally_there=False):
    def read():
        place = folder / "artifact"
        return {(place / n).read_text() for n in ("a", "b", "deeper/c")}

    try:
        (text,) = unreplaced(folder / "artifact", read)
    except FileNotFoundError:  # one is stopped between its renames
        assert not finally_there
    else:
        assert is_whole(text, 500)
    if finally_there or (folder / "file").exists():
        assert is_whole((folder / "file").read_text(), 5000)


def is_whole(text, times):
    part = text[: len(text) // times]
    return text == "stopped" or (part and text == part * times)


def test_the_name_says_host_and_process(tmp_path):
    one, other = partial_of(tmp_path / "a"), partial_of(tmp_path / "a")
    assert one != other
    assert str(os.getpid()) in one.name
    assert one.name.startswith(".a.") and one.name.endswith(".partial")
    assert atomic.former_of(tmp_path / "a").name.endswith(".former")
