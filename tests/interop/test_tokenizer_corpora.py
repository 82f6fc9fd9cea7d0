"""WordPieceTokenizer against Hugging Face's `tokenizers` on all real text of the data collection.

Two causes of differences are allowed, and each difference must have one: private-use characters
(Hugging Face deletes them, Google's BERT keeps them) and words of more than 100 characters (the
limit of Hugging Face; Google's is 200). Run with `-s` to see the table.
"""

from __future__ import annotations

import functools
import gzip
import io
import json
import os
import pathlib
import unicodedata
import zipfile

import numpy as np
import pytest
import tokenizers as hf_tokenizers

from bertzoo.tokenizers.wordpiece import WordPieceTokenizer

DATA = pathlib.Path(
    os.environ.get("BERTZOO_DATA")
    or pathlib.Path(__file__).resolve().parents[3] / "shared" / "data"
)
VOCABULARIES = {
    "bert-base-uncased": True,
    "bert-base-cased": False,
    "bert-base-multilingual-cased": False,
    "bert-base-chinese": True,
    "scibert-scivocab-uncased": True,
    "scibert-scivocab-cased": False,
}
BATCH = 4096

pytestmark = pytest.mark.skipif(not DATA.is_dir(), reason="the data collection is not here")


def strings_of(value):
    """All strings inside parsed JSON."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for item in value.values():
            yield from strings_of(item)
    elif isinstance(value, list):
        for item in value:
            yield from strings_of(item)


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


@functools.cache
def corpora() -> dict[str, list[str]]:
    """Texts (lines, or strings of JSON files) by folder."""
    result: dict[str, list[str]] = {}
    for path in sorted(DATA.rglob("*")):
        if path.is_file():
            folder = "/".join(path.relative_to(DATA).parts[:2])
            texts = texts_of_content(path.name, path.read_bytes())
            result.setdefault(folder, []).extend(texts)
    assert len(result) > 20, f"{DATA} is not the data collection"
    return result


@functools.cache
def both(name: str):
    path = str(DATA / "vocab" / name / "vocab.txt")
    lowercase = VOCABULARIES[name]
    theirs = hf_tokenizers.BertWordPieceTokenizer(path, lowercase=lowercase)._tokenizer
    # Special tokens in a text are ordinary text to us, as to Google's BERT.
    theirs.encode_special_tokens = True
    return WordPieceTokenizer(path, lowercase=lowercase), theirs


def batches(texts):
    for start in range(0, len(texts), BATCH):
        yield texts[start : start + BATCH]


def cause_of_difference(text: str) -> str | None:
    if any(unicodedata.category(character) == "Co" for character in text):
        return "private use"
    if any(len(word) > 100 for word in text.split()):
        return "over 100 characters"
    return None


@pytest.mark.parametrize("name", VOCABULARIES)
def test_ids_equal_hugging_face_on_all_real_text(name):
    ours, theirs = both(name)
    rows = tokens = 0
    causes: dict[str, int] = {}
    unexplained = []
    for folder, texts in corpora().items():
        for batch in batches(texts):
            ids = ours(batch)
            rows += len(batch)
            tokens += ids.values.shape[0]
            expected = [
                encoding.ids
                for encoding in theirs.encode_batch_fast(batch, add_special_tokens=False)
            ]
            splits = np.cumsum([0, *map(len, expected)])
            flat = np.concatenate([np.asarray(row, np.int32) for row in expected])
            if np.array_equal(splits, ids.row_splits) and np.array_equal(flat, ids.values):
                continue
            for text, mine, other in zip(batch, ids.to_list(), expected, strict=True):
                if mine != other:
                    cause = cause_of_difference(text)
                    if cause is None:
                        unexplained.append((folder, text[:200]))
                    else:
                        causes[cause] = causes.get(cause, 0) + 1
    print(f"\n{name}: {rows} rows, {tokens} tokens, differing rows by cause: {causes or 'none'}")
    assert tokens > 1_000_000
    assert not unexplained, unexplained[:10]
