"""Recipes: one YAML file tells a whole run, and everything in it is checked before it starts.

The first key, `recipe`, is the kind; each kind is a class of sections, listed in `KINDS`. A file
may end with `smoke`: changes that make the same run a matter of seconds.
"""

from __future__ import annotations

import copy
import dataclasses
import importlib
import os
import pathlib
import typing

from bertzoo import presets
from bertzoo.config import nearest
from bertzoo.training.section import Section

# Kind -> the class of its recipes; imported when a file asks for it.
KINDS = {
    "pretrain": "bertzoo.training.pretraining:PretrainRecipe",
    "distill": "bertzoo.training.distillation.recipe:DistillRecipe",
    "finetune": "bertzoo.training.finetuning.recipe:FinetuneRecipe",
}
SUFFIXES = (".yaml", ".yml")


@dataclasses.dataclass(frozen=True)
class Recipe(Section):
    """What the kinds of recipes share; each kind adds its sections.

    Args:
        output: Directory of the run: checkpoints, logs and the preset that comes of it.
    """

    output: str

    def plan(self) -> dict[str, typing.Any]:
        """Return what the run would do, as name -> value, without doing it."""
        raise NotImplementedError

    def run(self, *, resume: bool = False, force: bool = False) -> dict[str, typing.Any]:
        """Do it and return its results, as name -> value.

        Args:
            resume: Refuse to start anew: there must be an earlier run to go on with.
            force: Go on where the run would be refused: with another recipe than it was begun
                with, or from the start where its checkpoints are lost.
        """
        raise NotImplementedError


def run_recipe(
    source: str | os.PathLike,
    overrides: typing.Sequence[str] | typing.Mapping[str, typing.Any] = (),
    *,
    smoke: bool = False,
    dry_run: bool = False,
    resume: bool = False,
    force: bool = False,
) -> dict[str, typing.Any]:
    """Run a recipe; the same call again goes on where the last one stopped.

    Args:
        source: A YAML file, or the name of one of bertzoo's own, as `pretrain/bert_base`.
        overrides: `["optimizer.learning_rate=1.0e-4"]`, or `{"optimizer.learning_rate": 1.0e-4}`.
        smoke: Whether to make the changes that the file lists under `smoke`.
        dry_run: Whether only to return the plan.
        resume: Refuse to start anew.
        force: Go on where the run would be refused; see `Recipe.run`.

    Returns:
        The plan, or the results.

    Raises:
        ValueError: For a mistake in the file or in an override, before anything is done.
    """
    recipe = load_recipe(source, overrides, smoke=smoke)
    return recipe.plan() if dry_run else recipe.run(resume=resume, force=force)


def load_recipe(
    source: str | os.PathLike,
    overrides: typing.Sequence[str] | typing.Mapping[str, typing.Any] = (),
    *,
    smoke: bool = False,
) -> Recipe:
    """Read, change and check a recipe; see `run_recipe`."""
    path = find_recipe(source)
    values = presets.load_yaml(path)
    changes = values.pop("smoke", {})
    if not isinstance(changes, dict):
        raise ValueError(f"`smoke` in {path} must be a mapping of changes; got {changes!r}.")
    if smoke:
        values = changed(values, changes, f"{path}, smoke")
    values = changed(values, parse_overrides(overrides), str(path))
    if next(iter(values), None) != "recipe":
        raise ValueError(f"the first key of {path} must be `recipe`: {', '.join(KINDS)}.")
    kind = values.pop("recipe")
    if kind not in KINDS:
        raise ValueError(
            f"{path} is a recipe of kind {kind!r};{nearest(kind, KINDS)} "
            f"the kinds are {', '.join(KINDS)}."
        )
    module, name = KINDS[kind].split(":")
    return getattr(importlib.import_module(module), name).from_dict(values, str(path))


def find_recipe(source: str | os.PathLike) -> pathlib.Path:
    """Return the file of a path or of a name such as `pretrain/bert_base`."""
    path = pathlib.Path(source).expanduser()
    if path.is_file():
        return path
    folder = presets.data_folder("recipes") / "configs"
    known = {
        found.relative_to(folder).with_suffix("").as_posix(): found
        for found in sorted(folder.rglob("*"))
        if found.suffix in SUFFIXES
    }
    name = str(source)
    for suffix in SUFFIXES:
        name = name.removesuffix(suffix)
    if name in known:
        return known[name]
    raise ValueError(
        f"there is no recipe {source};{nearest(name, known)} give a YAML file, or one of "
        f"{', '.join(known) or 'none'}."
    )


def parse_overrides(
    overrides: typing.Sequence[str] | typing.Mapping[str, typing.Any],
) -> dict[str, typing.Any]:
    """Return dotted key -> value; values of text are read as YAML.

    >>> parse_overrides(["a.b=3", "c=[x, y]", "d="])
    {'a.b': 3, 'c': ['x', 'y'], 'd': None}
    """
    if isinstance(overrides, dict):
        return dict(overrides)
    import yaml

    parsed = {}
    for item in overrides:
        key, equals, value = item.partition("=")
        if not (key and equals):
            raise ValueError(
                f"a change is written key=value, as optimizer.epsilon=1.0e-6; got {item!r}."
            )
        try:
            parsed[key.strip()] = yaml.safe_load(value)
        except yaml.YAMLError:
            raise ValueError(f"the value of {item!r} is not valid YAML.") from None
    return parsed


def changed(values: dict, changes: typing.Mapping[str, typing.Any], where: str) -> dict:
    """Return a copy with changes made; keys have dots, list items are numbered from 0.

    A mapping changes the keys that it names, anything else replaces the value; so does `{}`, which
    names none.

    >>> changed({"a": {"b": 1, "c": 2}, "d": [{"e": 3}]}, {"a": {"b": 5}, "d.0.e": 6}, "x.yaml")
    {'a': {'b': 5, 'c': 2}, 'd': [{'e': 6}]}
    >>> changed({"a": {"b": 1}}, {"a": {}}, "x.yaml")
    {'a': {}}
    """
    values = copy.deepcopy(values)
    for key, value in changes.items():
        place, parts = values, str(key).split(".")
        for part in parts[:-1]:
            place = _inside(place, part, f"`{key}` in {where}")
        _put(place, parts[-1], value, f"`{key}` in {where}")
    return values


def _inside(place, part, what):
    if isinstance(place, list):
        return place[_index(place, part, what)]
    if place.get(part) is None:
        place[part] = {}
    if not isinstance(place[part], dict | list):
        raise ValueError(f"{what}: `{part}` is a value, with nothing inside to change.")
    return place[part]


def _put(place, part, value, what):
    if isinstance(place, list):
        part = _index(place, part, what)
    before = place[part] if isinstance(place, list) else place.get(part)
    if value and isinstance(value, dict) and isinstance(before, dict):
        value = changed(before, value, what)
    place[part] = value


def _index(place, part, what):
    if not part.isdigit() or int(part) >= len(place):
        raise ValueError(f"{what}: `{part}` is no number of one of {len(place)} items, from 0.")
    return int(part)
