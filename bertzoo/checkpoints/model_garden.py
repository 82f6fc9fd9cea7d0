"""TensorFlow Model Garden checkpoints and TF-Hub SavedModels, by walking their object graph.

Of a SavedModel only `variables/` and `assets/` are read; its graph is neither run nor parsed.
"""

from __future__ import annotations

import dataclasses
import pathlib
import typing

import numpy as np

from bertzoo.checkpoints import checkpoint, google, heads, readers, table, tokenizer_files
from bertzoo.checkpoints.garden_objects import (
    DECODER,
    POSITIONS,
    SEGMENTS,
    TOKENS,
    GardenVariables,
)
from bertzoo.checkpoints.object_graph import KEY, ObjectGraph
from bertzoo.checkpoints.tables import model_garden as tables
from bertzoo.checkpoints.tensor_bundle import TensorFlowReader
from bertzoo.config import BackboneConfig

FORMAT = "model_garden"
QUERY = "transformer/layer_0/self_attention/query/kernel"
CONFIG_FILES = ("bert_config.json", "albert_config.json", "config.json", "params.yaml")


def open_model_garden(
    path: pathlib.Path,
    *,
    activation: str | None = None,
    expected_heads: typing.Collection[str] = (),
) -> checkpoint.Checkpoint:
    """Open a checkpoint of official.nlp, or the directory of a TF-Hub SavedModel.

    Args:
        path: A directory, a prefix such as `bert_model.ckpt-1`, or its `.index` file.
        activation: Wins over the configuration's.
        expected_heads: Kinds that a preset says are there.

    Raises:
        ValueError: No encoder in the object graph, or files that contradict each other.
    """
    prefix = google.find_prefix(path)
    reader = TensorFlowReader(prefix)
    if KEY not in reader.shapes:
        raise ValueError(f"{prefix} has no object graph; TensorFlow 1 wrote it.")
    found = GardenVariables(ObjectGraph(reader), reader.shapes, str(prefix))
    # Heads are kept apart; some files of 2019 have them joined.
    joined = len(found.shape(QUERY)) == 2
    rows = tables.JOINED if joined else tables.TABLE
    config_path, config = _read_config(prefix, found, activation)
    where = str(config_path or prefix)
    found.name_tables(config.max_sequence_length, config.num_segments)
    tensors = _tensors(reader, found, rows)
    checkpoint.check_config_against_tensors(config, rows, tensors, where)
    carried, unread = heads.read_heads(tables.HEADS, {}, config, tensors, where, expected_heads)
    if "masked_lm" in carried and DECODER in tensors:
        carried["masked_lm"] = dataclasses.replace(carried["masked_lm"], tie_embeddings=False)
    for kind in ("text_classifier", "token_classifier", "question_answerer"):
        if kind not in carried and any(name.startswith("head/") for name in tensors):
            unread[kind] = "its names in the Model Garden do not say which kind it is"
    folder = _assets(prefix)
    family = "albert" if config.num_groups else "bert"
    tokenizer, files = tokenizer_files.read_tokenizer(folder, family, config.max_sequence_length)
    if tokenizer is not None and (lowercase := _do_lower_case(reader)) is not None:
        tokenizer = tokenizer.replace(lowercase=lowercase)
    return checkpoint.Checkpoint(
        name=str(path),
        directory=folder,
        format=FORMAT,
        config=config,
        heads=carried,
        tokenizer=tokenizer,
        files=files,
        info={},
        unread_heads=unread,
        tensors=tensors,
        table=rows,
    )


def _tensors(
    reader: TensorFlowReader, found: GardenVariables, rows: table.Table
) -> readers.Tensors:
    """Return all that is stored: what was found under its name, the rest under its key."""
    tensors = readers.Tensors()
    for name, key in found.keys.items():
        tensors.add(name, reader, key)
    done = {*found.keys.values(), *found.untrained}
    # Functional task models: one dense layer whose name does not say for what.
    heads_of = {
        node.key: f"head/{node.full_name}"
        for node in found.graph.nodes
        if node.key is not None and "predictions/transform/logits/" in node.full_name
    }
    for key in reader.shapes:
        if key not in done and not rows.ignores(key):
            tensors.add(heads_of.get(key, key), reader, key)
    return tensors


