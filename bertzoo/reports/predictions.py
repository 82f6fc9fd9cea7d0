"""Predictions in the files that each task's official scorer or leaderboard reads."""

import pathlib

import numpy as np

from bertzoo import durable
from bertzoo.reports.tables import write_json, write_tsv

_ENTAILMENT = ("entailment", "not_entailment")
_NLI = ("contradiction", "entailment", "neutral")
_BINARY = ("0", "1")
# File name and what may stand in it, as gluebenchmark.com wants them; None for a number 0 to 5.
GLUE_FILES = {
    "CoLA": ("CoLA.tsv", _BINARY),
    "SST-2": ("SST-2.tsv", _BINARY),
    "MRPC": ("MRPC.tsv", _BINARY),
    "STS-B": ("STS-B.tsv", None),
    "QQP": ("QQP.tsv", _BINARY),
    "MNLI-m": ("MNLI-m.tsv", _NLI),
    "MNLI-mm": ("MNLI-mm.tsv", _NLI),
    "QNLI": ("QNLI.tsv", _ENTAILMENT),
    "RTE": ("RTE.tsv", _ENTAILMENT),
    "WNLI": ("WNLI.tsv", _BINARY),
    "AX": ("AX.tsv", _NLI),
}


def write_glue(directory, task, predictions, index=None):
    r"""Write one task's file of a GLUE submission: `index<TAB>prediction`.

    Args:
        directory: Of the submission.
        task: A key of `GLUE_FILES`, as `MNLI-mm`.
        predictions: One a row of the test file: 0 or 1, or the label's name where GLUE has names,
            or a number for STS-B, which is cut to 0 .. 5.
        index: The rows' own index; None for 0, 1, 2, ...

    Returns:
        The file's path.

    Raises:
        ValueError: For a task or a label that GLUE does not know, with its row.

    Example:
    >>> open(write_glue("submission", "STS-B", [5.25, 1.0])).read()
    'index\tprediction\n0\t5.000\n1\t1.000\n'
    """
    if task not in GLUE_FILES:
        raise ValueError(f"a GLUE task is one of {', '.join(GLUE_FILES)}; got {task!r}.")
    name, labels = GLUE_FILES[task]
    predictions = list(predictions)
    index = range(len(predictions)) if index is None else list(index)
    if len(index) != len(predictions):
        raise ValueError(f"got {len(predictions)} predictions and {len(index)} index numbers.")
    cells = []
    for row, prediction in enumerate(predictions):
        if labels is None:
            if not np.isfinite(float(prediction)):
                raise ValueError(f"prediction {row} for {task} is not finite: {prediction}.")
            cells.append(f"{min(max(float(prediction), 0.0), 5.0):.3f}")
            continue
        cells.append(str(prediction))
        if cells[-1] not in labels:
            raise ValueError(
                f"prediction {row} for {task} should be one of {', '.join(labels)}; "
                f"got {cells[-1]!r}."
            )
    path = pathlib.Path(directory) / name
    write_tsv(path, ["index", "prediction"], zip(index, cells, strict=True))
    return path


def write_squad(directory, answers):
    """Write what the official SQuAD scripts read: `predictions.json` and its companions.

    Args:
        directory: Where to.
        answers: Question id -> dict with `text` ("" for no answer); where known also `nbest`, a
            list of dicts with `text` and `probability`, and `null_odds`, a number that is the
            larger the likelier it is that there is no answer.

    Returns:
        The path of `predictions.json`; `nbest_predictions.json` and `null_odds.json` lie beside
        it where all answers have them.

    Example:
    >>> path = write_squad("squad", {"q1": {"text": "Paris", "null_odds": -3.5}})
    >>> sorted(p.name for p in path.parent.iterdir())
    ['null_odds.json', 'predictions.json']
    """
    folder = pathlib.Path(directory)
    for key, name in (("nbest", "nbest_predictions.json"), ("null_odds", "null_odds.json")):
        if answers and all(answer.get(key) is not None for answer in answers.values()):
            write_json(folder / name, {id: answer[key] for id, answer in answers.items()})
    path = folder / "predictions.json"
    write_json(path, {id: answer["text"] for id, answer in answers.items()})
    return path


def write_conll(path, sentences):
    r"""Write words with their tags as `conlleval` reads them: word, gold tag, guessed tag.

    Args:
        path: Of the file.
        sentences: (words, gold tags or None, guessed tags) of each sentence; without gold tags
            the file has two columns.

    Raises:
        ValueError: If the counts differ, or a word is empty or holds white space.

    Example:
    >>> write_conll("out.txt", [(["in", "Paris"], ["O", "B-LOC"], ["O", "O"])])
    >>> open("out.txt").read()
    'in O O\nParis B-LOC O\n\n'
    """
    lines = []
    for number, (words, gold, guessed) in enumerate(sentences):
        columns = [words, guessed] if gold is None else [words, gold, guessed]
        if len({len(column) for column in columns}) != 1:
            counts = ", ".join(str(len(column)) for column in columns)
            raise ValueError(f"sentence {number}: words and tags differ in number: {counts}.")
        for cells in zip(*columns, strict=True):
            if any(len(str(cell).split()) != 1 for cell in cells):
                raise ValueError(
                    f"sentence {number}: a word or tag of a CoNLL file is not empty and has no "
                    f"white space; got {cells!r}."
                )
            lines.append(" ".join(map(str, cells)))
        lines.append("")
    content = "".join(line + "\n" for line in lines)
    durable.replace_file(pathlib.Path(path), content.encode("utf-8", "backslashreplace"))
