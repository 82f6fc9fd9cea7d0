"""fairseq's RoBERTa directories: `model.pt` with the training arguments, and `dict.txt`.

The arguments are an `argparse.Namespace`, read as inert data. Files of fairseq 0.10 and later keep
OmegaConf objects instead; the reader of pickles refuses those by name.
"""

from __future__ import annotations

import dataclasses
import json
import pathlib
import re
import typing

import numpy as np

from bertzoo.checkpoints import checkpoint, heads, readers, tokenizer_files
from bertzoo.checkpoints.inert_pickle import Record
from bertzoo.checkpoints.tables import fairseq_roberta as tables
from bertzoo.checkpoints.torch_file import TorchReader
from bertzoo.checkpoints.torch_tensors import NAMESPACE
from bertzoo.config import TokenizerConfig

FORMAT = "fairseq_roberta"
MODEL, DICTIONARY = "model.pt", "dict.txt"
ENCODERS = ("decoder.sentence_encoder.", "encoder.sentence_encoder.")
# fairseq's Dictionary begins with these and masked_lm appends its own; dict.txt has the rest.
FIRST, LAST = ("<s>", "<pad>", "</s>", "<unk>"), ("<mask>",)
# GPT-2's vocabulary, which fairseq fetches apart from the model.
ENCODER_JSON, MERGES = "encoder.json", "vocab.bpe"


def is_fairseq(directory: pathlib.Path) -> bool:
    """Whether a directory has fairseq's files."""
    return (directory / MODEL).is_file()


def open_fairseq(
    directory: pathlib.Path,
    *,
    activation: str | None = None,
    expected_heads: typing.Collection[str] = (),
) -> checkpoint.Checkpoint:
    """Open a RoBERTa that fairseq wrote.

    Args:
        directory: With `model.pt`; with `dict.txt`, `encoder.json` and `vocab.bpe` the tokenizer
            is read too.
        activation: Wins over the arguments'.
        expected_heads: Kinds that a preset says are there.

    Raises:
        ValueError: Another model, or a file that holds more than tensors and arguments.
    """
    path = directory / MODEL
    reader = TorchReader(path, entry="model", allowed=NAMESPACE)
    tensors, names = _tensors(reader)
    raw = _arguments(reader)
    table = tensors.get("embed_tokens.weight")
    if table is None:
        raise ValueError(f"{path} has no encoder of RoBERTa; expected {ENCODERS[0]}embed_tokens.")
    config = tables.CONFIG.read(
        {**raw, "vocab_size": table[0]},
        f"the arguments in {path}",
        pooler=False,
        num_segments=0,
        activation=activation,
    )
    checkpoint.check_config_against_tensors(config, tables.TABLE, tensors, str(path))
    tied = _drop_tied_decoder(tensors)
    found, unread = heads.read_heads(tables.HEADS, {}, config, tensors, str(path), expected_heads)
    if "masked_lm" in found and not tied:
        found["masked_lm"] = dataclasses.replace(found["masked_lm"], tie_embeddings=False)
    if len(names) > 1:
        unread["text_classifier"] = f"{path} has several: {', '.join(sorted(names))}"
    tokenizer, files = _tokenizer(directory, config.vocabulary_size, config.max_sequence_length)
    return checkpoint.Checkpoint(
        name=str(directory),
        directory=directory,
        format=FORMAT,
        config=config,
        heads=found,
        tokenizer=tokenizer,
        files=files,
        info={},
        unread_heads=unread,
        tensors=tensors,
        table=tables.TABLE,
    )


class _Third:
    """Queries, keys or values out of the one matrix in which old files have all three."""

    def __init__(self, reader: TorchReader, stored: str, index: int):
        self.path, self.reader, self.index = reader.path, reader, index
        rows, *rest = reader.shapes[stored]
        self.rows = rows // 3
        self.shapes = {stored: (self.rows, *rest)}

    def read(self, name: str) -> np.ndarray:
        start = self.index * self.rows
        return self.reader.read(name)[start : start + self.rows]


