"""Files of texts to the columns that a kind of task wants, by the readers of `bertzoo.readers`."""

from __future__ import annotations

import gzip
import pathlib
import shutil
import tempfile
import zipfile

from bertzoo.readers.examples import Row, from_rows
from bertzoo.readers.glue import read_glue
from bertzoo.readers.multiple_choice import read_codah, read_swag
from bertzoo.readers.tables import READERS

CHOICES = {"swag": read_swag, "codah": read_codah}


def read_texts(data, path, *, label=None, score=False, several=False, columns=None):
    """Return `text`, `text_pair` and what is known of them, as far as the file has it.

    Args:
        data: A `Data` section.
        path: A file.
        label: Column of the classes, or of the number; None to read none.
        score: Whether it is a number.
        several: Whether a row has several classes.
        columns: A `Columns` section; None for that of `data`.

    Returns:
        Name -> values: `text`, and `text_pair`, `label` or `score` where the file has them; and
        `line`, where each row stands in its file.
    """
    columns = columns or data.columns
    if data.reader == "glue":
        found = read_glue(data.task, path)
    elif data.reader == "folders":
        found = from_rows(_folder_rows(path), str(path), text="text", label="label")
    else:
        found = from_rows(
            _rows(data, path),
            str(path),
            text=columns.text,
            text_pair=columns.text_pair,
            label=label,
            labels=data.labels,
            label_separator=data.separator if several else None,
            score=score,
        )
    result = {"text": found.text, "line": found.lines}
    if found.text_pair is not None:
        result["text_pair"] = found.text_pair
    if found.label is not None:
        result["score" if score else "label"] = found.label
    return result


def read_choices(data, path):
    """Return `text`, `choices` and `label` of a file of multiple choices."""
    found = CHOICES[data.reader](path)
    known = {} if found.label is None else {"label": found.label}
    return {"text": found.text, "choices": found.choices, **known}


def read_column(data, path, column):
    """Return one column of texts."""
    return from_rows(_rows(data, path), str(path), text=column).text


def has_column(data, path, column):
    """Return whether the first row of a file has a column."""
    first = next(iter(_rows(data, path)), None)
    return first is not None and column in first.values


def _rows(data, path):
    if path.suffix == ".gz":
        with tempfile.TemporaryDirectory() as folder:
            unpacked = pathlib.Path(folder) / path.stem
            with gzip.open(path, "rb") as source, open(unpacked, "wb") as target:
                shutil.copyfileobj(source, target)
            yield from _rows(data, unpacked)
        return
    # A byte order mark is no part of the first column's name.
    encoding = "utf-8-sig" if data.encoding.lower() in ("utf-8", "utf8") else data.encoding
    if data.reader == "csv" and data.delimiter != ",":
        yield from _split_rows(path, data.delimiter, data.header, encoding)
    else:
        yield from READERS[data.reader](path, header=data.header, encoding=encoding)


def _split_rows(path, delimiter, header, encoding):
    """Yield the rows of a file with another delimiter and no quoting (Financial PhraseBank)."""
    names = None
    with open(path, encoding=encoding, newline="\n") as file:
        for number, line in enumerate(file, 1):
            cells = line.rstrip("\r\n").split(delimiter)
            if names is None:
                names = cells if header else list(range(len(cells)))
                if header:
                    continue
            if len(cells) != len(names):
                raise ValueError(
                    f"{path}, line {number}: expected {len(names)} columns between {delimiter!r} "
                    f"as in line 1; got {len(cells)}."
                )
            yield Row(number, dict(zip(names, cells, strict=True)))


def _folder_rows(path):
    """Yield the texts of a zip file, with the folder that each lies in as its class."""
    try:
        archive = zipfile.ZipFile(path)
    except zipfile.BadZipFile:
        raise ValueError(f"{path} is not a zip file.") from None
    with archive:
        names = sorted(name for name in archive.namelist() if name.endswith(".txt"))
        for number, name in enumerate(names, 1):
            label = pathlib.PurePosixPath(name).parent.name
            text = archive.read(name).decode("utf-8", "replace")
            if label:  # a text that is in no folder is a note on the others
                yield Row(number, {"text": " ".join(text.split()), "label": label})
