"""Write a directory for transformers: `config.json`, `model.safetensors`, the vocabulary."""

from __future__ import annotations

import collections.abc
import json
import pathlib
import types
import typing

from bertzoo.checkpoints import differences, sentence_transformers, shapes, tokenizer_files
from bertzoo.checkpoints.checkpoint import Checkpoint
from bertzoo.checkpoints.heads import PROBLEM_TYPES, HeadRule
from bertzoo.checkpoints.safetensors_file import write_safetensors
from bertzoo.checkpoints.tables import hf_albert, hf_bert, hf_distilbert, hf_electra, hf_roberta
from bertzoo.config import BackboneConfig, HeadConfig

TOKENIZER_CLASSES = {
    "wordpiece": {
        "bert": "BertTokenizer",
        "distilbert": "DistilBertTokenizer",
        "electra": "ElectraTokenizer",
    },
    "byte_pair": {"roberta": "RobertaTokenizer"},
    "sentence_piece": {"albert": "AlbertTokenizer"},
}
VOCABULARY = {
    "wordpiece": {"vocabulary": "vocab.txt"},
    "byte_pair": {"vocabulary": "vocab.json", "merges": "merges.txt"},
    "sentence_piece": {"vocabulary": "spiece.model"},
}


def write_hugging_face(
    directory: pathlib.Path,
    opened: Checkpoint,
    family: types.ModuleType,
    *,
    allow_inexact: bool = False,
) -> None:
    """Write all files of one family.

    Args:
        directory: Empty.
        opened: What to write.
        family: A table module, as `tables.hf_bert`.
        allow_inexact: Whether to write a configuration that says something else.

    Raises:
        ValueError: A network that the family is not, or heads that no one class has together.
    """
    network_heads = {k: head for k, head in opened.heads.items() if k != "text_embedder"}
    architecture = _architecture(family.HEADS, frozenset(network_heads))
    raw = {"architectures": [architecture], **_config(opened, family, allow_inexact)}
    for rule in family.HEADS:
        if rule.kind in network_heads:
            raw |= _head_keys(rule, network_heads[rule.kind])
    untied = any(not head.tie_embeddings for head in network_heads.values())
    raw["tie_word_embeddings"] = not untied
    write_json(directory / "config.json", raw)
    _write_weights(directory / "model.safetensors", opened, network_heads, family, untied)
    _write_tokenizer(directory, opened, family.CONFIG.model_type)
    if "text_embedder" in opened.heads:
        sentence_transformers.write_modules(directory, opened)


def nearest_family(config: BackboneConfig) -> types.ModuleType:
    """Return the table module of the family that such an encoder belongs to.

    >>> nearest_family(BackboneConfig(num_segments=0)).__name__.rpartition(".")[2]
    'hf_distilbert'
    """
    if config.position_offset:
        return hf_roberta
    if config.num_segments == 0:
        return hf_distilbert
    if config.num_groups is not None:
        return hf_albert
    return hf_bert if config.embedding_dim is None else hf_electra


def _config(opened: Checkpoint, family, allow_inexact: bool) -> dict[str, typing.Any]:
    """Return their configuration, after reading it back: before any weights are written."""
    config, name = opened.config, family.CONFIG.format
    if config.num_segments == 0 and "num_segments" in family.CONFIG.keys.values():
        raise ValueError(
            f"{name} cannot express {opened.name}: transformers adds a segment to every token, "
            "and this model has none."
        )
    raw = family.CONFIG.write(config)
    read = family.CONFIG.read(raw, "config.json", pooler=config.pooler)
    found = differences.config_differences(config, read)
    differences.refuse(name, opened.name, found, allow_inexact)
    return raw


def _architecture(rules: collections.abc.Iterable[HeadRule], kinds: frozenset[str]) -> str:
    """Return the class of transformers that has exactly these heads."""
    kinds_of: dict[str, set[str]] = {}
    for rule in rules:
        for name in rule.architectures:
            kinds_of.setdefault(name, set()).add(rule.kind)
    if not kinds:
        return next(iter(kinds_of)).partition("For")[0] + "Model"
    for name, found in kinds_of.items():
        if found == kinds:
            return name
    possible = sorted(" and ".join(sorted(found)) for found in kinds_of.values())
    raise ValueError(
        f"transformers has no class of this family with the heads {', '.join(sorted(kinds))}; "
        f"choose one with heads=: {'; '.join(possible)}."
    )


