"""What our optimizers share: moments, and decisions a variable by its full path.

Keras's own optimizers differ from the published ones in ways that change results: `AdamW` has no
switch for bias correction and adds epsilon elsewhere, `Lamb` decays outside the trust ratio, an
exclusion made after `build` is ignored and none is saved, and on TensorFlow the second moment of a
sparse gradient is wrong (`layers/table.py`). So the update is written here, once for all backends.
"""

import math
import re

import keras
from keras import ops

# Google's `LayerNorm`, `layer_norm` and `bias`, by the names of our variables (and of Keras's).
NOT_DECAYED = (r"(^|/)(bias|beta|gamma)$",)


class ByPathOptimizer(keras.optimizers.Optimizer):
    """Adam's moments, with decay and learning rate of each variable decided by its path.

    Subclasses implement `_apply_update`, and may add a fused form of it.
    """

    def __init__(
        self,
        learning_rate,
        weight_decay,
        beta_1,
        beta_2,
        epsilon,
        bias_correction,
        exclude,
        layer_decay=None,
        **kwargs,
    ):
        _check_number("weight_decay", weight_decay, 0.0, math.inf)
        _check_number("beta_1", beta_1, 0.0, 1.0)
        _check_number("beta_2", beta_2, 0.0, 1.0)
        _check_number("epsilon", epsilon, 0.0, math.inf)
        if layer_decay is not None and not 0.0 < layer_decay <= 1.0:
            raise ValueError(f"layer_decay must be in (0, 1], or None; got {layer_decay!r}.")
        super().__init__(learning_rate, weight_decay=weight_decay, **kwargs)
        self.beta_1 = beta_1
        self.beta_2 = beta_2
        self.epsilon = epsilon
        self.bias_correction = bias_correction
        self.exclude = patterns_of("exclude", exclude)
        self.layer_decay = layer_decay

    def build(self, variables):
        """Make the moments, and settle what happens to each variable."""
        if self.built:
            return
        super().build(variables)
        self._momentums, self._velocities = self.add_optimizer_variables(
            variables, ["momentum", "velocity"]
        )
        paths = [variable.path for variable in variables]
        self._decays = [0.0 if matches(self.exclude, path) else self.weight_decay for path in paths]
        self._rate_factors = rate_factors(paths, self.layer_decay)

    def decays(self, path):
        """Return whether the variable with this path decays."""
        return not matches(self.exclude, path)

    def exclude_from_weight_decay(self, var_list=None, var_names=None):
        """Refuse: what is excluded is an argument, so that it is saved and cannot come too late."""
        raise ValueError(
            f"say what does not decay when you make it: {type(self).__name__}(exclude=[patterns "
            "of full variable paths])."
        )

    def update_step(self, gradient, variable, learning_rate):
        """Update one variable with its gradient."""
        self.update(gradient, variable, learning_rate)

    def update(self, gradient, variable, learning_rate, finite=None):
        """Update one variable; change nothing at all where `finite` is False.

        Args:
            gradient: Of the variable's shape.
            variable: One that the optimizer was built with.
            learning_rate: Scalar.
            finite: Boolean scalar tensor: whether the gradients of this step are numbers. None
                means that they are.
        """
        index = self._get_variable_index(variable)
        gradient = ops.cast(_dense(gradient), variable.dtype)
        rate = ops.cast(learning_rate, variable.dtype) * self._rate_factors[index]
        beta_1, beta_2 = self.beta_1, self.beta_2
        if finite is not None:
            # Without a branch, which replicas could not take together: moments that keep all of
            # themselves, and a rate of zero.
            gradient = ops.where(finite, gradient, ops.zeros_like(gradient))
            rate = ops.where(finite, rate, ops.zeros_like(rate))
            beta_1, beta_2 = (
                ops.cast(ops.where(finite, beta, 1.0), variable.dtype) for beta in (beta_1, beta_2)
            )
        self._apply_update(index, gradient, variable, rate, beta_1, beta_2)

    def _apply_update(self, index, gradient, variable, rate, beta_1, beta_2):
        raise NotImplementedError

    def _direction(self, index, gradient, variable, beta_1, beta_2):
        """Move the moments and return m / (sqrt(v) + epsilon), corrected if that was asked for."""
        momentum, velocity = self._momentums[index], self._velocities[index]
        self.assign_add(momentum, (gradient - momentum) * (1.0 - beta_1))
        self.assign_add(velocity, (ops.square(gradient) - velocity) * (1.0 - beta_2))
        correction_1, correction_2 = self._corrections(variable.dtype)
        deviation = ops.sqrt(velocity) / correction_2 + self.epsilon
        return momentum / correction_1 / deviation

    def _corrections(self, dtype):
        """Return 1 - beta_1^t and sqrt(1 - beta_2^t) for step t = 1, 2, ...; or ones."""
        if not self.bias_correction:
            return 1.0, 1.0
        step = ops.cast(self.iterations + 1, dtype)
        powers = [ops.power(ops.cast(beta, dtype), step) for beta in (self.beta_1, self.beta_2)]
        return 1.0 - powers[0], ops.sqrt(1.0 - powers[1])

    def _clip_gradients(self, grads):
        # Keras clips what each replica has and then adds up, so that N replicas may go N times as
        # far as one. Where it knows replicas (TensorFlow), the sum is clipped instead: below.
        if keras.backend.backend() == "tensorflow":
            return grads
        return super()._clip_gradients(grads)

    def _all_reduce_sum_gradients(self, grads_and_vars):
        summed = super()._all_reduce_sum_gradients(grads_and_vars)
        clipped = self._clip_sums([gradient for gradient, _ in summed])
        return [
            (gradient, variable) for gradient, (_, variable) in zip(clipped, summed, strict=True)
        ]

    def _clip_sums(self, grads):
        """Clip as Keras does; the norm of all in one pass over each, where Keras's takes three."""
        if self.clipnorm or not self.global_clipnorm:
            return super()._clip_gradients(grads)
        import tensorflow as tf

        dense = [_dense(gradient) for gradient in grads]  # the norm of rows that are added up
        return tf.clip_by_global_norm(dense, self.global_clipnorm)[0]

    def _apply_weight_decay(self, variables):
        """Do nothing: decay is part of the update, as it was published."""

    def get_config(self):
        """Return what `from_config` needs."""
        own = {
            "beta_1": self.beta_1,
            "beta_2": self.beta_2,
            "epsilon": self.epsilon,
            "bias_correction": self.bias_correction,
            "exclude": list(self.exclude),
            "layer_decay": self.layer_decay,
        }
        return {**super().get_config(), **own}


