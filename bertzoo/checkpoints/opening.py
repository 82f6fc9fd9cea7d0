"""Open a checkpoint: find its format by looking into the directory, or take the one that is given.

A format is told by its own files, in this order: `preset.json` (bertzoo), a `config.json` with
`registered_name` (KerasHub), a `config.json` (Hugging Face), `*.index` (TensorFlow; the names of
the variables say which format), `model.pt` (fairseq).
"""

from __future__ import annotations

import collections.abc
import dataclasses
import os
import pathlib
import typing

from bertzoo import hub, presets
from bertzoo.checkpoints import (
    fairseq,
    google,
    google_electra,
    hugging_face,
    keras_hub,
    model_garden,
    object_graph,
    preset_directory,
    random_weights,
    readers,
    sentence_transformers,
    shapes,
    table,
    tokenizer_files,
)
from bertzoo.checkpoints.checkpoint import Checkpoint
from bertzoo.checkpoints.tensor_bundle import TensorFlowReader
from bertzoo.config import BackboneConfig, HeadConfig, TokenizerConfig, check_key

FORMATS = (
    "bertzoo",
    *sorted(hugging_face.FORMATS),
    *google.FORMATS,
    *google_electra.FORMATS,
    model_garden.FORMAT,
    fairseq.FORMAT,
    "keras_hub",
)


def open_checkpoint(
    directory: str | os.PathLike,
    format: str | None = None,
    *,
    activation: str | None = None,
    expected_heads: collections.abc.Collection[str] = (),
) -> Checkpoint:
    """Open a directory, a file in it, an archive or an address, in any format that bertzoo reads.

    Neither TensorFlow nor PyTorch is imported, whatever wrote it; TensorFlow's file system opens
    object stores.

    Args:
        directory: Of the checkpoint; or a `.zip`, `.tar.gz` or `.tar` of it; or `hf://user/repo`,
            `kaggle://...`, `https://...`, `gs://...`, which are downloaded on first use.
        format: One of `FORMATS`; None to find it by inspection.
        activation: `gelu`, `gelu_tanh` or `relu`, where it is known better than the files say.
            Google's BERT says "gelu" for what began as erf and became tanh; it is read as erf.
        expected_heads: Kinds that are known to be there, for formats in which two heads have
            the same tensor names.

    Raises:
        ValueError: Nothing there that bertzoo reads, or files that contradict each other.

    Example:
    >>> path = import_checkpoint("bert_toy").save_to_preset("my_bert")
    >>> open_checkpoint(path).format
    'bertzoo'
    """
    if format is not None:
        check_key(format, FORMATS, "the checkpoint formats")
    if hub.is_address(directory):
        entry = hub.fetch(str(directory))
        opened = open_checkpoint(
            entry, format, activation=activation, expected_heads=expected_heads
        )
        return dataclasses.replace(opened, info={**opened.info, "source": hub.origin(entry)})
    path = pathlib.Path(directory).expanduser()
    if path.is_file() and hub.is_archive(path):
        path = hub.unpack(path)
    path = preset_directory.existing(path)
    if not path.exists() and not _is_tf1_prefix(path):
        raise ValueError(
            f"{path} does not exist; expected a checkpoint directory or a preset name."
        )
    root = path.parent if path.is_file() or _is_tf1_prefix(path) else path
    options: dict[str, typing.Any] = {"activation": activation, "expected_heads": expected_heads}
    found = format or _find_format(path, root)
    if found == "bertzoo":
        return preset_directory.open_preset(root)
    if found == "keras_hub":
        return keras_hub.open_keras_hub(root)
    if found in google.FORMATS:
        return google.open_google(path, found, **options)
    if found in google_electra.FORMATS:
        return google_electra.open_google_electra(path, found, **options)
    if found == model_garden.FORMAT:
        return model_garden.open_model_garden(path, **options)
    if found == fairseq.FORMAT:
        return fairseq.open_fairseq(root, **options)
    chosen = format  # None lets config.json decide among the families
    if sentence_transformers.is_sentence_transformers(root):
        return sentence_transformers.open_sentence_transformers(root, chosen, **options)
    return hugging_face.open_hugging_face(root, chosen, **options)


def open_source(
    source: str | os.PathLike | Checkpoint,
    format: str | None = None,
    *,
    download: bool = True,
    **options,
) -> Checkpoint:
    """Open a preset name or alias, a directory, file, archive or address, or what is open already.

    The files of a preset are downloaded on first use. A preset whose files are not on this machine
    and cannot be downloaded opens without weights; asking for them then says why. Where there are
    files, the preset's row decides on case and labels, which files are often wrong about, and must
    agree with them on everything else.

    Args:
        source: What to open.
        format: One of `FORMATS`; None to find it by inspection.
        download: False to open a preset by its row alone where its files are not here.
        **options: Of `open_checkpoint`.

    Raises:
        ValueError: An unknown name, or a row that contradicts the files.

    Example:
    >>> sorted(import_checkpoint("bert_base_en_uncased").heads)
    ['masked_lm', 'next_sentence']
    """
    if isinstance(source, Checkpoint):
        return source
    if hub.is_address(source):
        return open_checkpoint(source, format, **options)
    path = pathlib.Path(source).expanduser()
    if isinstance(source, os.PathLike) or os.sep in str(source) or path.exists():
        return open_checkpoint(path, format, **options)
    info = presets.find_preset(str(source))
    if info.random_seed is not None:
        return _random(info, info.random_seed)
    directory, why = hub.locate(info), ""
    if directory is not None:
        hub.verify(directory)
    elif download:
        try:
            directory = hub.download_preset(info)
        except ValueError as error:  # said when the weights are asked for
            why = str(error)
    if directory is None:
        return Checkpoint(
            name=info.name,
            directory=None,
            format=format or "unknown",
            config=info.config,
            heads=dict(info.heads),
            tokenizer=info.tokenizer,
            files={},
            info=_about(info),
            why_no_weights=why or hub.where_to_get(info),
        )
    for name, expected in (info.sha256 or {}).items():
        if (directory / name).is_file():
            preset_directory.verify(directory / name, expected)
    opened = open_checkpoint(directory, format, expected_heads=tuple(info.heads), **options)
    return _agree(opened, info)