def _read_config(
    prefix: pathlib.Path, found: GardenVariables, activation: str | None
) -> tuple[pathlib.Path | None, BackboneConfig]:
    path = google.find_config(prefix, CONFIG_FILES)
    pooler = "pooler_transform/kernel" in found.keys
    # The rows of the table win over the file, as in every other format.
    segments = found.shape(SEGMENTS)[0] if SEGMENTS in found.keys else None
    options: dict[str, typing.Any] = {
        "pooler": pooler,
        "num_segments": segments,
        "activation": activation,
    }
    if path is None:
        where = f"the shapes in {prefix}"
        config = tables.CONFIG.read(_sizes_from_shapes(found), where, **options)
    elif path.suffix == ".yaml":
        config = tables.PARAMS.read(_read_params(path), str(path), **options)
    else:
        config = tables.CONFIG.read(readers.read_json(path), str(path), **options)
    if found.num_blocks == 1 and config.num_layers > 1:  # ALBERT
        config = config.replace(num_groups=1)
    elif found.num_blocks != config.num_distinct_layers:
        raise ValueError(
            f"{path or prefix} asks for {config.num_distinct_layers} layers, but the weights hold "
            f"{found.num_blocks}."
        )
    return path, config


def _sizes_from_shapes(found: GardenVariables) -> dict[str, int]:
    """Return a configuration from the weights alone, as SavedModels have no other."""
    query = found.shape(QUERY)
    projected = "embedding_projection/kernel" in found.keys
    shared = found.num_blocks == 1 and projected
    if len(query) != 3 or shared or found.unnamed_tables:
        what = "how often the shared layer runs" if shared else "how many heads there are"
        raise ValueError(
            f"{found.where} has no configuration beside it, and the weights do not say "
            f"{what}; put the {' or '.join(CONFIG_FILES[:2])} that belongs to it there."
        )
    return {
        "vocab_size": found.shape(TOKENS)[0],
        "embedding_size": found.shape(TOKENS)[-1],
        "hidden_size": query[0],
        "num_attention_heads": query[1],
        "num_hidden_layers": found.num_blocks,
        "intermediate_size": found.shape("transformer/layer_0/intermediate/kernel")[-1],
        "max_position_embeddings": found.shape(POSITIONS)[0],
        "type_vocab_size": found.shape(SEGMENTS)[0],
    }


def _read_params(path: pathlib.Path) -> dict[str, typing.Any]:
    """Return `task.model.encoder.TYPE` of a params.yaml."""
    import yaml

    try:
        text = path.read_text(encoding="utf-8")
        # An alias can stand for any number of copies; the Garden writes none.
        if any(isinstance(event, yaml.AliasEvent) for event in yaml.parse(text, yaml.SafeLoader)):
            raise ValueError(f"{path} uses YAML aliases, which bertzoo does not read.")
        raw = yaml.safe_load(text)
        encoder = raw["task"]["model"]["encoder"]
        kind = encoder.get("type", "bert")
        if kind not in ("bert", "albert"):
            raise ValueError(f"{path} describes a {kind!r} encoder; bertzoo reads bert and albert.")
        return dict(encoder[kind])
    except (yaml.YAMLError, UnicodeDecodeError, RecursionError) as error:
        raise ValueError(f"{path} is not valid YAML.") from error
    except (AttributeError, KeyError, TypeError) as error:
        raise ValueError(f"{path} has no task.model.encoder.bert.") from error


def _assets(prefix: pathlib.Path) -> pathlib.Path:
    """Return the folder of the vocabulary: beside the weights, or that of a SavedModel."""
    names = (*tokenizer_files.WORDPIECE, *tokenizer_files.SENTENCE_PIECE)
    folder = prefix.parent
    for place in (folder, folder / "assets", folder.parent / "assets", folder.parent):
        if any((place / name).is_file() for name in names):
            return place
    return folder


def _do_lower_case(reader: TensorFlowReader) -> bool | None:
    """Return the variable that TF-Hub's encoders keep beside their vocabulary."""
    key = "do_lower_case/.ATTRIBUTES/VARIABLE_VALUE"
    if reader.shapes.get(key) != ():
        return None
    value = reader.read(key)
    return bool(value) if value.dtype == np.bool_ else None
