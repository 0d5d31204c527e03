"""absl flags made from a config's fields; none of them is global.

A main calls `parse`; all other code gets the config.
"""

import re
import textwrap
from typing import Any, NamedTuple

from absl import flags

from mec_tf.config import presets
from mec_tf.config.config import Config
from mec_tf.config.setting import Setting, settings_of
from mec_tf.errors import UserError

# Flags of every main besides its config's.
_GENERAL = {
    "preset": "Flagfile that comes with the package, by name: {presets}.",
    "flagfile": "File of flags, one a line; may be repeated and name others.",
    "verbosity": "Level of the messages: -1 warnings, 0 infos and TensorFlow's"
    " start-up lines, 1 also where an error came from. Short: -v.",
    "version": "Print the version.",
    "help": "Print this.",
}
_WISHES = ("help", "helpshort", "helpfull", "version")


class Parsed(NamedTuple):
    """A parsed command line.

    Attributes:
        config: Of the class that was asked for.
        given: Settings that command line or flagfiles gave, with their values.
        named: Those that the command line itself names.
        name: Of the last flagfile or preset, which names the run; or None.
        verbosity: absl's level, or None where it is not given.
    """

    config: Config
    given: dict[str, Any]
    named: frozenset[str]
    name: str | None
    verbosity: int | None


class Given(NamedTuple):
    """Settings that were given, before a config is made; see `Parsed`."""

    given: dict[str, Any]
    verbosity: int | None


class HelpRequested(Exception):
    """`help` or `version` was asked for instead of a run."""


class CommandLineError(UserError):
    """A command line that says what no flag takes."""


def parse(config: type[Config], arguments: list[str]) -> Parsed:
    """Makes a config of a command line.

    Args:
        config: Class to make.
        arguments: The command line without the program.

    Raises:
        CommandLineError: If it holds an unknown flag or a value that its flag
            does not take, or lacks one that is required.
        UserError: If values do not go together.
        HelpRequested: If it asks for help or the version.
    """
    given, verbosity = read(config, arguments)
    missing = [
        name
        for name, one in settings_of(config).items()
        if one.options.required and not given.get(name)
    ]
    if missing:
        raise CommandLineError(f"`{missing[0]}` must be given")
    name = run_name(arguments)
    return Parsed(
        config(**given).with_default_paths(name),
        given,
        frozenset(_named(config, arguments)),
        name,
        verbosity,
    )


def read(config: type[Config], arguments: list[str]) -> Given:
    """Reads the settings that a command line and its flagfiles give.

    Raises:
        CommandLineError: As `parse`.
        HelpRequested: As `parse`.
    """
    found = flag_values(config)
    found.set_gnu_getopt(True)  # or all that follows a stray word is lost
    try:
        _, *strays = found(["mec_tf", *presets.expand(arguments)])
    except UserError as error:
        raise CommandLineError(str(error)) from None
    except flags.Error as error:
        raise CommandLineError(" ".join(str(error).split())) from None
    if strays:
        raise CommandLineError(
            f"{strays[0]!r} is no flag; flags begin with --, and so do the"
            " lines of a flagfile"
        )
    return Given(
        {
            name: found[name].value
            for name in settings_of(config)
            if found[name].is_set
        },
        found["verbosity"].value,
    )


def run_name(arguments: list[str]) -> str | None:
    """The name of a run: its last flagfile or preset, or None."""
    return presets.last_name(arguments)


def flag_values(config: type[Config]) -> Any:
    """A config's flags, and those that every main takes."""
    found = flags.FlagValues()
    for one in settings_of(config).values():
        flags.DEFINE_flag(_SettingFlag(one), found)
    flags.DEFINE_integer(
        "verbosity",
        None,
        _GENERAL["verbosity"],
        short_name="v",
        flag_values=found,
    )
    # Only for suggestions and help: `presets.expand` has replaced them.
    for name in ("flagfile", "preset"):
        flags.DEFINE_string(name, None, _GENERAL[name], flag_values=found)
    for name in _WISHES:
        flags.DEFINE_flag(_HelpFlag(name), found)
    return found


def as_flags(config: type[Config], message: str) -> str:
    """A message in which fields in backticks are written as flags."""
    names = {*settings_of(config), *_GENERAL}
    return re.sub(
        r"`(\w+)`",
        lambda field: f"--{field[1]}" if field[1] in names else field[0],
        message,
    )


def help_text(config: type[Config]) -> str:
    """Every flag in its group, with its default."""
    groups: dict[str, list[str]] = {}
    for one in settings_of(config).values():
        entry = _entry(one.name, one.default_text(), one.help_text(), config)
        groups.setdefault(one.group, []).append(entry)
    groups["General"] = [
        _entry(
            name, None, text.format(presets=", ".join(presets.names())), config
        )
        for name, text in _GENERAL.items()
    ]
    return "\n\n".join(
        "\n".join([f"{title}:", *entries]) for title, entries in groups.items()
    )


def _entry(
    name: str, default: str | None, text: str, config: type[Config]
) -> str:
    head = f"  --{name}" + ("" if default is None else f"={default}")
    body = textwrap.fill(
        as_flags(config, text),
        width=79,
        initial_indent=" " * 6,
        subsequent_indent=" " * 6,
        break_on_hyphens=False,
    )
    return f"{head}\n{body}"


def _named(config: type[Config], arguments: list[str]) -> set[str]:
    options = {
        argument.partition("=")[0].lstrip("-")
        for argument in arguments
        if argument.startswith("-")
    }
    return {
        name
        for name, one in settings_of(config).items()
        if name in options or (one.kind is bool and f"no{name}" in options)
    }


class _Parser(flags.ArgumentParser):
    """Reads a flag's text as its setting does."""

    def __init__(self, setting: Setting) -> None:
        self._setting = setting

    def parse(self, argument: Any) -> Any:
        if isinstance(argument, str):
            return self._setting.read(argument)
        return self._setting.checked(argument)

    def flag_type(self) -> str:
        return self._setting.expected()


class _SettingFlag(flags.Flag):
    """The flag of a setting; `is_set` once it has been given a value."""

    def __init__(self, setting: Setting) -> None:
        self._setting = setting
        self.is_set = False
        super().__init__(
            _Parser(setting),
            None,
            setting.name,
            setting.default or None
            if setting.options.required
            else setting.default,
            setting.options.help,
            boolean=setting.kind is bool or setting.options.bare,
        )

    def parse(self, argument: Any) -> None:
        options = self._setting.options
        if options.bare and argument == "true":
            self.present += 1
            return
        value: Any = self._parse(argument)
        if options.repeated and self.is_set:
            value = (*(self.value or ()), *value)
        self.value = value
        self.present += 1
        self.is_set = True


class _HelpFlag(flags.BooleanFlag):
    """A flag that ends the parsing as soon as it is met."""

    def __init__(self, name: str) -> None:
        super().__init__(name, False, f"See {name}.", allow_hide_cpp=True)

    def parse(self, argument: Any) -> None:
        raise HelpRequested("version" if self.name == "version" else "help")
