"""Plain files that any program reads: JSON, JSON Lines, TSV. Each appears whole or not at all."""

import json
import math
import pathlib

import numpy as np

from bertzoo import durable


def write_json(path, value):
    r"""Write a value as JSON that every reader accepts: a number that is not finite is null.

    >>> write_json("metrics.json", {"f1": np.float32(0.5), "loss": float("nan")})
    >>> open("metrics.json").read()
    '{\n  "f1": 0.5,\n  "loss": null\n}\n'
    """
    text = json.dumps(plain(value), ensure_ascii=False, indent=2, allow_nan=False)
    _write(path, text + "\n")


def write_jsonl(path, rows):
    """Write one JSON value a line."""
    _write(path, "".join(json_line(row) + "\n" for row in rows))


def json_line(value):
    """Return a value as JSON on one line.

    >>> json_line({"label": "café", "ids": np.array([1, 2])})
    '{"label": "café", "ids": [1, 2]}'
    """
    return json.dumps(plain(value), ensure_ascii=False, allow_nan=False)


def write_tsv(path, header, rows):
    r"""Write rows of cells under a header; tabs and line ends in a cell are spelled out: `\t`."""
    lines = [header, *rows]
    _write(path, "".join("\t".join(map(_cell, line)) + "\n" for line in lines))


def write_errors(path, rows, *, most=100, seed=0):
    r"""Write a sample of what a model got wrong, to be read by a person.

    Args:
        path: A TSV.
        rows: Mistakes as dicts of the same keys, as `{"text": ..., "expected": ..., "got": ...}`.
        most: How many are kept; drawn at random, in their order.
        seed: Of the draw.

    >>> write_errors("errors.tsv", [{"text": "a\tcat", "expected": "good", "got": "bad"}])
    >>> print(open("errors.tsv").read(), end="")
    text	expected	got
    a\tcat	good	bad
    """
    rows = list(rows)
    if len(rows) > most:
        chosen = np.random.default_rng(seed).choice(len(rows), size=most, replace=False)
        rows = [rows[i] for i in sorted(chosen)]
    header = list(rows[0]) if rows else ["text", "expected", "got"]
    write_tsv(path, header, [[row[key] for key in header] for row in rows])


def plain(value):
    """Return arrays, tuples and NumPy's numbers as JSON's own; what is not finite as None."""
    if isinstance(value, dict):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if isinstance(value, np.ndarray | np.generic):
        return plain(value.tolist())
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def _cell(value):
    text = f"{value:.6g}" if isinstance(value, float) else str(value)
    text = text.replace("\\", "\\\\") if "\\" in text else text
    return text.replace("\t", "\\t").replace("\n", "\\n").replace("\r", "\\r")


def _write(path, text):
    durable.replace_file(pathlib.Path(path), text.encode("utf-8", "backslashreplace"))
