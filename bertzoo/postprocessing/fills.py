"""Logits of masked places to words, in the graph (Devlin et al. 2018, section 3.1)."""

import tensorflow as tf

# B batch  P predictions  V vocabulary  K words for one place


def best_fills(logits, mask_weights, tokens, top_k):
    """Return the most probable words of each masked place.

    Args:
        logits: Float `[B, P, V]`; rows of the table beyond the vocabulary are padding.
        mask_weights: Int32 `[B, P]`: 1 for a place, 0 where a text has fewer places than others.
        tokens: String tensor: the vocabulary, at most V.
        top_k: K.

    Returns:
        A dict: `fill_token` string `[B, P, K]` and `fill_score` float32 `[B, P, K]`, the most
        probable first, empty and 0 beyond a text's own places; `fill_count` int32 `[B]`, places
        of each text.

    Example:
    >>> logits = tf.math.log([[[0.2, 0.5, 0.3]]])
    >>> fills = best_fills(logits, tf.constant([[1]]), tf.constant(["a", "b", "c"]), top_k=2)
    >>> fills["fill_token"].numpy().tolist(), fills["fill_count"].numpy().tolist()
    ([[[b'b', b'c']]], [1])
    """
    num_words = tokens.shape[0]
    probabilities = tf.nn.softmax(tf.cast(logits[:, :, :num_words], tf.float32), axis=-1)
    scores, ids = tf.math.top_k(probabilities, k=min(top_k, num_words))  # (B, P, K)
    is_place = tf.cast(mask_weights, tf.bool)[:, :, None]  # (B, P, 1)
    return {
        "fill_token": tf.where(is_place, tf.gather(tokens, ids), ""),
        "fill_score": tf.where(is_place, scores, 0.0),
        "fill_count": tf.reduce_sum(mask_weights, axis=1),
    }
