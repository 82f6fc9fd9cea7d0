"""SWAG (Zellers et al. 2018) and CODAH (Chen et al. 2019): a text and four endings."""

from __future__ import annotations

import pathlib

from bertzoo.readers.examples import Examples, Row
from bertzoo.readers.tables import csv_rows, jsonl_rows, tsv_rows

_ENDINGS = tuple(f"ending{i}" for i in range(4))


def read_swag(path) -> Examples:
    r"""Read SWAG's CSV, or its rows as JSON lines.

    The first sentence is the text; a choice is the beginning of the second one with an ending, as
    in Devlin et al. 2018, section 4.4.

    Args:
        path: `train.csv`, `val.csv`, `test.csv` (without labels) of SWAG, or a `.jsonl` of them.

    Returns:
        `Examples` with `choices`; labels are the numbers of the right endings.

    Raises:
        ValueError: With file, line and column of what is wrong.

    Example:
    >>> with open("val.csv", "w") as file:
    ...     written = file.write("sent1,sent2,ending0,ending1,ending2,ending3,label\n"
    ...                          "It rains.,She,runs.,sings.,eats.,sits.,0\n")
    >>> examples = read_swag("val.csv")
    >>> examples.inputs[0][1][0], examples.label
    ('She runs.', [0])
    """
    path = _file(path)
    rows = jsonl_rows(path) if path.suffix == ".jsonl" else csv_rows(path)

    def parts(row, where):
        missing = [name for name in ("sent1", "sent2", *_ENDINGS) if name not in row.values]
        if missing:
            raise ValueError(
                f"{where}: there is no column {missing[0]!r}; the columns are "
                f"{', '.join(map(str, row.values))}."
            )
        begin = row.values["sent2"]
        return row.values["sent1"], [f"{begin} {row.values[name]}".strip() for name in _ENDINGS]

    return _examples(path, rows, parts, "label")


def read_codah(path) -> Examples:
    r"""Read CODAH's TSV: category, text, four endings, the number of the right one.

    >>> with open("codah.tsv", "w") as file:
    ...     written = file.write("o\tThe cat\tsat.\tflew.\tread.\tsang.\t0\n")
    >>> read_codah("codah.tsv").inputs
    [('The cat', ['sat.', 'flew.', 'read.', 'sang.'])]
    """
    path = _file(path)

    def parts(row, where):
        if len(row.values) != 7:
            raise ValueError(f"{where}: expected 7 columns; got {len(row.values)}.")
        return row.values[1], [row.values[i] for i in range(2, 6)]

    return _examples(path, tsv_rows(path, header=False, least=1), parts, 6)


def _examples(path, rows, parts, label_column) -> Examples:
    texts, choices, labels, lines = [], [], [], []
    row: Row
    for row in rows:
        where = f"{path}, line {row.line}"
        text, endings = parts(row, where)
        for value in (text, *endings):
            if not isinstance(value, str) or not value:
                raise ValueError(f"{where}: a sentence or an ending is missing; got {value!r}.")
        if label_column in row.values:
            label = str(row.values[label_column])
            if label not in ("0", "1", "2", "3"):
                raise ValueError(
                    f"{where}, column {label_column!r}: the label should be 0, 1, 2 or 3; "
                    f"got {row.values[label_column]!r}."
                )
            labels.append(int(label))
        texts.append(text)
        choices.append(endings)
        lines.append(row.line)
    if not texts:
        raise ValueError(f"{path} has no rows.")
    return Examples(texts, None, labels or None, str(path), lines, choices)


def _file(path) -> pathlib.Path:
    path = pathlib.Path(path).expanduser()
    if not path.is_file():
        raise ValueError(f"{path} is not a file.")
    return path
