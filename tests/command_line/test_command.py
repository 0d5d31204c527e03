"""How commands begin and end, on a main that does nearly nothing.

TensorFlow and Keras are stand-ins that log as the real ones do: what counts is
what a command does around them, and the real ones take seconds.
"""

import errno
import os
import resource
import signal
import subprocess
import sys
import time

import pytest
from conftest import REPOSITORY, Ended

from mec_tf import config as configs
from mec_tf import errors
from mec_tf.command_line import command, interrupt

MAIN = '''
"""A toy."""
from mec_tf import config as configs
from mec_tf.command_line import command

def main(parsed):
    import os, time
    from mec_tf.errors import UserError
    seed = parsed.config.seed
    print(parsed.name, seed, flush=True)
    if seed == 1:
        raise UserError("`seed`=1 is bad; `unknown` stays")
    if seed == 2:
        open("gone/file")
    if seed == 3:
        raise ValueError("a defect")
    if seed == 4:
        try:
            print("inside", flush=True)
            time.sleep(60)
        finally:
            os.mkdir("cleaned")
            print("noise", flush=True)
            os.write(2, b"noise\\n")
    if seed == 6:
        raise KeyboardInterrupt
    if seed == 5:
        command.say("first line\\n second")

if __name__ == "__main__":
    command.run(main, configs.PretrainConfig)
'''
LOGGED = """\
WARNING: All log messages before absl::InitializeLog() is called are written
I0000 00:00:1795747154.887484    9596 port.cc:153] oneDNN custom operations
2026-11-27 02:35:03.123456: E external/local_xla/cuda_fft.cc:467] Unable to
F0000 00:00:1795747154.887484    9596 fatal.cc:1] no AVX
a warning of Python's
"""
KEPT = LOGGED.splitlines()[-2:]
TENSORFLOW = """
import os, sys, time
os.write(2, {logged!r}.encode())
if os.path.exists("slow"):
    open("started", "w").close()
    time.sleep(60)
if os.path.exists("broken"):
    raise ImportError("no such library")
"""


@pytest.fixture
def place(tmp_path):
    (tmp_path / "toy.py").write_text(MAIN)
    tensorflow = TENSORFLOW.format(logged=LOGGED)
    (tmp_path / "tensorflow.py").write_text(tensorflow)
    (tmp_path / "keras.py").write_text("")
    return tmp_path


def environment(place):
    path = os.pathsep.join([str(place), str(REPOSITORY)])
    return os.environ | {"PYTHONPATH": path}


def start(place, *arguments, **options):
    return subprocess.Popen(
        [sys.executable, *arguments],
        cwd=place,
        env=environment(place),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        **options,
    )


def run(place, *arguments):
    process = start(place, *arguments)
    out, err = process.communicate(timeout=60)
    return Ended(process.returncode, out, err)


def test_a_wrong_command_line_is_answered_before_tensorflow(place):
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    ended = run(place, "toy.py", "--epohcs=3")
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    seconds = (
        after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime
    )
    assert seconds < 1
    (line,) = ended.err.splitlines()
    assert ended.code == 2
    assert "epohcs" in line
    assert "epochs" in line


@pytest.mark.parametrize(
    ("flags", "code", "what"),
    [
        (["--epochs=ten"], 2, "--epochs"),
        (["--preset=digitz"], 2, "--preset"),
        (["stray"], 2, "stray"),
        (["--ema_base=0", "--predictor_dim=0", "--taylor_order=1"], 1, "--ema"),
    ],
)
def test_mistakes_in_the_command_line(flags, code, what, place):
    ended = run(place, "toy.py", *flags)
    assert ended.code == code
    (line,) = ended.err.splitlines()
    assert what in line


def test_help_and_version(place):
    ended = run(place, "toy.py", "--version")
    assert (ended.code, ended.err) == (0, "")
    assert ended.out.startswith("mec_tf 0.")
    for flag in ("--help", "--helpfull", "-help"):
        ended = run(place, "toy.py", "--preset=digits", flag)
        assert (ended.code, ended.err) == (0, "")
        assert ended.out.startswith("A toy.")
        assert "\nObjective:\n" in ended.out
        assert "\n  --taylor_order=4\n" in ended.out


def test_start_up_lines_are_left_out_unless_asked_for(place):
    ended = run(place, "toy.py", "--preset=digits")
    assert ended.code == 0
    assert ended.out == "digits 0\n"
    assert ended.err.splitlines() == KEPT
    ended = run(place, "toy.py", "--verbosity=0")
    assert ended.err == LOGGED


def test_all_is_given_back_where_the_import_fails(place):
    (place / "broken").touch()
    ended = run(place, "toy.py")
    assert ended.code == 1
    assert ended.err.startswith(LOGGED)
    assert "no such library" in ended.last_line


def test_the_user_and_a_defect_are_told_apart(place):
    ended = run(place, "toy.py", "--seed=1")
    assert ended.code == 1
    (*_, line) = ended.err.splitlines()
    assert line == "mec_tf: --seed=1 is bad; `unknown` stays"
    assert "Traceback" not in ended.err
    ended = run(place, "toy.py", "--seed=2")
    assert (ended.code, "gone/file" in ended.last_line) == (1, True)
    assert "Traceback" not in ended.err
    ended = run(place, "toy.py", "--seed=3")
    assert (ended.code, "Traceback" in ended.err) == (1, True)
    ended = run(place, "toy.py", "--seed=1", "-v", "1")
    assert (ended.code, "Traceback" in ended.err) == (1, True)
    assert ended.last_line == line


