"""KerasHub preset directories: `config.json`, `model.weights.h5`, and those of a task."""

from __future__ import annotations

import pathlib
import typing

from bertzoo.checkpoints import checkpoint, configs, readers
from bertzoo.checkpoints.tables import keras_hub as tables
from bertzoo.config import BackboneConfig, HeadConfig, TokenizerConfig, check_key

PACKAGES = ("keras_hub>", "keras_nlp>")
BOOKKEEPING = ("name", "trainable", "dtype")
ASSETS = pathlib.PurePath("assets", "tokenizer")
# Of a serialized tokenizer: the class without its model's name -> kind and vocabulary files.
KINDS = {
    "wordpiece": ("vocabulary.txt",),
    "byte_pair": ("vocabulary.json", "merges.txt"),
    "sentence_piece": ("vocabulary.spm",),
}
TOKENIZER_KINDS = {"Roberta": "byte_pair", "Albert": "sentence_piece"}
TOKENS = {
    "Roberta": {
        "start_token": "<s>",
        "end_token": "</s>",
        "pad_token": "<pad>",
        "unknown_token": "<unk>",
        "mask_token": "<mask>",
    },
    "Albert": {"pad_token": "<pad>", "unknown_token": "<unk>"},
}


def open_keras_hub(directory: pathlib.Path) -> checkpoint.Checkpoint:
    """Open a directory that KerasHub's `save_to_preset`, or our export, wrote.

    Raises:
        ValueError: A class that bertzoo has no table for, or files that contradict each other.
    """
    path = directory / "config.json"
    family, arguments = _read_backbone(readers.read_json(path), str(path))
    config = read_config(family, arguments, str(path))
    rows = table_of(family, config)
    tensors, why = _open_weights(directory)
    heads, unread = _read_task(directory, family, config, tensors)
    if tensors is not None:
        checkpoint.check_config_against_tensors(config, rows, tensors, str(path))
    tokenizer, files = _read_tokenizer(directory, family.name)
    return checkpoint.Checkpoint(
        name=str(directory),
        directory=directory,
        format="keras_hub",
        config=config,
        heads=heads,
        tokenizer=tokenizer,
        files=files,
        info={},
        unread_heads=unread,
        tensors=tensors,
        table=rows,
        why_no_weights=why,
    )


def table_of(family: tables.KerasHubClass, config: BackboneConfig):
    """Return the rows of a class; those of an ELECTRA depend on its projection."""
    if family.name == "Electra" and config.embedding_dim is not None:
        return tables.ELECTRA_PROJECTED.table
    return family.table


def _read_backbone(raw, where: str) -> tuple[tables.KerasHubClass, dict]:
    registered = str(raw.get("registered_name"))
    name = registered.partition(">")[2]
    known = [f"keras_hub>{key}Backbone" for key in tables.CLASSES]
    short = name.removesuffix("Backbone")
    if not registered.startswith(PACKAGES) or short not in tables.CLASSES:
        raise ValueError(f"{where} describes {registered!r}; bertzoo reads {', '.join(known)}.")
    arguments = raw.get("config")
    if not isinstance(arguments, dict):
        raise ValueError(f"{where} must hold the arguments of the backbone under `config`.")
    return tables.CLASSES[short], arguments


def read_config(family: tables.KerasHubClass, arguments: dict, where: str) -> BackboneConfig:
    """Return our configuration of a backbone class and its arguments."""
    for key in arguments:
        check_key(key, (*family.arguments, *BOOKKEEPING), f"{where}, config")
    values: dict[str, typing.Any] = {
        ours: arguments[theirs] for theirs, ours in family.arguments.items() if theirs in arguments
    }
    if family.name == "Electra" and values.get("embedding_dim") == values.get("hidden_dim"):
        values["embedding_dim"] = None
    if family.name == "Albert":
        values.setdefault("num_groups", 1)
        values.setdefault("dropout", 0.0)
    values |= family.constants
    # TransformerEncoder gives its one rate to attention probabilities too.
    values["attention_dropout"] = values.get("dropout", BackboneConfig.dropout)
    try:
        config = BackboneConfig(**values)
    except ValueError as error:
        raise ValueError(f"{where}: {error}") from error
    configs.check_sizes(config, where)
    return config


