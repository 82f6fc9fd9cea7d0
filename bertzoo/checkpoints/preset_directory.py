"""bertzoo's own directory: `preset.json`, `weights.safetensors`, the vocabulary, a model card.

It is written whole or not at all: into a directory of its own beside the target, flushed, then
renamed. While an older preset is being replaced its files stay under `.NAME.previous`, where
reading finds them should the process die between the two renames.
"""

from __future__ import annotations

import collections.abc
import contextlib
import json
import os
import pathlib
import shutil
import typing

import numpy as np

from bertzoo import durable
from bertzoo.checkpoints import checkpoint, model_card, readers, shapes, table
from bertzoo.checkpoints.heads import problem_of
from bertzoo.checkpoints.safetensors_file import write_safetensors
from bertzoo.config import BackboneConfig, HeadConfig, TokenizerConfig, check_key

FORMAT = "bertzoo"
FORMAT_VERSION = 1
PRESET, WEIGHTS, CARD = "preset.json", "weights.safetensors", "README.md"
KEYS = ("format", "format_version", "config", "heads", "tokenizer", "info", "files")
VOCABULARY_ROLES = {
    "vocabulary.txt": "vocabulary",
    "vocabulary.json": "vocabulary",
    "vocabulary.spm": "vocabulary",
    "merges.txt": "merges",
}


def write_preset(
    directory: str | os.PathLike,
    *,
    config: BackboneConfig,
    heads: collections.abc.Mapping[str, HeadConfig],
    tokenizer: TokenizerConfig | None,
    files: collections.abc.Mapping[str, bytes],
    weights: collections.abc.Iterable[tuple[str, np.ndarray]],
    info: collections.abc.Mapping[str, typing.Any],
) -> pathlib.Path:
    """Write a preset directory, whole or not at all.

    Args:
        directory: New, empty, or a preset that bertzoo wrote and that is to be replaced.
        config: The encoder.
        heads: By kind.
        tokenizer: None where none belongs to it.
        files: Vocabulary file name -> content: `vocabulary.txt`, or `vocabulary.json` and
            `merges.txt`, or `vocabulary.spm`.
        weights: (variable path, array) for every variable of the backbone and the heads.
        info: Origin, as description, license, paper, language; JSON values.

    Returns:
        The directory.

    Raises:
        ValueError: The directory holds something else, or the weights are not complete.
    """
    target = pathlib.Path(directory).expanduser()
    _check_replaceable(target)
    for name in files:
        check_key(name, VOCABULARY_ROLES, "the vocabulary files of a preset")
    wanted = shapes.variable_shapes(config, heads.values())
    with new_directory(target) as temporary:
        try:
            write_safetensors(temporary / WEIGHTS, wanted, weights)
        except ValueError as error:
            raise ValueError(f"{target} was not written: {error}") from error
        for name, content in files.items():
            durable.write_bytes(temporary / name, content)
        preset = {
            "format": FORMAT,
            "format_version": FORMAT_VERSION,
            "config": config.to_dict(),
            "heads": {kind: head.to_dict() for kind, head in heads.items()},
            "tokenizer": None if tokenizer is None else tokenizer.to_dict(),
            "info": dict(info),
            "files": {
                name: {"sha256": durable.sha256(temporary / name), "bytes": _size(temporary / name)}
                for name in (WEIGHTS, *files)
            },
        }
        card = model_card.write(target.name, config, heads, tokenizer, info)
        durable.write_bytes(temporary / CARD, card.encode("utf-8"))
        text = json.dumps(preset, indent=2, ensure_ascii=False) + "\n"
        durable.write_bytes(temporary / PRESET, text.encode("utf-8"))
    return target


