"""Longer texts: a position table with more rows."""

import numpy as np

from bertzoo.adapt.rebuilding import plain_weights, rebuild

POSITIONS = "embeddings/position/embeddings"


def extend_positions(task, max_sequence_length):
    """Return a task that takes longer texts; the new positions repeat the old ones.

    The rows of the first P positions are copied again and again, as Longformer began from
    RoBERTa's 512 (Beltagy et al. 2020, arXiv:2004.05150, section 5): a token keeps what it knows
    of its neighbours, apart from where two copies meet. Train on long texts before use. Texts of
    up to P tokens give the same outputs, bit for bit. Attention costs the square of the length.

    Args:
        task: Any task; it stays as it is.
        max_sequence_length: More than the task's own. The preprocessor takes it over.

    Returns:
        A task of the same class.

    Raises:
        ValueError: If the task takes such texts already, has a LoRA adapter or is quantized.

    Example:
    >>> embedder = bertzoo.TextEmbedder.from_preset("bert_toy")
    >>> longer = extend_positions(embedder, 3 * embedder.backbone.config.max_sequence_length)
    >>> longer.predict(["a cat " * 100]).shape
    (1, 20)
    """
    config = task.backbone.config
    old, new = config.max_sequence_length, max_sequence_length
    if type(new) is not int or new <= old:
        raise ValueError(
            f"max_sequence_length must be a whole number above the task's own, {old}; got {new!r}."
        )
    weights = plain_weights(task)
    # RoBERTa's rows before the first token's are for padding: they stay in front, once.
    before = weights[POSITIONS][: config.position_offset]  # (offset, E)
    rows = weights[POSITIONS][config.position_offset :]  # (P, E)
    weights[POSITIONS] = np.concatenate([before, rows[np.arange(new) % old]])
    return rebuild(
        task,
        weights,
        config=config.replace(max_sequence_length=new),
        sequence_length=new,
        note=f"Positions {old} to {new - 1} are copies of the first {old}.",
    )
