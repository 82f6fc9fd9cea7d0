"""Between models and checkpoints: weights by path, in and out, every one exactly once."""

import numpy as np
from keras import ops

from bertzoo import checkpoints

PART_BYTES = 2**22


def weights_of(model):
    """Return the model's weights by path, the keys of `weights.safetensors`.

    States of random generators are not weights: a checkpoint has nothing to say of them.

    >>> sorted(weights_of(Backbone.from_preset("bert_toy")))[:2]
    ['embeddings/norm/beta', 'embeddings/norm/gamma']
    """
    weights = {}
    for variable in model.weights:
        if variable.name == "seed_generator_state":
            continue
        if variable.path in weights:
            raise ValueError(f"two weights of {model.name} have the path {variable.path}.")
        weights[variable.path] = variable
    return weights


def load_weights(model, checkpoint, parts=None):
    """Fill the model from a `Checkpoint`: each weight once, each tensor used or known.

    Args:
        model: A `Backbone` or `Network`.
        checkpoint: From `checkpoints.open_checkpoint`.
        parts: Parts to fill, as `backbone`, `pooler`, `masked_lm`; None for all.

    Raises:
        ValueError: With both lists, if weights and tensors do not match.
    """
    weights = weights_of(model)
    if parts is not None:
        weights = {path: w for path, w in weights.items() if part_of(path) in parts}
    shapes = {path: tuple(weight.shape) for path, weight in weights.items()}
    for path, array in checkpoint.weights(shapes):
        assign(weights[path], array)


def assign(weight, array):
    """Give a `keras.Variable` the values of an array.

    TensorFlow's own assignment holds two copies of the array for a moment, which for a table of
    words is half of a small model; parts of it are written in place.
    """
    # Not the variables of a strategy, which are several in one.
    is_plain = type(weight.value).__name__ == "ResourceVariable"
    if array.nbytes <= PART_BYTES or array.ndim == 0 or not is_plain:
        weight.assign(array)
        return
    if tuple(array.shape) != tuple(weight.shape):
        raise ValueError(f"{weight.path} has the shape {weight.shape}; got {array.shape}.")
    rows = max(1, PART_BYTES * len(array) // array.nbytes)
    for start in range(0, len(array), rows):
        part = ops.convert_to_tensor(array[start : start + rows], dtype=weight.dtype)
        weight.value[start : start + rows].assign(part)
    # Once a part was written, TensorFlow copies the variable at every read, until told not to.
    weight.value.read_value_no_copy()


def part_of(path):
    """Return the part of a model that a weight belongs to: `backbone`, `pooler` or a head."""
    first = path.split("/")[0]
    return "backbone" if first == "embeddings" or first.startswith("layer_") else first


def missing_head_message(checkpoint, kind):
    """Say that a checkpoint has no head of `kind`, which it has, and what to do."""
    found = ", ".join(sorted(checkpoint.heads)) or "none"
    remedy = {
        "text_classifier": " Pass labels= (or num_classes=) to make a new one.",
        "token_classifier": " Pass labels= (or num_classes=) to make a new one.",
        "multiple_choice": " Pass new_head=True to make a new one.",
    }.get(kind, "")
    reason = checkpoint.unread_heads.get(kind, "")
    reason = f" What it has for one: {reason}." if reason else ""
    return f"{checkpoint.name} has no {kind} head; the heads that it has: {found}.{reason}{remedy}"


def save_preset(directory, config, heads, weights, tokenizer=None, files=None, info=None):
    """Write a preset directory from live weights; see `checkpoints.write_preset`.

    Raises:
        ValueError: For weights that are not plain: with a LoRA adapter, or quantized.
    """
    names = {path.rpartition("/")[2] for path in weights}
    if "lora_kernel_a" in names:
        raise ValueError(
            "a preset holds plain weights, and this model has a LoRA adapter: call merge_lora() "
            "and save, or write the adapter alone with save_lora_weights()."
        )
    if "kernel_scale" in names:
        raise ValueError(
            "a preset holds plain weights, and this model is quantized: save it as a .keras file, "
            "or save the preset before quantize()."
        )
    return checkpoints.write_preset(
        directory,
        config=config,
        heads=heads,
        tokenizer=tokenizer,
        files=files or {},
        weights=((path, as_numpy(weight)) for path, weight in weights.items()),
        info=info or {},
    )


def as_numpy(weight):
    """Return a variable's value as a NumPy array; bfloat16 widens to float32, exactly."""
    if weight.dtype == "bfloat16":
        import keras

        return np.asarray(keras.ops.convert_to_numpy(keras.ops.cast(weight.value, "float32")))
    return np.asarray(weight.numpy())