# The public name: what is opened becomes a preset with `.save_to_preset(directory)`.
import_checkpoint = open_source


def _find_format(path: pathlib.Path, root: pathlib.Path) -> str:
    if (root / preset_directory.PRESET).is_file():
        return "bertzoo"
    if path.is_file() and path.suffix == ".index":
        return _tensorflow_format(path)
    if (root / "config.json").is_file() and not _is_tf1_prefix(path):
        raw = readers.read_json(root / "config.json")
        if "registered_name" in raw:
            return "keras_hub"
        # Some repositories keep Google's files beside a config.json and nothing else to read.
        original = any((root / name).is_file() for name in google.CONFIG_FILES)
        weights = [f for f in ("*.safetensors*", "*.bin", "*.bin.index.json") if [*root.glob(f)]]
        if not (original and list(root.glob("*.index")) and not weights):
            return "hugging_face"
    if sentence_transformers.is_sentence_transformers(root):
        return "hugging_face"
    if google.find_prefixes(path):
        return _tensorflow_format(path)
    if fairseq.is_fairseq(root):
        return fairseq.FORMAT
    raise ValueError(
        f"{path} holds no checkpoint that bertzoo reads; expected preset.json (bertzoo), "
        "config.json (Hugging Face, KerasHub), a *.index file (TensorFlow) or model.pt (fairseq)."
    )


def _tensorflow_format(path: pathlib.Path) -> str:
    """Return which of the formats with a `*.index` it is, by the names of the variables."""
    reader = TensorFlowReader(google.find_prefix(path))
    if object_graph.KEY in reader.shapes:
        return model_garden.FORMAT
    if google_electra.is_electra(reader):
        return google_electra.DISCRIMINATOR
    return google.find_format(path)


def _is_tf1_prefix(path: pathlib.Path) -> bool:
    return not path.is_dir() and bool(path.name) and path.with_name(path.name + ".index").is_file()


def _agree(opened: Checkpoint, info: presets.PresetInfo) -> Checkpoint:
    """Let a preset's row and its files meet: case and labels from the row, the rest must agree."""
    if opened.format == model_garden.FORMAT and info.config.activation.startswith("gelu"):
        # The Garden computes the tanh form whatever the weights were trained with.
        config = opened.config.replace(activation=info.config.activation)
        opened = dataclasses.replace(opened, config=config)
    differ = []
    for field in dataclasses.fields(BackboneConfig):
        ours, theirs = getattr(info.config, field.name), getattr(opened.config, field.name)
        # Whether a pooler was saved depends on the class that saved the files, not on the model.
        if ours != theirs and field.name not in ("pooler", "initializer_range"):
            differ.append(f"{field.name} is {ours!r} in the row and {theirs!r} in the files")
    if differ:
        raise ValueError(
            f"the files of {info.name} in {opened.directory} are not those of the preset: "
            f"{'; '.join(differ)}. Open them by their directory to use them all the same."
        )
    heads: dict[str, HeadConfig] = {}
    for kind, head in opened.heads.items():
        row = info.heads.get(kind)
        if row is not None and row.labels is not None:
            if head.num_outputs != row.num_outputs:
                raise ValueError(
                    f"{info.name} has {row.num_outputs} labels, but the {kind} head in "
                    f"{opened.directory} has {head.num_outputs} outputs."
                )
            head = head.replace(labels=row.labels)
        if row is not None and row.problem == "multi_label":
            head = head.replace(problem=row.problem, thresholds=row.thresholds, parents=row.parents)
        heads[kind] = head
    return dataclasses.replace(
        opened,
        name=info.name,
        heads=heads,
        tokenizer=_tokenizer(opened.tokenizer, info.tokenizer),
        info={**opened.info, **_about(info)},
    )


def _tokenizer(
    found: TokenizerConfig | None, row: TokenizerConfig | None
) -> TokenizerConfig | None:
    if row is None or found is None:
        return found or row
    length = row.sequence_length or found.sequence_length
    return found.replace(
        lowercase=row.lowercase, strip_accents=row.strip_accents, sequence_length=length
    )


def _about(info: presets.PresetInfo) -> dict:
    about = {
        "preset": info.name,
        "description": info.description,
        "license": info.license,
        "language": info.language,
        "paper": info.paper,
        "note": info.note,
    }
    return {key: value for key, value in about.items() if value}


def _random(info: presets.PresetInfo, seed: int) -> Checkpoint:
    wanted = shapes.variable_shapes(info.config, info.heads.values())
    reader = random_weights.RandomReader(wanted, seed, info.config.initializer_range)
    tensors = readers.Tensors()
    for name in wanted:
        tensors.add(name, reader, name)
    return Checkpoint(
        name=info.name,
        directory=None,
        format="bertzoo",
        config=info.config,
        heads=dict(info.heads),
        tokenizer=info.tokenizer,
        files={}
        if info.vocabulary is None
        else {"vocabulary": tokenizer_files.as_file(info.vocabulary)},
        info=_about(info),
        tensors=tensors,
        table=table.Table(tuple(table.Row(path, path) for path in wanted)),
    )
