r"""Splitting text into words as GPT-2's pattern does, on bytes.

    's|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+

(Radford et al. 2019, `encoder.py` of openai/gpt-2.) RE2 has neither the lookahead nor Unicode's
`\s`, and tensorflow-text's RegexSplit takes more than a microsecond a word. But where a word begins
follows from the bytes around: each character has a class, and the classes of three neighbours say
whether a word begins at the middle one. Legend: B batch, C bytes of all texts, M bytes
of characters that are not ASCII, W words.
"""

from __future__ import annotations

from typing import NamedTuple

import tensorflow as tf

from bertzoo.tokenizers import byte_classes
from bertzoo.tokenizers.byte_classes import (
    CONTINUES,
    EDGE,
    LETTER,
    NUMBER,
    OTHER,
    SPACE,
    WHITE_SPACE,
)

# Bytes that no UTF-8 has. A special token in a text is written as a mark and filling.
FIRST_MARK, FILLING = 0xF8, 0xFF
_APOSTROPHE = ord("'")
_ONE_LETTER = tuple(b"stmd")
_TWO_LETTERS = tuple(first * 256 + second for first, second in (b"re", b"ve", b"ll"))


class Words(NamedTuple):
    """Words of all texts: byte positions `[W]` in the joined text, and ends of rows `[B + 1]`."""

    starts: tf.Tensor
    ends: tf.Tensor
    row_splits: tf.Tensor


def find_words(raw: tf.Tensor, lengths: tf.Tensor) -> Words:
    """Find the words of texts.

    Args:
        raw: All bytes of all texts, uint8 `[C]`: valid UTF-8 and marks of special tokens.
        lengths: Bytes of each text, int32 `[B]`.

    Returns:
        `Words`, int32.
    """
    row_ends = tf.cumsum(lengths)  # (B,)
    filled = lengths > 0
    last = tf.boolean_mask(row_ends, filled) - 1
    first = last + 1 - tf.boolean_mask(lengths, filled)
    classes = _classes_of_ascii(raw)  # (C,)
    is_ascii = tf.reduce_all(raw < 0x80)
    classes = tf.cond(is_ascii, lambda: classes, lambda: _classes_beyond_ascii(raw, classes))
    edge = tf.constant([EDGE], tf.uint8)
    before = _with(tf.concat([edge, classes], 0)[:-1], first, EDGE)
    after = _with(tf.concat([classes, edge], 0)[1:], last, EDGE)
    begins = _begins_word(before, classes, after)
    begins = tf.cond(
        is_ascii, lambda: begins, lambda: _begins_beyond_ascii(begins, raw, before, classes)
    )
    begins = _join_contractions(begins, raw, after)
    starts = tf.cast(tf.where(begins)[:, 0], tf.int32)  # (W,)
    size = tf.size(raw)[None]
    return Words(
        starts,
        tf.concat([starts, size], 0)[1:],
        tf.searchsorted(starts, tf.concat([[0], row_ends], 0)),
    )


def _with(values: tf.Tensor, positions: tf.Tensor, value) -> tf.Tensor:
    updates = tf.fill(tf.shape(positions), tf.constant(value, values.dtype))
    return tf.tensor_scatter_nd_update(values, positions[:, None], updates)


def _classes_of_ascii(raw: tf.Tensor) -> tf.Tensor:
    # By arithmetic modulo 256: ten times as fast as looking each byte up.
    def mark(condition, value):
        return tf.cast(condition, tf.uint8) * ((value - OTHER) % 256)

    return (
        OTHER
        + mark((raw | 0x20) - ord("a") < 26, LETTER)
        + mark(raw - ord("0") < 10, NUMBER)
        + mark(raw - ord("\t") < 5, WHITE_SPACE)
        + mark(tf.equal(raw, ord(" ")), SPACE)
    )