def rate_factors(paths, layer_decay):
    """Return what the learning rate of each variable is multiplied with.

    Heads and pooler learn at the full rate, the last layer at `layer_decay` of it, each layer
    below at `layer_decay` of the one above, and the embeddings at the least. ELECTRA
    (google-research/electra, optimization.py) has one more step between the head and the last
    layer.

    >>> rate_factors(["embeddings/token/embeddings", "layer_0/output/kernel",
    ...               "layer_1/output/kernel", "text_classifier/logits/kernel"], 0.5)
    [0.125, 0.25, 0.5, 1.0]
    """
    if layer_decay is None:
        return [1.0] * len(paths)
    numbers = [re.search(r"(?:^|/)layer_(\d+)/", path) for path in paths]
    layers = [None if number is None else int(number.group(1)) for number in numbers]
    top = max((layer for layer in layers if layer is not None), default=-1) + 2
    factors = []
    for path, layer in zip(paths, layers, strict=True):
        if layer is None:
            layer = -1 if re.search(r"(^|/)embeddings/", path) else top - 1
        factors.append(layer_decay ** (top - 1 - layer))
    return factors


def _dense(gradient):
    if hasattr(gradient, "indices") and hasattr(gradient, "dense_shape"):  # tf.IndexedSlices
        import tensorflow as tf

        return tf.convert_to_tensor(gradient)  # rows that occur twice are added up first
    return gradient


def matches(patterns, path):
    """Return whether any of the expressions is found in a path."""
    return any(re.search(pattern, path) for pattern in patterns)


def patterns_of(name, patterns):
    """Return the expressions as a tuple; one that cannot be compiled raises."""
    if isinstance(patterns, str):
        raise ValueError(f"{name} must be a list of regular expressions; got {patterns!r}.")
    for pattern in patterns:
        try:
            re.compile(pattern)
        except re.error as error:
            raise ValueError(f"{name} has {pattern!r}, no regular expression: {error}.") from error
    return tuple(patterns)


def _check_number(name, value, low, high):
    is_number = isinstance(value, float | int) and not isinstance(value, bool)
    if not is_number or not low <= value < high:
        raise ValueError(f"{name} must be at least {low} and below {high}; got {value!r}.")