def _tensors(reader: TorchReader) -> tuple[readers.Tensors, set[str]]:
    """Return the tensors under the table's names, and the names of the classification heads."""
    tensors = readers.Tensors()
    heads_of = (re.match(r"classification_heads\.([^.]+)\.", name) for name in reader.shapes)
    names = {match[1] for match in heads_of if match}
    for stored, shape in reader.shapes.items():
        name = stored
        for prefix in ENCODERS:
            name = name.removeprefix(prefix)
        name = re.sub(r"^(decoder|encoder)\.lm_head\.", "lm_head.", name)
        name = re.sub(r"^emb_layer_norm\.", "layernorm_embedding.", name)
        if len(names) == 1:
            name = re.sub(r"^classification_heads\.[^.]+\.", "classification_head.", name)
        fused = re.fullmatch(r"(layers\.\d+\.self_attn\.)in_proj_(weight|bias)", name)
        if fused:
            if not shape or shape[0] % 3:
                raise ValueError(f"{reader.path}: `{stored}` is {shape}; expected three parts.")
            for index, part in enumerate("qkv"):
                third = _Third(reader, stored, index)
                tensors.add(f"{fused[1]}{part}_proj.{fused[2]}", third, stored)
        elif not tables.TABLE.ignores(name):
            tensors.add(name, reader, stored)
    return tensors, names


def _arguments(reader: TorchReader) -> dict[str, typing.Any]:
    arguments = reader.content.get("args")
    if not isinstance(arguments, Record):
        raise ValueError(
            f"{reader.path} has no training arguments under `args`, and the weights do not say how "
            "many heads there are."
        )
    fields = arguments.fields
    if "roberta" not in str(fields.get("arch")):
        raise ValueError(
            f"{reader.path} holds the model {str(fields.get('arch'))[:50]!r}; bertzoo reads "
            "roberta from fairseq."
        )
    return {key: fields[key] for key in tables.CONFIG.keys if key in fields}


def _drop_tied_decoder(tensors: readers.Tensors) -> bool:
    matrix, table = "lm_head.weight", "embed_tokens.weight"
    if matrix not in tensors:
        return True
    if tensors[matrix] == tensors[table] and np.array_equal(
        tensors.read(matrix), tensors.read(table)
    ):
        tensors.drop(matrix)
        return True
    return False


def _tokenizer(
    directory: pathlib.Path, rows: int, length: int
) -> tuple[TokenizerConfig | None, dict[str, pathlib.Path]]:
    """Return Hugging Face's vocabulary, made of fairseq's, or theirs where it lies there."""
    tokenizer, files = tokenizer_files.read_tokenizer(directory, "roberta", length)
    places = [directory / name for name in (DICTIONARY, ENCODER_JSON, MERGES)]
    if files or not all(place.is_file() for place in places):
        return tokenizer, files
    text = json.dumps(_vocabulary(places[0], places[1], rows), ensure_ascii=False)
    vocabulary = tokenizer_files.as_file((text,), "vocab.json")
    tokens: dict[str, typing.Any] = dict(tokenizer_files.BYTE_PAIR_TOKENS)
    config = TokenizerConfig(kind="byte_pair", lowercase=False, **tokens)
    return config, {"vocabulary": vocabulary, "merges": places[2]}


def _vocabulary(dictionary: pathlib.Path, encoder: pathlib.Path, rows: int) -> dict[str, int]:
    """Return token -> row: dict.txt counts GPT-2's ids by frequency, encoder.json spells them."""
    spelled = {str(index): token for token, index in readers.read_json(encoder).items()}
    ids: dict[str, int] = {token: index for index, token in enumerate(FIRST)}
    for number, line in enumerate(dictionary.read_text(encoding="utf-8").splitlines(), start=1):
        symbol, separator, _ = line.rpartition(" ")
        token = spelled.get(symbol, symbol)  # madeupword0000 fills the table to a multiple of 8
        if not separator or token in ids:
            raise ValueError(f"{dictionary}, line {number}: {line[:50]!r} is not a new symbol.")
        ids[token] = len(ids)
    for token in LAST:
        ids[token] = len(ids)
    if len(ids) != rows:
        raise ValueError(
            f"{dictionary} makes a vocabulary of {len(ids)} tokens, but the token table has {rows} "
            "rows."
        )
    return ids
