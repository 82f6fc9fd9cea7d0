"""Long texts as several rows that overlap, in the graph, so that no token goes unread.

The windows, the step between them and the max-context rule are those of google-research/bert
(`convert_examples_to_features` and `_check_is_max_context` of run_squad.py) in closed form, from
core TensorFlow ops. Hugging Face's `tokenizers` cut the same windows where their `stride`, which
counts the tokens that two windows share, is the window less `doc_stride`.
"""

import typing

import tensorflow as tf

from bertzoo.preprocessing import packing

# B texts  W windows of all texts  T tokens of a window  N tokens of all texts

# Of run_squad.py: tokens between the starts of two windows, and tokens kept of a question.
DOC_STRIDE = 128
MAX_QUERY_LENGTH = 64


class TextTokens(typing.NamedTuple):
    """The tokens of texts, without special tokens; all ragged int32 `[B, None]`.

    Args:
        ids: Ids.
        starts: The code point of its text at which each token begins.
        ends: One past the code point at which it ends.
        word_index: The word of its text that a token belongs to, -1 for none; None where words
            do not matter.
    """

    ids: tf.RaggedTensor
    starts: tf.RaggedTensor
    ends: tf.RaggedTensor
    word_index: tf.RaggedTensor | None = None


class Windows(typing.NamedTuple):
    """Windows of texts: what the network reads, and what putting its answers together takes.

    Args:
        features: A dict of int32 `[W, T]`: `token_ids`, `padding_mask`, `segment_ids`.
        text_index: Int32 `[W]`, the text of each window, ascending; every text has one at least.
        in_text: Int32 `[W, T]`, 1 for tokens of the text: not of the question, not special.
        starts: Int32 `[W, T]`, the code point of its text at which a token begins; 0 elsewhere.
        ends: Int32 `[W, T]`, one past the code point at which it ends.
        max_context: Int32 `[W, T]`, 1 for tokens of the text in that of their windows in which
            they have most context; every token has one such place.
        word_index: Int32 `[W, T]`, the number of a token's word in its text, -1 elsewhere; None
            where the windows were made without words.
        first_piece: Int32 `[W, T]`, 1 for the first token of a word; None without words.
    """

    features: dict
    text_index: tf.Tensor
    in_text: tf.Tensor
    starts: tf.Tensor
    ends: tf.Tensor
    max_context: tf.Tensor
    word_index: tf.Tensor | None = None
    first_piece: tf.Tensor | None = None