def _head_keys(rule: HeadRule, head: HeadConfig) -> dict[str, typing.Any]:
    keys: dict[str, typing.Any] = {}
    if rule.dropout_key is not None:
        keys[rule.dropout_key] = head.dropout
    if head.kind in ("text_classifier", "token_classifier"):
        labels = head.labels or [f"LABEL_{index}" for index in range(head.num_outputs or 0)]
        keys["id2label"] = {str(index): label for index, label in enumerate(labels)}
        keys["label2id"] = {label: index for index, label in enumerate(labels)}
    if head.kind == "text_classifier":
        keys["problem_type"] = {ours: name for name, ours in PROBLEM_TYPES.items()}[head.problem]
        # Of no meaning to transformers, which keeps keys that it does not know.
        if head.thresholds is not None:
            keys["label_thresholds"] = list(head.thresholds)
        if head.parents is not None:
            keys["label_parents"] = list(head.parents)
    return keys


def _write_weights(path, opened: Checkpoint, heads, family, untied: bool) -> None:
    config = opened.config
    wanted = shapes.variable_shapes(config, heads.values())
    # Base classes of transformers save without a prefix, classes with a head with one.
    prefix = family.TABLE.prefixes[0] if heads else ""
    bias, decoder = family.DECODER
    rows = {}
    for row in family.TABLE.expand(config):
        if row.ours in wanted and row.part in {"backbone", "pooler", *heads}:
            name = prefix + row.theirs if row.part in ("backbone", "pooler") else row.theirs
            rows[row.ours] = (name, row.transform)
    lost = sorted(set(wanted) - set(rows))
    if lost:
        raise ValueError(
            f"{family.CONFIG.format} cannot express {opened.name}: it has no tensors for "
            f"{', '.join(lost)}."
        )
    their_shapes = {
        name: transform.their_shape(wanted[path], config)
        for path, (name, transform) in rows.items()
    }
    alias = f"{decoder}.bias"
    if untied and alias != bias:
        their_shapes[alias] = wanted["masked_lm/bias"]

    def arrays():
        for ours, array in opened.weights(wanted):
            name, transform = rows[ours]
            yield name, transform.save(array, config)
            if ours == "masked_lm/bias" and alias in their_shapes and alias != name:
                yield alias, array  # an untied decoder of transformers has a bias of its own

    write_safetensors(path, their_shapes, arrays(), metadata={"format": "pt"})


def _write_tokenizer(directory: pathlib.Path, opened: Checkpoint, model_type: str) -> None:
    tokenizer = opened.tokenizer
    if tokenizer is None:
        return
    kind = tokenizer.kind
    default = "BertTokenizer" if kind == "wordpiece" else None
    name = TOKENIZER_CLASSES[kind].get(model_type, default)
    raw: dict[str, typing.Any] = {"tokenizer_class": name} if name else {}
    for theirs, ours in tokenizer_files.THEIR_TOKENS.items():
        raw[theirs] = getattr(tokenizer, ours)
    raw["model_max_length"] = tokenizer.sequence_length or opened.config.max_sequence_length
    if kind == "wordpiece":
        raw |= {"do_lower_case": tokenizer.lowercase, "strip_accents": tokenizer.strip_accents}
    elif kind == "byte_pair":
        raw["add_prefix_space"] = tokenizer.add_prefix_space
        # The mask takes in white space on its left: transformers does so only if it is told.
        raw["mask_token"] = {
            "__type": "AddedToken",
            "content": tokenizer.mask_token,
            "lstrip": True,
            "normalized": False,
            "rstrip": False,
            "single_word": False,
            "special": True,
        }
    elif kind == "sentence_piece":
        raw["do_lower_case"] = tokenizer.lowercase
        raw["keep_accents"] = tokenizer.strip_accents is False
    write_json(directory / "tokenizer_config.json", raw)
    for role, path in opened.files.items():
        (directory / VOCABULARY[kind][role]).write_bytes(path.read_bytes())


def write_json(path: pathlib.Path, value: typing.Any) -> None:
    """Write a JSON file as people read it."""
    path.write_text(json.dumps(value, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
