"""Pack tokenized texts as `[CLS] a [SEP] b [SEP]`: truncate, join, pad, in core TensorFlow ops.

The form is Devlin et al. 2018, figure 2. Truncation is `_truncate_seq_pair` of google-research/bert
(run_classifier.py) in closed form. tensorflow-text's trimmers are not used: servers before
TensorFlow 2.20 do not have their ops.
"""

import dataclasses

import tensorflow as tf

# B batch  T length


@dataclasses.dataclass(frozen=True)
class PackingForm:
    """The special tokens of a packed row, by id.

    Args:
        start: First token of the row.
        end: Token after each text.
        pad: Token that fills the rest.
        num_separators: How often `end` stands between two texts: BERT 1, RoBERTa 2
            (`<s> a </s></s> b </s>`, Liu et al. 2019).
        odd_token_to_longer: Which text of a pair keeps one token more where both are cut to an
            odd sum: the longer one, or the second where they are equally long (Hugging Face's
            `tokenizers`), or always the first (Google's BERT).
    """

    start: int
    end: int
    pad: int
    num_separators: int = 1
    odd_token_to_longer: bool = False

    def num_special(self, is_pair):
        """Return how many special tokens a row has.

        >>> PackingForm(start=2, end=3, pad=0).num_special(is_pair=True)
        3
        """
        return 2 + (self.num_separators if is_pair else 0)


def pack(first, second, form, sequence_length):
    """Truncate to `sequence_length` and join with the form's special tokens.

    Args:
        first: Ragged int32 `[B, None]`, ids without special tokens.
        second: The same for the second texts, or None.
        form: A `PackingForm`.
        sequence_length: Most tokens of a row, special tokens included.

    Returns:
        Ragged int32 `[B, None]` ids, and int32 `[B]`: how many tokens of each row belong to
        segment 0 (the start token, the first text and one end token).

    Example:
    >>> ids, first_lengths = pack(
    ...     tf.ragged.constant([[7, 8]], dtype="int32"), tf.ragged.constant([[9]], dtype="int32"),
    ...     PackingForm(start=2, end=3, pad=0), sequence_length=8)
    >>> ids.to_list(), first_lengths.numpy().tolist()
    ([[2, 7, 8, 3, 9, 3]], [4])
    """
    budget = sequence_length - form.num_special(second is not None)
    first_lengths = tf.cast(first.row_lengths(), "int32")  # (B,)
    if second is None:
        first = keep_first(first, tf.minimum(first_lengths, budget))
        second_parts = []
    else:
        second_lengths = tf.cast(second.row_lengths(), "int32")
        kept = kept_lengths(first_lengths, second_lengths, budget, form.odd_token_to_longer)
        first, second = keep_first(first, kept[0]), keep_first(second, kept[1])
        second_parts = [form.end] * (form.num_separators - 1) + [second, form.end]
    batch = first.nrows(out_type=tf.int32)
    parts = [
        tf.fill([batch, 1], part) if isinstance(part, int) else part
        for part in [form.start, first, form.end, *second_parts]
    ]
    token_ids = tf.concat(parts, axis=1)
    return token_ids, tf.cast(first.row_lengths(), "int32") + 2


def pad(token_ids, first_lengths, length, form, num_segments=2):
    """Make dense int32 features of packed rows.

    Args:
        token_ids: Ragged int32 `[B, None]` from `pack`.
        first_lengths: Int32 `[B]` from `pack`.
        length: T, at least the longest row.
        form: A `PackingForm`.
        num_segments: 0 for no `segment_ids`, 1 for all zeros (RoBERTa), 2 or more for 0 and 1.

    Returns:
        A dict of int32 `[B, T]`: `token_ids`, `padding_mask` (1 for tokens, 0 for padding; int32
        because `MirroredStrategy` cannot reduce booleans) and `segment_ids`.

    Example:
    >>> form = PackingForm(start=2, end=3, pad=0)
    >>> rows = tf.ragged.constant([[2, 7, 8, 3, 9, 3]], dtype="int32")
    >>> pad(rows, tf.constant([4]), 8, form)["segment_ids"].numpy().tolist()
    [[0, 0, 0, 0, 1, 1, 0, 0]]
    """
    static_length = length if isinstance(length, int) else None
    mask = tf.sequence_mask(token_ids.row_lengths(), length, dtype="int32")  # (B, T)
    features = {
        "token_ids": token_ids.to_tensor(form.pad, shape=tf.stack([-1, length])),
        "padding_mask": mask,
    }
    if num_segments == 1:
        features["segment_ids"] = tf.zeros_like(mask)
    elif num_segments > 1:
        features["segment_ids"] = mask - tf.sequence_mask(first_lengths, length, dtype="int32")
    for feature in features.values():
        feature.set_shape([None, static_length])
    return features


def kept_lengths(first, second, budget, odd_token_to_longer=False):
    """Return how many tokens of each text of a pair stay.

    Google's loop pops from the end of the longer text, and from the second where they are equally
    long, until the pair fits. So each text keeps at least its half of the budget (the first half
    is the larger one), or whatever the other leaves.

    Args:
        first: Int32 `[B]`, tokens of the first texts.
        second: Int32 `[B]`, tokens of the second texts.
        budget: Most tokens of both together.
        odd_token_to_longer: See `PackingForm`.

    Example:
    >>> first, second = kept_lengths(tf.constant([9, 2]), tf.constant([9, 9]), budget=7)
    >>> first.numpy().tolist(), second.numpy().tolist()
    ([4, 2], [3, 5])
    """
    half = budget - budget // 2  # of the first text
    if odd_token_to_longer:
        half = tf.where(first > second, half, budget // 2)
    kept_first = tf.minimum(first, tf.maximum(budget - second, half))
    kept_second = tf.minimum(second, tf.maximum(budget - first, budget - half))
    return kept_first, kept_second


def keep_first(rows, lengths):
    """Keep the first `lengths[i]` values of each ragged row.

    >>> keep_first(tf.ragged.constant([[1, 2, 3], [4]]), tf.constant([2, 1])).to_list()
    [[1, 2], [4]]
    """
    owner = tf.cast(rows.value_rowids(), "int32")  # one entry a value: the row that it is in
    starts = tf.cast(rows.row_starts(), "int32")
    place = tf.range(tf.size(rows.values)) - tf.gather(starts, owner)
    values = tf.boolean_mask(rows.values, place < tf.gather(lengths, owner))
    return tf.RaggedTensor.from_row_lengths(values, lengths, validate=False)


def length_buckets(sequence_length):
    """Return the few padded lengths that batches are rounded up to.

    Four an octave, at least 8 apart, so that from 32 tokens on at most a fifth of a row is
    rounding; 20 shapes for 512 tokens.

    >>> length_buckets(100)
    [8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 100]
    """
    buckets, length = [], 8
    while length < sequence_length:
        buckets.append(length)
        length += max(8, 2 ** (length.bit_length() - 1) // 4)
    return [*buckets, sequence_length]


def round_up(longest, buckets):
    """Return the smallest bucket that holds `longest` tokens, as an int32 tensor.

    >>> int(round_up(tf.constant(33), length_buckets(100)))
    40
    """
    return tf.gather(buckets, tf.searchsorted(buckets, [longest], side="left"))[0]
