"""What a command prints: answers to standard output, remarks to standard error."""

from __future__ import annotations

import json
import sys
import typing


def answer(options, plain: str, structured: typing.Any) -> None:
    """Print the answer, as JSON if it was asked for."""
    text = json.dumps(structured, ensure_ascii=False, indent=2) if options.json else plain
    # Bytes of the command line that are no UTF-8 arrive as lone surrogates, which cannot be
    # printed; \udcff is also how JSON spells them.
    print(text.encode("utf-8", "backslashreplace").decode("utf-8"))


def remark(text: str) -> None:
    """Print what was done, where no reader of the answer trips over it."""
    print(text, file=sys.stderr)


def table(rows: typing.Sequence[typing.Sequence[str]], right: typing.Collection[int] = ()) -> str:
    """Align rows in columns; those in `right` to the right.

    >>> print(table([["name", "size"], ["a", "12"]], right=[1]))
    name  size
    a       12
    """
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = []
    for row in rows:
        cells = [
            cell.rjust(width) if index in right else cell.ljust(width)
            for index, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        lines.append("  ".join(cells).rstrip())
    return "\n".join(lines)
