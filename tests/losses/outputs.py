"""Random outputs of a student and a teacher, with padding, and the sums written in plain NumPy."""

import numpy as np

B, T, V, P = 3, 7, 31, 2
# Rows: one full, one padded on the right, one padded on the left.
PADDING_MASK = np.array(
    [[1, 1, 1, 1, 1, 1, 1], [1, 1, 1, 1, 0, 0, 0], [0, 0, 1, 1, 1, 1, 1]], "int32"
)
REAL = PADDING_MASK.astype(bool)


def outputs(seed, layers=2, width=20, heads=4, num_classes=5):
    """Return what a model of these sizes might give; scores of padding are masked as ours."""
    rng = np.random.default_rng(seed)

    def normal(*shape, scale=2.0):
        return rng.normal(0.0, scale, shape).astype("float32")

    def heads_of_layers():
        # Smaller, or a token's product with itself leaves nothing to the others.
        return [normal(B, heads, T, width // heads, scale=0.7) for _ in range(layers)]

    scores = [normal(B, heads, T, T) for _ in range(layers)]
    return {
        "hidden_states": [normal(B, T, width) for _ in range(layers + 1)],
        "attention_scores": [s + np.where(REAL, 0, -1e4)[:, None, None] for s in scores],
        "query": heads_of_layers(),
        "key": heads_of_layers(),
        "value": heads_of_layers(),
        "word_logits": normal(B, T, V),
        "masked_logits": normal(B, P, V),
        "class_logits": normal(B, num_classes),
        "start_logits": normal(B, T),
        "end_logits": normal(B, T),
        "embedding": normal(B, width),
    }


def float64(model):
    """Return the same in float64, in which the references calculate."""
    return {
        name: [np.float64(x) for x in value] if isinstance(value, list) else np.float64(value)
        for name, value in model.items()
    }


def softmax(x, axis=-1):
    e = np.exp(x - x.max(axis=axis, keepdims=True))
    return e / e.sum(axis=axis, keepdims=True)


def kl(p, q):
    """Return KL(p || q) of two rows of probabilities; 0 log 0 is 0."""
    keep = p > 0
    return float(np.sum(p[keep] * np.log(p[keep] / q[keep])))
