"""Documents from text files, one after the other, in bounded memory; what is wrong is named.

Three forms: `sentences` (one a line, a blank line between documents: the form of
google-research/bert), `paragraphs` (one a line, a blank line between documents) and `jsonl` (a
JSON object a line, a document each). Any of them may be gzipped, on any filesystem of TensorFlow.
"""

from __future__ import annotations

import collections
import gzip
import json
import zlib
from collections.abc import Iterator

import tensorflow as tf

FORMS = ("sentences", "paragraphs", "jsonl")
GZIP_MAGIC = b"\x1f\x8b"
_BLOCK = 2**20  # bytes read at once
_UTF16_MARKS = (b"\xff\xfe", b"\xfe\xff")


def read_documents(
    path: str,
    form: str = "sentences",
    text_key: str = "text",
    max_line_bytes: int = 2**24,
    max_document_bytes: int = 2**24,
    skip_bad_lines: bool = False,
    counts: collections.Counter | None = None,
) -> Iterator[list[bytes]]:
    r"""Yield the documents of a file, each as its lines.

    Args:
        path: A file of any filesystem that TensorFlow knows; gzipped or not.
        form: `sentences`, `paragraphs` or `jsonl`.
        text_key: The key of the text in a `jsonl` object; its line ends separate paragraphs.
        max_line_bytes: A longer line is refused: it would have to fit into memory.
        max_document_bytes: A longer document becomes several.
        skip_bad_lines: Whether lines that are not UTF-8, hold NUL or are no JSON are left out and
            counted, instead of refused.
        counts: Where `documents`, `lines`, `bad_lines`, `empty_documents` and `cut_documents` are
            added up.

    Yields:
        Lists of lines, UTF-8 without white space at their ends; no line and no list is empty.

    Raises:
        ValueError: for what cannot be read; the message names the file and the line.

    Example:
    >>> import pathlib
    >>> _ = pathlib.Path("corpus.txt").write_text("One.\nTwo.\n\nThree.\n")
    >>> list(read_documents("corpus.txt"))
    [[b'One.', b'Two.'], [b'Three.']]
    """
    if form not in FORMS:
        raise ValueError(f"the form of a corpus must be one of {', '.join(FORMS)}; got {form!r}.")
    counts = collections.Counter() if counts is None else counts
    document: list[bytes] = []
    size = 0
    for number, raw in _numbered_lines(path, max_line_bytes):
        try:
            lines = [_checked(raw)] if form != "jsonl" else _lines_of_object(raw, text_key)
        except ValueError as error:
            if not skip_bad_lines:
                raise ValueError(
                    f"{path}, line {number}: {error}; mend the file, or leave such lines out with "
                    "skip_bad_lines=True."
                ) from None
            counts["bad_lines"] += 1
            continue
        blank = form == "jsonl" or not lines[0]
        if blank and document:
            yield document
            document, size = [], 0
        if form == "jsonl" and not any(lines) and raw.strip():
            counts["empty_documents"] += 1
        for line in filter(None, lines):
            counts["lines"] += 1
            counts["documents"] += not document
            document.append(line)
            size += len(line)
            if size >= max_document_bytes:
                counts["cut_documents"] += 1
                yield document
                document, size = [], 0
    if document:
        yield document


def _checked(raw: bytes) -> bytes:
    if b"\0" in raw:
        raise ValueError("holds a NUL byte, so this is no text (or UTF-16; UTF-8 is read)")
    try:
        raw.decode("utf-8")
    except UnicodeDecodeError as error:
        raise ValueError(f"is not UTF-8 (byte {error.start} of the line)") from None
    return raw.strip()


def _lines_of_object(raw: bytes, text_key: str) -> list[bytes]:
    line = _checked(raw)
    if not line:
        return []
    try:
        entry = json.loads(line)
    except (json.JSONDecodeError, RecursionError):
        raise ValueError("is no JSON object") from None
    text = entry.get(text_key) if isinstance(entry, dict) else None
    if not isinstance(text, str):
        keys = sorted(entry) if isinstance(entry, dict) else type(entry).__name__
        raise ValueError(f"has no string under the key {text_key!r}, but {keys}")
    try:
        return [_checked(part.encode("utf-8")) for part in text.splitlines()]
    except UnicodeEncodeError:
        raise ValueError("spells half of a surrogate pair") from None


def _numbered_lines(path: str, max_line_bytes: int) -> Iterator[tuple[int, bytes]]:
    number, rest = 1, b""
    for block in _blocks(path):
        *lines, rest = (rest + block).split(b"\n")
        for line in lines:
            _check_length(path, number, line, max_line_bytes)
            yield number, line
            number += 1
        _check_length(path, number, rest, max_line_bytes)
    if rest:
        yield number, rest


def _check_length(path: str, number: int, line: bytes, limit: int) -> None:
    if len(line) > limit:
        raise ValueError(
            f"{path}, line {number} has more than {limit:,} bytes, the most that is kept in "
            "memory (max_line_bytes); one sentence or paragraph a line is expected."
        )


def _blocks(path: str) -> Iterator[bytes]:
    try:
        with tf.io.gfile.GFile(path, "rb") as file:
            start = file.read(4)
            file.seek(0)
            is_gzip = start[:2] == GZIP_MAGIC
            if str(path).endswith(".gz") and start and not is_gzip:
                raise ValueError(f"{path} ends in .gz and is not gzipped; rename it or gzip it.")
            source = gzip.GzipFile(fileobj=file) if is_gzip else file
            first = True
            while block := source.read(_BLOCK):
                if first and block[:2] in _UTF16_MARKS:
                    raise ValueError(f"{path} begins as UTF-16 does; convert it to UTF-8.")
                yield block.removeprefix(b"\xef\xbb\xbf") if first else block
                first = False
    except tf.errors.OpError as error:
        raise ValueError(f"{path} cannot be read: {error.message.splitlines()[0]}.") from None
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise ValueError(f"{path} is broken or cut off as a gzip file: {error}.") from None
