"""Presets (the flagfiles that come with the package) and reading flagfiles."""

import importlib.resources
from pathlib import Path

from mec_tf.errors import UserError

_OPTIONS = ("flagfile", "preset")


def folder() -> Path:
    """The folder of the flagfiles: in the package, or in a checkout."""
    package = Path(str(importlib.resources.files("mec_tf")))
    installed = package / "flags"
    return installed if installed.is_dir() else package.parent / "flags"


def names() -> list[str]:
    """All presets."""
    return sorted(path.stem for path in folder().glob("*.cfg"))


def path_of(name: str) -> Path:
    """The flagfile of a preset.

    Raises:
        UserError: If there is no such preset.
    """
    if name not in names():
        raise UserError(
            f"`preset`={name} is not known; choose one of {', '.join(names())}"
        )
    return folder() / f"{name}.cfg"


def expand(arguments: list[str]) -> list[str]:
    """Puts the lines of flagfiles and presets in the place of their flags.

    As absl does: lines that are blank or begin with # or // are left out, files
    may name other files, a relative path is one from the current folder, and
    what comes later has the last word. Unlike absl a file that names itself is
    refused; and where the current folder has no file that another flagfile
    names, it is looked for beside that file's folder, so that `flags/a.cfg` may
    name `flags/b.cfg` wherever both lie.

    Args:
        arguments: Of a command line, without the program.

    Raises:
        UserError: If a file cannot be read.
    """
    return _expanded(arguments, ())


def last_name(arguments: list[str]) -> str | None:
    """Name of the last flagfile or preset of a command line, which names runs.

    That is the file's name without folder and suffix.
    """
    name = None
    rest = list(arguments)
    while rest:
        option, value = _taken(rest)
        if option is not None:
            name = Path(value).stem if option == "flagfile" else value
    return name


def _expanded(arguments: list[str], parents: tuple[Path, ...]) -> list[str]:
    found: list[str] = []
    rest = list(arguments)
    while rest:
        if rest[0] == "--":
            return found + rest
        argument = rest[0]
        option, value = _taken(rest)
        if option is None:
            found.append(argument)
            continue
        if option == "preset":
            path = path_of(value)
        else:
            path = _located(Path(value).expanduser(), parents)
        if path.resolve() in parents:
            raise UserError(f"`flagfile`={path} names itself; leave that out")
        found += _expanded(_lines(path), (*parents, path.resolve()))
    return found


def _taken(rest: list[str]) -> tuple[str | None, str]:
    """Takes one argument off; (option, value) if it names a flagfile."""
    argument = rest.pop(0)
    name, equals, value = argument.partition("=")
    option = name.removeprefix("-").removeprefix("-")
    if not name.startswith("-") or option not in _OPTIONS:
        return None, ""
    if not equals:
        if not rest:
            raise UserError(f"`{option}` has no value; give one")
        value = rest.pop(0)
    return option, value


def _located(path: Path, parents: tuple[Path, ...]) -> Path:
    if parents and not path.exists():
        beside = parents[-1].parent.parent / path
        if beside.exists():
            return beside
    return path


def _lines(path: Path) -> list[str]:
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise UserError(
            f"`flagfile`={path} cannot be read ({error.strerror}); name a file"
            " of flags"
        ) from None
    except UnicodeDecodeError:
        raise UserError(
            f"`flagfile`={path} is no text; name a file of flags"
        ) from None
    lines = (line.strip() for line in text.splitlines())
    return [line for line in lines if line and not line.startswith(("#", "//"))]
