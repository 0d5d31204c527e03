"""The base class of configs: frozen, validated, read from flagfiles."""

import dataclasses
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Self

from mec_tf.config.setting import Setting, settings_of
from mec_tf.errors import UserError


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config:
    """Base of all configs and of the groups of settings that they share.

    A group is a dataclass of its own; the first line of its docstring is the
    heading of its flags. What it checks across its settings is in `_check`.

    Raises:
        UserError: If a value cannot be used, or two do not go together.
    """

    def __post_init__(self) -> None:
        """Brings every value into its type and checks it."""
        for name, one in settings_of(type(self)).items():
            value = getattr(self, name)
            try:
                object.__setattr__(self, name, one.checked(value))
            except UserError:  # of paths, which says all itself
                raise
            except ValueError as error:
                raise UserError(f"`{name}`{_shown(value)} {error}") from None
        for group in reversed(type(self).__mro__):
            if "_check" in vars(group):
                vars(group)["_check"](self)

    @classmethod
    def from_preset(cls, name: str, **changes: Any) -> Self:
        """A config of the flagfiles that come with the package.

        Args:
            name: Such as "digits": a file of `flags/` without its suffix.
            **changes: Settings that differ from the file's.

        Example:
            >>> PretrainConfig.from_preset("digits", epochs=10).epochs
            10
        """
        return cls._from_file(f"--preset={name}", changes)

    @classmethod
    def from_flagfile(cls, path: str | Path, **changes: Any) -> Self:
        """A config of a flagfile; `changes` are settings that differ from it.

        Raises:
            UserError: If the file cannot be read, or holds a flag that this
                config lacks or a value that it does not take.
        """
        return cls._from_file(f"--flagfile={path}", changes)

    @classmethod
    def _from_file(cls, argument: str, changes: dict[str, Any]) -> Self:
        from mec_tf.config import flags  # which is made from configs

        given = flags.read(cls, [argument]).given | _known(cls, changes)
        return cls(**given).with_default_paths(flags.run_name([argument]))

    @classmethod
    def from_flags(cls, texts: Mapping[str, str]) -> Self:
        """The config of a run, from what its `flags.cfg` holds.

        Args:
            texts: Texts by name, as `to_flags` gives them. What is missing had
                not been added when the run began, and is as it was then.

        Raises:
            UserError: If a name or a text is not known.
        """
        settings = settings_of(cls)
        values = {
            name: one.options.formerly
            for name, one in settings.items()
            if one.options.formerly is not ...
        }
        for name, text in texts.items():
            if name not in settings:
                raise UserError(
                    f"{name}={text} is no setting of {cls.__name__}; the run is"
                    " of another version: name another one"
                )
            try:
                values[name] = settings[name].read(text)
            except ValueError as error:
                raise UserError(f"`{name}`={text} {error}") from None
        return cls(**values)

    def replace(self, **changes: Any) -> Self:
        """The config with some settings changed, checked anew."""
        return dataclasses.replace(self, **_known(type(self), changes))

    def with_default_paths(self, name: str | None) -> Self:
        """The config with the folders that were not given, after `name`.

        Args:
            name: Of a flagfile, or None where there is none.
        """
        return self

    def values(self) -> dict[str, Any]:
        """The values that a run records, by name, sorted.

        Values are those of a flagfile (0 for a mode, one text for a list), in
        JSON's types. What only says how to start is left out.
        """
        return {
            one.name: one.plain(getattr(self, one.name))
            for one in sorted(self._settings(), key=lambda one: one.name)
            if not one.options.start_only
        }

    def to_flags(self) -> dict[str, str]:
        """The content of `flags.cfg`: `values` as texts, without None."""
        return {
            name: str(value)
            for name, value in self.values().items()
            if value is not None
        }

    @classmethod
    def defaults(cls) -> dict[str, Any]:
        """The default of each setting that `values` tells the value of."""
        return {
            name: one.plain(one.default)
            for name, one in sorted(settings_of(cls).items())
            if not one.options.start_only
        }

    @classmethod
    def formerly(cls) -> dict[str, Any]:
        """Values that runs of older versions had, if not the defaults."""
        return {
            name: one.plain(one.options.formerly)
            for name, one in settings_of(cls).items()
            if one.options.formerly is not ...
        }

    @classmethod
    def may_differ(cls) -> frozenset[str]:
        """Names of settings that may change when a run is taken up again."""
        return frozenset(
            name
            for name, one in settings_of(cls).items()
            if one.options.may_differ
        )

    def _settings(self) -> Iterator[Setting]:
        return iter(settings_of(type(self)).values())


def _known(config: type, changes: dict[str, Any]) -> dict[str, Any]:
    unknown = sorted(changes.keys() - settings_of(config).keys())
    if unknown:
        names = ", ".join(f"`{name}`" for name in unknown)
        raise UserError(
            f"{config.__name__} has no {names}; its settings are"
            f" {', '.join(sorted(settings_of(config)))}"
        )
    return changes


def _shown(value: Any) -> str:
    if isinstance(value, list | tuple):
        value = ",".join(map(str, value)) or None
    return "" if value is None else f"={value}"
