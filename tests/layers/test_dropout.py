"""Dropout: what it drops, how often, and when it is Keras's own."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import ops

from bertzoo.layers import dropout
from bertzoo.layers.dropout import Dropout
from bertzoo.training.keyed_randomness import key_of, keyed


@pytest.mark.parametrize("rate", [0.1, 0.5, 0.9])
def test_a_share_of_the_units_is_dropped_and_the_mean_stays(rate):
    units = ops.convert_to_numpy(
        Dropout(rate, seed=1)(np.ones((1000, 1001), "float32"), training=True)
    )
    kept = units != 0
    error = np.sqrt(rate * (1 - rate) / units.size)
    assert abs(kept.mean() - (1 - rate)) < 4 * error + 2**-16
    np.testing.assert_allclose(np.unique(units), [0, 1 / (1 - rate)], rtol=2e-4)
    # Neighbours, of which two come from one number, are dropped without regard to each other.
    for first, second in ((kept[:, :-1:2], kept[:, 1::2]), (kept[:-1], kept[1:])):
        both = (~first & ~second).mean()
        assert abs(both - rate**2) < 5 * rate / np.sqrt(first.size)
    for axis in (0, 1):
        assert (kept.mean(axis=axis) < 1).all()


@pytest.mark.parametrize("shape", [(7,), (3, 5), (2, 3, 4, 6), (2, 0), (4, 1)])
@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16"])
def test_shape_and_dtype_stay(shape, dtype):
    units = Dropout(0.5, dtype=dtype)(ops.ones(shape, dtype), training=True)
    assert tuple(units.shape) == shape
    assert keras.backend.standardize_dtype(units.dtype) == dtype


def test_lengths_that_are_known_late():
    layer = Dropout(0.5, seed=3)

    @tf.function(input_signature=[tf.TensorSpec([None, None, None])])
    def run(units):
        return layer(units, training=True)

    for shape in ((2, 3, 5), (1, 4, 8)):
        assert set(np.unique(run(tf.ones(shape)))) <= {0.0, 2.0}


def test_the_gradient_is_what_the_units_were_multiplied_with():
    units = tf.ones((20, 31))
    with tf.GradientTape() as tape:
        tape.watch(units)
        result = Dropout(0.3, seed=1)(units, training=True)
    np.testing.assert_array_equal(tape.gradient(result, units), result)


def test_without_training_or_rate_nothing_is_dropped():
    units = np.random.default_rng(0).normal(size=(4, 6)).astype("float32")
    for layer, training in ((Dropout(0.5), False), (Dropout(0.0), True), (Dropout(0.5), None)):
        np.testing.assert_array_equal(layer(units, training=training), units)


def test_the_same_seed_and_the_same_key_drop_the_same():
    ones = np.ones((8, 64), "float32")
    first, second = Dropout(0.5, seed=4), Dropout(0.5, seed=4)
    drawn = [first(ones, training=True).numpy() for _ in range(2)]
    np.testing.assert_array_equal(drawn[0], second(ones, training=True))
    assert (drawn[0] != drawn[1]).any()
    results = []
    for step in (1, 1, 2):
        with keyed([first.seed_generator.state], key_of(9, step)):
            results.append(first(ones, training=True).numpy())
    np.testing.assert_array_equal(results[0], results[1])
    assert (results[0] != results[2]).any()


@pytest.mark.parametrize(("backend", "devices"), [("jax", ["cpu:0"]), ("tensorflow", ["gpu:0"])])
def test_elsewhere_it_is_keras_own(backend, devices, monkeypatch):
    ones = np.ones((4, 64), "float32")
    plain = keras.layers.Dropout(0.5, seed=4)(ones, training=True)
    assert (np.array(Dropout(0.5, seed=4)(ones, training=True)) != np.array(plain)).any()
    monkeypatch.setattr(keras.distribution, "list_devices", lambda: devices)
    monkeypatch.setattr(keras.backend, "backend", lambda: backend)
    assert dropout._has_processors_only() is False
    np.testing.assert_array_equal(Dropout(0.5, seed=4)(ones, training=True), plain)


def test_it_is_compiled_by_xla():
    layer = Dropout(0.5, seed=3)
    units = tf.function(lambda: layer(tf.ones((4, 7)), training=True), jit_compile=True)()
    assert set(np.unique(units)) <= {0.0, 2.0}
