"""Answers for the windows of a long text to one answer for the text, in core TensorFlow ops."""

import tensorflow as tf

# B texts  W windows of all texts  C classes

POOLINGS = ("mean_logits", "max_logits", "mean_probabilities", "max_probabilities")


def pool_windows(logits, text_index, num_texts, pooling, problem="single_label"):
    """Return the logits of texts from those of their windows.

    Args:
        logits: Float32 `[W, C]`.
        text_index: Int32 `[W]`, the text of each window, ascending; every text has one at least.
        num_texts: B, int32.
        pooling: `mean_logits` or `max_logits` pool what the network says; `mean_probabilities` or
            `max_probabilities` pool its probabilities, and what comes out are logits of those (for
            one label a text, scaled to a sum of 1).
        problem: Of the head; the numbers of a `regression` have no probabilities.

    Returns:
        Float32 `[B, C]`.

    Raises:
        ValueError: For an unknown pooling, or probabilities of a regression.

    Example:
    >>> logits = tf.constant([[0.0, 2.0], [4.0, 0.0], [1.0, 1.0]])
    >>> pool_windows(logits, tf.constant([0, 0, 1]), 2, "mean_logits").numpy().tolist()
    [[2.0, 1.0], [1.0, 1.0]]
    """
    check_pooling(pooling, problem)
    how, of_what = pooling.split("_")
    segment = tf.math.unsorted_segment_mean if how == "mean" else tf.math.unsorted_segment_max
    if of_what == "logits":
        return segment(logits, text_index, num_texts)
    if problem == "single_label":
        pooled = segment(tf.nn.softmax(logits), text_index, num_texts)  # (B, C)
        return tf.math.log(tf.maximum(pooled, 1.0e-30))
    # Each tail for itself: 1 - p of a p near 1 has no digits left.
    there, absent = tf.sigmoid(logits), tf.sigmoid(-logits)
    there = segment(there, text_index, num_texts)
    if how == "mean":
        absent = segment(absent, text_index, num_texts)
    else:
        absent = -segment(-absent, text_index, num_texts)
    tiny = 1.0e-30
    return tf.math.log(tf.maximum(there, tiny)) - tf.math.log(tf.maximum(absent, tiny))


def check_pooling(pooling, problem):
    """Raise for a pooling that does not exist, or not for this problem."""
    if pooling not in POOLINGS:
        raise ValueError(f"windows must be one of {', '.join(POOLINGS)}; got {pooling!r}.")
    if problem == "regression" and pooling.endswith("probabilities"):
        raise ValueError(
            f"a regression has no probabilities: windows must be mean_logits or max_logits; got "
            f"{pooling!r}."
        )
