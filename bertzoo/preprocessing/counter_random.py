"""Random numbers that are a function of their place: Threefry-2x32 with 20 rounds, in the graph.

Salmon et al. 2011, "Parallel random numbers: as easy as 1, 2, 3"; JAX's generator. TensorFlow's
`tf.random.stateless_*` take one seed for a whole tensor; here every example of a batch has a key
of its own, so that its numbers do not depend on what else is in the batch, on which replica or
after which restart. Additions, rotations and exclusive ors of 32 bits: the same on every device,
with XLA or without.
"""

import tensorflow as tf

# Constants of Threefry-2x32: the rotations, and the parity of the key schedule.
_ROTATIONS = ((13, 15, 26, 6), (17, 29, 16, 24))
_PARITY = 0x1BD11BDA


def threefry(key, counter):
    """Return two random words for each counter.

    Args:
        key: Two uint32 tensors.
        counter: Two uint32 tensors; shapes broadcast with the key's.

    Returns:
        Two uint32 tensors.

    Example:
    >>> zero = tf.zeros([], tf.uint32)
    >>> [hex(int(word)) for word in threefry((zero, zero), (zero, zero))]
    ['0x6b200159', '0x99ba4efe']
    """
    parity = tf.bitwise.bitwise_xor(tf.bitwise.bitwise_xor(*key), _word(_PARITY))
    first, second = counter[0] + key[0], counter[1] + key[1]
    # A loop's tensors keep their shape.
    first, second = first + tf.zeros_like(second), second + tf.zeros_like(first)

    # A loop, as in JAX: written out, XLA fuses the twenty rounds and compiles them for minutes.
    def four_rounds(group, first, second, keys, rotations):
        for number in range(4):
            first = first + second
            second = tf.bitwise.bitwise_xor(_rotate(second, rotations[0][number]), first)
        first, second = first + keys[1], second + keys[2] + tf.cast(group + 1, tf.uint32)
        return group + 1, first, second, (*keys[1:], keys[0]), rotations[::-1]

    rotations = [tf.constant(numbers, tf.uint32) for numbers in _ROTATIONS]
    state = (0, first, second, (*key, parity), rotations)
    _, first, second, _, _ = tf.while_loop(lambda group, *_: group < 5, four_rounds, state)
    return first, second


def example_keys(seed, epoch, index):
    """Return a key for each example: a function of (seed, epoch, index) and of nothing else.

    Args:
        seed: A Python integer of at most 64 bits.
        epoch: Integer tensor, a scalar or `[B]`.
        index: Integer tensor `[B]`, the example's place in the epoch.

    Returns:
        Two uint32 tensors `[B, 1]`, a key for `threefry`.
    """
    run = threefry((_word(seed & 0xFFFFFFFF), _word(seed >> 32 & 0xFFFFFFFF)), _words(epoch))
    keys = threefry(run, _words(index))
    return tuple(key[:, None] for key in keys)


def uniform(words):
    """Return floats in [0, 1) from the upper 24 bits of random words."""
    upper = tf.bitwise.right_shift(words, _word(8))
    return tf.cast(tf.bitcast(upper, tf.int32), tf.float32) * (1.0 / 2**24)


def below(words, limit):
    """Return int32 in [0, limit) from random words.

    The quotient of a division by the limit has a bias of at most limit / 2**31: one in 60,000 for
    a vocabulary of 32,000, and for any one word.
    """
    upper = tf.bitcast(tf.bitwise.right_shift(words, _word(1)), tf.int32)
    return tf.math.floormod(upper, limit)


def _words(numbers):
    # The lower and the upper half; XLA has no bitcast between sizes on every device.
    if numbers.dtype == tf.int64:
        upper = tf.cast(tf.bitwise.right_shift(numbers, tf.constant(32, tf.int64)), tf.uint32)
        return tf.cast(numbers, tf.uint32), upper
    words = tf.bitcast(tf.cast(numbers, tf.int32), tf.uint32)
    return words, tf.zeros_like(words)


def _word(number):
    return tf.constant(number, tf.uint32)


def _rotate(words, bits):
    left = tf.bitwise.left_shift(words, bits)
    return tf.bitwise.bitwise_or(left, tf.bitwise.right_shift(words, _word(32) - bits))