def interrupted(process, condition):
    until = time.monotonic() + 30
    while not condition() and time.monotonic() < until:
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=30)
    return Ended(process.returncode, out, err)


def test_ctrl_c_while_it_imports(place):
    (place / "slow").touch()
    process = start(place, "toy.py")
    ended = interrupted(process, (place / "started").exists)
    (line,) = ended.err.splitlines()
    assert (ended.code, "Ctrl-C" in line) == (130, True)


def test_ctrl_c_before_anything_is_imported(place):
    # The last thing that is not ours is the search for the module.
    program = (
        "import os, signal, sys\n"
        "sys.argv = ['-m']\n"
        "import mec_tf\n"
        "os.kill(os.getpid(), signal.SIGINT)\n"
        "import time; time.sleep(60)\n"
    )
    ended = run(place, "-c", program)
    (line,) = ended.err.splitlines()
    assert (ended.code, "Ctrl-C" in line) == (130, True)


def test_who_imports_the_package_keeps_their_handler(place):
    program = (
        "import signal, mec_tf\n"
        "assert signal.getsignal(signal.SIGINT) is signal.default_int_handler\n"
    )
    assert run(place, "-c", program).code == 0


def test_ctrl_c_in_the_main_cleans_up_in_silence(place):
    process = start(place, "toy.py", "--seed=4")
    assert process.stdout.readline() == "None 4\n"
    assert process.stdout.readline() == "inside\n"
    ended = interrupted(process, lambda: True)
    *kept, line = ended.err.splitlines()
    assert (ended.code, kept, "Ctrl-C" in line) == (130, KEPT, True)
    assert (place / "cleaned").exists()


def test_an_interruption_that_is_not_ours_is_told_too(place):
    ended = run(place, "toy.py", "--seed=6")
    assert (ended.code, "Ctrl-C" in ended.last_line) == (130, True)
    assert "Traceback" not in ended.err


def test_what_ignores_ctrl_c_goes_on_ignoring_it(place):
    process = start(
        place,
        "toy.py",
        "--seed=5",
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_IGN),
    )
    ended = interrupted(process, lambda: True)
    assert ended.code == 0


def test_the_command_names_its_parts(place):
    ended = run(place, "-m", "mec_tf.command_line.main", "--version")
    assert (ended.code, ended.out[:9]) == (0, "mec_tf 0.")
    for arguments in ([], ["--help"]):
        ended = run(place, "-m", "mec_tf.command_line.main", *arguments)
        assert ended.code == 0
        assert all(
            name in ended.out
            for name in ("train", "evaluate", "export", "report")
        )
    ended = run(place, "-m", "mec_tf.command_line.main", "trian")
    assert (ended.code, "train" in ended.last_line) == (2, True)


def unpacks():
    first, second = [1]
    return first, second


def raises(error):
    raise error


@pytest.fixture
def run_here(monkeypatch):
    """Runs a function as a main, in this process."""
    monkeypatch.setattr(command.startup, "import_tensorflow", lambda **_: None)
    monkeypatch.setattr(command, "_set_up_logging", lambda _: -1)
    monkeypatch.setattr(interrupt, "print_line", lambda: None)

    def run(act):
        command.run(lambda _: act(), configs.PretrainConfig, [])

    return run


@pytest.mark.parametrize(
    "defect",
    [
        unpacks,
        lambda: int("x"),
        lambda: list(zip([1], [], strict=True)),
        lambda: raises(OSError("closed")),
        lambda: raises(ImportError("our own misspelt name")),
    ],
)
def test_a_defect_keeps_its_traceback(run_here, defect):
    with pytest.raises((ValueError, OSError, ImportError)):
        run_here(defect)


@pytest.mark.parametrize(
    "mistake",
    [
        errors.UserError("`verbosity`=3 is too much"),
        errors.Diverged("--verbosity"),
        errors.MissingPackage("--verbosity"),
        errors.MissingPath("--verbosity"),
        errors.LostWorkers("--verbosity"),
        errors.Unwritten("--verbosity"),
        FileNotFoundError(errno.ENOENT, "none", "--verbosity"),
        OSError(errno.ENOSPC, "--verbosity"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_a_mistake_is_one_line(run_here, mistake, capsys):
    with pytest.raises(SystemExit) as ended:
        run_here(lambda: raises(mistake))
    assert ended.value.code == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert "--verbosity" in line


@pytest.mark.parametrize("is_chief", [True, False])
def test_a_signal_is_the_exit_code(run_here, is_chief, capsys):
    with pytest.raises(SystemExit) as ended:
        run_here(lambda: raises(errors.Interrupted(15, 7, is_chief=is_chief)))
    assert ended.value.code == 143
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == is_chief
    assert all("SIGTERM: saved step 7" in line for line in lines)


def test_who_reads_no_more_ends_nothing(run_here, monkeypatch):
    reader, writer = os.pipe()
    os.close(reader)
    with open(writer, "w") as stream:
        monkeypatch.setattr(sys, "stdout", stream)
        run_here(lambda: print("x" * 100_000, flush=True))