def _begins_word(before: tf.Tensor, classes: tf.Tensor, after: tf.Tensor) -> tf.Tensor:
    # The pattern, but for contractions, is local: a run of letters, of numbers or of other
    # characters is a word, one plain space in front belongs to it, and of a run of white space
    # the last character is a word of its own if it is not that space (`\s+(?!\S)` leaves it out).
    is_new = tf.equal(before & (classes | (SPACE - WHITE_SPACE)), 0)
    is_white = tf.equal(classes & (WHITE_SPACE | CONTINUES), WHITE_SPACE)
    is_first_or_last = tf.equal(before & WHITE_SPACE, 0) | (after < WHITE_SPACE)
    return ((classes < WHITE_SPACE) & is_new) | (is_white & is_first_or_last)


def _classes_beyond_ascii(raw: tf.Tensor, classes: tf.Tensor) -> tf.Tensor:
    blocks, members = byte_classes.class_tables()
    places = tf.where(raw >= 0x80)  # (M, 1)
    high = tf.cast(tf.gather(raw, places[:, 0]), tf.int32)
    # A byte 10xxxxxx goes on with a character, and so does the filling of a mark.
    leads = tf.where((high >= 0xC0) & (high != FILLING))[:, 0]
    size = tf.size(high, tf.int64)
    count = tf.concat([leads, size[None]], 0)[1:] - leads  # bytes of each character
    lead = tf.gather(high, leads)
    second, third, fourth = (
        tf.gather(high, tf.minimum(leads + step, size - 1)) & 0x3F for step in (1, 2, 3)
    )
    two = (lead & 0x1F) * 2**6 + second
    three = (lead & 0x0F) * 2**12 + second * 2**6 + third
    four = (lead & 0x07) * 2**18 + second * 2**12 + third * 2**6 + fourth
    point = tf.where(lead < 0xE0, two, tf.where(lead < 0xF0, three, four))
    is_mark = lead >= FIRST_MARK
    point = tf.where(is_mark, 0, point)
    found = tf.gather(members, tf.gather(blocks, tf.bitwise.right_shift(point, 8)) + (point & 0xFF))
    found = tf.where(is_mark, tf.constant(EDGE, tf.uint8), found)
    goes_on = tf.cast((high < 0xC0) | tf.equal(high, FILLING), tf.uint8)
    spread = tf.repeat(found, count) + CONTINUES * goes_on  # (M,)
    return tf.tensor_scatter_nd_update(classes, places, spread)


def _begins_beyond_ascii(begins, raw, before, classes) -> tf.Tensor:
    # The last white space before something visible begins a word; here it has two or three bytes.
    ends = tf.equal(before, WHITE_SPACE | CONTINUES) & (classes < WHITE_SPACE)
    places = tf.cast(tf.where(ends)[:, 0], tf.int32)
    two_bytes = tf.gather(raw, places - 2) >= 0xC0
    begins = _with(begins, places - tf.where(two_bytes, 2, 3), True)
    return begins | tf.equal(classes, EDGE)  # and special tokens are words


def _join_contractions(begins, raw, after) -> tf.Tensor:
    # An apostrophe that begins a word (it stands neither after a plain space nor after other
    # such characters) takes the letters of a contraction, and what follows begins a new word.
    places = tf.cast(tf.where(tf.equal(raw, _APOSTROPHE) & begins)[:, 0], tf.int32)
    size = tf.size(raw)

    def look(distance):
        place = tf.minimum(places + distance, size - 1)
        return tf.cast(tf.gather(raw, place), tf.int32), tf.gather(after, place) != EDGE

    (first, is_inside), (second, _) = look(1), look(2)
    _, first_is_followed = look(0)
    is_inside &= first_is_followed
    one = first_is_followed & tf.reduce_any(first[:, None] == tf.constant(_ONE_LETTER), 1)
    pair = first * 256 + second
    two = is_inside & tf.reduce_any(pair[:, None] == tf.constant(_TWO_LETTERS), 1)
    found = one | two
    letter = tf.boolean_mask(places + 1, found)
    behind = letter + tf.where(tf.boolean_mask(one, found), 1, 2)
    begins = _with(begins, letter, False)
    return _with(begins, tf.boolean_mask(behind, behind < size), True)
