"""Write a KerasHub preset directory: JSON files and HDF5 arrays, without importing KerasHub."""

from __future__ import annotations

import collections.abc
import contextlib
import dataclasses
import pathlib
import typing

import numpy as np

from bertzoo.checkpoints import differences, keras_hub, shapes, table
from bertzoo.checkpoints.checkpoint import Checkpoint
from bertzoo.checkpoints.tables import keras_hub as tables
from bertzoo.checkpoints.write_hugging_face import write_json
from bertzoo.config import BackboneConfig

POSITIONS, SEGMENTS = "embeddings/position/embeddings", "embeddings/segment/embeddings"
TASKS = {
    "text_classifier": ("TextClassifier", "text_classifier"),
    "masked_lm": ("MaskedLM", "masked_lm"),
    "text_embedder": ("TextEmbedder", "text_embedder"),
}


def write_keras_hub(
    directory: pathlib.Path, opened: Checkpoint, *, allow_inexact: bool = False
) -> Checkpoint:
    """Write the files of the KerasHub class that is nearest to the model.

    Args:
        directory: Empty.
        opened: What to write.
        allow_inexact: Whether a pooler of zeros may stand for one that the model lacks.

    Returns:
        What the directory should say when it is opened: the model, with RoBERTa's unused
        position rows cut off and its one segment row added to the positions, as there.

    Raises:
        ValueError: A model that no KerasHub class has the variables for.
    """
    if len(opened.heads) > 1:
        raise ValueError(
            f"a KerasHub preset holds one task, and {opened.name} has "
            f"{', '.join(sorted(opened.heads))}; choose one with heads=."
        )
    wanted = shapes.variable_shapes(opened.config, opened.heads.values())
    weights = opened.weights(wanted)
    family = _nearest_class(opened.config)
    config = opened.config
    if family is tables.ROBERTA:
        config, weights = _fold(opened, weights)
    if not config.pooler and "pooler" not in family.constants:
        if not allow_inexact:
            raise ValueError(
                f"keras_hub cannot express {opened.name}: {family.name}Backbone always has a "
                "pooler and this model has none. Pass allow_inexact=True to write one of zeros."
            )
        weights = _with_zero_pooler(weights, config.hidden_dim)
        config = config.replace(pooler=True)
    arguments = _arguments(family, config)
    read = keras_hub.read_config(family, arguments, "config.json")
    found = differences.config_differences(config, read)
    differences.refuse("keras_hub", opened.name, found, allow_inexact)
    backbone = _serialized(f"{family.name}Backbone", family.module, arguments)
    write_json(directory / "config.json", backbone)
    _write_arrays(directory, weights, config, keras_hub.table_of(family, config), opened)
    preprocessor = _write_tokenizer(directory, opened, family)
    for kind, head in opened.heads.items():
        if kind not in TASKS:
            raise ValueError(f"keras_hub cannot express {opened.name}: it has no {kind} task.")
        name, module = TASKS[kind]
        arguments = {"backbone": backbone, "preprocessor": preprocessor}
        if kind == "text_classifier":
            arguments |= {
                "num_classes": head.num_outputs,
                "activation": "linear",
                "dropout": head.dropout,
            }
            if family.classifier and "hidden_activation" in family.classifier:
                arguments["hidden_dim"] = config.hidden_dim
        if kind == "text_embedder":
            arguments |= {"pooling_mode": head.pooling[0], "normalize": head.normalize}
        task = _serialized(f"{family.name}{name}", family.module, arguments, module)
        write_json(directory / "task.json", task)
    return dataclasses.replace(opened, config=config)


def _nearest_class(config: BackboneConfig) -> tables.KerasHubClass:
    if config.position_offset:
        return tables.ROBERTA
    if config.num_segments == 0:
        epsilon = tables.ROBERTA.constants["layer_norm_epsilon"]
        return tables.ROBERTA if config.layer_norm_epsilon == epsilon else tables.DISTIL_BERT
    if config.num_groups is not None:
        return tables.ALBERT
    return tables.BERT if config.embedding_dim is None else tables.ELECTRA


