"""Pruning of heads and of feed-forward units by importance (Michel et al. 2019).

The importance of a head is the mean over texts of |dL/da . a| (equation 2 of arXiv:1905.10650):
by how much the loss would change, to first order, if what the head gives were scaled. The same
number for a feed-forward unit tells which width to keep. A layer of the pruned model is a layer
of the old one without those heads and units, to be trained further.
"""

import typing

import keras
import numpy as np
import tensorflow as tf

from bertzoo.adapt.rebuilding import plain_weights, rebuild
from bertzoo.losses import LOSSES

# B batch  T length  N heads  H head_dim  F intermediate_dim  L layers with weights of their own

# What the head of a task is trained on.
DEFAULT_LOSSES = {
    "text_classifier": "single_label",
    "token_classifier": "token_labels",
    "question_answerer": "spans",
}


class Importance(typing.NamedTuple):
    """How much each part of each layer matters to the loss.

    Args:
        heads: float64 `[L, N]`.
        units: float64 `[L, F]`, of the feed-forward layers.
        num_texts: How many texts were seen.
    """

    heads: np.ndarray
    units: np.ndarray
    num_texts: int


def importance(task, batches, loss=None):
    """Return the `Importance` of a task's heads and units on labelled examples.

    Args:
        task: A task that has been trained; nothing of it changes.
        batches: Pairs of texts (or a dict of ids) and labels, as of `fit`: numbers or names.
        loss: A name of `bertzoo.losses.LOSSES`, or such a function of (outputs, None, batch); None
            for cross-entropy with the labels. `outputs` are those of `network.tap()`.

    Returns:
        An `Importance`.

    Raises:
        ValueError: If the kind of task has no loss of its own and none is given.

    Example:
    >>> classifier = TextClassifier.from_preset("bert_toy", labels=["sad", "happy"])
    >>> found = importance(classifier, [(["bad", "so good"], ["sad", "happy"])])
    >>> found.heads.shape, found.num_texts
    ((2, 4), 2)
    """
    config = task.backbone.config
    function = _loss_of(task, loss)
    tapped = task.network.tap("context", "intermediate")
    heads = np.zeros((config.num_distinct_layers, config.num_heads))
    units = np.zeros((config.num_distinct_layers, config.intermediate_dim))
    num_texts = 0
    for inputs, labels in batches:
        batch = _features(task, inputs, labels)
        size = int(batch["token_ids"].shape[0])
        found = _products(tapped, function, batch)
        for step, layer in enumerate(config.layer_schedule):
            context = found["context"][step].reshape(size, config.num_heads, -1)
            heads[layer] += np.abs(context.sum(axis=-1)).sum(axis=0)
            units[layer] += np.abs(found["intermediate"][step]).sum(axis=0)
        num_texts += size
    if not num_texts:
        raise ValueError("importance needs at least one batch of examples; got none.")
    return Importance(heads / num_texts, units / num_texts, num_texts)


