"""Reports can be read back by what they are for, and a wrong row is named."""

import json
import struct

import numpy as np
import pytest

from bertzoo import durable, reports
from bertzoo.checkpoints import model_card
from bertzoo.config import BackboneConfig
from bertzoo.reports import figures


def test_json_is_json_for_everybody(tmp_path):
    value = {"f1": np.float32(0.5), "nan": np.nan, "matrix": np.arange(2), 3: (1, np.inf)}
    reports.write_json(tmp_path / "m.json", value)
    text = (tmp_path / "m.json").read_text()
    assert "NaN" not in text
    assert json.loads(text) == {"f1": 0.5, "nan": None, "matrix": [0, 1], "3": [1, None]}


def test_json_lines_are_one_a_row(tmp_path):
    reports.write_jsonl(tmp_path / "p.jsonl", [{"text": "a\nb"}, {"text": "é"}])
    lines = (tmp_path / "p.jsonl").read_text(encoding="utf-8").splitlines()
    assert [json.loads(line)["text"] for line in lines] == ["a\nb", "é"]


@pytest.mark.parametrize(
    ("task", "predictions", "file", "expected"),
    [
        ("CoLA", [1, 0], "CoLA.tsv", ["1", "0"]),
        ("MNLI-mm", ["neutral", "entailment"], "MNLI-mm.tsv", ["neutral", "entailment"]),
        ("STS-B", [-0.5, 4.25], "STS-B.tsv", ["0.000", "4.250"]),
    ],
)
def test_glue_files_are_as_its_leaderboard_reads_them(tmp_path, task, predictions, file, expected):
    path = reports.write_glue(tmp_path, task, predictions)
    assert path == tmp_path / file
    rows = [line.split("\t") for line in path.read_text().splitlines()]
    assert rows == [["index", "prediction"], ["0", expected[0]], ["1", expected[1]]]


@pytest.mark.parametrize(
    ("task", "predictions", "message"),
    [
        ("SST", ["1"], "a GLUE task is one of CoLA"),
        ("RTE", ["entailment", "neutral"], "prediction 1 for RTE should be one of entailment"),
        ("STS-B", [1.0, float("nan")], "prediction 1 for STS-B is not finite"),
    ],
)
def test_what_glue_does_not_know_is_named(tmp_path, task, predictions, message):
    with pytest.raises(ValueError, match=message):
        reports.write_glue(tmp_path, task, predictions)
    assert list(tmp_path.iterdir()) == []


def test_squad_files_hold_answers_by_id(tmp_path):
    best = [{"text": "in Paris", "probability": 0.75}, {"text": "", "probability": 0.25}]
    answers = {
        "a": {"text": "in Paris", "nbest": best, "null_odds": -1.5},
        "b": {"text": "", "nbest": [], "null_odds": 3.0},
    }
    path = reports.write_squad(tmp_path, answers)
    assert json.loads(path.read_text()) == {"a": "in Paris", "b": ""}
    assert json.loads((tmp_path / "null_odds.json").read_text()) == {"a": -1.5, "b": 3.0}
    nbest = json.loads((tmp_path / "nbest_predictions.json").read_text())
    assert nbest["a"][0] == {"text": "in Paris", "probability": 0.75}


def test_conll_files_have_a_blank_line_behind_each_sentence(tmp_path):
    sentences = [(["in", "Paris"], ["O", "B-LOC"], ["O", "O"]), (["."], ["O"], ["O"])]
    reports.write_conll(tmp_path / "out", sentences)
    assert (tmp_path / "out").read_text() == "in O O\nParis B-LOC O\n\n. O O\n\n"
    with pytest.raises(ValueError, match="sentence 1: words and tags differ in number: 2, 1"):
        reports.write_conll(tmp_path / "x", [(["a"], None, ["O"]), (["a", "b"], None, ["O"])])
    with pytest.raises(ValueError, match="sentence 0: a word or tag"):
        reports.write_conll(tmp_path / "x", [(["a b"], None, ["O"])])


def test_the_sample_of_errors_is_drawn_once_and_for_all(tmp_path):
    rows = [{"text": f"text {i}\n", "expected": "a", "got": "b", "score": 0.25} for i in range(50)]
    samples = []
    for seed in (0, 0, 1):
        reports.write_errors(tmp_path / "e.tsv", rows, most=5, seed=seed)
        samples.append((tmp_path / "e.tsv").read_text().splitlines())
    assert samples[0] == samples[1] != samples[2]
    assert samples[0][0].split("\t") == ["text", "expected", "got", "score"]
    assert len(samples[0]) == 6
    numbers = [int(line.split("\t")[0].removeprefix("text ").removesuffix("\\n"))
               for line in samples[0][1:]]  # fmt: skip
    assert numbers == sorted(set(numbers))


def test_the_passage_stands_in_the_model_card():
    passage = reports.training_passage(
        "bert_toy", {"train": "a|b"}, {"epochs": 3}, {"f1": (0.5, 0.125), "rows": 7}, seeds=[1, 2]
    )
    assert "| f1 | 0.5000 | 0.1250 |" in passage
    assert "| rows | 7 |  |" in passage
    card = model_card.write("m", BackboneConfig(), {}, None, {"training": passage})
    assert card.index("## Training") < card.index("- seeds: 1, 2") < card.index("## Network")


def test_pictures_are_drawn_where_matplotlib_is(tmp_path):
    pytest.importorskip("matplotlib")
    history = {"loss": [2.0, 1.0], "val_loss": [2.5, 2.0], "accuracy": [0.5, 0.75]}
    reports.plot_curves(history, tmp_path / "curves.png", title="a run")
    reports.plot_confusion([[3, 1], [0, 2]], ["b$d", "good"], tmp_path / "confusion.png")
    for name in ("curves", "confusion"):
        width, height = struct.unpack(">II", (tmp_path / f"{name}.png").read_bytes()[16:24])
        assert width > 200
        assert height > 200
    reports.plot_confusion([[3, 1], [0, 2]], ["bad", "good"], tmp_path / "confusion.svg")
    with pytest.raises(ValueError, match="expected a matrix of 3 by 3"):
        reports.plot_confusion([[3, 1], [0, 2]], ["a", "b", "c"], tmp_path / "x.png")
    with pytest.raises(ValueError, match="no curve"):
        reports.plot_curves({}, tmp_path / "x.png")


def test_the_curves_of_a_picture_are_the_numbers(tmp_path, monkeypatch):
    pytest.importorskip("matplotlib")
    drawn = []
    monkeypatch.setattr(
        "bertzoo.reports.plots.save_figure", lambda figure, path: drawn.append(figure)
    )
    reports.plot_curves({"loss": [2.0, 1.0], "val_loss": [2.5, 2.0], "f1": [0.5, 0.75]}, "x.png")
    lines = [[line.get_ydata().tolist() for line in axis.lines] for axis in drawn[0].axes]
    assert lines == [[[2.0, 1.0], [2.5, 2.0]], [[0.5, 0.75]]]


def test_without_matplotlib_the_message_says_what_to_install(monkeypatch):
    import sys

    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(ModuleNotFoundError, match=r"pip install 'bertzoo\[plot\]'"):
        figures.new_figure()


def test_a_replaced_file_is_the_old_one_or_the_new_one(tmp_path, monkeypatch):
    path = tmp_path / "metrics.json"
    durable.replace_file(path, b"old")

    def fail(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(durable, "write_bytes", fail)
    with pytest.raises(OSError, match="No space left"):
        durable.replace_file(path, b"new")
    assert path.read_bytes() == b"old"
    assert [p.name for p in tmp_path.iterdir()] == ["metrics.json"]