def _fold(opened: Checkpoint, weights) -> tuple[BackboneConfig, collections.abc.Iterator]:
    """Begin the positions at the first token and add the one segment row to each of them."""
    config = opened.config
    if config.num_segments > 1:
        raise ValueError(
            f"keras_hub cannot express {opened.name}: RobertaBackbone has no segments and this "
            f"model has {config.num_segments}."
        )
    if config.pooler:
        raise ValueError(
            f"keras_hub cannot express {opened.name}: RobertaBackbone has no pooler and this "
            "model has one."
        )
    folded = config.replace(position_offset=0, num_segments=0)
    segment = np.zeros(config.table_dim, np.float32)
    if config.num_segments:
        segment = opened.read(SEGMENTS)[0]

    def arrays():
        for path, array in weights:
            if path == POSITIONS:
                yield path, array[config.position_offset :] + segment
            elif path != SEGMENTS:
                yield path, array

    return folded, arrays()


def _with_zero_pooler(weights, width: int):
    yield from weights
    yield "pooler/kernel", np.zeros((width, width), np.float32)
    yield "pooler/bias", np.zeros((width,), np.float32)


def _arguments(family: tables.KerasHubClass, config: BackboneConfig) -> dict[str, typing.Any]:
    arguments = {theirs: getattr(config, ours) for theirs, ours in family.arguments.items()}
    if "embedding_dim" in arguments:
        arguments["embedding_dim"] = config.table_dim
    return arguments


def _serialized(name: str, module: str, arguments: dict, file: str | None = None) -> dict:
    """Return what keras.saving.serialize_keras_object would write."""
    return {
        "module": f"keras_hub.src.models.{module}.{module}_{file or 'backbone'}",
        "class_name": name,
        "config": arguments,
        "registered_name": f"keras_hub>{name}",
    }


def _write_arrays(directory, weights, config, rows: table.Table, opened: Checkpoint) -> None:
    import h5py

    of_path = {
        row.ours: row
        for row in rows.expand(config)
        if row.part in {"backbone", "pooler", *opened.heads}
    }
    with contextlib.ExitStack() as stack:
        files = {False: stack.enter_context(h5py.File(directory / "model.weights.h5", "w"))}
        for path, array in weights:
            if path not in of_path:
                raise ValueError(
                    f"keras_hub cannot express {opened.name}: it has no array for {path}."
                )
            row = of_path[path]
            is_task = row.theirs.startswith("task/")
            if is_task not in files:
                files[True] = stack.enter_context(h5py.File(directory / "task.weights.h5", "w"))
            name = row.theirs.removeprefix("task/")
            files[is_task].create_dataset(name, data=row.transform.save(array, config))


def _write_tokenizer(directory, opened: Checkpoint, family) -> dict | None:
    """Write the tokenizer and its preprocessor; return the latter for task.json."""
    tokenizer = opened.tokenizer
    names = keras_hub.KINDS[tokenizer.kind] if tokenizer is not None else ()
    if tokenizer is None or not opened.files:
        return None
    folder = directory / keras_hub.ASSETS
    folder.mkdir(parents=True)
    for name, path in zip(names, opened.files.values(), strict=True):
        (folder / name).write_bytes(path.read_bytes())
    arguments: dict[str, typing.Any] = {}
    if tokenizer.kind == "wordpiece":
        strip = tokenizer.lowercase if tokenizer.strip_accents is None else tokenizer.strip_accents
        arguments = {"lowercase": tokenizer.lowercase, "strip_accents": strip}
    elif tokenizer.kind == "byte_pair":
        arguments = {"add_prefix_space": tokenizer.add_prefix_space}
    serialized = _serialized(f"{family.name}Tokenizer", family.module, arguments, "tokenizer")
    write_json(directory / "tokenizer.json", serialized)
    if family.classifier is None:
        return None  # ELECTRA has a tokenizer there, and no preprocessor
    kind = next(iter(opened.heads), "text_classifier")
    name, file = TASKS.get(kind, TASKS["text_classifier"])
    # Without this file KerasHub packs 512 tokens, whatever the position table has.
    length = tokenizer.sequence_length or opened.config.max_sequence_length
    preprocessor = _serialized(
        f"{family.name}{name}Preprocessor",
        family.module,
        {"tokenizer": serialized, "sequence_length": length},
        f"{file}_preprocessor",
    )
    write_json(directory / "preprocessor.json", preprocessor)
    return preprocessor
