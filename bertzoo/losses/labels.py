"""Losses against what people wrote: words, classes, tags, numbers, spans.

A label below 0 is none: unlabelled text may stand beside labelled text. For multi-label and
regression, whose labels have other values, `label_weights` of the batch says it.
"""

from keras import ops

from bertzoo.losses.positions import log_softmax, real_positions, row_weights, total
from bertzoo.losses.table import loss

# B batch  T length  P predictions  V vocabulary  C classes


@loss(reads=("masked_logits",), needs_teacher=False)
def masked_lm(student, teacher, batch):
    """Cross-entropy of the true words at masked positions (Devlin et al. 2018, 3.1)."""
    return total(
        _cross_entropy(student["masked_logits"], batch["mask_labels"]), batch["mask_weights"]
    )


@loss(reads=("logits",), needs_teacher=False)
def single_label(student, teacher, batch):
    """Cross-entropy of one class a text: `labels` int `[B]`."""
    labels = batch["labels"]
    weights = row_weights(batch) * ops.cast(labels >= 0, "float32")
    return total(_cross_entropy(student["logits"], labels), weights)


@loss(reads=("logits",), needs_teacher=False)
def multi_label(student, teacher, batch):
    """Cross-entropy of a sigmoid a label, mean over the labels: `labels` 0 or 1, `[B, C]`."""
    logits = ops.cast(student["logits"], "float32")
    labels = ops.cast(batch["labels"], "float32")
    # -y log sigmoid(x) - (1 - y) log(1 - sigmoid(x)) = softplus(x) - x y.
    mean = ops.mean(ops.softplus(logits) - logits * labels, axis=-1)
    return total(mean, row_weights(batch) * _label_weights(batch))


@loss(reads=("logits",), needs_teacher=False)
def regression(student, teacher, batch):
    """Squared error of one number a text: `labels` `[B]`, logits `[B, 1]`."""
    error = ops.cast(student["logits"], "float32")[:, 0] - ops.cast(batch["labels"], "float32")
    return total(ops.square(error), row_weights(batch) * _label_weights(batch))


@loss(reads=("logits",), needs_teacher=False)
def token_labels(student, teacher, batch):
    """Cross-entropy of one tag a token: `labels` int `[B, T]`, below 0 where there is none."""
    labels = batch["labels"]
    weights = real_positions(batch) * ops.cast(labels >= 0, "float32")
    return total(_cross_entropy(student["logits"], labels), weights)


@loss(reads=("start_logits", "end_logits"), needs_teacher=False)
def spans(student, teacher, batch):
    """Cross-entropy of the first and the last token of an answer, mean of the two.

    `start_positions` and `end_positions`, int `[B]`; below 0 where there is none.
    """
    padding = 1.0 - ops.cast(ops.not_equal(batch["padding_mask"], 0), "float32")  # (B, T)
    losses, weights = [], row_weights(batch)
    for end in ("start", "end"):
        positions = batch[f"{end}_positions"]
        weights = weights * ops.cast(positions >= 0, "float32")
        logits = ops.cast(student[f"{end}_logits"], "float32") - 10000.0 * padding
        losses.append(_cross_entropy(logits, positions))
    return total(sum(losses) / 2.0, weights)


def _cross_entropy(logits, labels):
    """Return `[..., V]` and int `[...]` -> float32 `[...]`; a label below 0 reads class 0."""
    labels = ops.maximum(ops.cast(labels, "int32"), 0)
    chosen = ops.take_along_axis(log_softmax(logits), labels[..., None], axis=-1)
    return -ops.squeeze(chosen, axis=-1)


def _label_weights(batch):
    if "label_weights" in batch:
        return ops.cast(batch["label_weights"], "float32")
    return ops.ones_like(row_weights(batch))
