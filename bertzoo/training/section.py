"""Typed sections of a recipe: frozen dataclasses inside each other, as strict as `config.py`."""

from __future__ import annotations

import dataclasses
import types
import typing

from bertzoo.config import Config, check_key


@dataclasses.dataclass(frozen=True)
class Section(Config):
    """A part of a recipe: its fields are values, other sections, or lists of sections.

    A subclass is a frozen dataclass; one that has checks of its own calls
    `super().__post_init__()` first.
    """

    def __post_init__(self):
        """Check the type of every field."""
        self._check_types()

    @classmethod
    def from_dict(cls, values: typing.Mapping[str, typing.Any], where: str = ""):
        """Build from nested mappings; what is wrong is named with its full key and file.

        >>> @dataclasses.dataclass(frozen=True)
        ... class Schedule(Section):
        ...     steps: int = 10
        >>> Schedule.from_dict({"stepps": 3}, "run.yaml")
        Traceback (most recent call last):
        ValueError: unknown key `stepps` in run.yaml; did you mean `steps`? valid keys are steps.
        """
        where = where or cls.__name__
        if not isinstance(values, dict):
            raise ValueError(f"{where} must be a mapping; got {values!r}.")
        fields = {field.name: field for field in dataclasses.fields(cls)}
        for key in values:
            check_key(key, fields, where)
        for name, field in fields.items():
            if name not in values and _is_required(field):
                raise ValueError(f"the key `{name}` is missing in {where}.")
        hints = typing.get_type_hints(cls)
        built = {key: _build(hints[key], value, f"{where}, {key}") for key, value in values.items()}
        try:
            return cls(**built)
        except ValueError as error:
            raise ValueError(f"{where}: {error}") from None

    def to_dict(self, defaults: bool = True) -> dict[str, typing.Any]:
        """Return nested plain dictionaries, ready for YAML or JSON."""
        result = {}
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            if defaults or _is_required(field) or value != _default(field):
                result[field.name] = _plain(value)
        return result


def section_of(hint) -> type[Section] | None:
    """Return the section class that a type hint names, alone, optional or in a tuple."""
    for candidate in (hint, *typing.get_args(hint)):
        if isinstance(candidate, type) and issubclass(candidate, Section):
            return candidate
    return None


def _build(hint, value, where):
    section = section_of(hint)
    if section is not None and value is not None:
        if typing.get_origin(hint) is tuple:
            if not isinstance(value, list | tuple):
                raise ValueError(f"{where} must be a list; got {value!r}.")
            items = enumerate(value, start=1)
            return tuple(section.from_dict(item, f"{where}, item {n}") for n, item in items)
        return section.from_dict(value, where)
    if isinstance(value, str) and _wants_number(hint):
        # YAML 1.1 reads 1e-4 as text; it wants 1.0e-4.
        try:
            return float(value)
        except ValueError:
            return value
    return _tuples(value)


def _wants_number(hint) -> bool:
    kinds = (hint, *typing.get_args(hint))
    optional = isinstance(hint, types.UnionType) or typing.get_origin(hint) is typing.Union
    return hint is float or (optional and float in kinds and str not in kinds)


def _is_required(field) -> bool:
    return field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING


def _default(field):
    if field.default_factory is not dataclasses.MISSING:
        return field.default_factory()
    return field.default


def _tuples(value):
    return tuple(map(_tuples, value)) if isinstance(value, list | tuple) else value


def _plain(value):
    if isinstance(value, Section):
        return value.to_dict()
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    return value
