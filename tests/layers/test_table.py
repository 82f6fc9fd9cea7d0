"""A token that occurs twice: its gradient is one sum, to every optimizer."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from bertzoo.layers.table import Table

IDS = np.array([[1, 1, 3]], "int32")
UPSTREAM = np.array([[[1.0], [3.0], [5.0]]], "float32")


def second_moment(layer, optimizer):
    """Return Adam's second moment of each row after one step, times what it was weighed with."""
    layer.build((None, None))
    (variable,) = layer.trainable_variables
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(layer(IDS) * UPSTREAM)
    optimizer.build([variable])
    optimizer.apply([tape.gradient(loss, variable.value)])
    (velocity,) = [v for v in optimizer.variables if "velocity" in v.path]
    return velocity.numpy()[:, 0] / (1.0 - 0.5)


@pytest.mark.parametrize("make", [keras.optimizers.Adam, keras.optimizers.AdamW])
def test_the_second_moment_of_a_repeated_token_is_that_of_its_sum(make):
    moment = second_moment(Table(4, 1, initializer="ones"), make(beta_2=0.5))
    np.testing.assert_allclose(moment, [0, (1 + 3) ** 2, 0, 5**2], rtol=1e-5)


@pytest.mark.parametrize("make", [keras.optimizers.Adam, keras.optimizers.AdamW])
def test_that_of_keras_own_table_and_optimizer_is_not(make):
    """Each occurrence is squared for itself, 1 + 9: that is why `Table` is here."""
    moment = second_moment(keras.layers.Embedding(4, 1), make(beta_2=0.5))
    np.testing.assert_allclose(moment, [0, 1**2 + 3**2, 0, 5**2], rtol=1e-5)
