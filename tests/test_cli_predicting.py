"""`predict`, `evaluate`, `ask` and `fill --interactive`: every kind of task from the shell."""

import io
import json
import sys

import pytest

import bertzoo
from bertzoo import cli


@pytest.fixture
def run(capsys):
    """Run a command in this process; return (exit code, standard output, standard error)."""

    def run(*words):
        code = cli.main([str(word) for word in words])
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return run


@pytest.fixture
def stdin(monkeypatch):
    def put(content):
        stream = io.TextIOWrapper(io.BytesIO(content.encode()), encoding="utf-8")
        monkeypatch.setattr(sys, "stdin", stream)

    return put


def json_lines(text):
    return [json.loads(line) for line in text.splitlines()]


def test_classes_of_pairs_come_as_lines_of_json(run, stdin):
    rows = [{"text": "a cat", "text_pair": "a dog", "id": 7}, {"text": "a", "text_pair": "film"}]
    stdin("".join(json.dumps(row) + "\n" for row in rows))
    code, out, _ = run("predict", "bert_toy", "--input-json", "--jsonl")
    found = json_lines(out)
    assert code == 0
    expected = bertzoo.TextClassifier.from_preset("bert_toy").classify(
        [(row["text"], row["text_pair"]) for row in rows]
    )
    assert [one["label"] for one in found] == [one.label for one in expected]
    assert found[0]["id"] == 7  # what else is in a line stays with it


def test_entities_are_found_in_texts_and_in_words(run, tmp_path):
    text = "paris is the capital of france."
    code, out, _ = run("predict", "bert_toy", text, "--task", "token_classifier", "--json")
    tagger = bertzoo.TokenClassifier.from_preset("bert_toy")
    found = json.loads(out)[0]["entities"]
    assert code == 0
    assert [(e["text"], e["start"]) for e in found] == [
        (e.text, e.start) for e in tagger.entities(text)
    ]
    path = tmp_path / "words.jsonl"
    path.write_text(json.dumps({"words": ["paris", "is", "great"]}) + "\n", encoding="utf-8")
    code, out, _ = run("predict", "bert_toy", "--file", path, "--task", "token_classifier")
    assert code == 0
    assert out.startswith("paris is great\n")


def test_answers_are_found_in_passages(run, tmp_path):
    path = tmp_path / "questions.jsonl"
    row = {"question": "where is it?", "context": "it is in paris."}
    path.write_text(json.dumps(row) + "\n", encoding="utf-8")
    words = ("predict", "bert_toy", "--file", path, "--task", "question_answerer", "--jsonl")
    code, out, _ = run(*words)
    found = json_lines(out)[0]
    assert code == 0
    assert row["context"][found["start"] : found["end"]] == found["answer"]
    asked = run("ask", "bert_toy", row["question"], "--context", row["context"], "--json")
    assert json_lines(asked[1])[0]["answers"][0]["text"] == found["answer"]


def test_questions_are_answered_as_they_are_typed(run, stdin, tmp_path):
    path = tmp_path / "passage.txt"
    path.write_text("the cat is in paris.", encoding="utf-8")
    stdin("where is it?\n\nwhat is in paris?\n")
    code, out, _ = run("ask", "bert_toy", "--context-file", path, "--json", "--top-k", "2")
    rows = json_lines(out)
    assert code == 0
    assert [row["question"] for row in rows] == ["where is it?", "what is in paris?"]
    assert [len(row["answers"]) for row in rows] == [2, 2]


def test_masks_are_filled_as_they_are_typed_and_a_mistake_ends_nothing(run, stdin):
    stdin("no mask here\nthe [MASK] sat.\n")
    code, out, err = run("fill", "bert_toy", "--interactive", "--top-k", "2")
    assert code == 0
    assert out.splitlines()[0] == "the [MASK] sat."
    assert len(out.splitlines()) == 3
    assert "mask" in err


@pytest.mark.long
def test_evaluate_gives_the_metrics_of_the_official_scripts(run, tmp_path):
    texts, labels = ["a good film", "bad", "the cat sat", "good"], ["positive", "negative"] * 2
    path = tmp_path / "dev.csv"
    lines = [f"{text},{label}" for text, label in zip(texts, labels, strict=True)]
    path.write_text("review,mood\n" + "\n".join(lines) + "\n", encoding="utf-8")
    columns = ("--column", "text=review", "--column", "label=mood")
    errors, predictions = tmp_path / "errors.tsv", tmp_path / "predictions.jsonl"
    code, out, _ = run("evaluate", "bert_toy", "--data", path, *columns, "--json",
                       "--errors", errors, "--predictions", predictions)  # fmt: skip
    found = json.loads(out)
    assert code == 0
    said = [one.label for one in bertzoo.TextClassifier.from_preset("bert_toy").classify(texts)]
    right = [a == b for a, b in zip(labels, said, strict=True)]
    assert found["metrics"]["accuracy"] == sum(right) / 4
    assert found["examples"] == 4
    assert len(errors.read_text().splitlines()) == 1 + right.count(False)
    assert [row["label"] for row in json_lines(predictions.read_text())] == said
    code, out, _ = run("evaluate", "bert_toy", "--data", path, *columns, "--limit", "1")
    assert out.splitlines()[0].split() == ["examples", "1"]


def test_evaluate_reads_entities_and_questions(run, tmp_path):
    path = tmp_path / "dev.conll"
    path.write_text("paris B-LOC\nis O\n\na O\ncat O\n", encoding="utf-8")
    code, out, _ = run("evaluate", "bert_toy", "--data", path, "--json")
    assert code == 0
    assert {"f1", "precision", "recall", "accuracy"} <= set(json.loads(out)["metrics"])
    answer = {"text": "paris", "answer_start": 9}
    question = {"id": "q", "question": "where?", "answers": [answer]}
    paragraph = {"context": "it is in paris.", "qas": [question]}
    path = tmp_path / "dev.json"
    path.write_text(json.dumps({"version": "1.1", "data": [{"paragraphs": [paragraph]}]}))
    code, out, _ = run("evaluate", "bert_toy", "--data", path, "--json")
    assert code == 0
    assert set(json.loads(out)["metrics"]) >= {"exact", "f1"}


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("predict", "bert_toy", "a", "--task", "multiple_choice"), "has no multiple_choice head"),
        (("predict", "bert_toy", "a", "--task", "question_answerer"), "should have `question`"),
        (("predict", "bert_toy", "a", "--input-json"), "line 1 is not JSON"),
        (("predict", "bert_toy", "[1]", "--input-json"), "line 1 should be an object"),
        (("ask", "bert_toy", "who?"), "--context TEXT or --context-file FILE"),
        (("evaluate", "bert_toy", "--data", "x.doc"), "give --reader"),
        (("evaluate", "bert_toy", "--data", "none.csv"), "none.csv does not exist"),
        (("evaluate", "bert_toy", "--data", "x.csv", "--column", "text"), "written name=column"),
        (("fill", "bert_toy", "a [MASK]", "--interactive"), "give none"),
    ],
)
def test_a_mistake_is_one_sentence(run, words, message):
    code, out, err = run(*words)
    assert (code, out) == (2, "")
    assert message in err
    assert "Traceback" not in err
