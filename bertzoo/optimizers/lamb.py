"""LAMB as published (You et al. 2019), which ALBERT and 76-minute BERT were trained with."""

import keras
from keras import ops

from bertzoo.optimizers.by_path import NOT_DECAYED, ByPathOptimizer, matches, patterns_of


@keras.saving.register_keras_serializable(package="bertzoo")
class Lamb(ByPathOptimizer):
    """Layer-wise adaptive moments: `w -= rate * |w| / |u| * u`.

    `u = m / (sqrt(v) + epsilon) + decay * w`: the decay is inside the ratio. Where a norm is zero,
    and for what is excluded, the ratio is 1. The defaults are google-research/albert's
    `lamb_optimizer.py`; the Model Garden and NVIDIA correct the bias.

    Args:
        learning_rate: A float, or a schedule.
        weight_decay: Multiplied with the variable, inside the ratio.
        beta_1: Decay of the mean of gradients.
        beta_2: Decay of the mean of their squares.
        epsilon: Added to the root.
        bias_correction: Whether both means are corrected for their start at zero.
        exclude: Regular expressions, searched in full variable paths: these do not decay.
        exclude_from_adaptation: The same: their ratio is 1. None for `exclude`.
        layer_decay: As for `AdamW`.
        **kwargs: As for `keras.optimizers.Optimizer`.

    Example:
    >>> classifier = TextClassifier.from_preset("bert_toy", labels=["sad", "happy"])
    >>> classifier.compile(Lamb(1.0e-3))
    """

    def __init__(
        self,
        learning_rate=1.0e-3,
        weight_decay=0.01,
        beta_1=0.9,
        beta_2=0.999,
        epsilon=1.0e-6,
        bias_correction=False,
        exclude=NOT_DECAYED,
        exclude_from_adaptation=None,
        layer_decay=None,
        name="lamb",
        **kwargs,
    ):
        super().__init__(
            learning_rate,
            weight_decay,
            beta_1,
            beta_2,
            epsilon,
            bias_correction,
            exclude,
            layer_decay,
            name=name,
            **kwargs,
        )
        if exclude_from_adaptation is not None:
            exclude_from_adaptation = patterns_of(
                "exclude_from_adaptation", exclude_from_adaptation
            )
        self.exclude_from_adaptation = exclude_from_adaptation

    def build(self, variables):
        """Make the moments, and settle what happens to each variable."""
        if self.built:
            return
        super().build(variables)
        patterns = self.exclude_from_adaptation
        patterns = self.exclude if patterns is None else patterns
        self._adapts = [not matches(patterns, variable.path) for variable in variables]

    def _apply_update(self, index, gradient, variable, rate, beta_1, beta_2):
        direction = self._direction(index, gradient, variable, beta_1, beta_2)
        direction = direction + self._decays[index] * variable
        if self._adapts[index]:
            rate = rate * _trust_ratio(variable, direction)
        self.assign_sub(variable, rate * direction)

    def get_config(self):
        """Return what `from_config` needs."""
        patterns = self.exclude_from_adaptation
        patterns = None if patterns is None else list(patterns)
        return {**super().get_config(), "exclude_from_adaptation": patterns}


def _trust_ratio(variable, direction):
    weight = ops.sqrt(ops.sum(ops.square(variable)))
    update = ops.sqrt(ops.sum(ops.square(direction)))
    one = ops.ones_like(weight)
    has_both = ops.logical_and(weight > 0, update > 0)
    return ops.where(has_both, weight / ops.where(update > 0, update, one), one)
