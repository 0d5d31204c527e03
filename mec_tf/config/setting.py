"""A setting: a config's field with its type, default, range, choices, help.

All of these are declared in the dataclass, once. Validation, parsing and the
absl flag are derived from them.
"""

import dataclasses
import difflib
import functools
import math
import numbers
import operator
import os
import types
import typing
from typing import Any, Literal

from mec_tf.files import path_lists
from mec_tf.files.home import expanded


@dataclasses.dataclass(frozen=True)
class Options:
    """Options of a setting besides its type and default.

    Attributes:
        help: What the setting does; other settings in backticks.
        least: Smallest number that is allowed.
        above: Numbers must be greater.
        most: Greatest number that is allowed.
        below: Numbers must be less.
        infinite: Whether infinity is a number of this setting.
        choices: What a text may be; empty: anything.
        zero: Word for what 0 says on the command line. In Python it is None, or
            the word itself where the type holds it as a `Literal`.
        required: Whether it must be given.
        repeated: Whether the flag may be repeated, each time for more elements.
        bare: Whether the flag may be given without a value, which leaves the
            setting as it is.
        path: Whether it is a path, or several: `~` is a home, and a name with
            commas that exists is one name.
        start_only: Says how a run starts; not part of the run that is kept.
        may_differ: Says where and how a run computes, not what: may change when
            the run is taken up again.
        formerly: What runs had that an older version began, before the setting
            was added; `...`: its default.
    """

    help: str
    least: float | None = None
    above: float | None = None
    most: float | None = None
    below: float | None = None
    infinite: bool = False
    choices: tuple[str, ...] = ()
    zero: str | None = None
    required: bool = False
    repeated: bool = False
    bare: bool = False
    path: bool = False
    start_only: bool = False
    may_differ: bool = False
    formerly: Any = ...


def setting(default: Any, help: str, **options: Any) -> Any:
    """Declares a field of a config.

    Args:
        default: Value if none is given.
        help: What the setting does; other settings in backticks.
        **options: Other attributes of `Options`.
    """
    return dataclasses.field(
        default=default, metadata={"options": Options(help, **options)}
    )


def varied(owner: Any, name: str, **changes: Any) -> Any:
    """A field as in `owner`, another config's, but for `changes`.

    Args:
        owner: Class of the config.
        name: Of the field.
        **changes: `default`, and attributes of `Options`.
    """
    field = owner.__dataclass_fields__[name]
    default = changes.pop("default", field.default)
    options = dataclasses.replace(field.metadata["options"], **changes)
    return dataclasses.field(default=default, metadata={"options": options})


