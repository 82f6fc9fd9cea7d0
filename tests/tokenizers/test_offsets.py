"""Offsets: each token is made of the slice of the text that it names."""

import pathlib
import random

import pytest
import tensorflow as tf

from bertzoo.tokenizers import offsets
from bertzoo.tokenizers.wordpiece import WordPieceTokenizer
from tests.tokenizers import reference
from tests.tokenizers.test_wordpiece_exact import SPECIAL, random_texts

BERT = pathlib.Path(__file__).parents[1] / "data" / "bert-base-uncased" / "vocab.txt"


def cuts(tokenizer, text):
    """(token, slice) of each token; a text in bytes is read as the tokenizer says."""
    ids, starts, ends = tokenizer.tokenize_with_offsets(text)
    if isinstance(text, bytes):
        text = text.decode("utf-8", "ignore")
    return [
        (tokenizer.id_to_token(index), text[start:end])
        for index, start, end in zip(ids, starts, ends, strict=True)
    ]


def exceptions_by_cause(tokenizer, texts) -> dict[str, list]:
    """Tokens that differ from what their slice gives, by cause; `other` should stay empty."""
    lowercase, strip_accents = tokenizer.config.lowercase, tokenizer.strips_accents
    known = set(tokenizer.vocabulary)
    found: dict[str, list] = {"one character, several tokens": [], "final sigma": [], "other": []}
    rows = [part.to_list() for part in tokenizer.tokenize_with_offsets(texts)]
    for text, *row in zip(texts, *rows, strict=True):
        string = text.decode("utf-8", "ignore") if isinstance(text, bytes) else text
        spans = list(zip(*row, strict=True))
        for place, (index, start, end) in enumerate(spans):
            token = tokenizer.vocabulary[index]
            cut = string[start:end]
            if token == "[UNK]":
                made = "".join(reference.tokenize(cut, known, lowercase, strip_accents))
            else:
                made = "".join(reference.words(cut, lowercase, strip_accents))
            wanted = token.removeprefix("##")
            if made == wanted:
                continue
            neighbours = spans[max(place - 1, 0) : place] + spans[place + 1 : place + 2]
            if any(
                start < other_end and other_start < end for _, other_start, other_end in neighbours
            ):
                cause = "one character, several tokens"
            elif made.replace("ς", "σ") == wanted.replace("ς", "σ"):
                cause = "final sigma"
            else:
                cause = "other"
            found[cause].append((string, token, cut))
    return found


@pytest.fixture(scope="module")
def bert():
    return WordPieceTokenizer(BERT)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Déjà, vu", ["Déjà", ",", "vu"]),
        ("de\u0301ja vu", ["de\u0301ja", "vu"]),
        ("\u0130x", ["\u0130x"]),
        ("\u212ax", ["\u212ax"]),
        ("STRA\u1e9eE x", ["STRA\u1e9eE", "x"]),
        ("\u0301vu\u0301 x", ["vu", "x"]),  # a mark at the edge of a word is outside
        ("a\u200bb", ["a\u200bb"]),
        ("\u200ba\u200b b", ["a", "b"]),
        ("a\ufffdb\0 c", ["a\ufffdb", "c"]),
        (b"a\xffb \xe4\xb8 c\xf0\x9f d", ["ab", "c", "d"]),
        ("中文x", ["中", "文", "x"]),
        ("\u3000中\u3000", ["中"]),
        ("😀 ok", ["😀", "ok"]),
        ("\ud83d ok\udc00!", ["ok", "!"]),  # lone surrogates count and vanish
        ("", []),
    ],
)
def test_offsets_by_hand(text, expected):
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "ok"]
    assert [cut for _, cut in cuts(WordPieceTokenizer(words), text)] == expected


def test_offsets_of_pieces(bert):
    assert cuts(bert, "Émbeddings\u0301 ΟΔΟΣ") == [
        ("em", "Ém"),
        ("##bed", "bed"),
        ("##ding", "ding"),
        ("##s", "s"),
        ("ο", "Ο"),
        ("##δ", "Δ"),
        ("##ος", "ΟΣ"),
    ]


def test_pieces_of_one_syllable_share_it(bert):
    assert cuts(bert, "한") == [("ᄒ", "한"), ("##ᅡ", "한"), ("##ᆫ", "한")]


def test_ids_are_the_same_with_and_without_offsets(bert):
    texts = [*random_texts(500, seed=1), "ก" * 150, "a" * 300]
    ids, starts, ends = bert.tokenize_with_offsets(texts)
    assert ids.to_list() == bert(texts).to_list()
    assert ids.dtype == starts.dtype == ends.dtype == tf.int32
    assert starts.row_splits.numpy().tolist() == ids.row_splits.numpy().tolist()


def test_long_words_have_offsets(bert):
    text = "x " + "ก" * 150 + " y " + "ก" * 201
    tokens = cuts(bert, text)
    assert tokens[1] == ("ก", "ก")
    assert tokens[150] == ("##ก", "ก")
    assert tokens[151:] == [("y", "y"), ("[UNK]", "ก" * 201)]


def spoiled(texts, seed):
    """Texts as bytes, with invalid bytes thrown in and characters cut short."""
    generator = random.Random(seed)
    result = []
    for text in texts:
        content = bytearray(text.encode("utf-8"))
        for _ in range(generator.randrange(4)):
            place = generator.randint(0, len(content))
            if generator.random() < 0.5:
                content[place:place] = bytes([generator.randrange(0x80, 0x100)])
            else:
                del content[place : place + 1]
        result.append(bytes(content))
    return result


@pytest.mark.parametrize("lowercase", [True, False], ids=["uncased", "cased"])
def test_every_token_of_10_000_random_strings_is_its_slice(lowercase):
    texts = random_texts(10_000, seed=8)
    texts += spoiled(texts[:3000], seed=9)
    characters = sorted(
        {
            c
            for text in texts
            if isinstance(text, str)
            for word in reference.words(text, lowercase)
            for c in word
        }
    )
    # Two of three characters are known, so unknown words are looked at, too.
    known = [character for index, character in enumerate(characters) if index % 3]
    vocabulary = [*SPECIAL, *known, *("##" + character for character in known)]
    found = exceptions_by_cause(WordPieceTokenizer(vocabulary, lowercase), texts)
    print({cause: (len(rows), rows[:2]) for cause, rows in found.items()})
    assert found["other"] == []
    assert bool(found["final sigma"]) is lowercase
    assert bool(found["one character, several tokens"]) is lowercase


def test_invalid_bytes_are_dropped_as_by_decode_ignore():
    texts = spoiled(random_texts(3000, seed=3), seed=4)
    dropped = offsets.drop_invalid_bytes(tf.constant(texts)).numpy().tolist()
    assert dropped == [text.decode("utf-8", "ignore").encode() for text in texts]