def prune(task, importance, num_heads=None, intermediate_dim=None):
    """Return a task with the most important heads and feed-forward units of each layer.

    Every layer keeps equally many, since a `BackboneConfig` has one number for all layers. Heads
    keep their width. Other libraries cannot express fewer heads than fill the width of the model:
    such a task is saved as a preset and not exported; with `intermediate_dim` alone it is.

    Args:
        task: Any task; it stays as it is.
        importance: From `importance`.
        num_heads: How many heads a layer keeps; None for all.
        intermediate_dim: How many units a feed-forward layer keeps; None for all.

    Returns:
        A task of the same class.

    Raises:
        ValueError: For a number that is not below the task's own, or importances of another model.

    Example:
    >>> classifier = TextClassifier.from_preset("bert_toy", labels=["sad", "happy"])
    >>> found = importance(classifier, [(["bad", "so good"], ["sad", "happy"])])
    >>> prune(classifier, found, num_heads=3, intermediate_dim=20).backbone.config.num_heads
    3
    """
    config = task.backbone.config
    expected = (config.num_distinct_layers, config.num_heads, config.intermediate_dim)
    if (*importance.heads.shape, importance.units.shape[1]) != expected:
        raise ValueError(
            f"importances are of another model: expected {expected} layers, heads and units; got "
            f"{(*importance.heads.shape, importance.units.shape[1])}."
        )
    weights, changes = plain_weights(task), {}
    if num_heads is not None:
        _check_fewer("num_heads", num_heads, config.num_heads)
        width = config.attention_dim // config.num_heads
        changes |= {"num_heads": num_heads, "head_dim": width}
        for layer, scores in enumerate(importance.heads):
            columns = _kept(scores, num_heads)[:, None] * width + np.arange(width)
            _keep(weights, f"layer_{layer}/attention/", ("query", "key", "value"), columns.ravel())
    if intermediate_dim is not None:
        _check_fewer("intermediate_dim", intermediate_dim, config.intermediate_dim)
        changes["intermediate_dim"] = intermediate_dim
        for layer, scores in enumerate(importance.units):
            units = _kept(scores, intermediate_dim)
            _keep(weights, f"layer_{layer}/", ("intermediate",), units)
    if not changes:
        raise ValueError("prune needs num_heads=, intermediate_dim= or both; got neither.")
    kept = [f"{changes[k]} of {getattr(config, k)} {name}"
            for k, name in (("num_heads", "heads"), ("intermediate_dim", "feed-forward units"))
            if k in changes]  # fmt: skip
    note = f"Each layer was pruned to {' and '.join(kept)}."
    return rebuild(task, weights, config=config.replace(**changes), note=note)


def _loss_of(task, loss):
    if loss is None:
        loss = DEFAULT_LOSSES.get(task.head_kind)
        if task.head_kind == "text_classifier":
            loss = task.network.head.problem  # the losses have the names of the problems
        if loss is None:
            raise ValueError(
                f"give loss=: a {task.head_kind} has no loss with labels of its own; a name of "
                "bertzoo.losses.LOSSES, or a function of (outputs, None, batch)."
            )
    return LOSSES[loss] if isinstance(loss, str) else loss


def _features(task, inputs, labels):
    """Return ids and labels of a batch as tensors."""
    if not isinstance(inputs, dict):
        inputs, labels = task._batch(inputs, labels)
    features = {name: tf.convert_to_tensor(value) for name, value in inputs.items()}
    features.setdefault("padding_mask", tf.ones_like(features["token_ids"]))
    if isinstance(labels, dict):
        return features | {k: tf.convert_to_tensor(v) for k, v in labels.items()}
    return features | {"labels": tf.convert_to_tensor(labels)}


def _products(tapped, function, batch):
    """Return activation times gradient, summed over the tokens of each text: lists of `[B, .]`."""
    names = ("context", "intermediate")
    with tf.GradientTape() as tape:
        outputs = tapped(batch)
        # The sum over texts, not the mean: the gradient of one text knows nothing of the others.
        value, _ = function(outputs, None, batch)
    gradients = tape.gradient(value, {name: outputs[name] for name in names})
    if any(gradient is None for gradient in keras.tree.flatten(gradients)):
        raise ValueError("importance needs gradients: unfreeze the backbone first.")
    batch_size, length = batch["token_ids"].shape
    found = {}
    for name in names:
        found[name] = [
            (activation * gradient).numpy().reshape(batch_size, length, -1).sum(axis=1)
            for activation, gradient in zip(outputs[name], gradients[name], strict=True)
        ]
    return found


def _check_fewer(name, new, old):
    if type(new) is not int or not 1 <= new < old:
        raise ValueError(f"{name} must be a whole number from 1 to {old - 1}; got {new!r}.")


def _kept(scores, count):
    """Return which parts to keep, in their old order; the earlier one of two equals."""
    return np.sort(np.argsort(-scores, kind="stable")[:count])


def _keep(weights, prefix, names, columns):
    """Keep some outputs of dense layers, and the same inputs of the layer `output` after them."""
    for name in names:
        for part in ("kernel", "bias"):
            weights[f"{prefix}{name}/{part}"] = weights[f"{prefix}{name}/{part}"][..., columns]
    weights[f"{prefix}output/kernel"] = weights[f"{prefix}output/kernel"][columns]
