"""Parts of texts by code points, in the graph."""

import tensorflow as tf
import tensorflow_text as tf_text

# B texts  S slices


def slice_texts(texts, rows, starts, ends):
    """Return `texts[row][start:end]` of many slices, counted in code points.

    Args:
        texts: Valid UTF-8, string `[B]`.
        rows: Int32 `[S]`, the text of each slice.
        starts: Int32 `[S]`, its first code point.
        ends: Int32 `[S]`, one past its last.

    Returns:
        Strings `[S]`.

    Example:
    >>> parts = slice_texts(tf.constant(["déjà vu", "où"]), [0, 1, 0], [5, 1, 1], [7, 2, 4])
    >>> [part.decode() for part in parts.numpy()]
    ['vu', 'ù', 'éjà']
    """
    with tf.device("CPU:0"):
        joined = tf.strings.reduce_join(texts)
        raw = tf.io.decode_raw(joined, tf.uint8)
        # A byte 10xxxxxx continues a character, any other begins one.
        begins = tf.where(tf.bitwise.bitwise_and(raw, 0xC0) != 0x80)[:, 0]
        begins = tf.concat([tf.cast(begins, "int32"), [tf.size(raw)]], 0)
        row_starts = tf.cumsum(tf.strings.length(texts, unit="UTF8_CHAR"), exclusive=True)
        base = tf.gather(row_starts, rows)
        starts, ends = tf.gather(begins, base + starts), tf.gather(begins, base + ends)

        def row(values):
            return tf.RaggedTensor.from_row_lengths(values, [tf.size(values)], validate=False)

        return tf_text.ByteSplitter().split_by_offsets(joined[None], row(starts), row(ends)).values
