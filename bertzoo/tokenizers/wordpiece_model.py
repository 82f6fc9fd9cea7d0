"""The two models of the WordPiece graph: code points to clean text, and clean text to ids.

FastWordpiece splits text at white space, punctuation and CJK by itself, by the Unicode version
that its ICU has: another one here than on an old server. So the table of the first model decides:
it puts spaces around punctuation outside ASCII, and writes a stand-in (in text and vocabulary
alike) for what the op would wrongly split.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Sequence
from typing import NamedTuple

import flatbuffers
import numpy as np
import tensorflow as tf
import tensorflow_text as tf_text

from bertzoo.tokenizers import code_points, normalizer_model, unicode_14

CONTINUATION = "##"
# Cleaning deletes the tag characters, so a stand-in never comes from a user's text.
_STAND_INS = tuple(range(0xE0020, 0xE0080))
# Control characters (deleted by cleaning as well, of two bytes each and of one) that mark where
# special tokens stood, until the table writes their stand-ins. The user's own are made to be
# others first.
OPENING_MARKS = tuple(range(0x80, 0x90))
USERS_OPENING_MARK, CLOSING_MARK, FILLING = "\x9f", "\x02", "\x01"


class WordPieceModel(NamedTuple):
    """What the graph needs.

    Attributes:
        normalizer: The code point table, a flatbuffer, uint8.
        wordpiece: The vocabulary, a flatbuffer, uint8.
        stand_ins: The character that stands for a character, in clean text and vocabulary.
    """

    normalizer: np.ndarray
    wordpiece: np.ndarray
    stand_ins: dict[str, str]


def build_wordpiece_model(
    vocabulary: Sequence[str],
    unknown_token: str,
    lowercase: bool,
    strip_accents: bool,
    max_word_bytes: int,
    special_tokens: Sequence[str] = (),
) -> WordPieceModel:
    """Build both models for one vocabulary.

    Args:
        vocabulary: Tokens in the order of their ids, checked.
        unknown_token: The token of words that the vocabulary cannot spell.
        lowercase: Whether text is lower-cased; capital sigma is then left to the graph.
        strip_accents: Whether combining marks are removed.
        max_word_bytes: Longer words become the unknown token.
        special_tokens: Tokens that `OPENING_MARKS` stand for, in that order.

    Returns:
        A `WordPieceModel`.
    """
    in_use = set(map(ord, set("".join(vocabulary))))
    free = [code_point for code_point in _STAND_INS if code_point not in in_use]
    wrongly_split = _wrongly_split()
    assert len(free) >= len(wrongly_split) + len(special_tokens) + 1, "no stand-in is left"
    stand_ins = {chr(c): chr(free.pop()) for c in sorted(wrongly_split)}
    # Of two characters, so that the first and the last byte of the special token are known.
    closing = chr(free.pop())
    special = {token: chr(free.pop()) + closing for token in special_tokens}

    translation = str.maketrans(stand_ins)
    spelled = [special.get(token) or token.translate(translation) for token in vocabulary]
    return WordPieceModel(
        _build_normalizer(
            lowercase, strip_accents, tuple(stand_ins.items()), tuple(special.values())
        ),
        _build_fast_wordpiece(spelled, special.get(unknown_token, unknown_token), max_word_bytes),
        stand_ins,
    )


def max_word_bytes_place(wordpiece: np.ndarray) -> int:
    """Return where a FastWordpiece model holds its limit on the length of words (int32)."""
    buffer = wordpiece.tobytes()
    root = flatbuffers.encode.Get(flatbuffers.packer.uoffset, buffer, 0)
    # Field 4 of the root table in `fast_wordpiece_tokenizer_model.fbs`: max_bytes_per_token.
    return root + flatbuffers.table.Table(buffer, root).Offset(4 + 2 * 4)


def with_max_word_bytes(wordpiece: tf.Tensor, place: int, size: int) -> tf.Tensor:
    """Return a copy of a FastWordpiece model with another limit on the length of words."""
    limit = np.frombuffer(np.array(size, "<i4").tobytes(), np.uint8)
    return tf.tensor_scatter_nd_update(wordpiece, [[place + i] for i in range(4)], limit)


# The table hardly depends on the vocabulary, so that further tokenizers find it made (0.15 s).
@functools.lru_cache(maxsize=8)
def _build_normalizer(
    lowercase: bool,
    strip_accents: bool,
    stand_ins: tuple[tuple[str, str], ...],
    special: tuple[str, ...],
) -> np.ndarray:
    table = dict(code_points.folding_table(lowercase, strip_accents))
    if lowercase:
        del table[ord(code_points.SIGMA)]
    changes = dict(stand_ins) | {chr(c): f" {chr(c)} " for c in _spaced_punctuation()}
    for code_point in map(ord, changes):
        table.setdefault(code_point, chr(code_point))
    for code_point, text in table.items():
        if any(character in changes for character in text):
            table[code_point] = "".join(changes.get(character, character) for character in text)
    for mark, stand_in in zip(OPENING_MARKS, special, strict=False):
        table[mark] = f" {stand_in[0]}"
        table[ord(CLOSING_MARK)] = f"{stand_in[1]} "
    return normalizer_model.build_model(table)


def _build_fast_wordpiece(spelled: list[str], unknown: str, max_word_bytes: int) -> np.ndarray:
    # Tokens that no text yields: the op warns of the empty one and a bare "##", and would look
    # through the space of one with a space. In brackets they are passed over, as brackets split.
    known = set(spelled)
    for index, token in enumerate(spelled):
        if token in ("", CONTINUATION) or " " in token:
            placeholder = f"[{index}]"
            while placeholder in known:
                placeholder = f"[{placeholder}]"
            spelled[index] = placeholder
            known.add(placeholder)
    # The op wants at least one token that text could yield: a control character, which cleaning
    # deletes, for vocabularies of special tokens alone.
    unreachable = next(c for c in map(chr, range(1, 9)) if c not in known)
    buffer = tf_text.build_fast_wordpiece_model(
        [*spelled, unreachable], max_word_bytes, CONTINUATION, unknown, False, False
    )
    return np.frombuffer(bytes(buffer), np.uint8)


@functools.cache
def _spaced_punctuation() -> frozenset[int]:
    # Left to the op are those that the rule for capital sigma looks through (spaces would hide
    # what is behind them); they are as old as Unicode, so every op splits at them.
    ranges = itertools.chain(range(0x80, 0x3400), range(0xA000, 0xAC00), range(0xF900, 0x20000))
    ignorable = set(map(ord, code_points.CASE_IGNORABLE_PUNCTUATION))
    return frozenset(c for c in ranges if code_points.is_punctuation(c)) - ignorable


@functools.cache
def _wrongly_split() -> frozenset[int]:
    # Which they are depends on the op's ICU, so the op itself is asked: with this vocabulary "a",
    # the character and "b" are one unknown word unless the character splits. Not asked are
    # ideographs, whose ranges are the same in both, and letters, marks and numbers, which never
    # are punctuation.
    ranges = itertools.chain(range(1, 0x3400), range(0xA000, 0xAC00), range(0xFB00, 0x20000))
    asked = [c for c in ranges if unicode_14.category(c)[0] not in "LMN"]
    buffer = _build_fast_wordpiece(["[UNK]", "a", "b"], "[UNK]", max_word_bytes=100)
    with tf.device("CPU:0"):
        op = tf_text.FastWordpieceTokenizer(model_buffer=tf.constant(buffer))
        counts = op.tokenize([f"a{chr(c)}b" for c in asked]).row_lengths().numpy()
    splits = (code_point for code_point, count in zip(asked, counts, strict=True) if count > 1)
    return frozenset(
        code_point
        for code_point in splits
        if not code_points.is_punctuation(code_point)
        # What cleaning deletes or turns into a space does not reach the op.
        and code_points.folded(code_point, False, False).strip()
    )
