"""Recipes: strict, changed by --set and --smoke, found by name."""

import dataclasses
import sys
import types

import pytest

from bertzoo import cli
from bertzoo.training import load_recipe, recipe, run_recipe
from bertzoo.training.section import Section
from bertzoo.training.stopping import Stopped


@dataclasses.dataclass(frozen=True)
class Schedule(Section):
    steps: int = 100
    peak: float = 1.0e-4
    warmup: int | None = None


@dataclasses.dataclass(frozen=True)
class Phase(Section):
    length: int
    records: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True)
class ToyRecipe(recipe.Recipe):
    schedule: Schedule = dataclasses.field(default_factory=Schedule)
    phases: tuple[Phase, ...] = ()
    model: dict = dataclasses.field(default_factory=dict)

    def __post_init__(self):
        super().__post_init__()
        if len(self.phases) > 2:
            raise ValueError(f"at most two phases; got {len(self.phases)}.")

    def plan(self):
        return {"steps": self.schedule.steps, "peak": self.schedule.peak}

    def run(self, *, resume=False, force=False):
        if self.output == "stopped":
            raise Stopped("SIGTERM arrived; saved at step 7.")
        return {"resumed": resume, "forced": force, "phases": len(self.phases)}


TEXT = """\
recipe: toy
output: run
schedule: {steps: 50, peak: 2.0e-4}
phases:
  - {length: 128, records: [a, b]}
  - {length: 512}
smoke:
  schedule.steps: 2
  phases.0: {length: 16}
  output: small
"""


@pytest.fixture(autouse=True)
def toy_kind(monkeypatch):
    module = types.ModuleType("toy_recipes")
    module.ToyRecipe = ToyRecipe
    monkeypatch.setitem(sys.modules, "toy_recipes", module)
    monkeypatch.setitem(recipe.KINDS, "toy", "toy_recipes:ToyRecipe")


@pytest.fixture
def path(tmp_path):
    file = tmp_path / "toy.yaml"
    file.write_text(TEXT)
    return file


def test_a_file_becomes_typed_sections(path):
    loaded = load_recipe(path)
    assert loaded == ToyRecipe("run", Schedule(50, 2.0e-4), (Phase(128, ("a", "b")), Phase(512)))
    assert ToyRecipe.from_dict(loaded.to_dict()) == loaded


def test_smoke_and_set_change_it_in_this_order(path):
    loaded = load_recipe(
        path, ["phases.1.length=256", "output=mine", "schedule.peak=1e-3"], smoke=True
    )
    assert loaded.output == "mine"
    assert loaded.schedule == Schedule(2, 1.0e-3)
    assert loaded.phases == (Phase(16, ("a", "b")), Phase(256))


def test_overrides_may_be_a_mapping(path):
    loaded = load_recipe(path, {"schedule": {"warmup": 3}, "model.num_layers": 4})
    assert loaded.schedule == Schedule(50, 2.0e-4, 3)
    assert loaded.model == {"num_layers": 4}


def test_an_empty_mapping_empties(path):
    assert load_recipe(path, {"model": {}}).model == {}


@pytest.mark.parametrize(("change", "message"), [
    ("schedule.stepps=3", r"unknown key `stepps` in .*toy.yaml, schedule; did you mean `steps`"),
    ("shedule.steps=3", r"unknown key `shedule` in .*toy.yaml; did you mean `schedule`"),
    ("schedule.steps=many", r"toy.yaml, schedule: .*steps must be int; got 'many'"),
    ("schedule.steps=2.5", "steps must be int"),
    ("schedule.peak=fast", "peak must be float"),
    ("schedule=3", r"toy.yaml, schedule must be a mapping; got 3"),
    ("phases.7.length=1", "no number of one of 2 items"),
    ("phases.0.records=a", "records must be"),
    ("phases=3", "phases must be a list"),
    ("phases=[{}]", r"`length` is missing in .*phases, item 1"),
    ("phases=[{length: 1}, {length: 1}, {length: 1}]", "toy.yaml: at most two phases; got 3"),
    ("output.deep=3", "nothing inside to change"),
    ("nothing", "key=value"),
    ("schedule.steps=[", "not valid YAML"),
])  # fmt: skip
def test_mistakes_are_named_with_file_and_key(path, change, message):
    with pytest.raises(ValueError, match=message):
        load_recipe(path, [change])


@pytest.mark.parametrize(("text", "message"), [
    ("output: x\n", "first key of .* must be `recipe`"),
    ("output: x\nrecipe: toy\n", "first key"),
    ("recipe: pretrian\n", "did you mean `pretrain`"),
    ("recipe: toy\n", "`output` is missing"),
    ("recipe: toy\noutput: a\noutput: b\n", "written twice"),
    ("recipe: toy\nsmoke: 3\noutput: a\n", "`smoke` in .* must be a mapping"),
    ("- 1\n", "must hold one mapping"),
    ("recipe: [\n", "not valid YAML"),
])  # fmt: skip
def test_broken_files_are_named(tmp_path, text, message):
    (tmp_path / "broken.yaml").write_text(text)
    with pytest.raises(ValueError, match=message):
        load_recipe(tmp_path / "broken.yaml")


def test_a_recipe_that_is_not_there():
    with pytest.raises(ValueError, match="there is no recipe pretrain/nothing"):
        load_recipe("pretrain/nothing")


def test_running_and_planning(path):
    assert run_recipe(path, dry_run=True) == {"steps": 50, "peak": 2.0e-4}
    assert run_recipe(path, resume=True) == {"resumed": True, "forced": False, "phases": 2}


def test_the_command(path, capsys):
    assert cli.main(["train", str(path), "--dry-run", "--set", "schedule.steps=12000"]) == 0
    assert capsys.readouterr().out.split() == ["steps", "12,000", "peak", "0.0002"]
    assert cli.main(["train", str(path), "--set", "schedule.stepps=1"]) == 2
    assert "did you mean `steps`" in capsys.readouterr().err


def test_a_run_that_was_told_to_stop_ends_with_its_own_code(path, capsys):
    assert cli.main(["train", str(path), "--set", "output=stopped"]) == cli.RUN_AGAIN == 75
    assert "saved at step 7" in capsys.readouterr().err
