"""Losses against what people wrote: words, classes, tags, numbers, spans.

A label below 0 is none: unlabelled text may stand beside labelled text. For multi-label and
regression, whose labels have other values, `label_weights` of the batch says it.
"""

from keras import ops

from bertzoo.losses.positions import (
    log_softmax,
    masked_positions,
    real_positions,
    row_weights,
)
from bertzoo.losses.table import loss

# B batch  T length  P predictions  V vocabulary  C classes


def labelled_rows(batch):
    """Return float32 `[B]`: 1 for rows with a label."""
    weights = row_weights(batch)
    if "label_weights" in batch:
        return weights * ops.cast(batch["label_weights"], "float32")
    if len(batch["labels"].shape) == 1 and "int" in str(batch["labels"].dtype):
        return weights * ops.cast(batch["labels"] >= 0, "float32")
    return weights


def labelled_tokens(batch):
    """Return float32 `[B, T]`: 1 for real tokens with a label."""
    return real_positions(batch) * ops.cast(batch["labels"] >= 0, "float32")


def answered_rows(batch):
    """Return float32 `[B]`: 1 for rows with an answer."""
    has_answer = ops.minimum(batch["start_positions"], batch["end_positions"]) >= 0
    return row_weights(batch) * ops.cast(has_answer, "float32")


@loss(reads=("masked_logits",), counts=masked_positions, needs_teacher=False)
def masked_lm(student, teacher, batch):
    """Cross-entropy of the true words at masked positions (Devlin et al. 2018, 3.1)."""
    return _cross_entropy(student["masked_logits"], batch["mask_labels"])


@loss(reads=("logits",), counts=labelled_rows, needs_teacher=False)
def single_label(student, teacher, batch):
    """Cross-entropy of one class a text: `labels` int `[B]`."""
    return _cross_entropy(student["logits"], batch["labels"])


@loss(reads=("logits",), counts=labelled_rows, needs_teacher=False)
def multi_label(student, teacher, batch):
    """Cross-entropy of a sigmoid a label, mean over the labels: `labels` 0 or 1, `[B, C]`."""
    logits = ops.cast(student["logits"], "float32")
    # -y log sigmoid(x) - (1 - y) log(1 - sigmoid(x)) = softplus(x) - x y.
    losses = ops.softplus(logits) - logits * ops.cast(batch["labels"], "float32")
    return ops.mean(losses, axis=-1)


@loss(reads=("logits",), counts=labelled_rows, needs_teacher=False)
def regression(student, teacher, batch):
    """Squared error of one number a text: `labels` `[B]`, logits `[B, 1]`."""
    predicted = ops.cast(student["logits"], "float32")[:, 0]
    return ops.square(predicted - ops.cast(batch["labels"], "float32"))


@loss(reads=("logits",), counts=labelled_tokens, needs_teacher=False)
def token_labels(student, teacher, batch):
    """Cross-entropy of one tag a token: `labels` int `[B, T]`, below 0 where there is none."""
    return _cross_entropy(student["logits"], batch["labels"])


@loss(reads=("start_logits", "end_logits"), counts=answered_rows, needs_teacher=False)
def spans(student, teacher, batch):
    """Cross-entropy of the first and the last token of an answer, mean of the two.

    `start_positions` and `end_positions`, int `[B]`; below 0 where there is none.
    """
    padding = 1.0 - ops.cast(ops.not_equal(batch["padding_mask"], 0), "float32")  # (B, T)
    losses = 0.0
    for end in ("start", "end"):
        logits = ops.cast(student[f"{end}_logits"], "float32") - 10000.0 * padding
        losses += _cross_entropy(logits, batch[f"{end}_positions"]) / 2.0
    return losses


def _cross_entropy(logits, labels):
    """Return `[..., V]` and int `[...]` -> float32 `[...]`; a label below 0 reads class 0."""
    labels = ops.maximum(ops.cast(labels, "int32"), 0)
    chosen = ops.take_along_axis(log_softmax(logits), labels[..., None], axis=-1)
    return -ops.squeeze(chosen, axis=-1)
