"""How commands end."""

import errno

import pytest

from mec_tf import errors, legacy_command


def test_ctrl_c_that_does_not_wait_is_one_line(monkeypatch, capsys):
    monkeypatch.setattr(legacy_command.app, "run", lambda main, **_: main([]))

    def interrupted():
        raise KeyboardInterrupt

    with pytest.raises(SystemExit) as ended:
        legacy_command.run(interrupted)
    assert ended.value.code == 130
    (line,) = capsys.readouterr().err.splitlines()
    assert "only what was saved before is kept" in line


def test_fields_are_shown_as_flags():
    line = legacy_command.as_flags("`verbosity`=3: `unknown` is not a flag")
    assert line == "--verbosity=3: `unknown` is not a flag"


def unpacks():
    first, second = [1]
    return first, second


@pytest.mark.parametrize(
    "defect",
    [
        unpacks,
        lambda: int("x"),
        lambda: list(zip([1], [], strict=True)),
        lambda: (_ for _ in ()).throw(OSError("closed")),
        lambda: (_ for _ in ()).throw(ImportError("our own misspelt name")),
    ],
)
def test_a_defect_keeps_its_traceback(monkeypatch, defect):
    monkeypatch.setattr(legacy_command.app, "run", lambda main, **_: main([]))
    with pytest.raises((ValueError, OSError, ImportError)):
        legacy_command.run(defect)


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
def test_a_mistake_is_one_line(monkeypatch, mistake):
    monkeypatch.setattr(legacy_command.app, "run", lambda main, **_: main([]))

    def mistaken():
        raise mistake

    with pytest.raises(SystemExit) as ended:
        legacy_command.run(mistaken)
    assert "--verbosity" in ended.value.code
    assert len(ended.value.code.splitlines()) == 1
