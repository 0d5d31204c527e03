"""How commands end."""

import pytest

from mec_tf import command


def test_ctrl_c_that_does_not_wait_is_one_line(monkeypatch, capsys):
    monkeypatch.setattr(command.app, "run", lambda main, **_: main([]))

    def interrupted():
        raise KeyboardInterrupt

    with pytest.raises(SystemExit) as ended:
        command.run(interrupted)
    assert ended.value.code == 130
    (line,) = capsys.readouterr().err.splitlines()
    assert "only what was saved before is kept" in line


def test_fields_are_shown_as_flags():
    line = command.as_flags("`verbosity`=3: `unknown` is not a flag")
    assert line == "--verbosity=3: `unknown` is not a flag"