def open_preset(directory: pathlib.Path) -> checkpoint.Checkpoint:
    """Open a directory that `write_preset` wrote.

    Raises:
        ValueError: An unknown key or version, or a file that is not the one that was written.
    """
    path = directory / PRESET
    raw = readers.read_json(path)
    version = raw.get("format_version")
    if raw.get("format") != FORMAT or version != FORMAT_VERSION:
        raise ValueError(
            f"{path} has format {raw.get('format')!r}, version {version!r}; this bertzoo reads "
            f"{FORMAT!r}, version {FORMAT_VERSION}. A newer bertzoo may read it."
        )
    for key in raw:
        check_key(key, KEYS, str(path))
    try:
        config = BackboneConfig.from_dict(raw["config"], f"{path}, config")
        heads = {
            kind: HeadConfig.from_dict(_with_problem(kind, values, raw), f"{path}, heads")
            for kind, values in raw["heads"].items()
        }
        tokenizer = raw["tokenizer"]
        if tokenizer is not None:
            tokenizer = TokenizerConfig.from_dict(tokenizer, f"{path}, tokenizer")
        sums = {name: entry["sha256"] for name, entry in raw["files"].items()}
    except (AttributeError, KeyError, TypeError) as error:
        raise ValueError(f"{path} is not a whole preset file: {error!r}.") from error
    for kind, head in heads.items():
        if kind != head.kind:
            raise ValueError(f"{path} has a {head.kind} head under the name {kind!r}.")
    vocabulary = {
        VOCABULARY_ROLES[name]: directory / name for name in sums if name in VOCABULARY_ROLES
    }
    for file in vocabulary.values():
        verify(file, sums[file.name])
    tensors, why = None, ""
    if (directory / WEIGHTS).is_file():
        verify(directory / WEIGHTS, sums.get(WEIGHTS))
        reader = readers.SafetensorsReader(directory / WEIGHTS)
        tensors = readers.Tensors()
        for name in reader.shapes:
            tensors.add(name, reader, name)
    else:
        why = f"{directory} has no {WEIGHTS}, so only its configuration can be used."
    rows = table.Table(tuple(table.Row(p, p) for p in _paths(config, heads, tensors, path)))
    if tensors is not None:
        checkpoint.check_config_against_tensors(config, rows, tensors, str(path))
    return checkpoint.Checkpoint(
        name=str(directory),
        directory=directory,
        format=FORMAT,
        config=config,
        heads=heads,
        tokenizer=tokenizer,
        files=vocabulary,
        info=raw["info"],
        tensors=tensors,
        table=rows,
        why_no_weights=why,
    )


def verify(path: pathlib.Path, expected: str | None) -> None:
    """Raise unless a file is there and has this SHA-256; the message names the file."""
    if not path.is_file():
        raise ValueError(f"{path} is missing; the preset was written with it.")
    found = durable.sha256(path)
    if found != expected:
        raise ValueError(
            f"{path} is not the file that was written: its SHA-256 is {found}, and {PRESET} says "
            f"{expected}. Copy or save the preset again."
        )


def existing(directory: pathlib.Path) -> pathlib.Path:
    """Return where a preset's files are: the directory, or what an interrupted write set aside."""
    previous = _previous(directory)
    if not directory.exists() and (previous / PRESET).is_file():
        return previous
    return directory


@contextlib.contextmanager
def new_directory(target: pathlib.Path):
    """Yield a temporary directory that becomes `target` if the block ends well."""
    temporary = durable.temporary_beside(target, "writing")
    try:
        yield temporary
        durable.sync(temporary)
        _swap(temporary, target)
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise


def _swap(temporary: pathlib.Path, target: pathlib.Path) -> None:
    previous = _previous(target)
    replacing = target.exists() and any(target.iterdir())
    if replacing:
        if previous.exists():  # set aside by a write that had already put the new one in place
            shutil.rmtree(previous)
        os.rename(target, previous)
    try:
        os.rename(temporary, target)  # an empty directory may be there; rename takes its place
    except BaseException:
        if replacing:
            os.rename(previous, target)
        raise
    durable.sync(target.parent)
    if previous.exists():
        shutil.rmtree(previous)


def _previous(target: pathlib.Path) -> pathlib.Path:
    return target.parent / f".{target.name}.previous"


def _check_replaceable(target: pathlib.Path) -> None:
    if target.is_symlink() or (target.exists() and not target.is_dir()):
        raise ValueError(f"{target} is not a directory; choose another name for the preset.")
    if not target.exists() or not any(target.iterdir()):
        return
    if not (target / PRESET).is_file():
        raise ValueError(
            f"{target} is not empty and holds no preset of bertzoo; choose another directory."
        )
    written = {PRESET, CARD, *(readers.read_json(target / PRESET).get("files") or ())}
    strangers = sorted(item.name for item in target.iterdir() if item.name not in written)
    if strangers:
        raise ValueError(
            f"{target} holds files that bertzoo did not write ({', '.join(strangers)}), which "
            "replacing the preset would delete; move them or choose another directory."
        )


def _with_problem(kind, values, raw):
    """Return a head's fields; older presets have transformers' word for the problem beside them."""
    if kind != "text_classifier" or "problem" in values:
        return values
    return {**values, **problem_of(raw["info"], values.get("num_outputs") or 0)}


def _paths(config, heads, tensors, path) -> list[str]:
    # A damaged number of layers must not be written out row by row.
    if tensors is not None and config.num_distinct_layers > len(tensors):
        raise ValueError(
            f"{path} asks for {config.num_distinct_layers} layers, but the weights hold only "
            f"{len(tensors)} tensors."
        )
    return list(shapes.variable_shapes(config, heads.values()))


def _size(path: pathlib.Path) -> int:
    return path.stat().st_size
