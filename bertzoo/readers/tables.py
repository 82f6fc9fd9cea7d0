"""TSV, CSV, JSON lines and Parquet files to `Examples`, by the columns that one names."""

from __future__ import annotations

import collections.abc
import csv
import json
import pathlib
import sys

from bertzoo.readers.examples import Examples, Row, from_rows


def read_table(path, *, format=None, header=True, encoding="utf-8-sig", **columns) -> Examples:
    r"""Read a file of rows; which columns hold what is said by name, or by number from 0.

    Args:
        path: A file; its ending says the format.
        format: `tsv` (tabs, no quoting), `csv`, `jsonl` or `parquet` (needs pyarrow), where the
            ending does not say it.
        header: Whether the first row of a TSV or CSV file names the columns; else they are
            numbers.
        encoding: Of the text; by default UTF-8, with or without a byte order mark.
        **columns: `text`, and any of `text_pair`, `label`, `labels`, `label_separator`, `score`;
            see `examples.from_rows`.

    Raises:
        ValueError: With file, line and column of what is wrong.

    Example:
    >>> with open("reviews.csv", "w") as file:
    ...     written = file.write('review,stars\n"good, great",5\nbad,1\n')
    >>> examples = read_table("reviews.csv", text="review", label="stars")
    >>> examples.text, examples.label
    (['good, great', 'bad'], ['5', '1'])
    """
    path = pathlib.Path(path).expanduser()
    if not path.is_file():
        raise ValueError(f"{path} is not a file.")
    format = format or path.suffix.removeprefix(".").lower()
    if format not in READERS:
        raise ValueError(
            f"{path}: format must be one of {', '.join(READERS)}; got {format or 'no ending'!r}."
        )
    try:
        return from_rows(READERS[format](path, header, encoding), str(path), **columns)
    except UnicodeDecodeError as error:
        raise ValueError(
            f"{path} is not {error.encoding} (at byte {error.start}): say which encoding="
        ) from None


def tsv_rows(path, header=True, encoding="utf-8-sig", least=None) -> collections.abc.Iterator[Row]:
    """Yield the rows of a file with tabs; a quotation mark is a character as any other (GLUE).

    Args:
        path: The file.
        header: Whether the first row names the columns.
        encoding: Of the file.
        least: The fewest columns of a row, where rows differ; None for as many as the first has.
    """
    # Not splitlines: a text may hold a form feed or U+2028, which end no line of a file.
    with open(path, encoding=encoding, newline="\n") as file:
        cells = (line.rstrip("\n").removesuffix("\r").split("\t") for line in file)
        yield from _named(path, ((n, row) for n, row in enumerate(cells, 1)), header, least)


def csv_rows(path, header=True, encoding="utf-8-sig") -> collections.abc.Iterator[Row]:
    """Yield the rows of a file with commas and quotes; a row may be of several lines."""
    # The default limit of a field, 128 kB, is less than a long document.
    csv.field_size_limit(min(sys.maxsize, 2**31 - 1))
    with open(path, encoding=encoding, newline="") as file:
        reader = csv.reader(file, strict=True)

        def numbered():
            line = 1
            try:
                for row in reader:
                    if row:
                        yield line, row
                    line = reader.line_num + 1
            except csv.Error as error:
                raise ValueError(f"{path}, line {line}: {error}.") from None

        yield from _named(path, numbered(), header)


def jsonl_rows(path, header=True, encoding="utf-8-sig") -> collections.abc.Iterator[Row]:
    """Yield the objects of a file with one JSON object a line; empty lines are passed over."""
    with open(path, encoding=encoding, newline="\n") as file:
        for number, line in enumerate(file, 1):
            if not line.strip():
                continue
            try:
                values = json.loads(line)
            except json.JSONDecodeError as error:
                raise ValueError(f"{path}, line {number}: no JSON object ({error}).") from None
            if not isinstance(values, dict):
                raise ValueError(
                    f"{path}, line {number}: expected a JSON object; got {type(values).__name__}."
                )
            yield Row(number, values)


def parquet_rows(path, header=True, encoding=None) -> collections.abc.Iterator[Row]:
    """Yield the rows of a Parquet file; the line is the number of the row."""
    try:
        import pyarrow.parquet
    except ImportError:
        raise ValueError(f"{path}: Parquet files need pyarrow: pip install pyarrow.") from None
    try:
        file = pyarrow.parquet.ParquetFile(path)
    except (OSError, pyarrow.lib.ArrowException) as error:
        raise ValueError(f"{path} is not a Parquet file: {error}.") from None
    with file:
        number = 0
        for batch in file.iter_batches():
            for values in batch.to_pylist():
                number += 1
                yield Row(number, values)


READERS = {"tsv": tsv_rows, "csv": csv_rows, "jsonl": jsonl_rows, "parquet": parquet_rows}


def _named(path, rows, header, least=None):
    names = None
    for line, cells in rows:
        if names is None:
            names = cells if header else list(range(len(cells)))
            if len(set(names)) != len(names):
                raise ValueError(f"{path}, line {line}: two columns have the same name.")
            if header:
                continue
        if least is not None and len(cells) >= least:
            yield Row(line, dict(enumerate(cells)))
            continue
        if len(cells) != len(names):
            raise ValueError(
                f"{path}, line {line}: expected {len(names)} columns as in line 1; "
                f"got {len(cells)}."
            )
        yield Row(line, dict(zip(names, cells, strict=True)))
    if names is None:
        raise ValueError(f"{path} is empty.")
