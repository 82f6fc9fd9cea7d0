"""WordPieceTokenizer on real text beside Hugging Face's `tokenizers`; how much: `corpora.py`.

Two causes of differences are allowed, and each difference must have one: private-use characters
(Hugging Face deletes them, Google's BERT keeps them) and words of more than 100 characters (the
limit of Hugging Face; Google's is 200). A token's slice of the text gives the token again, with
two exceptions by nature: several tokens made of one character (a Hangul syllable is three letters
after NFD), and a sigma at the end of a slice. Run with `-s` to see the tables.
"""

from __future__ import annotations

import collections
import functools
import random
import unicodedata

import numpy as np
import pytest
import tokenizers as hf_tokenizers

from bertzoo.tokenizers.wordpiece import WordPieceTokenizer
from tests.interop.corpora import DATA, batches, corpora, real_texts, scaled
from tests.tokenizers import reference

VOCABULARIES = {
    "bert-base-uncased": True,
    "bert-base-cased": False,
    "bert-base-multilingual-cased": False,
    "bert-base-chinese": True,
    "scibert-scivocab-uncased": True,
    "scibert-scivocab-cased": False,
}
SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]

pytestmark = pytest.mark.skipif(not DATA.is_dir(), reason="the data collection is not here")


@functools.cache
def both(name: str):
    path = str(DATA / "vocab" / name / "vocab.txt")
    lowercase = VOCABULARIES[name]
    theirs = hf_tokenizers.BertWordPieceTokenizer(path, lowercase=lowercase)._tokenizer
    # Special tokens in a text are ordinary text to us, as to Google's BERT.
    theirs.encode_special_tokens = True
    return WordPieceTokenizer(path, lowercase=lowercase), theirs


def flat(rows) -> np.ndarray:
    return np.concatenate([np.asarray(row, np.int32).ravel() for row in rows])


def same(ragged, rows) -> bool:
    splits = np.cumsum([0, *map(len, rows)])
    return np.array_equal(splits, ragged.row_splits) and np.array_equal(flat(rows), ragged.values)


def without_causes(text: str) -> str:
    """The text without what the two tokenizers are known to treat differently."""
    text = "".join(c for c in text if unicodedata.category(c) != "Co")
    return " ".join(word for word in text.split() if len(word) <= 100)


def cause_of_difference(text: str, ours, theirs) -> str | None:
    """The cause, provided that nothing differs without it."""
    repaired = without_causes(text)
    if ours(repaired).numpy().tolist() != theirs.encode(repaired, add_special_tokens=False).ids:
        return None
    if any(unicodedata.category(character) == "Co" for character in text):
        return "private use"
    return "over 100 characters" if any(len(word) > 100 for word in text.split()) else None


@pytest.mark.parametrize("name", VOCABULARIES)
def test_ids_equal_hugging_face_on_real_text(name):
    ours, theirs = both(name)
    tokens = 0
    causes: dict[str | None, list[str]] = {}
    for batch in batches(real_texts()):
        ids = ours(batch)
        tokens += ids.values.shape[0]
        encodings = theirs.encode_batch_fast(batch, add_special_tokens=False)
        expected = [encoding.ids for encoding in encodings]
        if same(ids, expected):
            continue
        for text, mine, other in zip(batch, ids.to_list(), expected, strict=True):
            if mine != other:
                causes.setdefault(cause_of_difference(text, ours, theirs), []).append(text)
    counts = {cause: len(texts) for cause, texts in causes.items()}
    print(f"\n{name}: {len(real_texts())} texts, {tokens} tokens, differing texts: {counts or 0}")
    for cause, texts in causes.items():
        print(f"  {cause}: {[text[:60] for text in texts[:3]]}")
    assert tokens > scaled(5_000_000)
    assert None not in causes
    assert counts.get("private use", 0) < 100
    assert counts.get("over 100 characters", 0) < 10


