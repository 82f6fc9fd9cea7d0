"""Write a TensorFlow 1 checkpoint under Google's names: BERT's (2018) and ALBERT's (2019)."""

from __future__ import annotations

import pathlib
import types
import typing

import numpy as np

from bertzoo.checkpoints import differences, shapes
from bertzoo.checkpoints.checkpoint import Checkpoint
from bertzoo.checkpoints.write_hugging_face import write_json

# As in the archives that Google released: the names that their scripts' examples have.
CONFIG_FILES = {"google_bert": "bert_config.json", "google_albert": "albert_config.json"}
PREFIXES = {"google_bert": "bert_model.ckpt", "google_albert": "model.ckpt-best"}
VOCABULARY = {"wordpiece": "vocab.txt", "sentence_piece": "30k-clean.model"}


def write_google(
    directory: pathlib.Path,
    opened: Checkpoint,
    family: types.ModuleType,
    *,
    allow_inexact: bool = False,
) -> None:
    """Write the configuration, the vocabulary, and the checkpoint's `.index` and `.data` files.

    `tf.train.load_checkpoint` and `init_from_checkpoint` read it; there is no `.meta` graph, which
    neither needs. All weights are in memory at once, as TensorFlow writes them in one call.
    As in Google's archives nothing says whether text is lower-cased: their scripts have a flag
    for it, and bertzoo goes by the capital letters of the vocabulary.

    Args:
        directory: Empty.
        opened: What to write.
        family: `tables.google_bert` or `tables.google_albert`.
        allow_inexact: Whether to write a configuration that says something else.

    Raises:
        ValueError: A network or a head that Google's code does not have.
    """
    format = family.CONFIG.format
    names = _names(opened, family)
    raw = _config(opened, family, allow_inexact)
    write_json(directory / CONFIG_FILES[format], raw)
    _write_vocabulary(directory, opened, format)
    wanted = shapes.variable_shapes(opened.config, opened.heads.values())
    arrays = {}
    for path, array in opened.weights(wanted):
        row = names[path]
        arrays[row.theirs] = np.ascontiguousarray(row.transform.save(array, opened.config))
    _save(directory / PREFIXES[format], arrays)


def _names(opened: Checkpoint, family) -> dict[str, typing.Any]:
    """Return {our path: row} for every variable; heads whose names coincide raise."""
    config, format = opened.config, family.CONFIG.format
    wanted = shapes.variable_shapes(config, opened.heads.values())
    rows = {
        row.ours: row
        for row in family.TABLE.expand(config)
        if row.ours in wanted and row.part in {"backbone", "pooler", *opened.heads}
    }
    lost = sorted(set(wanted) - set(rows))
    if lost:
        raise ValueError(
            f"{format} cannot express {opened.name}: Google's code has no variables for "
            f"{', '.join(lost)}."
        )
    if {"text_classifier", "token_classifier"} <= set(opened.heads):
        raise ValueError(
            "a text_classifier and a token_classifier have the same names in Google's checkpoints, "
            "`output_weights` and `output_bias`; choose one with heads=."
        )
    return rows


def _config(opened: Checkpoint, family, allow_inexact: bool) -> dict[str, typing.Any]:
    config, format = opened.config, family.CONFIG.format
    if config.num_segments == 0:
        raise ValueError(
            f"{format} cannot express {opened.name}: Google's code adds a segment to every token, "
            "and this model has none."
        )
    raw = family.CONFIG.write(config)
    read = family.CONFIG.read(raw, CONFIG_FILES[format], pooler=config.pooler)
    found = differences.config_differences(config, read)
    if config.activation != read.activation and config.activation in ("gelu", "gelu_tanh"):
        found.append(
            "Google's files say `gelu` for both forms, which is read as erf for BERT and as tanh "
            "for ALBERT"
        )
    differences.refuse(format, opened.name, found, allow_inexact)
    return raw


def _write_vocabulary(directory: pathlib.Path, opened: Checkpoint, format: str) -> None:
    if opened.tokenizer is None or not opened.files:
        return
    kind = opened.tokenizer.kind
    if kind not in VOCABULARY or (kind, format) == ("sentence_piece", "google_bert"):
        raise ValueError(
            f"{format} cannot express {opened.name}: Google's code has no {kind} tokenizer."
        )
    _check_tokenizer(opened, format)
    content = opened.files["vocabulary"].read_bytes()
    (directory / VOCABULARY[kind]).write_bytes(content)


def _check_tokenizer(opened: Checkpoint, format: str) -> None:
    """Raise for settings that are fixed in Google's `tokenization.py`."""
    tokenizer = opened.tokenizer
    assert tokenizer is not None, "only called with one"
    if tokenizer.strip_accents not in (None, tokenizer.lowercase):
        raise ValueError(
            f"{format} cannot express {opened.name}: Google's code strips accents exactly when it "
            "lower-cases, and this tokenizer does not."
        )
    fixed = {"start_token": "[CLS]", "end_token": "[SEP]", "mask_token": "[MASK]"}
    if tokenizer.kind == "wordpiece":
        fixed |= {"unknown_token": "[UNK]", "pad_token": "[PAD]"}
    for name, token in fixed.items():
        if getattr(tokenizer, name) != token:
            raise ValueError(
                f"{format} cannot express {opened.name}: in Google's code the {name} is {token!r}, "
                f"and in this tokenizer it is {getattr(tokenizer, name)!r}."
            )


def _save(prefix: pathlib.Path, arrays: dict[str, np.ndarray]) -> None:
    import tensorflow as tf

    names = sorted(arrays)
    with tf.device("CPU:0"):
        # The op behind TensorFlow 1's Saver; an empty slice means the whole tensor.
        tf.raw_ops.SaveV2(
            prefix=str(prefix),
            tensor_names=names,
            shape_and_slices=[""] * len(names),
            tensors=[tf.constant(arrays[name]) for name in names],
        )
