"""Learning rates over the steps of a run."""

import math

import keras
from keras import ops


@keras.saving.register_keras_serializable(package="bertzoo")
class WarmupPolynomial(keras.optimizers.schedules.LearningRateSchedule):
    """A linear warm-up, then a polynomial decay to `end` at the last step.

    Google's BERT (`optimization.py`) decays from step 0 and lets the warm-up cover the start: where
    it ends the rate jumps from its peak to the decay's `peak * (1 - warmup / steps)`. With
    `restarted` the decay begins at the peak where the warm-up ends, as in transformers and fairseq.

    Args:
        peak: The rate that the warm-up leads to.
        steps: Of the whole run.
        warmup_steps: Of the warm-up; 0 for none.
        end: The rate at and after the last step.
        power: Of the decay: 1 is linear, 0 keeps the peak.
        restarted: Whether the decay begins where the warm-up ends.

    Example:
    >>> [float(WarmupPolynomial(1.0, steps=10, warmup_steps=4)(step)) for step in (0, 2, 4, 10)]
    [0.0, 0.5, 0.6..., 0.0]
    >>> restarted = WarmupPolynomial(1.0, steps=10, warmup_steps=4, restarted=True)
    >>> [float(restarted(step)) for step in (2, 4, 7, 10)]
    [0.5, 1.0, 0.5, 0.0]
    """

    def __init__(self, peak, steps, warmup_steps=0, end=0.0, power=1.0, restarted=False):
        _check_steps(peak, steps, warmup_steps)
        if end < 0.0 or power < 0.0:
            raise ValueError(f"end and power must not be negative; got end={end}, power={power}.")
        self.peak = peak
        self.steps = steps
        self.warmup_steps = warmup_steps
        self.end = end
        self.power = power
        self.restarted = restarted

    def __call__(self, step):
        """Return the rate at a step, counted from 0."""
        step = ops.cast(step, "float32")
        first = self.warmup_steps if self.restarted else 0
        length = max(self.steps - first, 1)
        left = 1.0 - ops.clip((step - first) / length, 0.0, 1.0)
        decayed = self.end + (self.peak - self.end) * ops.power(left, self.power)
        return _warm_up(step, self.warmup_steps, self.peak, decayed)

    def get_config(self):
        """Return what `from_config` needs."""
        names = ("peak", "steps", "warmup_steps", "end", "power", "restarted")
        return {name: getattr(self, name) for name in names}


@keras.saving.register_keras_serializable(package="bertzoo")
class InverseSquareRoot(keras.optimizers.schedules.LearningRateSchedule):
    """A linear warm-up, then `peak * sqrt(warmup / step)`: for runs whose end is not settled.

    Args:
        peak: The rate that the warm-up leads to.
        warmup_steps: Of the warm-up, at least 1.

    Example:
    >>> [float(InverseSquareRoot(1.0, warmup_steps=4)(step)) for step in (0, 2, 4, 16)]
    [0.0, 0.5, 1.0, 0.5]
    """

    def __init__(self, peak, warmup_steps):
        _check_steps(peak, math.inf, warmup_steps)
        if warmup_steps < 1:
            raise ValueError(f"warmup_steps must be at least 1; got {warmup_steps}.")
        self.peak = peak
        self.warmup_steps = warmup_steps

    def __call__(self, step):
        """Return the rate at a step, counted from 0."""
        step = ops.cast(step, "float32")
        decayed = self.peak * ops.sqrt(self.warmup_steps / ops.maximum(step, 1.0))
        return _warm_up(step, self.warmup_steps, self.peak, decayed)

    def get_config(self):
        """Return what `from_config` needs."""
        return {"peak": self.peak, "warmup_steps": self.warmup_steps}


@keras.saving.register_keras_serializable(package="bertzoo")
class InTurn(keras.optimizers.schedules.LearningRateSchedule):
    """Schedules one after the other, each counted from its own begin: phases that warm up anew.

    Args:
        schedules: One for each part.
        steps: Length of each part; the last one goes on.

    Example:
    >>> first, second = WarmupPolynomial(1.0, steps=4, power=0.0), WarmupPolynomial(0.5, steps=4)
    >>> [float(InTurn([first, second], [4, 4])(step)) for step in (0, 3, 4, 6, 8)]
    [1.0, 1.0, 0.5, 0.25, 0.0]
    """

    def __init__(self, schedules, steps):
        if len(schedules) != len(steps) or not schedules:
            raise ValueError(f"got {len(schedules)} schedules and {len(steps)} lengths.")
        self.schedules = [
            keras.saving.deserialize_keras_object(one) if isinstance(one, dict) else one
            for one in schedules
        ]
        self.steps = list(steps)

    def __call__(self, step):
        """Return the rate at a step, counted from 0."""
        step, first = ops.cast(step, "float32"), 0
        rate = self.schedules[0](step)
        for length, schedule in zip(self.steps, self.schedules[1:], strict=False):
            first += length
            rate = ops.where(step >= first, schedule(ops.maximum(step - first, 0.0)), rate)
        return rate

    def get_config(self):
        """Return what `from_config` needs."""
        schedules = [keras.saving.serialize_keras_object(one) for one in self.schedules]
        return {"schedules": schedules, "steps": self.steps}


def _warm_up(step, warmup_steps, peak, decayed):
    if not warmup_steps:
        return decayed
    return ops.where(step < warmup_steps, peak * step / warmup_steps, decayed)


def _check_steps(peak, steps, warmup_steps):
    if not (peak >= 0.0 and math.isfinite(peak)):
        raise ValueError(f"the peak of a learning rate must not be negative; got {peak!r}.")
    if not 0 <= warmup_steps <= steps or steps < 1:
        raise ValueError(
            f"a schedule needs 0 <= warmup_steps <= steps and a step; got "
            f"warmup_steps={warmup_steps}, steps={steps}."
        )