@pytest.mark.parametrize("name", ["bert-base-uncased", "bert-base-multilingual-cased"])
def test_offsets_equal_hugging_face_on_real_text(name):
    ours, theirs = both(name)
    tokens = differing = 0
    unexplained = []
    for batch in batches(real_texts(2)):
        ids, starts, ends = ours.tokenize_with_offsets(batch)
        encodings = theirs.encode_batch(batch, add_special_tokens=False)
        expected = flat(encoding.offsets for encoding in encodings).reshape(-1, 2)
        tokens += ids.values.shape[0]
        got = np.stack([starts.values, ends.values], axis=1)
        if got.shape == expected.shape and np.array_equal(got, expected):
            continue
        for text, encoding, *mine in zip(
            batch, encodings, starts.to_list(), ends.to_list(), strict=True
        ):
            if encoding.offsets != list(zip(*mine, strict=True)):
                differing += 1
                if cause_of_difference(text, ours, theirs) is None:
                    unexplained.append(text)
    print(f"\n{name}: {tokens} tokens with offsets, {differing} texts differ as their ids do")
    assert tokens > scaled(2_000_000)
    assert unexplained == []
    assert differing < 100


@pytest.mark.parametrize("name", ["bert-base-uncased", "bert-base-cased"])
def test_every_token_of_real_text_is_its_slice(name):
    ours, _ = both(name)
    known, lowercase = set(ours.vocabulary), VOCABULARIES[name]
    pieces = [token.removeprefix("##") for token in ours.vocabulary]
    of_slice: dict[str, str] = {}
    unknown_slices: dict[str, bool] = {}
    tokens = 0
    exceptions: dict[str, collections.Counter] = {
        "one character, several tokens": collections.Counter(),
        "final sigma": collections.Counter(),
        "other": collections.Counter(),
    }
    for batch in batches(real_texts()):
        parts = [part.to_list() for part in ours.tokenize_with_offsets(batch)]
        for text, ids, starts, ends in zip(batch, *parts, strict=True):
            tokens += len(ids)
            for place, (index, start, end) in enumerate(zip(ids, starts, ends, strict=True)):
                cut = text[start:end]
                if index == ours.unknown_id:
                    if cut not in unknown_slices:
                        made = reference.tokenize(cut, known, lowercase)
                        unknown_slices[cut] = made == ["[UNK]"]
                    if not unknown_slices[cut]:
                        exceptions["other"][f"[UNK] {cut}"] += 1
                    continue
                if cut not in of_slice:
                    of_slice[cut] = " ".join(reference.words(cut, lowercase))
                if of_slice[cut] == pieces[index]:
                    continue
                shared = (place and ends[place - 1] > start) or starts[place + 1 :][:1] < [end]
                if shared:
                    cause = "one character, several tokens"
                elif of_slice[cut].replace("ς", "σ") == pieces[index].replace("ς", "σ"):
                    cause = "final sigma"
                else:
                    cause = "other"
                exceptions[cause][f"{pieces[index]} from {cut}"] += 1
    print(f"\n{name}: {tokens} tokens, slices that give something else, by cause:")
    for cause, found in exceptions.items():
        print(f"  {cause}: {found.total()} ({len(found)} different): {found.most_common(4)}")
    assert tokens > scaled(5_000_000)
    assert not exceptions["other"]
    assert sum(found.total() for found in exceptions.values()) < tokens / 1000


def test_special_tokens_in_text_equal_hugging_face():
    path = str(DATA / "vocab" / "bert-base-uncased" / "vocab.txt")
    ours = WordPieceTokenizer(path, special_tokens_in_text=True)
    theirs = hf_tokenizers.BertWordPieceTokenizer(path)
    generator = random.Random(4)
    texts = []
    for text in generator.sample(corpora(), 3000):
        words = without_causes(text).split()
        for _ in range(3):
            words.insert(generator.randint(0, len(words)), generator.choice(SPECIAL))
        text = " ".join(words)
        texts.append(generator.choice([text, text.replace(" [", "["), text.replace("] ", "]")]))
    ids, starts, ends = ours.tokenize_with_offsets(texts)
    encodings = theirs.encode_batch(texts, add_special_tokens=False)
    assert ids.to_list() == [encoding.ids for encoding in encodings]
    offsets = [
        list(zip(*row, strict=True)) for row in zip(starts.to_list(), ends.to_list(), strict=True)
    ]
    assert offsets == [encoding.offsets for encoding in encodings]
    assert sum(row.count(ours.mask_id) for row in ids.to_list()) > 20
