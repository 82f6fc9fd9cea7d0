"""Every fine-tuning recipe can be read, says what it is, and its smoke run has data."""

import pathlib

import pytest

from bertzoo import presets
from bertzoo.training import load_recipe
from bertzoo.training.finetuning.examples import find_file
from bertzoo.training.finetuning.kinds import kind_of
from bertzoo.training.finetuning.recipe import TASKS

FOLDER = presets.data_folder("recipes") / "configs" / "finetune"
NAMES = sorted(path.stem for path in FOLDER.glob("*.yaml"))
GLUE = ("cola", "sst2", "mrpc", "stsb", "qqp", "mnli", "qnli", "rte", "wnli")
ASKED_FOR = [
    *(f"glue_{name}" for name in GLUE),
    "squad_v1", "squad_v2", "conll2003", "ncbi_disease", "bc5cdr", "finbert_sentiment",
    "patent_sections", "docbert_reuters", "docbert_movie_reviews", "symptoms_disease", "chemprot",
    "swag", "codah", "sbert_nli", "sbert_stsb",
]  # fmt: skip


def test_every_task_that_bert_is_known_for_has_a_recipe():
    assert set(ASKED_FOR) <= set(NAMES)
    assert {load_recipe(f"finetune/{name}").task for name in NAMES} == set(TASKS)


@pytest.mark.parametrize("name", NAMES)
def test_a_recipe_is_whole_and_its_smoke_run_is_small_and_has_its_data(name):
    recipe = load_recipe(f"finetune/{name}")
    assert presets.find_preset(recipe.model.preset).name == recipe.model.preset
    assert recipe.output == f"runs/{name}"
    kind_of(recipe)  # the metric that chooses is one of the task's
    smoke = load_recipe(f"finetune/{name}", smoke=True)
    assert (smoke.model.preset, smoke.training.epochs) == ("bert_toy", 1)
    assert (smoke.training.seeds, len(smoke.training.rates)) == ((1,), 1)
    assert smoke.output == f"runs/smoke/{name}"
    assert (smoke.task, smoke.training.loss) == (recipe.task, recipe.training.loss)
    files = [smoke.data.train, smoke.data.dev, smoke.data.test, *smoke.data.also]
    kind = kind_of(smoke)
    for number, file in enumerate(filter(None, files)):
        path = find_file(smoke.data, file)
        assert pathlib.Path(path).stat().st_size < 10_000
        columns = kind.read(path, "train" if number == 0 else "test")
        assert len({len(column) for column in columns.values()}) == 1


@pytest.mark.parametrize("name", NAMES)
def test_a_recipe_begins_with_four_lines_that_say_what_it_is(name):
    lines = (FOLDER / f"{name}.yaml").read_text(encoding="utf-8").splitlines()
    assert [line[:2] for line in lines[:5]] == ["# ", "# ", "# ", "# ", "re"]
    assert lines[1].startswith(f"# bertzoo train finetune/{name} ")
    # What was not run with these weights must not look as if it was.
    assert "not yet run" in lines[3].lower() or " reached " in lines[3]
