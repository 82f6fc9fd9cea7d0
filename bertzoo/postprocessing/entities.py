"""Logits of tokens to the entities of texts, in the graph.

A word is never split: it has one label, by default that of its first piece, the one that training
looks at. Where windows overlap, the window counts in which the piece has most context. Entities are
read from the words' labels by the rules of conlleval (`bertzoo.tags`).
"""

import tensorflow as tf

from bertzoo import tags
from bertzoo.postprocessing.slices import slice_texts

# B texts  W windows  T tokens  N words of all texts  C classes  E entities

AGGREGATIONS = ("first", "average", "max")


def word_probabilities(logits, windows, words, aggregation="first"):
    """Return what the network says of each word.

    Args:
        logits: Float `[W, T, C]`.
        windows: `preprocessing.windows.Windows` with words.
        words: `preprocessing.words.Words`.
        aggregation: `first`: of its first piece; `average`: the mean over its pieces; `max`: of
            the piece that is surest.

    Returns:
        Float32 `[N, C]`: probabilities of each word, zeros for a word without tokens; and int32
        `[N]`: 1 where the word has tokens.
    """
    if aggregation not in AGGREGATIONS:
        raise ValueError(
            f"aggregation must be one of {', '.join(AGGREGATIONS)}; got {aggregation!r}."
        )
    flat_logits = tf.reshape(tf.cast(logits, "float32"), [-1, logits.shape[-1]])  # (W * T, C)
    counts = (windows.word_index >= 0) & (windows.max_context > 0)
    if aggregation == "first":
        counts &= windows.first_piece > 0
    places = tf.where(tf.reshape(counts, [-1]))[:, 0]  # tokens that say something of a word
    probabilities = tf.nn.softmax(tf.gather(flat_logits, places))
    row_starts = tf.cast(words.starts.row_starts(), "int32")
    word = tf.gather(row_starts, windows.text_index)[:, None] + windows.word_index
    word = tf.gather(tf.reshape(word, [-1]), places)
    num_words = tf.size(words.starts.values)
    if aggregation == "max":
        peak = tf.reduce_max(probabilities, axis=1)
        best = tf.math.unsorted_segment_max(peak, word, num_words)
        order = tf.range(tf.size(word))
        order = tf.where(peak == tf.gather(best, word), order, tf.size(word))
        first = tf.math.unsorted_segment_min(order, word, num_words)
        probabilities = tf.where(
            (tf.range(tf.size(word)) == tf.gather(first, word))[:, None], probabilities, 0.0
        )
    seen = tf.math.unsorted_segment_sum(tf.ones_like(word), word, num_words)
    sums = tf.math.unsorted_segment_sum(probabilities, word, num_words)
    if aggregation == "average":
        sums /= tf.cast(tf.maximum(seen, 1), "float32")[:, None]
    return sums, tf.minimum(seen, 1)


def word_labels(probabilities, seen, labels):
    """Return the label of each word, int32 `[N]`: of a word without tokens `O`, or the first.

    Args:
        probabilities: Float `[N, C]`, from `word_probabilities`.
        seen: Int32 `[N]`, from the same.
        labels: Names of the classes.
    """
    prefixes = tags.read_tag_set(labels).prefixes
    outside = [index for index, prefix in enumerate(prefixes) if prefix == tags.OUTSIDE]
    label_id = tf.argmax(probabilities, axis=-1, output_type=tf.int32)
    return tf.where(seen > 0, label_id, outside[0] if outside else 0)


def decode(probabilities, seen, words, labels):
    """Return the entities of texts.

    Args:
        probabilities: Float `[N, C]`, from `word_probabilities`.
        seen: Int32 `[N]`, from the same.
        words: `preprocessing.words.Words`.
        labels: Names of the classes, in any scheme that `tags.read_tag_set` knows.

    Returns:
        A dict, E the most entities of a text, rows padded with "" and 0: `entity_text` and
        `entity_label` string `[B, E]`; `entity_start` and `entity_end` int32 `[B, E]`, code
        points; `entity_score` float32 `[B, E]`, the mean over the words; `entity_count` int32
        `[B]`.
    """
    tag_set = tags.read_tag_set(labels)
    label_id = word_labels(probabilities, seen, labels)
    prefix = tf.gather(tf.constant(tag_set.prefixes), label_id)  # (N,)
    prefix = tf.where(seen > 0, prefix, tags.OUTSIDE)
    kind = tf.gather(tf.constant(tag_set.types), label_id)
    rows = words.starts.value_rowids()
    is_first = rows != tf.concat([tf.constant([-1], rows.dtype), rows], 0)[:-1]
    before = tf.concat([[tags.OUTSIDE], prefix], 0)[:-1]
    before = tf.where(is_first, tags.OUTSIDE, before)
    new_type = kind != tf.concat([[-1], kind], 0)[:-1]
    begins = tags.begins_entity(before, prefix, new_type)

    # Every word inside belongs to the entity that began last.
    first_words = tf.where(begins)[:, 0]  # (entities of all texts,)
    total = tf.size(first_words)
    entity = tf.cumsum(tf.cast(begins, "int32")) - 1
    entity = tf.where(prefix != tags.OUTSIDE, entity, -1)  # dropped below
    ends = tf.math.unsorted_segment_max(words.ends.values, entity, total)
    score = tf.math.unsorted_segment_mean(tf.reduce_max(probabilities, axis=1), entity, total)
    starts = tf.gather(words.starts.values, first_words)
    row = tf.cast(tf.gather(rows, first_words), "int32")
    counts = tf.math.unsorted_segment_sum(tf.ones_like(row), row, tf.size(words.text))
    names = tf.constant([*tag_set.names, ""])
    columns = {
        "entity_text": slice_texts(words.text, row, starts, ends),
        "entity_label": tf.gather(names, tf.gather(kind, first_words)),
        "entity_start": starts,
        "entity_end": ends,
        "entity_score": score,
    }
    dense = {
        name: tf.RaggedTensor.from_row_lengths(values, counts, validate=False).to_tensor()
        for name, values in columns.items()
    }
    return {**dense, "entity_count": counts}