def cut(
    tokens,
    question,
    form,
    sequence_length,
    padded_length,
    num_segments=2,
    doc_stride=None,
    max_query_length=MAX_QUERY_LENGTH,
):
    """Cut tokenized texts into windows `[CLS] window [SEP]` or `[CLS] question [SEP] window [SEP]`.

    Args:
        tokens: `TextTokens`.
        question: Ragged int32 `[B, None]`, ids of a question for each text, or None.
        form: A `packing.PackingForm`.
        sequence_length: Most tokens of a window, special tokens included.
        padded_length: A function from the windows' lengths, int32 `[W]`, to T.
        num_segments: As of `packing.pad`.
        doc_stride: Tokens between the starts of two windows, at most what a window holds. None
            for half of what it holds, and with a question at most 128 (`DOC_STRIDE`), which is
            the published value for rows of 384.
        max_query_length: Most tokens of a question; it leaves a quarter of the row to the text
            whatever this says.

    Returns:
        `Windows`.

    Example:
    >>> text = tf.ragged.constant([[11, 12, 13, 14, 15]], dtype="int32")
    >>> form = packing.PackingForm(start=2, end=3, pad=0)
    >>> windows = cut(TextTokens(text, text, text), None, form, 5, lambda _: 5, doc_stride=2)
    >>> windows.features["token_ids"].numpy().tolist()
    [[2, 11, 12, 13, 3], [2, 13, 14, 15, 3]]
    >>> windows.max_context.numpy().tolist()
    [[0, 1, 1, 1, 0], [0, 0, 1, 1, 0]]
    """
    text_lengths = tf.cast(tokens.ids.row_lengths(), "int32")  # (B,)
    budget = sequence_length - form.num_special(is_pair=question is not None)
    question_lengths = tf.zeros_like(text_lengths)
    prefix = question_lengths + 1  # of the start token
    if question is not None:
        most = min(max_query_length, budget - budget // 4)
        question_lengths = tf.minimum(tf.cast(question.row_lengths(), "int32"), most)
        question = packing.keep_first(question, question_lengths)
        prefix = 1 + question_lengths + form.num_separators
    room = budget - question_lengths  # (B,) tokens of the text in a window
    step = _step(room, doc_stride, is_pair=question is not None)

    counts = 1 + tf.maximum(text_lengths - room + step - 1, 0) // step  # (B,)
    text_index = tf.repeat(tf.range(tf.size(counts)), counts)  # (W,)
    number = tf.range(tf.size(text_index)) - tf.gather(
        tf.cumsum(counts, exclusive=True), text_index
    )
    first = number * tf.gather(step, text_index)  # the token with which the window begins
    size = tf.minimum(tf.gather(room, text_index), tf.gather(text_lengths, text_index) - first)
    prefix = tf.gather(prefix, text_index)
    lengths = prefix + size + 1
    length = padded_length(lengths)
    static_length = length if isinstance(length, int) else None

    place = tf.range(length)[None, :] - prefix[:, None]  # (W, T) in the window, from 0
    in_text = (place >= 0) & (place < size[:, None])
    row_starts = tf.cast(tokens.ids.row_starts(), "int32")
    position = place + (tf.gather(row_starts, text_index) + first)[:, None]
    num_tokens = tf.size(tokens.ids.values)
    position = tf.where(in_text, position, num_tokens)  # one past the last: no token

    def column(rows, elsewhere):
        values = tf.concat([tf.cast(rows.values, "int32"), [elsewhere]], 0)
        return _shaped(tf.gather(values, position), static_length)

    features = _features(column(tokens.ids, form.pad), lengths, prefix, form, num_segments)
    if question is not None:
        features["token_ids"] = _with_question(
            features["token_ids"], question, text_index, prefix, form
        )
    word_index, first_piece = None, None
    if tokens.word_index is not None:
        word_index = column(tokens.word_index, -1)
        first_piece = column(tokens.ids.with_values(_begins_word(tokens)), 0)
    _max_context(place, size, position, in_text, num_tokens)
    features = {key: _shaped(value, static_length) for key, value in features.items()}
    return Windows(
        features=features,
        text_index=text_index,
        in_text=_shaped(tf.cast(in_text, "int32"), static_length),
        starts=column(tokens.starts, 0),
        ends=column(tokens.ends, 0),
        max_context=_shaped(
            _max_context(place, size, position, in_text, num_tokens), static_length
        ),
        word_index=word_index,
        first_piece=first_piece,
    )


def _step(room, doc_stride, is_pair):
    if doc_stride is not None:
        if doc_stride < 1:
            raise ValueError(f"doc_stride must be at least 1; got {doc_stride}.")
        return tf.minimum(room, doc_stride)
    half = tf.maximum((room + 1) // 2, 1)
    return tf.minimum(half, DOC_STRIDE) if is_pair else half


def _features(token_ids, lengths, prefix, form, num_segments):
    # The text's ids are there already; here come the special tokens of a window without question.
    places = tf.range(tf.shape(token_ids)[1])[None, :]
    token_ids = tf.where(places == 0, form.start, token_ids)
    token_ids = tf.where(places == lengths[:, None] - 1, form.end, token_ids)
    mask = tf.cast(places < lengths[:, None], "int32")
    features = {"token_ids": token_ids, "padding_mask": mask}
    if num_segments:
        features["segment_ids"] = tf.zeros_like(mask)
    return features | (_second_segment(mask, places, prefix, form) if num_segments > 1 else {})


def _second_segment(mask, places, prefix, form):
    # As `packing.pad`: one end token belongs to the first segment. Without a question (whose
    # prefix is the start token alone) there is no second one.
    is_pair = prefix[:, None] > 1
    first_length = prefix[:, None] - form.num_separators + 1
    return {"segment_ids": mask * tf.cast(is_pair & (places >= first_length), "int32")}


def _with_question(token_ids, question, text_index, prefix, form):
    places = tf.range(tf.shape(token_ids)[1])[None, :]
    starts = tf.gather(tf.cast(question.row_starts(), "int32"), text_index)[:, None]
    in_question = (places > 0) & (places < prefix[:, None] - form.num_separators)
    values = tf.concat([question.values, [form.pad]], 0)
    index = tf.where(in_question, starts + places - 1, tf.size(question.values))
    token_ids = tf.where(in_question, tf.gather(values, index), token_ids)
    in_prefix = (places > 0) & (places < prefix[:, None])
    return tf.where(in_prefix & ~in_question, form.end, token_ids)


def _max_context(place, size, position, in_text, num_tokens):
    # In double precision, as Python: where scores tie, their last bits decide.
    size = tf.broadcast_to(size[:, None], tf.shape(place))
    context = tf.minimum(place, size - 1 - place)
    score = tf.cast(context, "float64") + 0.01 * tf.cast(size, "float64")  # (W, T)
    flat = tf.reshape(position, [-1])
    best = tf.math.unsorted_segment_max(tf.reshape(score, [-1]), flat, num_tokens + 1)
    is_best = in_text & (score == tf.gather(best, position))
    # Of equal windows the first one counts.
    windows = tf.broadcast_to(tf.range(tf.shape(place)[0])[:, None], tf.shape(place))
    windows = tf.where(is_best, windows, tf.shape(place)[0])
    first = tf.math.unsorted_segment_min(tf.reshape(windows, [-1]), flat, num_tokens + 1)
    return tf.cast(is_best & (windows == tf.gather(first, position)), "int32")


def _begins_word(tokens):
    words, rows = tokens.word_index.values, tokens.ids.value_rowids()
    before = tf.concat([[-1], words], 0)[:-1]
    row_before = tf.concat([tf.constant([-1], rows.dtype), rows], 0)[:-1]
    return (words >= 0) & ((words != before) | (rows != row_before))


def _shaped(values, length):
    values.set_shape([None, length])
    return values
