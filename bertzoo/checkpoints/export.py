"""Write another library's directory from any checkpoint, through the same tables backwards.

What was written is opened again before it gets its name: where the other format cannot say what
the model computes, the difference shows there and the export is refused.
"""

from __future__ import annotations

import collections.abc
import dataclasses
import os
import pathlib

from bertzoo.checkpoints import (
    differences,
    google,
    hugging_face,
    keras_hub,
    opening,
    preset_directory,
    sentence_transformers,
)
from bertzoo.checkpoints.checkpoint import Checkpoint
from bertzoo.checkpoints.write_google import PREFIXES, write_google
from bertzoo.checkpoints.write_hugging_face import nearest_family, write_hugging_face
from bertzoo.checkpoints.write_keras_hub import write_keras_hub
from bertzoo.config import check_key

FORMATS = (
    "bertzoo",
    *sorted(hugging_face.FORMATS),
    "sentence_transformers",
    "keras_hub",
    *google.FORMATS,
)


def export_checkpoint(
    source: str | os.PathLike | Checkpoint,
    directory: str | os.PathLike,
    format: str,
    *,
    heads: collections.abc.Collection[str] | None = None,
    allow_inexact: bool = False,
) -> pathlib.Path:
    """Write a model as another library's directory, whole or not at all.

    Args:
        source: A preset name, a directory in any format, or an opened `Checkpoint`.
        directory: New, or empty.
        format: `hf_bert`, `hf_distilbert`, `hf_albert`, `hf_roberta`, `hf_electra`;
            `sentence_transformers`; `keras_hub`; `google_bert`, `google_albert` (TensorFlow 1,
            which imports TensorFlow); or `bertzoo`.
        heads: Kinds to write; None for all that the source carries. Hugging Face's and KerasHub's
            directories hold one task, those of sentence-transformers the `text_embedder` alone.
        allow_inexact: Write even where the other library will compute something else.

    Returns:
        The directory.

    Raises:
        ValueError: A format that cannot express the model; the message says why.

    Example:
    >>> path = export_checkpoint("bert_toy", "exported", "hf_bert", heads=["masked_lm"])
    >>> sorted(item.name for item in path.iterdir())[:2]
    ['config.json', 'model.safetensors']
    """
    check_key(format, FORMATS, "the formats to export to")
    opened = _with_heads(opening.open_source(source), format, heads)
    target = pathlib.Path(directory).expanduser()
    if format == "bertzoo":
        return preset_directory.write_preset(
            target,
            config=opened.config,
            heads=opened.heads,
            tokenizer=opened.tokenizer,
            files=vocabulary_files(opened),
            weights=opened.all_weights(),
            info=opened.info,
        )
    if opened.config.head_dim is not None:
        raise ValueError(
            f"{format} cannot express {opened.name}: its heads were pruned to "
            f"{opened.config.num_heads} of width {opened.config.head_dim}, and other libraries "
            f"split the width {opened.config.hidden_dim} among the heads. Keep it as a preset."
        )
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise ValueError(f"{target} is there and not empty; choose another directory.")
    with preset_directory.new_directory(target) as temporary:
        if format == "keras_hub":
            expected = write_keras_hub(temporary, opened, allow_inexact=allow_inexact)
            written = keras_hub.open_keras_hub(temporary)
        elif format in google.FORMATS:
            expected = opened
            write_google(temporary, opened, google.FORMATS[format], allow_inexact=allow_inexact)
            written = google.open_google(temporary / PREFIXES[format], format)
        else:
            expected = opened
            family = hugging_face.FORMATS.get(format) or nearest_family(opened.config)
            write_hugging_face(temporary, opened, family, allow_inexact=allow_inexact)
            written = _open_hugging_face(temporary)
        found = differences.config_differences(expected.config, written.config)
        found += differences.head_differences(expected.heads, written.heads)
        differences.refuse(format, opened.name, found, allow_inexact)
    return target


def _with_heads(opened: Checkpoint, format: str, heads) -> Checkpoint:
    """Return the checkpoint with the heads that are to be written."""
    for kind in heads or ():
        check_key(kind, opened.heads, f"the heads of {opened.name}")
    if format == "sentence_transformers":
        if heads is not None and set(heads) != {"text_embedder"}:
            raise ValueError(
                "a sentence-transformers directory holds a text_embedder and no other head; "
                f"got heads={sorted(heads)}."
            )
        if "text_embedder" not in opened.heads:
            raise ValueError(
                f"{opened.name} has no text_embedder head, which says how vectors are pooled; make "
                "one with TextEmbedder.from_preset(..., pooling=...).save_to_preset(...) and "
                "export that."
            )
        heads = ["text_embedder"]
    if heads is None:
        return opened
    chosen = {kind: head for kind, head in opened.heads.items() if kind in heads}
    return dataclasses.replace(opened, heads=chosen)


def vocabulary_files(opened: Checkpoint) -> dict[str, bytes]:
    """Return the vocabulary under the names that bertzoo's own directories use."""
    if opened.tokenizer is None:
        return {}
    suffix = {"wordpiece": "txt", "byte_pair": "json", "sentence_piece": "spm"}
    names = {"vocabulary": f"vocabulary.{suffix[opened.tokenizer.kind]}", "merges": "merges.txt"}
    return {names[role]: path.read_bytes() for role, path in opened.files.items()}


def _open_hugging_face(directory: pathlib.Path) -> Checkpoint:
    if sentence_transformers.is_sentence_transformers(directory):
        return sentence_transformers.open_sentence_transformers(directory)
    return hugging_face.open_hugging_face(directory)
