"""Greek capital sigma, the one letter whose lower case depends on what stands around it."""

from __future__ import annotations

import tensorflow as tf

from bertzoo.tokenizers.code_points import (
    FINAL_SIGMA,
    SIGMA,
    SMALL_SIGMA,
    final_sigma_pattern,
)


def lower_sigma(clean: tf.Tensor) -> tf.Tensor:
    """Return texts `[B]`, lower-cased but for capital sigmas, with these lower-cased too.

    A code point table leaves capital sigma alone. Both small sigmas have as many bytes as it, so
    offsets stay right.

    >>> lower_sigma(tf.constant(["οδοΣ Σ"])).numpy()[0].decode()
    'οδος σ'
    """
    small = tf.strings.regex_replace(clean, SIGMA, SMALL_SIGMA)

    def lower():
        # As a tensor the pattern is compiled only where it is used: it has 600 ranges.
        pattern = tf.constant(final_sigma_pattern())
        final = tf.strings.regex_replace(clean, pattern, rf"\1{FINAL_SIGMA}\2")
        return tf.strings.regex_replace(final, SIGMA, SMALL_SIGMA)

    return tf.cond(tf.reduce_any(small != clean), lower, lambda: clean)
