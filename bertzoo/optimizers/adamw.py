"""AdamW as BERT was trained with it, and as it is fine-tuned with (Loshchilov & Hutter 2017)."""

import keras

from bertzoo.optimizers.by_path import NOT_DECAYED, ByPathOptimizer


@keras.saving.register_keras_serializable(package="bertzoo")
class AdamW(ByPathOptimizer):
    """Adam with decoupled weight decay: `w -= rate * (m / (sqrt(v) + epsilon) + decay * w)`.

    The defaults are those of google-research/bert `optimization.py`, but for `bias_correction`,
    which that leaves out: pretraining recipes turn it off, and fine-tuning is steadier with it
    (it is then torch's AdamW). Epsilon is added to the root in either case.

    Args:
        learning_rate: A float, or a schedule.
        weight_decay: Multiplied with the learning rate and the variable.
        beta_1: Decay of the mean of gradients.
        beta_2: Decay of the mean of their squares.
        epsilon: Added to the root.
        bias_correction: Whether both means are corrected for their start at zero.
        exclude: Regular expressions, searched in full variable paths such as
            `layer_0/attention/query/bias`: these do not decay. Biases and layer norms by default.
        layer_decay: Factor of the learning rate from each layer to the one below, as ELECTRA's
            fine-tuning; None for the same rate everywhere. See `by_path.rate_factors`.
        fused: Whether TensorFlow's fused operation does the work where it can; the numbers are the
            same to rounding.
        **kwargs: As for `keras.optimizers.Optimizer`, as `global_clipnorm`.

    Example:
    >>> classifier = TextClassifier.from_preset("bert_toy", labels=["sad", "happy"])
    >>> classifier.compile(AdamW(2.0e-5, layer_decay=0.9))
    >>> classifier.fit(["bad", "good"], ["sad", "happy"], verbose=0).epoch
    [0]
    """

    def __init__(
        self,
        learning_rate=5.0e-5,
        weight_decay=0.01,
        beta_1=0.9,
        beta_2=0.999,
        epsilon=1.0e-6,
        bias_correction=True,
        exclude=NOT_DECAYED,
        layer_decay=None,
        fused=True,
        name="adamw",
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
        self.fused = fused

    def _apply_update(self, index, gradient, variable, rate, beta_1, beta_2):
        decay = self._decays[index]
        if decay:
            # Assigned, not subtracted: 2 passes over the array in the place of 5.
            self.assign(variable, variable * (1.0 - rate * decay))
        if self._can_fuse(variable):
            self._fused(index, gradient, variable, rate, beta_1, beta_2)
        else:
            direction = self._direction(index, gradient, variable, beta_1, beta_2)
            self.assign_sub(variable, rate * direction)

    def _can_fuse(self, variable):
        return (
            self.fused
            and keras.backend.backend() == "tensorflow"
            and keras.backend.standardize_dtype(variable.dtype) == "float32"
        )

    def _fused(self, index, gradient, variable, rate, beta_1, beta_2):
        """Do it in one pass over the four arrays: 3 times as fast as Keras's AdamW on CPU.

        The operation computes `rate * sqrt(1 - power_2) / (1 - power_1) * m / (sqrt(v) + e)`: with
        powers of zero it corrects nothing, and e = epsilon * sqrt(1 - power_2) makes it add
        epsilon to the corrected root, as torch does.
        """
        import tensorflow as tf

        correction_1, correction_2 = self._corrections("float32")
        tf.raw_ops.ResourceApplyAdam(
            var=variable.handle,
            m=self._momentums[index].value.handle,
            v=self._velocities[index].value.handle,
            beta1_power=0.0,
            beta2_power=0.0,
            lr=rate * correction_2 / correction_1,
            beta1=beta_1,
            beta2=beta_2,
            epsilon=self.epsilon * correction_2,
            grad=gradient,
        )

    def get_config(self):
        """Return what `from_config` needs."""
        return {**super().get_config(), "fused": self.fused}
