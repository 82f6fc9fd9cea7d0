"""Logits of starts and ends to answers, in the graph: the published decoding of SQuAD.

`write_predictions` of google-research/bert's run_squad.py: the best 20 starts and ends of each
window, spans of at most 30 tokens whose start has most context in its window, the n best of all
windows without repetitions, and "no answer" where its score, the lowest of all windows, is better
by more than a threshold. Two things differ: an answer is cut from the text by offsets, where the
original searches for it, and padding is none of the best 20.
"""

import tensorflow as tf

from bertzoo.postprocessing.slices import slice_texts

# B texts  W windows  T tokens  K starts or ends of a window  M spans of all windows  N n-best

# Of run_squad.py.
N_BEST = 20
MAX_ANSWER_LENGTH = 30


def decode(
    start_logits,
    end_logits,
    windows,
    text,
    null_threshold=None,
    n_best=N_BEST,
    max_answer_length=MAX_ANSWER_LENGTH,
):
    """Return the answers to questions.

    Args:
        start_logits: Float `[W, T]`.
        end_logits: Float `[W, T]`.
        windows: `preprocessing.windows.Windows`, of texts with questions.
        text: The texts, valid UTF-8, string `[B]`.
        null_threshold: A question has no answer where the score of that, less the best answer's,
            is larger; None where every question has one.
        n_best: N.
        max_answer_length: Most tokens of an answer.

    Returns:
        A dict. Of the answer, `[B]`: `answer` string ("" for none), `score` float32 (its
        probability among the n best), `start` and `end` int32, code points (0 and 0 for none). Of
        no answer, `[B]`: `no_answer_probability`, and `null_score`, float32: its score less the
        best answer's. Of the n best, the best first, `[B, N]` padded with "" and 0:
        `answers`, `scores`, `starts`, `ends`, and `count` int32 `[B]`.
    """
    spans = _spans(start_logits, end_logits, windows, n_best, max_answer_length)
    null = tf.cast(start_logits[:, 0], "float64") + tf.cast(end_logits[:, 0], "float64")
    null = tf.math.unsorted_segment_min(null, windows.text_index, tf.size(text))  # (B,)
    strings = slice_texts(text, spans["row"], spans["start"], spans["end"])
    kept = _best_without_repetitions(spans, strings)
    row = tf.gather(spans["row"], kept)
    found = tf.math.unsorted_segment_sum(tf.ones_like(row), row, tf.size(text))  # (B,)

    def table(values, default):
        ragged = tf.RaggedTensor.from_row_lengths(tf.gather(values, kept), found, validate=False)
        return ragged.to_tensor(default, shape=[None, n_best])  # longer rows are cut

    scores = table(spans["score"], tf.constant(_NONE, "float64"))  # (B, N)
    counts = tf.minimum(found, n_best)
    if null_threshold is not None:
        # No answer takes a place among the n best if it comes before they are complete.
        better = tf.reduce_sum(tf.cast(scores >= null[:, None], "int32"), axis=1)
        counts = tf.minimum(counts, tf.where(better >= n_best, n_best, n_best - 1))
    is_kept = tf.sequence_mask(counts, n_best)
    scores = tf.where(is_kept, scores, tf.constant(_NONE, "float64"))
    # 0 for the best where there is no span at all, as the original's "empty" has.
    null_score = null - tf.where(counts > 0, scores[:, 0], 0.0)
    null_logit = null if null_threshold is not None else tf.fill(tf.shape(null), scores.dtype.min)
    probabilities = tf.nn.softmax(tf.concat([scores, null_logit[:, None]], axis=1))
    probabilities = tf.cast(probabilities, "float32")
    n_best_scores = tf.where(is_kept, probabilities[:, :-1], 0.0)
    no_answer = tf.where(counts > 0, probabilities[:, -1], 1.0)
    is_null = counts == 0
    if null_threshold is not None:
        is_null |= null_score > tf.cast(null_threshold, "float64")
    result = {
        "answers": tf.where(is_kept, table(strings, ""), ""),
        "scores": n_best_scores,
        "starts": tf.where(is_kept, table(spans["start"], 0), 0),
        "ends": tf.where(is_kept, table(spans["end"], 0), 0),
    }
    return {
        "answer": tf.where(is_null, "", result["answers"][:, 0]),
        "score": tf.where(is_null, no_answer, n_best_scores[:, 0]),
        "start": tf.where(is_null, 0, result["starts"][:, 0]),
        "end": tf.where(is_null, 0, result["ends"][:, 0]),
        "no_answer_probability": no_answer,
        "null_score": tf.cast(null_score, "float32"),
        **result,
        "count": counts,
    }


# Finite, so that a row without any span has probabilities; far below any sum of logits.
_NONE = -1.0e300


def _spans(start_logits, end_logits, windows, n_best, max_answer_length):
    # Every span that may be an answer, in the order in which the original's loops find them.
    is_token = windows.features["padding_mask"] > 0
    width = tf.minimum(n_best, tf.shape(start_logits)[1])

    def best(logits):
        logits = tf.cast(logits, "float32")
        values, places = tf.math.top_k(tf.where(is_token, logits, logits.dtype.min), width)
        return tf.cast(values, "float64"), places  # (W, K)

    def at(values, places):
        return tf.gather(values, places, batch_dims=1)

    start_values, starts = best(start_logits)
    end_values, ends = best(end_logits)
    length = ends[:, None, :] - starts[:, :, None] + 1  # (W, K, K)
    may_start = (at(windows.in_text, starts) > 0) & (at(windows.max_context, starts) > 0)
    valid = may_start[:, :, None] & (at(windows.in_text, ends) > 0)[:, None, :]
    valid &= (length >= 1) & (length <= max_answer_length)
    first, last = at(windows.starts, starts), at(windows.ends, ends)
    valid &= last[:, None, :] > first[:, :, None]  # a piece that is a space alone is no answer
    found = tf.where(valid)  # (M, 3)
    window, from_start, from_end = found[:, 0], found[:, :2], tf.gather(found, [0, 2], axis=1)
    return {
        "row": tf.gather(windows.text_index, window),
        "start": tf.gather_nd(first, from_start),
        "end": tf.gather_nd(last, from_end),
        "score": tf.gather_nd(start_values, from_start) + tf.gather_nd(end_values, from_end),
    }


def _best_without_repetitions(spans, strings):
    # The places of spans sorted by text and score, of equal strings of a text the best alone.
    # Of equal scores top_k takes the first, as Python's sort does; the second has no equal keys.
    size = tf.size(spans["score"])
    by_score = tf.math.top_k(spans["score"], size).indices
    rows = tf.cast(tf.gather(spans["row"], by_score), "int64")
    keys = rows * tf.cast(size, "int64") + tf.range(tf.cast(size, "int64"))
    order = tf.gather(by_score, tf.math.top_k(-keys, size).indices)
    unique, number = tf.unique(strings, out_idx=tf.int64)
    key = tf.cast(spans["row"], "int64") * tf.size(unique, tf.int64) + number
    unique, number = tf.unique(tf.gather(key, order))
    places = tf.range(tf.size(order))
    return tf.gather(order, tf.math.unsorted_segment_min(places, number, tf.size(unique)))
