"""Frozen dataclasses that take no unknown key and no value of another type."""

from __future__ import annotations

import dataclasses
import difflib
import types
import typing


@dataclasses.dataclass(frozen=True)
class Config:
    """What the frozen configurations share: strict keys, strict types, plain dictionaries."""

    @classmethod
    def from_dict(cls, values: typing.Mapping[str, typing.Any], where: str = ""):
        """Build from a mapping; an unknown key raises and names the nearest valid one."""
        names = [field.name for field in dataclasses.fields(cls)]
        for key in values:
            check_key(key, names, where or cls.__name__)
        return cls(**{key: _frozen(value) for key, value in values.items()})

    def to_dict(self, defaults: bool = True) -> dict[str, typing.Any]:
        """Return a JSON-ready dictionary; with `defaults=False` only what differs from them."""
        result = {}
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            if not defaults and field.default is not dataclasses.MISSING and value == field.default:
                continue
            result[field.name] = _thawed(value)
        return result

    def replace(self, **changes):
        """Return a copy with some fields changed; an unknown field raises."""
        names = [field.name for field in dataclasses.fields(self)]
        for key in changes:
            check_key(key, names, type(self).__name__)
        return dataclasses.replace(self, **{k: _frozen(v) for k, v in changes.items()})

    def _check_types(self) -> None:
        hints = _type_hints(type(self))
        for field in dataclasses.fields(self):
            value, hint = getattr(self, field.name), hints[field.name]
            if not _is_instance(value, hint):
                raise ValueError(
                    f"{type(self).__name__}.{field.name} must be {_spell(hint)}; "
                    f"got {value!r} ({type(value).__name__})."
                )
            if isinstance(value, int) and not isinstance(value, bool) and _wants_float(hint):
                object.__setattr__(self, field.name, float(value))

    def _check_choice(self, name: str, choices: typing.Sequence[str]) -> None:
        value = getattr(self, name)
        if value is not None and value not in choices:
            raise ValueError(
                f"{type(self).__name__}.{name} must be one of {', '.join(choices)}; "
                f"got {value!r}.{nearest(value, choices)}"
            )


def check_key(key: str, valid: typing.Iterable[str], where: str) -> None:
    """Raise for a key that is not valid, naming the nearest one that is."""
    valid = list(valid)
    if key not in valid:
        raise ValueError(
            f"unknown key `{key}` in {where};{nearest(key, valid)} "
            f"valid keys are {', '.join(sorted(valid))}."
        )


def nearest(word: typing.Any, choices: typing.Iterable[str]) -> str:
    """Return ` did you mean ...?`, or nothing where no choice is close."""
    close = difflib.get_close_matches(str(word), list(choices), n=1, cutoff=0.5)
    return f" did you mean `{close[0]}`?" if close else ""


def _frozen(value):
    return tuple(_frozen(item) for item in value) if isinstance(value, list | tuple) else value


def _thawed(value):
    return [_thawed(item) for item in value] if isinstance(value, tuple) else value


_HINTS: dict[type, dict[str, typing.Any]] = {}


def _type_hints(cls: type) -> dict[str, typing.Any]:
    if cls not in _HINTS:
        _HINTS[cls] = typing.get_type_hints(cls)
    return _HINTS[cls]


def _is_instance(value, hint) -> bool:
    origin, args = typing.get_origin(hint), typing.get_args(hint)
    if origin in (typing.Union, types.UnionType):
        return any(_is_instance(value, arg) for arg in args)
    if origin is tuple:
        if not isinstance(value, tuple):
            return False
        if len(args) == 2 and args[1] is Ellipsis:
            return all(_is_instance(item, args[0]) for item in value)
        return len(value) == len(args) and all(map(_is_instance, value, args))
    if hint is float:
        return isinstance(value, float | int) and not isinstance(value, bool)
    if hint is int:
        return isinstance(value, int) and not isinstance(value, bool)
    return isinstance(value, hint)


def _wants_float(hint) -> bool:
    return hint is float or float in typing.get_args(hint)


def _spell(hint) -> str:
    return getattr(hint, "__name__", None) or str(hint).replace("NoneType", "None")
