"""What a reader gives: texts and labels by column, with the file and line of each row."""

from __future__ import annotations

import collections.abc
import dataclasses
import math
import typing


@dataclasses.dataclass(frozen=True)
class Examples:
    """Rows of a data set.

    Args:
        text: Texts.
        text_pair: The second texts, or None.
        label: Labels, a list of labels a text, or scores; None where the file has none.
        source: The file, for messages.
        lines: The line of each row in its file, from 1.
        choices: For multiple choice: a list of continuations a text, or None.

    Example:
    >>> examples = Examples(["a cat"], None, ["yes"], "train.tsv", [2])
    >>> examples.inputs, examples.label
    (['a cat'], ['yes'])
    """

    text: list[str]
    text_pair: list[str] | None
    label: list | None
    source: str
    lines: list[int]
    choices: list[list[str]] | None = None

    def __len__(self) -> int:
        """Return the number of rows."""
        return len(self.text)

    @property
    def inputs(self) -> list:
        """What `fit`, `evaluate` and `predict` take: texts, pairs, or texts with choices."""
        if self.choices is not None:
            return list(zip(self.text, self.choices, strict=True))
        if self.text_pair is None:
            return self.text
        return list(zip(self.text, self.text_pair, strict=True))

    def classes(self) -> list[str]:
        """Return the names of the labels, sorted.

        Raises:
            ValueError: Without labels, or where all rows have the same one.
        """
        if self.label is None:
            raise ValueError(f"{self.source} has no labels.")
        names = {
            name
            for label in self.label
            for name in (label if isinstance(label, list | tuple) else [label])
        }
        if len(names) < 2:
            raise ValueError(
                f"{self.source} has one label alone, {names.pop()!r}, in all {len(self)} rows: "
                "there is nothing to tell apart."
                if names
                else f"{self.source} has no labels."
            )
        return sorted(names)

    def check_labels(self, labels: collections.abc.Sequence[str]) -> Examples:
        """Return these examples; raise for a label that is not one of `labels`, with its line.

        >>> Examples(["a"], None, ["no"], "dev.tsv", [2]).check_labels(["yes"])
        Traceback (most recent call last):
        ...
        ValueError: dev.tsv, line 2: the label should be one of yes; got 'no'.
        """
        known = set(labels)
        for line, label in zip(self.lines, self.label or (), strict=False):
            for name in label if isinstance(label, list | tuple) else [label]:
                if name not in known:
                    raise ValueError(
                        f"{self.source}, line {line}: the label should be one of "
                        f"{', '.join(map(str, labels))}; got {name!r}."
                    )
        return self


class Row(typing.NamedTuple):
    """One row of a file: the line it begins at, and its values by column (name or number)."""

    line: int
    values: collections.abc.Mapping[typing.Any, typing.Any]


def from_rows(
    rows: collections.abc.Iterable[Row],
    source: str,
    *,
    text,
    text_pair=None,
    label=None,
    labels: collections.abc.Sequence[str] | None = None,
    label_separator: str | None = None,
    score: bool = False,
) -> Examples:
    """Return `Examples` of the columns that are asked for.

    Args:
        rows: Of a file.
        source: Its name, for messages.
        text: Column of the text.
        text_pair: Column of the second text, or None.
        label: Column of the label, or None.
        labels: Names that may occur; or for numbers in the file, the names that they stand for.
        label_separator: What stands between several labels of a row; None for one label.
        score: Whether the label is a number.

    Raises:
        ValueError: With file, line and column: a missing column, a missing value, a text that is
            none, a score that is no finite number, a label that is not one of `labels`; and for a
            file without a row.
    """
    columns: dict[str, list] = {"text": [], "text_pair": [], "label": []}
    lines = []
    for line, values in rows:
        where = f"{source}, line {line}"
        columns["text"].append(_text(values, text, where))
        if text_pair is not None:
            columns["text_pair"].append(_text(values, text_pair, where))
        if label is not None:
            value = _value(values, label, where)
            read = _label(value, f"{where}, column {label!r}", labels, label_separator, score)
            columns["label"].append(read)
        lines.append(line)
    if not lines:
        raise ValueError(f"{source} has no rows.")
    return Examples(
        columns["text"],
        columns["text_pair"] if text_pair is not None else None,
        columns["label"] if label is not None else None,
        source,
        lines,
    )


def _value(values, column, where):
    if column not in values:
        known = ", ".join(map(str, values))
        raise ValueError(f"{where}: there is no column {column!r}; the columns are {known}.")
    return values[column]


def _is_missing(value) -> bool:
    return value is None or (isinstance(value, float) and math.isnan(value))


def _text(values, column, where) -> str:
    value = _value(values, column, where)
    if _is_missing(value):
        raise ValueError(f"{where}, column {column!r}: the text is missing ({value}).")
    if not isinstance(value, str):
        raise ValueError(f"{where}, column {column!r}: expected a text; got {value!r}.")
    return value


def _label(value, where, labels, separator, score):
    if _is_missing(value) or (value == "" and separator is None):
        raise ValueError(f"{where}: the label is missing ({value!r}).")
    if score:
        try:
            number = float(value)
        except (TypeError, ValueError):
            number = math.nan
        if not math.isfinite(number):
            raise ValueError(f"{where}: expected a finite number; got {value!r}.")
        return number
    if separator is not None or isinstance(value, list | tuple):
        parts = value if isinstance(value, list | tuple) else str(value).split(separator)
        parts = [part.strip() if isinstance(part, str) else part for part in parts]
        return [_name(part, where, labels) for part in parts if part != ""]
    return _name(value, where, labels)


def _name(value, where, labels):
    if labels is None:
        return value
    name = value if isinstance(value, str) else str(value)
    if name in labels:
        return name
    if name.lstrip("-").isdigit() and 0 <= int(name) < len(labels):
        return labels[int(name)]
    raise ValueError(f"{where}: the label should be one of {', '.join(labels)}; got {name!r}.")
