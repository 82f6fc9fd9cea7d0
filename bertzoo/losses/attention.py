"""Losses between attentions: TinyBERT's scores, MiniLM's relations (Wang et al. 2020, 2021)."""

import math

from keras import ops

from bertzoo.layers.attention import MASKED
from bertzoo.losses.layer_maps import layer_map
from bertzoo.losses.positions import (
    check_same,
    kl_divergence,
    real_pairs,
    real_positions,
)
from bertzoo.losses.table import loss

# B batch  T length  N heads  H head_dim  A relation heads


@loss(reads=("attention_scores",), counts=real_pairs)
def attention_scores_mse(student, teacher, batch, layers="uniform"):
    """MSE of attention scores before the softmax, under a layer map (Jiao et al. 2019, eq. 7).

    Mean over heads, which student and teacher have equally many of, and over the pairs of real
    tokens; layers are added up. `layers`: see `hidden_states_mse`. The authors' code sets masked
    scores to 0 and divides by all pairs, which is the same where nothing is padded.
    """
    one, other = student["attention_scores"], teacher["attention_scores"]
    check_same("attention_scores_mse", one[0], other[0], 1, "attention heads")
    pairs = real_pairs(batch)
    squares = 0.0
    for scores, layer in zip(one, layer_map(layers, len(one), len(other)), strict=True):
        difference = ops.cast(scores, "float32") - ops.cast(other[layer - 1], "float32")
        difference = ops.where(pairs > 0, difference, 0.0)
        squares += ops.mean(ops.square(difference), axis=1, keepdims=True)  # (B, 1, T, T)
    return squares


@loss(reads=("attention_scores",), counts=real_positions)
def attention_relation(student, teacher, batch, teacher_layer=-1):
    """KL(teacher || student) of the last layers' attention distributions: MiniLM v1, L_AT.

    Mean over heads, equally many in both, and over real positions (Wang et al. 2020, eq. 6).
    `teacher_layer` counts from 1, or from the end where it is negative.
    """
    one = student["attention_scores"][-1]
    other = _chosen(teacher["attention_scores"], teacher_layer)
    check_same("attention_relation", one, other, 1, "attention heads")
    return _relations(one, other, batch)


@loss(reads=("value",), counts=real_positions)
def value_relation(student, teacher, batch, relation_heads=None, teacher_layer=-1):
    """KL of softmax(V V^T / sqrt(d)) of the last layers (MiniLM v1, L_VR; v2 with heads re-split).

    `relation_heads` None keeps the attention heads, equally many in both (v1, eq. 8); a number
    re-splits the widths into as many relation heads, whatever they are (v2, Wang et al. 2021,
    section 3.1). `teacher_layer`: see `attention_relation`; for Large teachers v2 takes an
    upper-middle one.
    """
    return _self_relation("value", student, teacher, batch, relation_heads, teacher_layer)


@loss(reads=("query",), counts=real_positions)
def query_relation(student, teacher, batch, relation_heads=None, teacher_layer=-1):
    """KL of softmax(Q Q^T / sqrt(d)) of the last layers (MiniLM v2); see `value_relation`."""
    return _self_relation("query", student, teacher, batch, relation_heads, teacher_layer)


@loss(reads=("key",), counts=real_positions)
def key_relation(student, teacher, batch, relation_heads=None, teacher_layer=-1):
    """KL of softmax(K K^T / sqrt(d)) of the last layers (MiniLM v2); see `value_relation`."""
    return _self_relation("key", student, teacher, batch, relation_heads, teacher_layer)


def split_relation_heads(heads, num_heads):
    """Join attention heads and split them again: `[B, N, T, H]` -> `[B, A, T, N * H / A]`.

    Args:
        heads: Queries, keys or values.
        num_heads: A; divides N * H.
    """
    _, count, length, width = heads.shape
    if (count * width) % num_heads:
        raise ValueError(
            f"relation_heads must divide the width of queries, keys and values, {count * width}; "
            f"got {num_heads}."
        )
    length = ops.shape(heads)[2]
    joined = ops.transpose(heads, (0, 2, 1, 3))  # (B, T, N, H)
    split = ops.reshape(joined, (-1, length, num_heads, count * width // num_heads))
    return ops.transpose(split, (0, 2, 1, 3))  # (B, A, T, N * H / A)


def _self_relation(name, student, teacher, batch, relation_heads, teacher_layer):
    one, other = student[name][-1], _chosen(teacher[name], teacher_layer)
    if relation_heads is None:
        check_same(f"{name}_relation", one, other, 1, "attention heads (or set relation_heads)")
    else:
        one = split_relation_heads(one, relation_heads)
        other = split_relation_heads(other, relation_heads)
    return _relations(_products(one), _products(other), batch)


def _products(heads):
    """Return the scaled products of a head's vectors, `[B, A, T, d]` -> float32 `[B, A, T, T]`."""
    heads = ops.cast(heads, "float32")
    products = ops.matmul(heads, ops.transpose(heads, (0, 1, 3, 2)))
    return products / math.sqrt(heads.shape[-1])


def _relations(student, teacher, batch):
    """Return KL over the keys of each query, mean over heads: `[B, A, T, T]` -> `[B, T]`."""
    pairs = real_pairs(batch)
    one, other = (
        ops.where(pairs > 0, ops.cast(scores, "float32"), MASKED) for scores in (student, teacher)
    )
    return ops.mean(kl_divergence(other, one), axis=1)  # (B, T)


def _chosen(layers, number):
    """Return a layer by its number: from 1, or negative from the end."""
    if type(number) is not int or number == 0 or abs(number) > len(layers):
        raise ValueError(
            f"teacher_layer must be a layer from 1 to {len(layers)}, or from -1 downwards; "
            f"got {number!r}."
        )
    return layers[number - 1 if number > 0 else number]