def _open_weights(directory: pathlib.Path) -> tuple[readers.Tensors | None, str]:
    path = directory / "model.weights.h5"
    if not path.is_file():
        if (directory / "model.weights.json").is_file():
            return None, f"{directory} keeps its weights in shards, which bertzoo does not read."
        return None, f"{directory} has no model.weights.h5, so only its configuration can be used."
    tensors = readers.Tensors()
    reader = readers.KerasH5Reader(path)
    for name in reader.shapes:
        tensors.add(name, reader, name)
    if (directory / "task.weights.h5").is_file():
        reader = readers.KerasH5Reader(directory / "task.weights.h5")
        for name in reader.shapes:
            tensors.add(f"task/{name}", reader, name)
    return tensors, ""


def _read_task(directory, family, config, tensors) -> tuple[dict[str, HeadConfig], dict[str, str]]:
    """Return the head that task.json describes, or why it cannot be read."""
    path = directory / "task.json"
    if not path.is_file():
        return {}, {}
    raw = readers.read_json(path)
    name = str(raw.get("registered_name")).partition(">")[2]
    arguments = raw.get("config")
    if not isinstance(arguments, dict):
        raise ValueError(f"{path} must hold the arguments of the task under `config`.")
    if name == f"{family.name}TextClassifier" and family.classifier is not None:
        return _read_classifier(arguments, family, config, tensors, path)
    if name == f"{family.name}MaskedLM" and family.masked_lm_activation is not None:
        head = HeadConfig(
            kind="masked_lm",
            hidden_activation=family.masked_lm_activation,
            layer_norm_epsilon=tables.MASKED_LM_EPSILON,
        )
        return {"masked_lm": head}, {}
    if name == f"{family.name}TextEmbedder":
        head = HeadConfig(
            kind="text_embedder",
            pooling=(arguments.get("pooling_mode", "mean"),),
            normalize=arguments.get("normalize", True),
        )
        return {"text_embedder": head}, {}
    return {}, {"task": f"{path} describes {name}, which bertzoo has no head for"}


def _read_classifier(arguments, family, config, tensors, path):
    activation = arguments.get("activation")
    width = arguments.get("hidden_dim") or config.hidden_dim
    if width != config.hidden_dim:
        reason = f"{path} has a hidden layer of width {width}, not the encoder's"
        return {}, {"text_classifier": reason}
    if activation not in (None, "linear", "softmax", "sigmoid"):
        return {}, {"text_classifier": f"{path} applies {activation!r} to its logits"}
    try:
        head = HeadConfig(
            kind="text_classifier",
            num_outputs=arguments.get("num_classes"),
            dropout=arguments.get("dropout", family.classifier_dropout),
            **family.classifier,
        )
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error
    if tensors is not None:
        logits = (
            "task/layers/dense_1/vars/1" if head.hidden_activation else "task/layers/dense/vars/1"
        )
        if logits in tensors and tensors[logits] != (head.num_outputs,):
            raise ValueError(
                f"{path} says num_classes {head.num_outputs}, but the weights have "
                f"{tensors[logits][0]} outputs."
            )
    return {"text_classifier": head}, {}


def _read_tokenizer(
    directory: pathlib.Path, family: str
) -> tuple[TokenizerConfig | None, dict[str, pathlib.Path]]:
    path = directory / "tokenizer.json"
    if not path.is_file():
        return None, {}
    arguments = readers.read_json(path).get("config")
    if not isinstance(arguments, dict):
        raise ValueError(f"{path} must hold the arguments of the tokenizer under `config`.")
    kind = TOKENIZER_KINDS.get(family, "wordpiece")
    lowercase = kind == "wordpiece" and bool(arguments.get("lowercase", False))
    values: dict[str, typing.Any] = {
        "kind": kind,
        "lowercase": lowercase or kind == "sentence_piece",
        **TOKENS.get(family, {}),
    }
    if kind == "wordpiece":
        # KerasHub lower-cases without removing accents unless it is asked to.
        values["strip_accents"] = bool(arguments.get("strip_accents", False))
    elif kind == "byte_pair":
        values["add_prefix_space"] = bool(arguments.get("add_prefix_space", False))
    preprocessor = directory / "preprocessor.json"
    if preprocessor.is_file():
        length = (readers.read_json(preprocessor).get("config") or {}).get("sequence_length")
        if type(length) is int:
            values["sequence_length"] = length
    paths = [directory / ASSETS / name for name in KINDS[kind]]
    there = all(p.is_file() for p in paths)
    roles = ("vocabulary", "merges")
    files = dict(zip(roles, paths, strict=False)) if there else {}
    try:
        return TokenizerConfig(**values), files
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error
