"""LoRA: low-rank updates of the attention projections (Hu et al. 2021, arXiv:2106.09685).

Keras's own `Dense.enable_lora` does the arithmetic: kernel + alpha / rank * A B. Here is which
layers get one, what trains, and how an adapter is saved, loaded and merged.
"""

import dataclasses
import hashlib
import typing

import keras
import ml_dtypes
import numpy as np
from keras import ops

from bertzoo.checkpoints import adapter_directory
from bertzoo.checkpoints.table import names_in_order
from bertzoo.config import BackboneConfig, HeadConfig, check_key
from bertzoo.models import loading

TARGETS = ("query", "key", "value", "output")
# Hu et al. 2021, section 7.1: with one budget of parameters, query and value together do best.
DEFAULT_TARGETS = ("query", "value")
KERNELS = ("lora_kernel_a", "lora_kernel_b")
# Fields of a config that may differ between the model that was trained and the one that is used.
MAY_DIFFER = ("dropout", "attention_dropout", "initializer_range")


class Lora(typing.NamedTuple):
    """What `enable_lora` was called with, and which weights were trainable before."""

    rank: int
    lora_alpha: float
    target_layer_names: tuple[str, ...]
    was_trainable: frozenset[str]


def enable(backbone, rank, target_layer_names=None, lora_alpha=None):
    """Freeze the backbone and put an adapter on the named projections of every layer."""
    if backbone.lora is not None:
        raise ValueError("LoRA is enabled already; merge_lora() first to begin another adapter.")
    if backbone.quantized is not None:
        raise ValueError(
            "this model is quantized; enable LoRA on the model with plain weights, merge, and "
            "quantize the result."
        )
    if type(rank) is not int or not 1 <= rank <= backbone.config.hidden_dim:
        raise ValueError(
            f"rank must be a whole number from 1 to hidden_dim, {backbone.config.hidden_dim}; "
            f"got {rank!r}."
        )
    names = DEFAULT_TARGETS if target_layer_names is None else target_layer_names
    names = (names,) if isinstance(names, str) else tuple(names)
    for name in names:
        check_key(name, TARGETS, "target_layer_names")
    if not names:
        raise ValueError(f"target_layer_names must name any of {', '.join(TARGETS)}; got none.")
    trainable = {id(weight) for weight in backbone.trainable_weights}
    weights = loading.weights_of(backbone)
    was_trainable = frozenset(path for path, w in weights.items() if id(w) in trainable)
    # Layer by layer everything is trainable, weight by weight nothing: what comes now alone trains.
    # (Off first: TensorFlow passes over an attribute that is set to what it is.)
    backbone.trainable = False
    backbone.trainable = True
    for weight in weights.values():
        weight.trainable = False
    alpha = rank if lora_alpha is None else lora_alpha
    for _, dense in projections(backbone, names):
        dense.enable_lora(rank, lora_alpha=alpha)
    backbone.lora = Lora(rank, float(alpha), names, was_trainable)


def merge(backbone):
    """Add every adapter to its kernel; the weights are plain again, and train as before."""
    lora = enabled(backbone)
    weights = loading.weights_of(backbone)
    for path, dense in projections(backbone, lora.target_layer_names):
        kernel = weights[f"{path}/kernel"]
        update = ops.matmul(dense.lora_kernel_a.value, dense.lora_kernel_b.value)
        # In float32 and not by `dense.kernel`, which is rounded to the compute dtype.
        merged = ops.cast(kernel.value, "float32") + lora.lora_alpha / lora.rank * update
        kernel.assign(ops.cast(merged, kernel.dtype))
        for name in KERNELS:
            del weights[f"{path}/{name}"]
            delattr(dense, name)
        dense.lora_enabled, dense.lora_rank, dense.lora_alpha = False, None, None
    for path, weight in weights.items():
        weight.trainable = path in lora.was_trainable
    backbone.lora = None


def save(backbone, directory, head=None, head_weights=None):
    """Write the adapters, and with them the head that was trained on them.

    Args:
        backbone: With LoRA enabled.
        directory: Of the adapter.
        head: A `HeadConfig`, or None.
        head_weights: {path: variable} of the head.
    """
    lora = enabled(backbone)
    weights = {**_adapters(backbone), **(head_weights or {})}
    settings = {
        "rank": lora.rank,
        "lora_alpha": lora.lora_alpha,
        "target_layer_names": list(lora.target_layer_names),
        "config": backbone.config.to_dict(),
        "base": fingerprint(backbone),
        "head": None if head is None else head.to_dict(),
    }
    arrays = {path: loading.as_numpy(weight) for path, weight in weights.items()}
    return adapter_directory.write_adapter(directory, settings, arrays)


