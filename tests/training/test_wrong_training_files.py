"""Files that nothing good can be learnt from are refused before training, in one sentence each."""

import json

import pytest

import bertzoo as bz
from bertzoo.training import run_recipe
from bertzoo.training.finetuning.kinds import Kind

GOOD = "text,label\nfine,good\npoor,bad\n"
SCORED = "text,text_pair,score\na cat,the cat,4.5\na cat,a film,0.5\n"


@pytest.fixture(autouse=True)
def no_training(monkeypatch):
    """Every file here is refused before the first step."""
    monkeypatch.setattr(Kind, "fit", None)


def run(tmp_path, files, **changes):
    for name, content in files.items():
        (tmp_path / name).write_text(content, encoding="utf-8")
    train, dev = list(files)
    overrides = {
        "output": str(tmp_path / "run"), "data.directory": str(tmp_path),
        "data.train": train, "data.dev": dev, **changes,
    }  # fmt: skip
    return run_recipe("finetune/symptoms_disease", overrides, smoke=True)


@pytest.mark.parametrize(
    ("train", "dev", "message"),
    [
        (GOOD, "text,label\nfine,goood\n",
         "dev.csv, line 2: the label should be one of bad, good; got 'goood'. did you mean `good`"),
        ("text,class\nfine,good\n", GOOD,
         "train.csv, line 2: there is no column 'label'; the columns are text, class"),
        ("text,label\nfine,good\npoor,\n", GOOD,
         r"train.csv, line 3, column 'label': the label is missing \(''\)"),
        ("", GOOD, "train.csv is empty"),
        ("text,label\n", GOOD, "train.csv has no rows"),
        (GOOD, "text,label\nfine,good,new\n", "dev.csv, line 2: expected 2 columns as in line 1"),
        ("text,label\nfine,good\npoor,good\n", GOOD,
         "train.csv has one class only, 'good': there is nothing to learn"),
    ],
)  # fmt: skip
def test_classes(tmp_path, train, dev, message):
    with pytest.raises(ValueError, match=message) as caught:
        run(tmp_path, {"train.csv": train, "dev.csv": dev})
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("wrong", ["nan", "inf", "much"])
def test_scores(tmp_path, wrong):
    changes = {
        "task": "regression", "data.columns.text_pair": "text_pair",
        "data.columns.label": None, "data.columns.score": "score",
    }  # fmt: skip
    files = {"train.csv": SCORED + f"a dog,the cat,{wrong}\n", "dev.csv": SCORED}
    message = f"train.csv, line 4, column 'score': expected a finite number; got '{wrong}'"
    with pytest.raises(ValueError, match=message):
        run(tmp_path, files, **changes)


def test_tags_of_a_wrong_column(tmp_path):
    words = "paris NNP O\nis VBZ O\n"
    with pytest.raises(ValueError, match=r"train\.conll has one tag only, 'O': there is nothing"):
        run(tmp_path, {"train.conll": words, "dev.conll": words},
            **{"task": "tokens", "data.reader": "conll"})  # fmt: skip


def test_an_answer_that_is_not_in_its_passage(tmp_path):
    question = {"id": "q7", "question": "Where?", "answers": [{"text": "Rome", "answer_start": 3}]}
    article = {"title": "a", "paragraphs": [{"context": "Anna in Rome", "qas": [question]}]}
    content = json.dumps({"version": "1.1", "data": [article]})
    message = "train.json, question q7: the answer 'Rome' is not in its context at character 3"
    with pytest.raises(ValueError, match=message):
        run(tmp_path, {"train.json": content, "dev.json": content},
            **{"task": "question_answering", "data.reader": "squad"})  # fmt: skip


def test_an_ending_that_does_not_exist(tmp_path):
    row = "o\tThe cat\tsat.\tflew.\tread.\tsang.\t{}\n"
    files = {"train.tsv": row.format(0) + row.format(4), "dev.tsv": row.format(0)}
    message = r"train.tsv, line 2, column 6: the label should be 0, 1, 2 or 3; got '4'"
    with pytest.raises(ValueError, match=message):
        run(tmp_path, files, **{"task": "multiple_choice", "data.reader": "codah"})


def test_labels_that_a_finished_classifier_does_not_have(tmp_path):
    preset, file = tmp_path / "preset", tmp_path / "dev.csv"
    bz.TextClassifier.from_preset("bert_toy", labels=["bad", "good"]).save_to_preset(preset)
    file.write_text("text,label\nfine,good\npoor,0\n", encoding="utf-8")
    from bertzoo.training.finetuning import evaluating

    recipe = evaluating.recipe_of(str(preset), file)
    with pytest.raises(ValueError, match=r"dev.csv, line 3: .* one of bad, good; got '0'"):
        evaluating.evaluate(recipe)


def test_one_class_is_learnt_where_the_recipe_says_so(tmp_path, monkeypatch):
    asked = []

    def fit(self, task, train, callbacks):
        asked.append(self.recipe.training.allow_one_class)
        raise KeyboardInterrupt

    monkeypatch.setattr(Kind, "fit", fit)
    files = {"train.csv": "text,label\nfine,good\npoor,good\n", "dev.csv": GOOD}
    changes = {"data.labels": ["bad", "good"], "training.allow_one_class": True}
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path, files, **changes)
    assert asked == [True]
