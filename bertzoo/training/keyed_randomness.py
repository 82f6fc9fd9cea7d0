"""Dropout that is a function of (seed, step, replica, layer) instead of a state that moves on.

Keras's dropout draws from seeds in variables: under `tf.distribute` every replica holds the same
ones and drops the same units, and they are not in a `tf.train.Checkpoint`, so that a resumed run
draws others. Here a call of a model sees, in the place of each layer's seed, one made of a key;
no layer needs to know.
"""

import contextlib

import keras
import tensorflow as tf


def seeds_of(models):
    """Return the seed states of all layers of the models, each once, in a fixed order."""
    states = {}
    for model in models:
        for variable in model.variables:
            if variable.name == "seed_generator_state":
                states[id(variable)] = variable
    return list(states.values())


def key_of(seed, *numbers):
    """Return a key, int32 `[2]`, from the run's seed and any numbers or int scalars.

    >>> first, second = key_of(3, 1, 0), key_of(3, 0, 1)
    >>> bool(tf.reduce_all(first == key_of(3, 1, 0))), bool(tf.reduce_all(first == second))
    (True, False)
    """
    key = tf.constant([seed % 2**31, 0], tf.int32)
    for number in numbers:
        key = tf.random.experimental.stateless_fold_in(key, tf.cast(number, tf.int32))
    return key


@contextlib.contextmanager
def keyed(seeds, key, tied=()):
    """Let models draw by `key`, and read tied variables as another's value.

    Args:
        seeds: From `seeds_of`.
        key: int32 `[2]`; each layer gets seeds of its own from it, and a layer that draws twice
            draws differently.
        tied: Pairs of a `keras.Variable` and the one whose value is read in its place; gradients
            go to the latter.
    """
    states = tf.random.stateless_uniform(
        [max(len(seeds), 1), 2], seed=key, minval=None, maxval=None, dtype=tf.int32
    )
    states = tf.cast(states, tf.int64)  # the dtype of Keras's states; it takes them modulo 2^31 - 2
    mapping = [(seed, states[number]) for number, seed in enumerate(seeds)]
    mapping += [(variable, tf.convert_to_tensor(source.value)) for variable, source in tied]
    with keras.StatelessScope(mapping, initialize_variables=False):
        yield
