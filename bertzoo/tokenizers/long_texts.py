"""Long texts in parts: the time that SentencePiece takes must not grow with the square of a text.

Its C++ code joins neighbouring unknown pieces by copying the run so far: a megabyte of emoji takes
ten seconds. In parts of 64 kB it is half a second, and other texts become faster too, as the op
shares rows out among threads. Legend: B texts, P parts, C bytes of all texts.
"""

from __future__ import annotations

from typing import NamedTuple

import tensorflow as tf
import tensorflow_text as tf_text

MAX_BYTES = 1 << 16


class Parts(NamedTuple):
    """Texts cut into parts.

    Attributes:
        texts: The parts of all texts, string `[P]`.
        row_splits: Where the parts of each text begin and end, int64 `[B + 1]`.
        starts: The byte of its text at which each part begins, int64 `[P]`.
    """

    texts: tf.Tensor
    row_splits: tf.Tensor
    starts: tf.Tensor


def cut(texts: tf.Tensor, max_bytes: int = MAX_BYTES) -> Parts:
    """Cut texts that are longer than `max_bytes`, before a space where there is one.

    A run of more than half of `max_bytes` without a space is cut between two characters.

    Args:
        texts: Valid UTF-8, string `[B]`.
        max_bytes: Bytes of the longest part.

    Returns:
        The `Parts`; texts that are short enough are one part each.

    Example:
    >>> cut(tf.constant(["ab cd ef", "", "x"]), max_bytes=6).texts.numpy().tolist()
    [b'ab', b' cd', b' ef', b'', b'x']
    """
    lengths = tf.strings.length(texts)  # (B,)
    is_long = lengths > max_bytes
    window = max_bytes // 2  # with a cut in each window, no part is longer than two of them

    def in_parts():
        flat = tf.io.decode_raw(tf.strings.reduce_join(texts), tf.uint8)  # (C,)
        row_starts = tf.cumsum(lengths, exclusive=True)  # (B,)
        cuts = tf.where(is_long, (lengths - 1) // window, 0)
        numbers = tf.ragged.range(1, cuts + 1)  # (B, cuts)
        starts_of_rows = tf.gather(row_starts, numbers.value_rowids())
        limits = starts_of_rows + window * numbers.values
        begins = tf.bitwise.bitwise_and(flat, 0xC0) != 0x80  # a character
        places = _last_up_to(flat == ord(" "), limits)
        places = tf.where(places > limits - window, places, _last_up_to(begins, limits))
        places = numbers.with_values(places - starts_of_rows)
        starts = tf.concat([tf.zeros_like(lengths)[:, None], places], axis=1)  # (B, parts)
        ends = tf.concat([places, lengths[:, None]], axis=1)
        parts = tf_text.ByteSplitter().split_by_offsets(texts, starts, ends)
        return Parts(parts.values, parts.row_splits, tf.cast(starts.values, tf.int64))

    def whole():
        return Parts(
            texts, tf.range(tf.size(texts, tf.int64) + 1), tf.zeros_like(lengths, tf.int64)
        )

    return tf.cond(tf.reduce_any(is_long), in_parts, whole)


def _last_up_to(flags: tf.Tensor, limits: tf.Tensor) -> tf.Tensor:
    # The last place up to each limit where a flag is set, or -1.
    places = tf.concat([[-1], tf.cast(tf.where(flags)[:, 0], tf.int32)], 0)
    return tf.gather(places, tf.searchsorted(places, limits, side="right") - 1)
