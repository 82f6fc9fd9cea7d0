"""Losses between logits: soft targets of words, tags, classes and spans (Hinton et al. 2015)."""

from keras import ops

from bertzoo.losses.positions import (
    check_same,
    kl_divergence,
    log_softmax,
    masked_positions,
    real_positions,
    row_weights,
)
from bertzoo.losses.table import loss

# B batch  T length  P predictions  V vocabulary  C classes


@loss(reads=("logits",), counts=real_positions)
def soft_targets(student, teacher, batch, temperature=2.0):
    """KL(teacher || student) at a temperature T, times T^2, at every real position.

    Over the words of a masked language model (Sanh et al. 2019, L_ce; T = 2 in its recipe), or
    over the tags of a token classifier: logits are `[B, T, V]`.
    """
    return _softened("soft_targets", student["logits"], teacher["logits"], temperature)


@loss(reads=("masked_logits",), counts=masked_positions)
def masked_soft_targets(student, teacher, batch, temperature=2.0):
    """The same over the words at masked positions alone (`restrict_ce_to_mask`), `[B, P, V]`."""
    one, other = student["masked_logits"], teacher["masked_logits"]
    return _softened("masked_soft_targets", one, other, temperature)


@loss(reads=("logits",), counts=row_weights)
def soft_labels(student, teacher, batch, temperature=2.0):
    """The same over the classes of a text, `[B, C]` (Hinton et al. 2015)."""
    return _softened("soft_labels", student["logits"], teacher["logits"], temperature)


@loss(reads=("logits",), counts=row_weights)
def soft_cross_entropy(student, teacher, batch, temperature=1.0):
    """Cross-entropy of the student under the teacher's probabilities: TinyBERT's prediction loss.

    Jiao et al. 2019, equation 10. It differs from KL by the teacher's entropy, and has no T^2.
    Its authors' code also divides by the number of classes, which this does not.
    """
    check_same("soft_cross_entropy", student["logits"], teacher["logits"], -1, "classes")
    probabilities = ops.exp(log_softmax(teacher["logits"], temperature))
    return -ops.sum(probabilities * log_softmax(student["logits"], temperature), axis=-1)


@loss(reads=("logits",), counts=row_weights)
def soft_multi_label(student, teacher, batch, temperature=1.0):
    """KL of one Bernoulli distribution a label, times T^2, mean over the labels.

    For classifiers whose labels do not exclude each other (Adhikari et al. 2019 for Reuters).
    """
    one, other = (ops.cast(x["logits"], "float32") / temperature for x in (student, teacher))
    check_same("soft_multi_label", one, other, -1, "labels")
    probability = ops.sigmoid(other)
    # log sigmoid(x) = -softplus(-x); log(1 - sigmoid(x)) = -softplus(x).
    divergence = probability * (ops.softplus(-one) - ops.softplus(-other))
    divergence += (1.0 - probability) * (ops.softplus(one) - ops.softplus(other))
    return ops.mean(divergence, axis=-1) * temperature**2


@loss(reads=("logits",), counts=row_weights)
def logits_mse(student, teacher, batch):
    """Squared difference of logits, mean over classes (Tang et al. 2019); also for regressions."""
    one, other = (ops.cast(x["logits"], "float32") for x in (student, teacher))
    check_same("logits_mse", one, other, -1, "logits")
    return ops.mean(ops.square(one - other), axis=-1)


@loss(reads=("start_logits", "end_logits"), counts=row_weights)
def soft_spans(student, teacher, batch, temperature=2.0):
    """KL over the positions of start and of end, times T^2, mean of the two (`run_squad_w_distil`).

    Positions of padding are left out of both distributions.
    """
    padding = 1.0 - ops.cast(ops.not_equal(batch["padding_mask"], 0), "float32")  # (B, T)
    divergences = []
    for name in ("start_logits", "end_logits"):
        one, other = (ops.cast(x[name], "float32") - 10000.0 * padding for x in (student, teacher))
        divergences.append(kl_divergence(other, one, temperature))
    return sum(divergences) / 2.0 * temperature**2


def _softened(name, student, teacher, temperature):
    check_same(name, student, teacher, -1, "words or classes")
    return kl_divergence(teacher, student, temperature) * temperature**2
