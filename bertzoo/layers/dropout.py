"""Dropout (Srivastava et al. 2014) that spends half as many random bits on a processor."""

import keras
from keras import ops

# Of a unit: a rate is met to within 2^-17.
BITS = 16


@keras.saving.register_keras_serializable(package="bertzoo")
class Dropout(keras.layers.Dropout):
    """`keras.layers.Dropout`; what it draws differs, not how it is distributed.

    Keras draws a float32 for each unit, which costs a processor a sixth of a training step at 256
    tokens. Here one int32 decides for two units, on TensorFlow without an accelerator.

    >>> units = Dropout(0.25, seed=1)(np.ones((100, 100), "float32"), training=True).numpy()
    >>> sorted({round(float(unit), 3) for unit in np.unique(units)})
    [0.0, 1.333]
    """

    def call(self, inputs, training=False):
        """Drop units while training."""
        is_plain = self.noise_shape is None and 0.0 < self.rate < 1.0
        if not training or not is_plain or not _has_processors_only():
            return super().call(inputs, training=training)
        return inputs * kept_units(
            ops.shape(inputs), self.rate, self.seed_generator, self.compute_dtype
        )


def kept_units(shape, rate, seed, dtype):
    """Return what units are multiplied with: 0 where one is dropped, and what keeps the mean.

    Args:
        shape: Of the units; of at least one dimension.
        rate: Share of those that are dropped, above 0 and below 1.
        seed: A `keras.random.SeedGenerator`.
        dtype: Of the result.
    """
    *rows, width = shape
    # The last number, 2^31 - 1, never comes; that is one of 2^32. Viewed along a dimension of 1, as
    # Keras wants to know the one that is divided.
    pairs = (*rows, (width + 1) // 2, 1)
    pairs = keras.random.randint(pairs, -(2**31), 2**31 - 1, "int32", seed)
    bits = ops.reshape(ops.view(pairs, "int16"), (*rows, -1))[..., :width]
    dropped = min(max(round(rate * 2**BITS), 1), 2**BITS - 1)
    kept = ops.greater_equal(bits, ops.cast(dropped - 2 ** (BITS - 1), "int16"))
    return ops.cast(kept, dtype) * (2**BITS / (2**BITS - dropped))


def _has_processors_only():
    if keras.backend.backend() != "tensorflow":
        return False
    return all(device.startswith("cpu") for device in keras.distribution.list_devices())
