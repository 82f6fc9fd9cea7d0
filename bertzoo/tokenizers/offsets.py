"""From bytes of cleaned text to code points of the original text.

The normaliser says for each byte that it wrote from which byte it came; the rest is counting the
bytes that begin a character. Legend: B batch, N tokens of all rows, C bytes of all rows.
"""

from __future__ import annotations

import tensorflow as tf

# Exactly the valid characters, so that a full match means valid UTF-8. Written with its holes,
# as RE2 takes `.` for more than that (overlong forms and surrogates).
_VALID = r"[\x{0}-\x{D7FF}\x{E000}-\x{10FFFF}]*"


def drop_invalid_bytes(texts: tf.Tensor) -> tf.Tensor:
    """Return texts `[B]` without invalid UTF-8, as `bytes.decode(errors="ignore")` would."""
    # Two scans that nearly always suffice (1 ns a byte), as transcoding takes 15 ns a byte.
    valid = tf.reduce_all(tf.strings.regex_full_match(texts, _VALID))
    return tf.cond(
        valid,
        lambda: texts,
        lambda: tf.strings.unicode_transcode(texts, "UTF-8", "UTF-8", errors="ignore"),
    )


def code_point_offsets(
    texts: tf.Tensor,
    sources: tf.RaggedTensor,
    row_ids: tf.Tensor,
    starts: tf.Tensor,
    ends: tf.Tensor,
) -> tuple[tf.Tensor, tf.Tensor]:
    """Return where each token begins and ends in the original text, in code points.

    Args:
        texts: Valid UTF-8, string `[B]`.
        sources: Ragged int32 `[B, None]`: the byte of the text from which each byte of the clean
            text came; a changed character's bytes all came from its first byte.
        row_ids: The row of each token, `[N]`.
        starts: First byte of each token in its clean text, `[N]`.
        ends: One past its last byte, `[N]`.

    Returns:
        Two int32 tensors `[N]`: the first code point, and one past the last.
    """
    base = tf.gather(sources.row_splits, row_ids)
    first = tf.cast(tf.gather(sources.values, base + starts), tf.int32)
    # The byte that the last one came from, not the one after the token: marks and controls that
    # were deleted behind a token are not part of it.
    last = tf.cast(tf.gather(sources.values, base + ends - 1), tf.int32)
    ascii_only = tf.reduce_all(
        tf.equal(tf.strings.length(texts), tf.strings.length(texts, unit="UTF8_CHAR"))
    )

    def count_characters():
        joined = tf.io.decode_raw(tf.strings.reduce_join(texts), tf.uint8)  # (C,)
        # A byte 10xxxxxx continues a character, any other begins one.
        begins = tf.cast(tf.bitwise.bitwise_and(joined, 0xC0) != 0x80, tf.int32)
        characters = tf.concat([[0], tf.cumsum(begins)], 0)  # (C + 1,) begun before each byte
        row_starts = tf.cumsum(tf.strings.length(texts), exclusive=True)  # (B,)
        row = tf.gather(row_starts, row_ids)  # (N,)
        before = tf.gather(characters, row)
        return (
            tf.gather(characters, row + first + 1) - 1 - before,
            tf.gather(characters, row + last + 1) - before,
        )

    return tf.cond(ascii_only, lambda: (first, last + 1), count_characters)


def code_points_of_bytes(
    texts: tf.Tensor, row_ids: tf.Tensor, starts: tf.Tensor, ends: tf.Tensor
) -> tuple[tf.Tensor, tf.Tensor]:
    """Return spans of bytes of joined texts as spans of code points of each text.

    A span that begins or ends inside a character has that character.

    Args:
        texts: Valid UTF-8, string `[B]`.
        row_ids: The row of each span, `[N]`.
        starts: First byte of each span in the joined texts, int32 `[N]`.
        ends: One past its last byte, `[N]`.

    Returns:
        Two int32 tensors `[N]`: the first code point, and one past the last.
    """
    row_starts = tf.cumsum(tf.strings.length(texts), exclusive=True)  # (B,)
    row = tf.gather(row_starts, row_ids)  # (N,)
    raw = tf.io.decode_raw(tf.strings.reduce_join(texts), tf.uint8)  # (C,)

    def count_characters():
        # A byte 10xxxxxx continues a character, any other begins one.
        begins = tf.cast(tf.bitwise.bitwise_and(raw, 0xC0) != 0x80, tf.int32)
        characters = tf.concat([[0], tf.cumsum(begins)], 0)  # (C + 1,) begun before each byte
        before = tf.gather(characters, row)
        return (
            tf.gather(characters, starts + 1) - 1 - before,
            tf.gather(characters, ends) - before,
        )

    ascii_only = tf.reduce_all(raw < 0x80)
    return tf.cond(ascii_only, lambda: (starts - row, ends - row), count_characters)
