"""Words of texts: found in a raw text, or given; and the tokens of each, with their places.

A word found in a raw text is what BERT's own BasicTokenizer takes for one: what stands between
spaces; each punctuation mark and each ideograph is a word of its own.

Given words are tokenized one by one, and nothing is cut or joined: what becomes of a word is what
BERT's tokenizer makes of it alone. Byte pairs take a space as the beginning of a word, so each word
gets one in front, as the words of a sentence have (and as `add_prefix_space=True` with
`is_split_into_words=True` in Hugging Face's).
"""

import typing

import tensorflow as tf
import tensorflow_text as tf_text

from bertzoo.preprocessing.windows import TextTokens
from bertzoo.tokenizers import offsets
from bertzoo.tokenizers.code_points import CJK_RANGES

# B texts  N words of all texts

_IDEOGRAPHS = "".join(rf"\x{{{first:X}}}-\x{{{last:X}}}" for first, last in CJK_RANGES)
# Of the symbols, BERT takes those of ASCII alone for punctuation: `€3` is one word, `$3` two.
_SINGLE = rf"[\p{{P}}$+<=>^`|~{_IDEOGRAPHS}]"
_DELIMITER = rf"[\s\p{{Z}}\x{{0}}-\x{{20}}]+|{_SINGLE}"


class Words(typing.NamedTuple):
    """Where the words of texts stand.

    Args:
        text: String `[B]`, valid UTF-8; of given words, these with a space between.
        starts: Ragged int32 `[B, None]`, the code point at which each word begins.
        ends: Ragged int32 `[B, None]`, one past the code point at which it ends.
    """

    text: tf.Tensor
    starts: tf.RaggedTensor
    ends: tf.RaggedTensor


def find_words(text):
    """Return the `Words` of raw texts, string `[B]`.

    >>> found = find_words(tf.constant(["Don't  go.", ""]))
    >>> found.starts.to_list(), found.ends.to_list()
    ([[0, 3, 4, 7, 9], []], [[3, 4, 5, 9, 10], []])
    """
    with tf.device("CPU:0"):
        text = offsets.drop_invalid_bytes(text)
        _, begins, ends = tf_text.regex_split_with_offsets(text, _DELIMITER, _SINGLE)
        rows = begins.value_rowids()
        base = tf.gather(tf.cumsum(tf.strings.length(text), exclusive=True), rows)
        first, last = offsets.code_points_of_bytes(
            text, rows, base + tf.cast(begins.values, "int32"), base + tf.cast(ends.values, "int32")
        )
        return Words(text, begins.with_values(first), begins.with_values(last))


def tokens_in_words(tokenizer, words):
    """Return the `TextTokens` of raw texts, each with the word in which it begins.

    Args:
        tokenizer: A `Tokenizer`.
        words: From `find_words`.
    """
    with tf.device("CPU:0"):
        ids, starts, ends = tokenizer.tokenize_with_offsets(words.text)
        rows = ids.value_rowids()

        def key(row, place):  # ascending over all texts
            return row * 2**32 + tf.cast(place, "int64")

        word_rows = words.starts.value_rowids()
        keys = tf.concat([[-1], key(word_rows, words.starts.values)], 0)
        found = tf.searchsorted(keys, key(rows, starts.values), side="right") - 2  # (tokens,)
        found = tf.cast(found, "int64")
        row_of_found = tf.gather(tf.concat([word_rows, [-1]], 0), tf.maximum(found, 0))
        is_here = (found >= 0) & (row_of_found == rows)
        number = tf.where(is_here, found - tf.gather(words.starts.row_starts(), rows), -1)
        return TextTokens(ids, starts, ends, ids.with_values(tf.cast(number, "int32")))


def tokenize_words(tokenizer, words):
    """Return the `Words` and the `TextTokens` of given words.

    Args:
        tokenizer: A `Tokenizer`.
        words: Ragged strings `[B, None]`.

    Example:
    >>> tokenizer = WordPieceTokenizer("[PAD] [UNK] [CLS] [SEP] [MASK] cat ##s sit".split())
    >>> _, tokens = tokenize_words(tokenizer, tf.ragged.constant([["cats", "sit"]]))
    >>> tokens.word_index.to_list(), tokens.starts.to_list(), tokens.ends.to_list()
    ([[0, 0, 1]], [[0, 3, 5]], [[3, 4, 8]])
    """
    with tf.device("CPU:0"):
        flat = offsets.drop_invalid_bytes(words.values)  # (N,)
        lengths = tf.strings.length(flat, unit="UTF8_CHAR")
        rows = words.value_rowids()
        number = tf.range(tf.size(flat, tf.int64)) - tf.gather(words.row_starts(), rows)
        # Exclusive sums over all texts, less those of the words before each text.
        before = tf.cumsum(lengths + 1, exclusive=True)
        base = tf.gather(tf.concat([before, [0]], 0), words.row_starts())
        starts = before - tf.gather(base, rows)
        is_first = number == 0
        # Not join's separator: between ragged strings it is left out where one is empty.
        text = tf.strings.reduce_join(
            words.with_values(tf.where(is_first, flat, " " + flat)), axis=-1
        )

        in_front = tokenizer.config.kind == "byte_pair"
        spelled = tf.where(flat == "", "", " " + flat) if in_front else flat
        ids, first, last = tokenizer.tokenize_with_offsets(spelled)
        owner = ids.value_rowids()  # the word of each token
        shift = tf.gather(starts, owner)
        first, last = (tf.maximum(part.values - int(in_front), 0) + shift for part in (first, last))
        row_splits = tf.gather(ids.row_splits, words.row_splits)
        whole = tf.RaggedTensor.from_row_splits(ids.values, row_splits, validate=False)
        word_index = tf.cast(tf.gather(number, owner), "int32")
        tokens = TextTokens(
            whole, *(whole.with_values(values) for values in (first, last, word_index))
        )
        return Words(text, words.with_values(starts), words.with_values(starts + lengths)), tokens
