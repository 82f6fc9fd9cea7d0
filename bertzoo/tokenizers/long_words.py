"""The limit on the length of words, in characters.

BERT gives up on words of more than 200 characters. FastWordpiece counts bytes, of which a
character has one to four: a word over the limit in bytes is looked at again here. Legend: N
tokens, W words to look at again.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import tensorflow as tf
import tensorflow_text as tf_text

MAX_CHARACTERS = 200  # max_input_chars_per_word of google-research/bert
MAX_BYTES = 4 * MAX_CHARACTERS


class Tokens(NamedTuple):
    """Tokens of all rows: flat ids and byte offsets `[N]`, and the ends of rows `[batch + 1]`."""

    ids: tf.Tensor
    starts: tf.Tensor
    ends: tf.Tensor
    row_splits: tf.Tensor


def respell_long_words(
    texts: tf.Tensor,
    tokens: Tokens,
    unknown_id: int,
    tokenize: Callable[[tf.Tensor], Tokens],
) -> Tokens:
    """Replace unknown tokens whose word is long in bytes but not in characters.

    Args:
        texts: The clean texts, string `[batch]`.
        tokens: What the op with a limit of `MAX_CHARACTERS` bytes gave for them.
        unknown_id: Id of the unknown token.
        tokenize: The op with a limit of `MAX_BYTES`, on single words `[W]`.

    Returns:
        The tokens, the long words spelled.
    """
    long = (tokens.ids == unknown_id) & (tokens.ends - tokens.starts > MAX_CHARACTERS)

    def respell():
        positions = tf.where(long)[:, 0]  # (W,)
        word_starts = tf.gather(tokens.starts, positions)
        words = _cut(texts, tokens, positions)
        short = tf.strings.length(words, unit="UTF8_CHAR") <= MAX_CHARACTERS
        positions, words, word_starts = (
            tf.boolean_mask(values, short) for values in (positions, words, word_starts)
        )
        pieces = tokenize(words)
        shift = tf.repeat(word_starts, pieces.row_splits[1:] - pieces.row_splits[:-1])
        return _splice(tokens, positions, pieces, shift)

    return tf.cond(tf.reduce_any(long), respell, lambda: tokens)


def _cut(texts: tf.Tensor, tokens: Tokens, positions: tf.Tensor) -> tf.Tensor:
    # The words at some tokens, without a copy of the whole text for each (substr would make one).
    def offsets(values):
        rows = tf.gather(
            tf.RaggedTensor.from_row_splits(values, tokens.row_splits).value_rowids(), positions
        )
        return tf.RaggedTensor.from_value_rowids(
            tf.cast(tf.gather(values, positions), tf.int32), rows, tf.size(texts, tf.int64)
        )

    splitter = tf_text.ByteSplitter()
    return splitter.split_by_offsets(texts, offsets(tokens.starts), offsets(tokens.ends)).values


def _splice(tokens: Tokens, positions: tf.Tensor, pieces: Tokens, shift: tf.Tensor) -> Tokens:
    # A ragged gather: each token takes a run of the pool, its own place or its word's pieces.
    size = tf.size(tokens.ids, tf.int64)
    first = tf.tensor_scatter_nd_update(
        tf.range(size), positions[:, None], size + pieces.row_splits[:-1]
    )
    count = tf.tensor_scatter_nd_update(
        tf.ones_like(first), positions[:, None], pieces.row_splits[1:] - pieces.row_splits[:-1]
    )
    runs = tf.ragged.range(first, first + count)

    def take(old, new):
        return tf.gather(tf.concat([old, new], 0), runs.values)

    return Tokens(
        take(tokens.ids, pieces.ids),
        take(tokens.starts, pieces.starts + shift),
        take(tokens.ends, pieces.ends + shift),
        tf.gather(runs.row_splits, tokens.row_splits),
    )
