"""The dense layer: exact where it trains in bfloat16, Keras's own everywhere else."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from bertzoo.layers.dense import Dense

ROWS, WIDTH, UNITS = 4096, 8, 6


def layer(cls, dtype, activation=None):
    made = cls(UNITS, activation=activation, dtype=dtype)
    made.build((None, WIDTH))
    random = np.random.default_rng(2)
    made.set_weights([random.normal(size=(WIDTH, UNITS)), random.normal(size=UNITS)])
    return made


def gradients(made, training=True):
    """Return the gradients of kernel and bias for upstream gradients of many rows."""
    random = np.random.default_rng(3)
    inputs = tf.constant(random.normal(size=(ROWS, WIDTH)), "float32")
    upstream = tf.constant(random.normal(size=(ROWS, UNITS)), "float32")
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(tf.cast(made(inputs, training=training), "float32") * upstream)
    return [g.numpy() for g in tape.gradient(loss, [made.kernel.value, made.bias.value])]


def error(found, expected):
    return np.linalg.norm(found - expected) / np.linalg.norm(expected)


def test_a_bias_learns_from_an_exact_sum_in_bfloat16():
    _, exact = gradients(layer(Dense, "float32"))
    _, ours = gradients(layer(Dense, "mixed_bfloat16"))
    assert error(ours, exact) < 5e-3
    # What this layer is for: where Keras's own is as good, it can go.
    _, theirs = gradients(layer(keras.layers.Dense, "mixed_bfloat16"))
    assert error(theirs, exact) > 2e-2


@pytest.mark.parametrize("activation", [None, "tanh", "gelu"])
@pytest.mark.parametrize(("dtype", "training"), [("float32", True), ("mixed_bfloat16", False)])
def test_otherwise_it_is_keras_own(dtype, training, activation):
    ours, theirs = (layer(cls, dtype, activation) for cls in (Dense, keras.layers.Dense))
    inputs = np.random.default_rng(4).normal(size=(5, WIDTH)).astype("float32")
    np.testing.assert_array_equal(
        np.asarray(ours(inputs, training=training), "float32"),
        np.asarray(theirs(inputs, training=training), "float32"),
    )


def test_an_activation_is_computed_in_float32_where_it_trains():
    made = layer(Dense, "mixed_bfloat16", "gelu")
    inputs = np.random.default_rng(4).normal(size=(64, WIDTH)).astype("float32")
    found = np.asarray(made(inputs, training=True), "float32")
    sums = layer(Dense, "mixed_bfloat16")(inputs, training=True)
    expected = keras.ops.gelu(tf.cast(sums, "float32"), approximate=False)
    # One rounding to 8 bits.
    np.testing.assert_allclose(found, tf.cast(tf.cast(expected, "bfloat16"), "float32"), rtol=1e-7)


def test_a_layer_without_bias_and_one_of_int8_compute():
    made = Dense(UNITS, use_bias=False, dtype="mixed_bfloat16")
    made.build((None, WIDTH))
    assert made(np.ones((2, WIDTH)), training=True).shape == (2, UNITS)
    made = layer(Dense, "float32")
    inputs = np.random.default_rng(4).normal(size=(5, WIDTH)).astype("float32")
    before = made(inputs).numpy()
    made.quantize("int8")
    assert made.kernel_scale is not None
    np.testing.assert_allclose(made(inputs), before, atol=0.05)
