"""Losses between logits: soft targets of words, classes, tags and spans (Hinton et al. 2015)."""

from keras import ops

from bertzoo.losses.positions import (
    check_same,
    kl_divergence,
    log_softmax,
    real_positions,
    row_weights,
    total,
)
from bertzoo.losses.table import loss

# B batch  T length  P predictions  V vocabulary  C classes


@loss(reads=("logits",))
def soft_targets(student, teacher, batch, temperature=2.0):
    """KL(teacher || student) at a temperature T, times T^2 (Hinton et al. 2015; Sanh et al. 2019).

    Over the vocabulary at every real position, over the tags of every real token, or over the
    classes of a text: where `logits` are `[B, T, V]`, real positions count, where they are
    `[B, C]`, rows. A student at its default in DistilBERT's recipe has T = 2.
    """
    check_same("soft_targets", student["logits"], teacher["logits"], -1, "words or classes")
    divergence = kl_divergence(teacher["logits"], student["logits"], temperature)
    return total(divergence * temperature**2, _weights_of(student["logits"], batch))


@loss(reads=("masked_logits",))
def masked_soft_targets(student, teacher, batch, temperature=2.0):
    """The same over the vocabulary at masked positions alone (`restrict_ce_to_mask`)."""
    one, other = student["masked_logits"], teacher["masked_logits"]  # (B, P, V)
    check_same("masked_soft_targets", one, other, -1, "words")
    divergence = kl_divergence(other, one, temperature)
    return total(divergence * temperature**2, batch["mask_weights"])


@loss(reads=("logits",))
def soft_cross_entropy(student, teacher, batch, temperature=1.0):
    """Cross-entropy of the student under the teacher's probabilities: TinyBERT's prediction loss.

    Jiao et al. 2019, equation 10. It differs from KL by the teacher's entropy, and has no T^2.
    Its authors' code also divides by the number of classes, which this does not.
    """
    check_same("soft_cross_entropy", student["logits"], teacher["logits"], -1, "classes")
    probabilities = ops.exp(log_softmax(teacher["logits"], temperature))
    entropy = -ops.sum(probabilities * log_softmax(student["logits"], temperature), axis=-1)
    return total(entropy, _weights_of(student["logits"], batch))


@loss(reads=("logits",))
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
    mean = ops.mean(divergence, axis=-1) * temperature**2
    return total(mean, _weights_of(student["logits"], batch))


@loss(reads=("logits",))
def logits_mse(student, teacher, batch):
    """Squared difference of logits, mean over classes (Tang et al. 2019); also for regressions."""
    one, other = (ops.cast(x["logits"], "float32") for x in (student, teacher))
    check_same("logits_mse", one, other, -1, "logits")
    mean = ops.mean(ops.square(one - other), axis=-1)
    return total(mean, _weights_of(student["logits"], batch))


@loss(reads=("start_logits", "end_logits"))
def soft_spans(student, teacher, batch, temperature=2.0):
    """KL over the positions of start and of end, times T^2, mean of the two (`run_squad_w_distil`).

    Positions of padding are left out of both distributions.
    """
    padding = 1.0 - ops.cast(ops.not_equal(batch["padding_mask"], 0), "float32")  # (B, T)
    divergences = []
    for name in ("start_logits", "end_logits"):
        one, other = (ops.cast(x[name], "float32") - 10000.0 * padding for x in (student, teacher))
        divergences.append(kl_divergence(other, one, temperature))
    return total(sum(divergences) / 2.0 * temperature**2, row_weights(batch))


def _weights_of(logits, batch):
    """Return what counts: rows for `[B, C]`, real positions for `[B, T, C]`."""
    return row_weights(batch) if len(logits.shape) == 2 else real_positions(batch)
