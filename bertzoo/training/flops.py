"""How much arithmetic a run is, and what share of a device's peak it reaches.

A product of [m, k] and [k, n] counts 2 m k n; backward is twice forward. Embedding look-ups, norms
and softmax are left out, as in published figures (Narayanan et al. 2021, appendix).
"""

import time

import tensorflow as tf

# Peaks of dense 16-bit products, in FLOP/s, from the vendors' data sheets.
PEAKS = {
    "H200": 989e12, "H100": 989e12, "A100": 312e12, "L40S": 362e12, "L4": 121e12, "V100": 125e12,
    "T4": 65e12,
}  # fmt: skip


def training_flops(config, length, predictions=0):
    """Return the operations of one training step on one row.

    Args:
        config: `BackboneConfig`.
        length: Tokens of the row.
        predictions: Positions that a `masked_lm` head projects.

    Example: BERT-Base, 128 tokens, 20 predictions; 69.9 billion.

    >>> round(training_flops(BackboneConfig(), 128, 20) / 1e9, 1)
    69.9
    """
    hidden, inner = config.hidden_dim, config.intermediate_dim
    layer = length * (8 * hidden * hidden + 4 * hidden * inner + 4 * length * hidden)
    steps = len(config.layer_schedule)
    table = config.table_dim
    head = predictions * 2 * (hidden * table + table * config.vocabulary_size)
    projection = 0 if config.embedding_dim is None else length * 2 * table * hidden
    return 3 * (steps * layer + head + projection)


def peak_flops():
    """Return the peak of one device in FLOP/s, and whether it was measured instead of looked up.

    A GPU that is not in the table, and the processor, are measured with a product in float32.
    """
    for device in tf.config.list_physical_devices("GPU"):
        name = tf.config.experimental.get_device_details(device).get("device_name", "")
        for part, peak in PEAKS.items():
            if part in name:
                return peak, False
    return _measured(), True


def _measured(size=1024, seconds=0.5):
    product = tf.function(lambda matrix: matrix @ matrix)
    matrix = tf.ones((size, size))
    product(matrix).numpy()
    best, end = float("inf"), time.perf_counter() + seconds
    while time.perf_counter() < end:  # the best of many: other work on the machine takes its share
        start = time.perf_counter()
        product(matrix).numpy()
        best = min(best, time.perf_counter() - start)
    return 2 * size**3 / best
