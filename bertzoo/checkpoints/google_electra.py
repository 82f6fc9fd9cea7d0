"""Google's TensorFlow 1 ELECTRA checkpoints, whose releases have no configuration file."""

from __future__ import annotations

import pathlib
import typing

from bertzoo.checkpoints import checkpoint, google, heads, readers, tokenizer_files
from bertzoo.checkpoints.tables import google_electra as tables
from bertzoo.checkpoints.tensor_bundle import TensorFlowReader

DISCRIMINATOR, GENERATOR = "google_electra", "google_electra_generator"
FORMATS = (DISCRIMINATOR, GENERATOR)
SCOPES = ("electra/", "generator/")
# util/training_utils.py: num_attention_heads = max(1, hidden_size // 64), for every size and for
# the generators too.
HEAD_DIM = 64


def is_electra(reader: TensorFlowReader) -> bool:
    """Whether the names of a checkpoint are ELECTRA's."""
    return any(name.startswith(SCOPES) for name in reader.shapes)


def open_google_electra(
    path: pathlib.Path,
    format: str = DISCRIMINATOR,
    *,
    activation: str | None = None,
    expected_heads: typing.Collection[str] = (),
) -> checkpoint.Checkpoint:
    """Open the discriminator or the generator of a pretraining checkpoint.

    Args:
        path: A directory, a prefix such as `electra_small`, or its `.index` file.
        format: `google_electra` or `google_electra_generator`.
        activation: Wins over the configuration's, which is `gelu` (erf) where there is none.
        expected_heads: Kinds that a preset says are there.

    Raises:
        ValueError: A file without the encoder, or without a known number of heads.
    """
    prefix = google.find_prefix(path)
    reader = TensorFlowReader(prefix)
    scope = "electra" if format == DISCRIMINATOR else "generator"
    untied = "generator/embeddings/word_embeddings" in reader.shapes
    rows = tables.TABLE
    if format == GENERATOR:
        rows = tables.UNTIED_GENERATOR if untied else tables.GENERATOR
    tensors = readers.Tensors()
    for name in reader.shapes:
        if not rows.ignores(name):
            tensors.add(name, reader, name)
    embeddings = "generator" if format == GENERATOR and untied else "electra"
    # A file beside it describes the discriminator.
    config_path = google.find_config(prefix, ("bert_config.json", "electra_config.json"))
    if config_path is None or format == GENERATOR:
        where = f"the shapes in {prefix}"
        raw = _sizes_from_shapes(tensors, scope, embeddings, str(prefix))
    else:
        where, raw = str(config_path), readers.read_json(config_path)
    segments = tensors.get(f"{embeddings}/embeddings/token_type_embeddings", (None,))[0]
    config = tables.CONFIG.read(
        raw, where, pooler=False, num_segments=segments, activation=activation
    )
    checkpoint.check_config_against_tensors(config, rows, tensors, where)
    rules = tables.HEADS if format == DISCRIMINATOR else tables.GENERATOR_HEADS
    found, unread = heads.read_heads(rules, raw, config, tensors, where, expected_heads)
    tokenizer, files = tokenizer_files.read_tokenizer(
        prefix.parent, "electra", config.max_sequence_length
    )
    return checkpoint.Checkpoint(
        name=str(path),
        directory=prefix.parent,
        format=format,
        config=config,
        heads=found,
        tokenizer=tokenizer,
        files=files,
        info={},
        unread_heads=unread,
        tensors=tensors,
        table=rows,
    )


def _sizes_from_shapes(
    tensors: readers.Tensors, scope: str, embeddings: str, where: str
) -> dict[str, int]:
    names = {
        "tokens": f"{embeddings}/embeddings/word_embeddings",
        "positions": f"{embeddings}/embeddings/position_embeddings",
        "segments": f"{embeddings}/embeddings/token_type_embeddings",
        "query": f"{scope}/encoder/layer_0/attention/self/query/kernel",
        "inner": f"{scope}/encoder/layer_0/intermediate/dense/kernel",
    }
    missing = [name for name in names.values() if len(tensors.get(name, ())) != 2]
    if missing:
        raise ValueError(f"{where} is not a checkpoint of ELECTRA: it has no `{missing[0]}`.")
    hidden = tensors[names["query"]][0]
    if hidden % HEAD_DIM:
        raise ValueError(
            f"{where} has no bert_config.json beside it, and its hidden size {hidden} is none of "
            f"the published ones, which have heads of {HEAD_DIM}; put one there that says "
            "num_attention_heads."
        )
    layers = 0
    while f"{scope}/encoder/layer_{layers}/attention/self/query/kernel" in tensors:
        layers += 1
    return {
        "vocab_size": tensors[names["tokens"]][0],
        "embedding_size": tensors[names["tokens"]][1],
        "hidden_size": hidden,
        "num_attention_heads": hidden // HEAD_DIM,
        "num_hidden_layers": layers,
        "intermediate_size": tensors[names["inner"]][1],
        "max_position_embeddings": tensors[names["positions"]][0],
        "type_vocab_size": tensors[names["segments"]][0],
    }
