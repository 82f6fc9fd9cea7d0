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
    hugging_face,
    keras_hub,
    opening,
    preset_directory,
    sentence_transformers,
)
from bertzoo.checkpoints.checkpoint import Checkpoint
from bertzoo.checkpoints.write_hugging_face import write_hugging_face
from bertzoo.checkpoints.write_keras_hub import write_keras_hub
from bertzoo.config import BackboneConfig, HeadConfig, check_key

FORMATS = ("bertzoo", *sorted(hugging_face.FORMATS), "keras_hub")
# Only for drawing new weights, which an exported model does not do.
UNUSED = ("initializer_range",)


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
        format: `hf_bert`, `hf_distilbert`, `hf_albert`, `hf_roberta`, `hf_electra`, `keras_hub`,
            or `bertzoo`.
        heads: Kinds to write; None for all that the source carries. The other formats hold one
            task in a directory.
        allow_inexact: Write even where the other library will compute something else.

    Returns:
        The directory.

    Raises:
        ValueError: A format that cannot express the model; the message says why.

    Example:
    >>> export_checkpoint("my_bert/", "for_transformers/", format="hf_bert")
    PosixPath('for_transformers')
    """
    check_key(format, FORMATS, "the formats to export to")
    opened = opening.open_source(source)
    if heads is not None:
        for kind in heads:
            check_key(kind, opened.heads, f"the heads of {opened.name}")
        opened = dataclasses.replace(
            opened, heads={kind: head for kind, head in opened.heads.items() if kind in heads}
        )
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
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise ValueError(f"{target} is there and not empty; choose another directory.")
    with preset_directory.new_directory(target) as temporary:
        if format == "keras_hub":
            expected = write_keras_hub(temporary, opened, allow_inexact=allow_inexact)
            written = keras_hub.open_keras_hub(temporary)
        else:
            expected = write_hugging_face(temporary, opened, hugging_face.FORMATS[format])
            written = _open_hugging_face(temporary)
        differences = _differences(expected, written)
        if differences and not allow_inexact:
            raise ValueError(
                f"{format} cannot express {opened.name}: {'; '.join(differences)}. Pass "
                "allow_inexact=True to write it all the same."
            )
    return target


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


def _differences(expected: Checkpoint, written: Checkpoint) -> list[str]:
    """Say what the other library would compute otherwise."""
    found = []
    for field in dataclasses.fields(BackboneConfig):
        ours, theirs = getattr(expected.config, field.name), getattr(written.config, field.name)
        if ours != theirs and field.name not in UNUSED:
            found.append(f"{field.name} would be {theirs!r}, and is {ours!r}")
    for kind, head in expected.heads.items():
        if kind not in written.heads:
            found.append(f"it has no place for this {kind} head")
            continue
        for field in dataclasses.fields(HeadConfig):
            ours, theirs = getattr(head, field.name), getattr(written.heads[kind], field.name)
            # Names of classes where none were, or none where KerasHub has no field for them.
            if ours != theirs and field.name != "labels" and _matters(head, field.name):
                found.append(f"{kind}: {field.name} would be {theirs!r}, and is {ours!r}")
    return found


def _matters(head: HeadConfig, field: str) -> bool:
    """Whether a field of a head changes what it computes or how it trains."""
    if field == "layer_norm_epsilon":
        return head.kind == "masked_lm"
    if field == "input":
        return head.kind == "text_classifier"
    if field == "dropout":
        # The other kinds have no dropout of their own, in bertzoo or elsewhere.
        return head.kind in ("text_classifier", "token_classifier")
    return True
