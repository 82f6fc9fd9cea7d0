"""The variables of a network, by path and shape: the contract that every table maps to."""

from __future__ import annotations

import collections.abc

from bertzoo.config import HEAD_KINDS, BackboneConfig, HeadConfig


def variable_shapes(
    config: BackboneConfig, heads: collections.abc.Iterable[HeadConfig] = ()
) -> dict[str, tuple[int, ...]]:
    """Return {variable path: shape} of a backbone and its heads.

    >>> shapes = variable_shapes(BackboneConfig(num_layers=1))
    >>> shapes["layer_0/attention/query/kernel"]
    (768, 768)
    >>> sum(path.startswith("layer_0/") for path in shapes)
    16
    """
    # V vocabulary  E table_dim  D hidden_dim  F intermediate_dim  P position rows  S segments
    v, e, d, f = (
        config.vocabulary_size,
        config.table_dim,
        config.hidden_dim,
        config.intermediate_dim,
    )
    shapes: dict[str, tuple[int, ...]] = {
        "embeddings/token/embeddings": (v, e),
        "embeddings/position/embeddings": (
            config.max_sequence_length + config.position_offset,
            e,
        ),
    }
    if config.num_segments:
        shapes["embeddings/segment/embeddings"] = (config.num_segments, e)
    shapes |= _norm("embeddings/norm", e)
    if config.embedding_dim is not None:
        shapes |= _dense("embeddings/projection", e, d)
    for layer in range(config.num_distinct_layers):
        for name in ("query", "key", "value"):
            shapes |= _dense(f"layer_{layer}/attention/{name}", d, config.attention_dim)
        shapes |= _dense(f"layer_{layer}/attention/output", config.attention_dim, d)
        shapes |= _norm(f"layer_{layer}/attention_norm", d)
        shapes |= _dense(f"layer_{layer}/intermediate", d, f)
        shapes |= _dense(f"layer_{layer}/output", f, d)
        shapes |= _norm(f"layer_{layer}/output_norm", d)
    if config.pooler:
        shapes |= _dense("pooler", d, d)
    for head in heads:
        shapes |= head_shapes(config, head)
    return shapes


def head_shapes(config: BackboneConfig, head: HeadConfig) -> dict[str, tuple[int, ...]]:
    """Return {variable path: shape} of one head."""
    v, e, d = config.vocabulary_size, config.table_dim, config.hidden_dim
    kind = head.kind
    if kind == "masked_lm":
        shapes = _dense("masked_lm/dense", d, e) | _norm("masked_lm/norm", e)
        shapes["masked_lm/bias"] = (v,)
        if not head.tie_embeddings:
            shapes["masked_lm/decoder/embeddings"] = (v, e)
        return shapes
    if kind == "text_embedder":
        shapes, width = {}, d * len(head.pooling)
        for index, (out, _, has_bias) in enumerate(head.projections):
            dense = _dense(f"text_embedder/projection_{index}", width, out)
            shapes |= {p: s for p, s in dense.items() if has_bias or not p.endswith("/bias")}
            width = out
        return shapes
    shapes = {}
    if head.hidden_activation is not None:
        shapes |= _dense(f"{kind}/hidden", d, d)
    outputs = {"question_answerer": 2, "discriminator": 1, "multiple_choice": 1}.get(
        kind
    ) or head.num_outputs
    assert outputs is not None, "HeadConfig gives every classifier its number of outputs"
    return shapes | _dense(f"{kind}/logits", d, outputs)


def part_of(path: str) -> str:
    """Return which part of a network a variable belongs to: backbone, pooler or a head kind.

    >>> part_of("layer_3/output/kernel"), part_of("masked_lm/bias")
    ('backbone', 'masked_lm')
    """
    first = path.split("/", 1)[0]
    return first if first in HEAD_KINDS or first == "pooler" else "backbone"


def _dense(path: str, width: int, outputs: int) -> dict[str, tuple[int, ...]]:
    return {f"{path}/kernel": (width, outputs), f"{path}/bias": (outputs,)}


def _norm(path: str, width: int) -> dict[str, tuple[int, ...]]:
    return {f"{path}/gamma": (width,), f"{path}/beta": (width,)}
