"""The files of GLUE (Wang et al. 2018) and the originals of CoLA, MRPC and STS-B.

Quotation marks are characters: GLUE's files do not quote. Labels get names, since the numbers of
one class differ between projects: `ORDERS` has those of Google's BERT and of Hugging Face.
"""

from __future__ import annotations

import dataclasses
import itertools
import pathlib

from bertzoo.readers.examples import Examples, from_rows
from bertzoo.readers.tables import tsv_rows


@dataclasses.dataclass(frozen=True)
class GlueTask:
    """Where the columns of a task are, by the header; and what it is scored by.

    Args:
        text: Names that the column of the text has in training and test files.
        text_pair: The same of the second text; empty for single texts.
        label: Column of the label, which test files lack; None for a test set alone.
        names: What the labels of the file mean; None for a score.
        metrics: As in the papers, of `bertzoo.metrics`.
    """

    text: tuple[str, ...]
    text_pair: tuple[str, ...]
    label: str | None
    names: dict[str, str] | None
    metrics: tuple[str, ...]


_NLI = {name: name for name in ("contradiction", "entailment", "neutral")}
_TWO = {name: name for name in ("entailment", "not_entailment")}
TASKS = {
    "cola": GlueTask(
        ("sentence",), (), "label", {"0": "unacceptable", "1": "acceptable"}, ("matthews",)
    ),
    "sst2": GlueTask(("sentence",), (), "label", {"0": "negative", "1": "positive"}, ("accuracy",)),
    "mrpc": GlueTask(
        ("#1 String",), ("#2 String",), "Quality",
        {"0": "not_equivalent", "1": "equivalent"}, ("f1", "accuracy"),
    ),
    "stsb": GlueTask(("sentence1",), ("sentence2",), "score", None, ("pearson", "spearman")),
    "qqp": GlueTask(
        ("question1",), ("question2",), "is_duplicate",
        {"0": "not_duplicate", "1": "duplicate"}, ("f1", "accuracy"),
    ),
    "mnli": GlueTask(("sentence1",), ("sentence2",), "gold_label", _NLI, ("accuracy",)),
    "qnli": GlueTask(("question",), ("sentence",), "label", _TWO, ("accuracy",)),
    "rte": GlueTask(("sentence1",), ("sentence2",), "label", _TWO, ("accuracy",)),
    "wnli": GlueTask(
        ("sentence1",), ("sentence2",), "label",
        {"0": "not_entailment", "1": "entailment"}, ("accuracy",),
    ),
    "ax": GlueTask(("sentence1",), ("sentence2",), None, _NLI, ("matthews",)),
}  # fmt: skip

# The order of the outputs of models that others fine-tuned, where it is not that of `labels`.
ORDERS = {
    "google": {
        "mnli": ("contradiction", "entailment", "neutral"),
        "ax": ("contradiction", "entailment", "neutral"),
    },
    "hugging_face": {
        "mnli": ("entailment", "neutral", "contradiction"),
        "ax": ("entailment", "neutral", "contradiction"),
    },
}

# The originals, without a header: columns by number.
_RAW_COLA, _RAW_STSB = ("cola", 4), ("stsb", 7)


def glue_labels(task, order=None) -> tuple[str, ...] | None:
    """Return the names of a task's classes in output order; None for a score.

    Args:
        task: `cola`, `sst2`, `mrpc`, `stsb`, `qqp`, `mnli`, `qnli`, `rte`, `wnli` or `ax`.
        order: `google` or `hugging_face`, whose fine-tuned models differ in MNLI; None for
            Google's.

    Example:
    >>> glue_labels("mnli"), glue_labels("mnli", order="hugging_face")[0]
    (('contradiction', 'entailment', 'neutral'), 'entailment')
    """
    names = _task(task).names
    if order is not None and order not in ORDERS:
        raise ValueError(f"order must be one of {', '.join(ORDERS)}; got {order!r}.")
    if order is not None and _key(task) in ORDERS[order]:
        return ORDERS[order][_key(task)]
    return None if names is None else tuple(names.values())


def read_glue(task, path) -> Examples:
    r"""Read one file of a GLUE task: training, development or test.

    Args:
        task: `cola`, `sst2`, `mrpc`, `stsb`, `qqp`, `mnli`, `qnli`, `rte`, `wnli` or `ax`.
        path: A TSV of GLUE; or the original `in_domain_train.tsv` of CoLA, `msr_paraphrase_*.txt`
            of MRPC, `sts-*.csv` of STS-B.

    Returns:
        `Examples`, labels by name and scores as numbers; no labels where the file has none.

    Raises:
        ValueError: With file, line and column of what is wrong.

    Example:
    >>> with open("dev.tsv", "w") as file:
    ...     written = file.write('sentence\tlabel\nit "works\t1\n')
    >>> examples = read_glue("sst2", "dev.tsv")
    >>> examples.text, examples.label
    (['it "works'], ['positive'])
    """
    path = pathlib.Path(path).expanduser()
    if not path.is_file():
        raise ValueError(f"{path} is not a file.")
    row, key = _task(task), _key(task)
    try:
        return _read(row, key, path)
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} is not UTF-8 (at byte {error.start}).") from None


def _read(task, key, path) -> Examples:
    header = next(iter(tsv_rows(path, header=False, least=1)), None)
    if header is None:
        raise ValueError(f"{path} is empty.")
    cells = list(header.values.values())
    text = next((name for name in task.text if name in cells), None)
    if text is None:
        return _read_original(task, key, path, cells)
    pair = next((name for name in task.text_pair if name in cells), None)
    if task.text_pair and pair is None:
        raise ValueError(
            f"{path}, line 1: there is no column {task.text_pair[0]!r}; the columns are "
            f"{', '.join(cells)}."
        )
    label = task.label if task.label in cells else None
    rows = tsv_rows(path)
    examples = from_rows(
        rows, str(path), text=text, text_pair=pair, label=label, score=task.names is None
    )
    return _with_names(examples, task)


def _read_original(task, key, path, cells) -> Examples:
    if key == _RAW_COLA[0] and len(cells) == _RAW_COLA[1]:
        rows, columns = tsv_rows(path, header=False), {"text": 3, "label": 1}
    elif key == _RAW_STSB[0] and len(cells) >= _RAW_STSB[1]:
        # Some rows have one or two columns more: the licence of their source.
        rows = tsv_rows(path, header=False, least=_RAW_STSB[1])
        columns = {"text": 5, "text_pair": 6, "label": 4, "score": True}
    else:
        raise ValueError(
            f"{path}, line 1: there is no column {task.text[0]!r}; the columns are "
            f"{', '.join(itertools.islice(map(repr, cells), 12))}."
        )
    return _with_names(from_rows(rows, str(path), **columns), task)


def _with_names(examples, task) -> Examples:
    if examples.label is None or task.names is None:
        return examples
    named = []
    for line, label in zip(examples.lines, examples.label, strict=True):
        if label not in task.names:
            raise ValueError(
                f"{examples.source}, line {line}, column {task.label!r}: the label should be one "
                f"of {', '.join(task.names)}; got {label!r}."
            )
        named.append(task.names[label])
    return dataclasses.replace(examples, label=named)


def _key(task) -> str:
    return str(task).lower().replace("-", "").replace("_", "")


def _task(task) -> GlueTask:
    if _key(task) not in TASKS:
        raise ValueError(f"the tasks of GLUE are {', '.join(TASKS)}; got {task!r}.")
    return TASKS[_key(task)]