def load(backbone, directory, head=None, head_weights=None):
    """Enable LoRA as it was saved and fill it; everything is checked before anything changes."""
    raw, reader = adapter_directory.read_adapter(directory)
    _check_base(backbone, raw, directory)
    rank, alpha = raw["rank"], float(raw["lora_alpha"])
    names = tuple(raw["target_layer_names"])
    for name in names:
        check_key(name, TARGETS, f"{directory}, target_layer_names")
    lora = backbone.lora
    if lora is not None and (rank, alpha, names) != lora[:3]:
        raise ValueError(
            f"{directory} has the rank, alpha and targets {(rank, alpha, names)}, and the adapter "
            f"of this model has {lora[:3]}; merge_lora() first, or load it into a fresh model."
        )
    stored, wanted = dict(reader.shapes), _adapter_shapes(backbone, rank, names)
    if raw["head"] is not None:
        theirs = HeadConfig.from_dict(raw["head"], f"{directory}, head")
        if head is None:  # a backbone takes over the adapters alone
            stored = {p: s for p, s in stored.items() if not p.startswith(f"{theirs.kind}/")}
        else:
            _check_head(head, theirs, directory)
            wanted |= {path: tuple(weight.shape) for path, weight in head_weights.items()}
    if stored != wanted:
        wrong = {p for p in {**stored, **wanted} if stored.get(p) != wanted.get(p)}
        raise ValueError(
            f"{directory} does not fit the model; nothing was loaded. Missing, unknown or of "
            f"another shape: {names_in_order(wrong)}."
        )
    if lora is None:
        enable(backbone, rank, names, alpha)
    weights = {**_adapters(backbone), **(head_weights or {})}
    for path in wanted:
        weights[path].assign(np.asarray(reader.read(path), np.float32))


def revive(backbone):
    """Draw A again where A and B are zero, which Keras leaves after loading a weights file.

    Keras's files hold kernels with the adapter merged in, and zero both factors on loading; then
    no gradient reaches either of them, and the adapter would never learn again.
    """
    if backbone.lora is None:
        return
    for _, dense in projections(backbone, backbone.lora.target_layer_names):
        a, b = dense.lora_kernel_a, dense.lora_kernel_b
        if not np.any(loading.as_numpy(a)) and not np.any(loading.as_numpy(b)):
            a.assign(keras.initializers.HeUniform()(a.shape, dtype="float32"))


def enabled(backbone):
    """Return the `Lora` of a backbone; without one, raise."""
    if backbone.lora is None:
        raise ValueError("this model has no LoRA adapter; call enable_lora(rank) first.")
    return backbone.lora


def projections(backbone, names):
    """Yield (path, dense layer) of the named attention projections of every distinct layer."""
    for index, layer in enumerate(backbone.encoder_layers):
        for name in names:
            yield f"layer_{index}/attention/{name}", getattr(layer.attention, f"{name}_dense")


def fingerprint(backbone):
    """Return a digest of the layer norms, which tell one set of weights from another.

    An adapter leaves them alone. They are rounded to bfloat16 first: a base that was loaded in
    half precision is the same base.
    """
    digest = hashlib.sha256()
    for path, weight in sorted(loading.weights_of(backbone).items()):
        if path.endswith(("/gamma", "/beta")):
            digest.update(path.encode())
            digest.update(loading.as_numpy(weight).astype(ml_dtypes.bfloat16).tobytes())
    return digest.hexdigest()


def _adapters(backbone):
    return {
        f"{path}/{name}": getattr(dense, name)
        for path, dense in projections(backbone, backbone.lora.target_layer_names)
        for name in KERNELS
    }


def _adapter_shapes(backbone, rank, names):
    width = backbone.config.hidden_dim
    shapes = {}
    for path, _ in projections(backbone, names):
        shapes |= {f"{path}/lora_kernel_a": (width, rank), f"{path}/lora_kernel_b": (rank, width)}
    return shapes


def _check_base(backbone, raw, directory):
    theirs = BackboneConfig.from_dict(raw["config"], f"{directory}, config")
    differ = [
        f"{field.name} is {there!r} there and {here!r} here"
        for field in dataclasses.fields(BackboneConfig)
        if field.name not in MAY_DIFFER
        and (there := getattr(theirs, field.name)) != (here := getattr(backbone.config, field.name))
    ]
    if differ:
        raise ValueError(f"{directory} was trained on another encoder: {'; '.join(differ)}.")
    if raw["base"] != fingerprint(backbone):
        raise ValueError(
            f"{directory} was trained on an encoder with other weights; load the adapter into the "
            "preset that it was trained from."
        )


def _check_head(ours, theirs, directory):
    if ours.replace(dropout=0.0) != theirs.replace(dropout=0.0):
        raise ValueError(
            f"{directory} was trained with another head: {theirs.to_dict(defaults=False)} there "
            f"and {ours.to_dict(defaults=False)} here."
        )