@dataclasses.dataclass(frozen=True)
class Setting:
    """A field of a config class, with its type taken apart.

    Attributes:
        name: Of field and flag.
        group: Heading that it stands under.
        default: Its value where none is given.
        options: See `Options`.
        kind: `str`, `bool`, `int` or `float`, of one element.
        optional: Whether it may be None.
        word: Value that stands for a mode, of a `Literal`, or None.
        counts: Numbers of elements that are allowed; None: any.
        single: Whether a single element is a value by itself.
    """

    name: str
    group: str
    default: Any
    options: Options
    kind: type
    optional: bool
    word: str | None
    counts: tuple[int, ...] | None
    single: bool

    @property
    def several(self) -> bool:
        """Whether a value may hold several elements."""
        return self.counts != (1,)

    def checked(self, value: Any) -> Any:
        """Checks a Python value.

        Returns:
            The value in the type of the field.

        Raises:
            ValueError: What was expected instead.
        """
        if value is None or (isinstance(value, tuple) and not value):
            if self.options.required:
                raise ValueError("must be given")
            if not self.optional and value is None:
                raise ValueError(f"must be {self.expected()}")
            return None if self.optional else value
        if self.options.zero is not None and self._is_zero(value):
            return self.word
        if self.several and self.options.path and isinstance(value, str):
            value = (value,)
        if self.several and isinstance(value, list | tuple):
            values = tuple(self._one(element) for element in value)
            if self.options.path:
                values = tuple(
                    name
                    for text in values
                    for name in path_lists.split(text, field=self.name)
                )
            if self.counts is not None and len(values) not in self.counts:
                raise ValueError(f"must be {self.expected()}")
            return values[0] if self.single and len(values) == 1 else values
        one = self._one(value)
        if self.single:
            return one
        if self.counts is not None and 1 not in self.counts:
            raise ValueError(f"must be {self.expected()}")
        return (one,)

    def read(self, text: str) -> Any:
        """Reads what a flag or a flagfile says.

        Raises:
            ValueError: What was expected instead.
        """
        if self.options.zero is not None and text == self.options.zero:
            return self.word
        if not self.several:
            return self.checked(self._element(text))
        if not text and self.optional and self.counts is None:
            return None
        if (
            self.options.path
        ):  # cut where it is checked: what exists stays whole
            return (expanded(text),)
        parts = [part.strip() for part in text.split(",")]
        if not all(parts):
            raise ValueError(
                f"must be {self.expected()}, with one comma between them"
            )
        return self.checked(tuple(self._element(part) for part in parts))

    def plain(self, value: Any) -> Any:
        """The value as flagfiles and JSON hold it; lists as one text."""
        if self.options.zero is not None and value == self.word:
            return self.kind(0)
        if not self.several or value is None:
            return value
        values = value if isinstance(value, tuple) else (value,)
        if self.kind is float:  # 1, not 1.0, as people write lists
            values = tuple(str(one).removesuffix(".0") for one in values)
        return ",".join(map(str, values))

    def expected(self) -> str:
        """A description of allowed values."""
        options = self.options
        if options.choices:
            text = f"one of {', '.join(options.choices)}"
        else:
            text = {
                str: "a text",
                bool: "true or false",
                int: "a whole number",
                float: "a number",
            }[self.kind]
            if self.counts == (2,):
                text = "two numbers: least,greatest"
            elif self.counts == (1, 2):
                text = "one or two numbers"
            elif self.several:
                text = "texts" if self.kind is str else "numbers"
        bounds = {
            "of at least": options.least,
            "above": options.above,
            "of at most": options.most,
            "below": options.below,
        }
        limits = [f"{k} {v:g}" for k, v in bounds.items() if v is not None]
        if limits:
            text += " " + " and ".join(limits)
        return text + (f", or {options.zero}" if options.zero else "")

    def default_text(self) -> str | None:
        """The default as the command line has it; None: there is none."""
        if self.default is None and self.options.zero is None:
            return None
        if self.options.zero is not None and self.default == self.word:
            return self.options.zero
        if self.kind is bool:
            return str(self.default).lower()
        if isinstance(self.default, float):
            return f"{self.default:g}"
        return str(self.plain(self.default)) or None

    def help_text(self) -> str:
        """The help, with the choices where it does not tell them all."""
        missing = [
            c for c in self.options.choices if c not in self.options.help
        ]
        if not missing:
            return self.options.help
        return f"{self.options.help} One of {', '.join(self.options.choices)}."

    def _is_zero(self, value: Any) -> bool:
        if isinstance(value, str):
            return value == self.options.zero
        return not isinstance(value, bool) and value == 0

    def _element(self, text: str) -> Any:
        """One element of a text, not yet checked."""
        if self.kind is str:
            return text
        try:
            if self.kind is bool:
                return _TRUTHS[text.lower()]
            if self.kind is int:
                return int(text, 16 if text.startswith("0x") else 10)
            return float(text)
        except (KeyError, ValueError):
            raise ValueError(f"must be {self.expected()}") from None

    def _one(self, value: Any) -> Any:
        """One element in the type of the field, in range."""
        value = self._typed(value)
        options = self.options
        if options.choices and value not in options.choices:
            close = difflib.get_close_matches(value, options.choices, n=1)
            meant = f"; did you mean {close[0]}?" if close else ""
            raise ValueError(f"must be {self.expected()}{meant}")
        if self.kind in (int, float) and not (
            (math.isfinite(value) or (options.infinite and value > 0))
            and (options.least is None or value >= options.least)
            and (options.above is None or value > options.above)
            and (options.most is None or value <= options.most)
            and (options.below is None or value < options.below)
        ):
            raise ValueError(f"must be {self.expected()}")
        return value

    def _typed(self, value: Any) -> Any:
        try:
            if self.kind is str:
                text = os.fspath(value)
                if isinstance(text, str):
                    if self.options.path:
                        return expanded(text)
                    if self.several and "," in text:
                        raise ValueError("must hold no comma in an element")
                    return text
            elif self.kind is bool:
                if isinstance(value, bool):
                    return value
            elif isinstance(value, bool):
                pass
            elif self.kind is int:
                return operator.index(value)
            elif isinstance(value, numbers.Real):
                return float(value)
        except TypeError:
            pass  # said below
        raise ValueError(f"must be {self.expected()}")


_TRUTHS = {"true": True, "t": True, "1": True} | {
    "false": False,
    "f": False,
    "0": False,
}


def settings_of(config: type) -> dict[str, Setting]:
    """The settings of a config class by name, group after group."""
    return _settings_of(config)


@functools.cache
def _settings_of(config: Any) -> dict[str, Setting]:
    hints = typing.get_type_hints(config)
    groups = [one for one in config.__mro__[1:] if _own(one)] + [config]
    # A field stands in the group that it was first declared in.
    first = {
        name: group
        for group in reversed(config.__mro__)
        for name in _own(group)
        if not any(name in _own(one) for one in group.__mro__[1:])
    }
    found = {}
    for group in groups:
        for field in dataclasses.fields(config):
            if first[field.name] is group:
                found[field.name] = _setting(
                    field, hints[field.name], heading(group)
                )
    return found


def heading(group: type) -> str:
    """First line of a group's docstring, without its full stop."""
    return (group.__doc__ or "").splitlines()[0].split(":")[0].rstrip(".")


def _own(group: type) -> dict[str, Any]:
    return vars(group).get("__annotations__", {})


def _setting(field: Any, hint: Any, group: str) -> Setting:
    members = (
        typing.get_args(hint)
        if typing.get_origin(hint) in (typing.Union, types.UnionType)
        else (hint,)
    )
    kind: type = str
    word: str | None = None
    counts: list[int | None] = []
    single = False
    for member in members:
        origin, inside = typing.get_origin(member), typing.get_args(member)
        if origin is Literal:
            (word,) = inside
        elif origin is tuple:
            kind = inside[0]
            counts.append(None if inside[-1] is ... else len(inside))
        elif member is not type(None):
            kind, single = member, True
            counts.append(1)
    options = field.metadata["options"]
    optional = type(None) in members
    if optional and field.default is not None and options.zero is None:
        raise TypeError(
            f"{field.name}: None is not written to a flagfile, so that it must"
            " be the default of a setting that may be None"
        )
    return Setting(
        name=field.name,
        group=group,
        default=field.default,
        options=options,
        kind=kind,
        optional=optional,
        word=word,
        counts=None
        if None in counts
        else tuple(sorted(count for count in counts if count is not None)),
        single=single,
    )
