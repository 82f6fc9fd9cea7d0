"""Google's TensorFlow 1 checkpoints: BERT and ALBERT, as released and as later runs left them."""

from __future__ import annotations

import pathlib
import re
import typing

from bertzoo.checkpoints import checkpoint, heads, readers, tokenizer_files
from bertzoo.checkpoints.lookalikes import refuse_lookalikes
from bertzoo.checkpoints.tables import google_albert, google_bert
from bertzoo.checkpoints.tensor_bundle import TensorFlowReader

FORMATS = {"google_bert": google_bert, "google_albert": google_albert}
CONFIG_FILES = {"bert_config.json": "google_bert", "albert_config.json": "google_albert"}
RELEASED = ("bert_model.ckpt", "model.ckpt-best")


def open_google(
    path: pathlib.Path,
    format: str,
    *,
    activation: str | None = None,
    expected_heads: typing.Collection[str] = (),
) -> checkpoint.Checkpoint:
    """Open a TensorFlow 1 checkpoint.

    Args:
        path: A directory, a prefix such as `bert_model.ckpt`, or its `.index` file.
        format: `google_bert` or `google_albert`.
        activation: Wins over the configuration's `hidden_act`.
        expected_heads: Kinds that a preset says are there.
    """
    family = FORMATS[format]
    prefix = find_prefix(path)
    config_path = _config_file(prefix)
    raw = readers.read_json(config_path)
    reader = TensorFlowReader(prefix)
    refuse_lookalikes(reader.shapes, str(prefix))
    tensors = readers.Tensors()
    for stored in reader.shapes:
        name = stored.removeprefix("module/")
        if not family.TABLE.ignores(name):
            tensors.add(name, reader, stored)
    segments = tensors.get("bert/embeddings/token_type_embeddings", (None,))[0]
    config = family.CONFIG.read(
        raw,
        str(config_path),
        pooler="bert/pooler/dense/kernel" in tensors,
        num_segments=segments or 0,
        activation=activation,
    )
    checkpoint.check_config_against_tensors(config, family.TABLE, tensors, str(config_path))
    found, unread = heads.read_heads(
        family.HEADS, raw, config, tensors, str(config_path), expected_heads
    )
    tokenizer, files = tokenizer_files.read_tokenizer(
        config_path.parent, format.removeprefix("google_"), config.max_sequence_length
    )
    return checkpoint.Checkpoint(
        name=str(path),
        directory=config_path.parent,
        format=format,
        config=config,
        heads=found,
        tokenizer=tokenizer,
        files=files,
        info={},
        unread_heads=unread,
        tensors=tensors,
        table=family.TABLE,
    )


def find_format(path: pathlib.Path) -> str:
    """Return which of the two formats lies at a directory, prefix or `.index` file."""
    config = _config_file(find_prefix(path))
    raw = readers.read_json(config)
    albert = "num_hidden_groups" in raw or "embedding_size" in raw
    return "google_albert" if albert else CONFIG_FILES.get(config.name, "google_bert")


def find_prefixes(path: pathlib.Path) -> list[pathlib.Path]:
    """Return the checkpoints at a path: itself, or those in a directory or one level below."""
    if path.is_dir():
        indices = sorted(path.glob("*.index")) or sorted(path.glob("*/*.index"))
    elif path.suffix == ".index":
        indices = [path]
    else:
        indices = [path.with_name(path.name + ".index")]
    return [index.with_suffix("") for index in indices if index.is_file()]


def find_prefix(path: pathlib.Path) -> pathlib.Path:
    """Return the one checkpoint at a path: the released one, or the last of a run."""
    prefixes = find_prefixes(path)
    if not prefixes:
        raise ValueError(f"{path} holds no TensorFlow 1 checkpoint; expected a *.index file.")
    for name in RELEASED:
        released = [prefix for prefix in prefixes if prefix.name == name]
        if len(released) == 1:
            return released[0]
    latest = _latest(prefixes[0].parent)
    if latest in prefixes:
        return latest
    if len(prefixes) > 1:
        raise ValueError(
            f"{path} holds {len(prefixes)} checkpoints "
            f"({', '.join(prefix.name for prefix in prefixes)}); give the path of one of them."
        )
    return prefixes[0]


def _latest(directory: pathlib.Path) -> pathlib.Path | None:
    """Return what the text file `checkpoint` of a training run names as the last one."""
    path = directory / "checkpoint"
    if not path.is_file():
        return None
    match = re.search(r'^model_checkpoint_path:\s*"([^"]+)"', path.read_text("utf-8"), re.M)
    return directory / pathlib.PurePosixPath(match[1]).name if match else None


def find_config(prefix: pathlib.Path, names: typing.Iterable[str]) -> pathlib.Path | None:
    """Return the first configuration beside a checkpoint, one level above, or in assets."""
    for directory in (prefix.parent, prefix.parent.parent):
        # TF-Hub modules keep it in assets/ beside variables/.
        for folder in (directory, directory / "assets"):
            for name in names:
                if (folder / name).is_file():
                    return folder / name
    return None


def _config_file(prefix: pathlib.Path) -> pathlib.Path:
    path = find_config(prefix, (*CONFIG_FILES, "config.json"))
    if path is None:
        raise ValueError(
            f"{prefix.parent} has no bert_config.json or albert_config.json; the weights do not "
            "say how many heads there are, so the file that came with them is needed."
        )
    return path
