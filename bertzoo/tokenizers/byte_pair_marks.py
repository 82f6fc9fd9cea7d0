"""Special tokens in a text, as marks: bytes that no UTF-8 has, so that nobody can write one.

A mark is as long as its token and a word of its own; so offsets stay right, and the table of words
knows it. A mask token also takes in white space on its left (`lstrip` of Hugging Face's
`tokenizers`). Legend: B batch, W words, M masks.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

import tensorflow as tf

from bertzoo.tokenizers.byte_classes import WHITE_SPACES
from bertzoo.tokenizers.byte_pair_words import FILLING, FIRST_MARK

# RE2's own `\s` is that of ASCII.
WHITE_SPACE = "[" + "".join(f"\\x{{{ord(space):X}}}" for space in WHITE_SPACES) + "]"


def marks_of(tokens: Iterable[str]) -> dict[str, bytes]:
    r"""Return the mark of each of up to seven tokens, the longest token first.

    >>> marks_of(["<s>", "<mask>"])
    {'<mask>': b'\xf8\xff\xff\xff\xff\xff', '<s>': b'\xf9\xff\xff'}
    """
    ordered = sorted(set(tokens), key=lambda token: (-len(token), token))
    assert FIRST_MARK + len(ordered) <= FILLING, "no mark is left"
    return {
        token: bytes([FIRST_MARK + number]) + bytes([FILLING]) * (len(token.encode()) - 1)
        for number, token in enumerate(ordered)
    }


def write_marks(texts: tf.Tensor, marks: Mapping[str, bytes]) -> tf.Tensor:
    """Return texts `[B]`, valid UTF-8, with marks in the place of special tokens."""
    for token, mark in marks.items():
        texts = tf.strings.regex_replace(texts, re.escape(token), tf.constant(mark))
    return texts


def take_white_space(words: tf.Tensor, row_splits: tf.Tensor, mask: bytes):
    """Drop the white space in front of masks.

    Args:
        words: Strings `[W]`.
        row_splits: The ends of rows among them, int32 `[B + 1]`.
        mask: The mask's mark.

    Returns:
        The words and row splits that stay; positions `[M]` of the masks that took some in, and
        how many bytes each.
    """
    masks = tf.cast(tf.where(words == mask)[:, 0], tf.int32)
    rows = tf.searchsorted(row_splits, masks, side="right") - 1
    masks = tf.boolean_mask(masks, masks > tf.gather(row_splits, rows))
    # White space in front of a mark is one word, as nothing visible follows it.
    left = tf.gather(words, masks - 1)
    is_white = tf.strings.regex_full_match(left, f"{WHITE_SPACE}+")
    masks, left = tf.boolean_mask(masks, is_white), tf.boolean_mask(left, is_white)
    kept = tf.tensor_scatter_nd_update(
        tf.ones_like(words, tf.int32), masks[:, None] - 1, tf.zeros_like(masks)
    )
    before = tf.concat([[0], tf.cumsum(kept)], 0)  # words kept before each one
    return (
        tf.boolean_mask(words, kept > 0),
        tf.gather(before, row_splits),
        tf.gather(before, masks),
        tf.strings.length(left),
    )
