"""A LoRA adapter as a small directory: `adapter.json` and `adapter.safetensors`.

Written whole or not at all, and read with every name, shape and sum checked, as presets are.
"""

from __future__ import annotations

import collections.abc
import json
import math
import os
import pathlib
import typing

import numpy as np

from bertzoo import durable
from bertzoo.checkpoints import preset_directory, readers
from bertzoo.checkpoints.safetensors_file import write_safetensors
from bertzoo.config import check_key

FORMAT = "bertzoo_lora"
FORMAT_VERSION = 1
SETTINGS, WEIGHTS = "adapter.json", "adapter.safetensors"
KEYS = (
    "format",
    "format_version",
    "rank",
    "lora_alpha",
    "target_layer_names",
    "config",
    "base",
    "head",
    "sha256",
)


def write_adapter(
    directory: str | os.PathLike,
    settings: collections.abc.Mapping[str, typing.Any],
    weights: collections.abc.Mapping[str, np.ndarray],
) -> pathlib.Path:
    """Write an adapter, whole or not at all.

    Args:
        directory: New, empty, or an adapter that is to be replaced.
        settings: What `adapter.json` says: rank, lora_alpha, target_layer_names, config, base,
            head.
        weights: Variable path -> array.

    Returns:
        The directory.

    Raises:
        ValueError: The directory holds something else.
    """
    target = pathlib.Path(directory).expanduser()
    _check_replaceable(target)
    with preset_directory.new_directory(target) as temporary:
        shapes = {path: tuple(array.shape) for path, array in weights.items()}
        write_safetensors(temporary / WEIGHTS, shapes, weights.items())
        content = {
            "format": FORMAT,
            "format_version": FORMAT_VERSION,
            **settings,
            "sha256": durable.sha256(temporary / WEIGHTS),
        }
        for key in content:
            check_key(key, KEYS, SETTINGS)
        text = json.dumps(content, indent=2, ensure_ascii=False) + "\n"
        durable.write_bytes(temporary / SETTINGS, text.encode("utf-8"))
    return target


def read_adapter(
    directory: str | os.PathLike,
) -> tuple[dict[str, typing.Any], readers.SafetensorsReader]:
    """Return an adapter's settings and a reader of its arrays.

    Raises:
        ValueError: No adapter, another version, or a file that is not the one that was written.
    """
    directory = pathlib.Path(directory).expanduser()
    path = directory / SETTINGS
    if not path.is_file():
        raise ValueError(
            f"{directory} holds no adapter of bertzoo: there is no {SETTINGS} in it; "
            "save_lora_weights writes one."
        )
    raw = readers.read_json(path)
    if (raw.get("format"), raw.get("format_version")) != (FORMAT, FORMAT_VERSION):
        raise ValueError(
            f"{path} has format {raw.get('format')!r}, version {raw.get('format_version')!r}; this "
            f"bertzoo reads {FORMAT!r}, version {FORMAT_VERSION}."
        )
    for key in raw:
        check_key(key, KEYS, str(path))
    missing = [key for key in KEYS if key not in raw]
    if missing:
        raise ValueError(f"{path} is not a whole adapter file: it lacks {', '.join(missing)}.")
    _check_types(raw, path)
    preset_directory.verify(directory / WEIGHTS, raw["sha256"])
    return raw, readers.SafetensorsReader(directory / WEIGHTS)


def _check_types(raw: dict[str, typing.Any], path: pathlib.Path) -> None:
    names = raw["target_layer_names"]
    claims = {
        "rank": type(raw["rank"]) is int,
        "lora_alpha": type(raw["lora_alpha"]) in (int, float) and math.isfinite(raw["lora_alpha"]),
        "target_layer_names": isinstance(names, list) and all(isinstance(n, str) for n in names),
        "config": isinstance(raw["config"], dict),
        "head": raw["head"] is None or isinstance(raw["head"], dict),
    }
    for key, holds in claims.items():
        if not holds:
            raise ValueError(
                f"{path} has `{key}`: {raw[key]!r}, which is damaged or of no adapter."
            )


def _check_replaceable(target: pathlib.Path) -> None:
    if target.is_symlink() or (target.exists() and not target.is_dir()):
        raise ValueError(f"{target} is not a directory; choose another name for the adapter.")
    found = {item.name for item in target.iterdir()} if target.exists() else set()
    if found and (SETTINGS not in found or found - {SETTINGS, WEIGHTS}):
        raise ValueError(
            f"{target} is not empty and holds no adapter of bertzoo alone; choose another "
            "directory."
        )
