"""All real text of the data collection, and how much of it a run compares.

By default every sixteenth text and a fraction of the random ones, so that `make interop` stays a
matter of minutes; with BERTZOO_ALL_TEXT=1 everything, as before a change of a tokenizer.
"""

from __future__ import annotations

import functools
import gzip
import io
import json
import os
import pathlib
import zipfile

DATA = pathlib.Path(
    os.environ.get("BERTZOO_DATA")
    or pathlib.Path(__file__).resolve().parents[3] / "shared" / "data"
)
ALL_TEXT = os.environ.get("BERTZOO_ALL_TEXT", "") not in ("", "0")
STEP = 1 if ALL_TEXT else 16
BATCH = 4096


def scaled(count: int) -> int:
    """Return a number that is meant for all text, as it is for this run's part of it."""
    return count // STEP


def real_texts(step: int = 1) -> list[str]:
    """Return the texts of this run, or every `step`th of them."""
    return corpora()[:: STEP * step]


@functools.cache
def corpora() -> list[str]:
    """Return every text (a line, or a string of a JSON file) of the collection, each once."""
    files = [path for path in sorted(DATA.rglob("*")) if path.is_file()]
    found = {
        text: None for path in files for text in texts_of_content(path.name, path.read_bytes())
    }
    assert len(found) > 300_000, f"{DATA} is not the data collection"
    return list(found)


def batches(texts):
    for start in range(0, len(texts), BATCH):
        yield texts[start : start + BATCH]


def texts_of_content(name: str, content: bytes):
    if name.endswith(".gz"):
        yield from texts_of_content(name.removesuffix(".gz"), gzip.decompress(content))
    elif name.endswith(".zip"):
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            for member in archive.namelist():
                yield from texts_of_content(member, archive.read(member))
    elif name.endswith((".json", ".jsonl")):
        text = content.decode("utf-8", "ignore")
        for document in text.splitlines() if name.endswith("l") else [text]:
            yield from strings_of(json.loads(document))
    elif not name.endswith((".model", ".spm", "/")):
        yield from content.decode("utf-8", "ignore").split("\n")


def strings_of(value):
    """Yield all strings inside parsed JSON."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for item in value.values():
            yield from strings_of(item)
    elif isinstance(value, list):
        for item in value:
            yield from strings_of(item)
