"""What sentence embeddings learn from, one loss a row (Reimers & Gurevych 2019; Henderson 2017).

Every function returns the loss of each anchor, not a mean: a training loop sums them over all its
replicas and divides by their number. `multiple_negatives` takes candidates from anywhere, as the
gathered texts of all replicas; `positives` says which of them belongs to which anchor.
"""

from keras import ops

# B anchors  M candidates  D width  C classes


def normalized(vectors):
    """Return vectors of length 1; zeros stay zeros.

    >>> normalized(np.array([[3.0, 4.0]])).numpy().round(1).tolist()
    [[0.6, 0.8]]
    """
    norm = ops.sqrt(ops.sum(ops.square(vectors), axis=-1, keepdims=True))
    return vectors / ops.maximum(norm, 1.0e-12)


def multiple_negatives(anchors, candidates, positives, scale=20.0, excluded=None):
    """Cross-entropy of finding an anchor's candidate among all, by cosine times `scale`.

    Args:
        anchors: Float `[B, D]`.
        candidates: Float `[M, D]`, the positives of all anchors and any other negatives.
        positives: Int `[B]`, the row of each anchor's positive.
        scale: What the cosines are multiplied by: 20, sentence-transformers' default.
        excluded: Bool `[B, M]` of candidates that are no negatives for an anchor, as those that
            are the same text; the positive counts in any case. None for none.

    Returns:
        The losses, float `[B]`.
    """
    scores = scale * ops.matmul(normalized(anchors), ops.transpose(normalized(candidates)))
    own = ops.one_hot(positives, ops.shape(candidates)[0], dtype=scores.dtype)  # (B, M)
    if excluded is not None:
        # Beyond any difference of two scores (2 * scale), so exactly zero after exp.
        banned = ops.cast(excluded, scores.dtype) * (1.0 - own)
        scores = scores - 1.0e4 * banned
    return ops.logsumexp(scores, axis=1) - ops.sum(scores * own, axis=1)


def cosine_error(first, second, scores):
    """Return the squared difference of cosine and score, `[B]`, of vectors `[B, D]`."""
    cosine = ops.sum(normalized(first) * normalized(second), axis=-1)
    return ops.square(cosine - ops.cast(scores, cosine.dtype))


def pair_features(first, second):
    """Return `(u, v, |u - v|)`, `[B, 3 D]`, of vectors `[B, D]`: what an NLI classifier reads."""
    return ops.concatenate([first, second, ops.abs(first - second)], axis=-1)


def softmax_error(logits, labels):
    """Return the cross-entropy, `[B]`, of logits `[B, C]` and labels, int `[B]`."""
    own = ops.one_hot(labels, logits.shape[-1], dtype=logits.dtype)
    return ops.logsumexp(logits, axis=-1) - ops.sum(logits * own, axis=-1)


def triplet_error(anchors, positives, negatives, margin=1.0):
    """Return max(|a - p| - |a - n| + margin, 0), `[B]`, of vectors `[B, D]`; margin 1 (SBERT)."""
    near, far = _distance(anchors, positives), _distance(anchors, negatives)
    return ops.maximum(near - far + margin, 0.0)


def _distance(first, second):
    # 1e-6 as torch.nn.PairwiseDistance adds; it also keeps the root's gradient finite at 0.
    return ops.sqrt(ops.sum(ops.square(first - second + 1.0e-6), axis=-1))
