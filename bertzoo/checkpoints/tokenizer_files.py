"""Tokenizer settings and vocabulary files of Hugging Face and Google directories."""

from __future__ import annotations

import atexit
import functools
import json
import pathlib
import shutil
import tempfile
import typing

from bertzoo.checkpoints.readers import read_json
from bertzoo.config import TokenizerConfig

# File names of each kind of vocabulary, in the order in which they are looked for.
WORDPIECE = ("vocab.txt", "vocab_chinese.txt", "vocabulary.txt")
BYTE_PAIR = ("vocab.json", "merges.txt")
SENTENCE_PIECE = ("spiece.model", "30k-clean.model", "sentencepiece.bpe.model", "tokenizer.model")

BYTE_PAIR_TOKENS = {
    "start_token": "<s>",
    "end_token": "</s>",
    "pad_token": "<pad>",
    "unknown_token": "<unk>",
    "mask_token": "<mask>",
}
ALBERT_TOKENS = {"pad_token": "<pad>", "unknown_token": "<unk>"}
THEIR_TOKENS = {
    "cls_token": "start_token",
    "sep_token": "end_token",
    "pad_token": "pad_token",
    "unk_token": "unknown_token",
    "mask_token": "mask_token",
}
# What old tokenizers write where there is no limit.
NO_LIMIT = 10**9


def read_tokenizer(
    directory: pathlib.Path, family: str, max_sequence_length: int
) -> tuple[TokenizerConfig | None, dict[str, pathlib.Path]]:
    """Return the tokenizer's settings and its vocabulary files by role.

    Args:
        directory: A checkpoint.
        family: `bert`, `distilbert`, `electra` (WordPiece), `roberta` or `albert`.
        max_sequence_length: Of the encoder; a longer limit in the files is not taken over.

    Returns:
        None and no files for a directory that says nothing of its tokenizer.
    """
    raw = _settings(directory)
    kind, files = _files(directory, family, str(raw.get("tokenizer_class") or ""))
    if not files and not raw:
        return None, {}
    values: dict[str, typing.Any] = {"kind": kind}
    if kind == "byte_pair":
        values |= {"lowercase": False, **BYTE_PAIR_TOKENS}
    elif kind == "sentence_piece":
        values |= ALBERT_TOKENS if family == "albert" else BYTE_PAIR_TOKENS
        values["lowercase"] = family == "albert"
    if kind == "byte_pair" and type(raw.get("add_prefix_space")) is bool:
        values["add_prefix_space"] = raw["add_prefix_space"]
    if kind != "byte_pair" and type(raw.get("do_lower_case")) is bool:
        values["lowercase"] = raw["do_lower_case"]
    elif kind == "wordpiece" and files:
        # Google's files never say, and transformers' default is true even for cased models.
        values["lowercase"] = not _is_cased(files["vocabulary"])
    if kind == "wordpiece" and type(raw.get("strip_accents")) is bool:
        values["strip_accents"] = raw["strip_accents"]
    for theirs, ours in THEIR_TOKENS.items():
        token = raw.get(theirs)
        if isinstance(token, dict):  # transformers' AddedToken
            token = token.get("content")
        if isinstance(token, str) and token:
            values[ours] = token
    limit = raw.get("model_max_length")
    if isinstance(limit, int | float) and 3 <= limit < min(NO_LIMIT, max_sequence_length):
        values["sequence_length"] = int(limit)
    try:
        return TokenizerConfig(**values), files
    except ValueError as error:
        raise ValueError(f"{directory / 'tokenizer_config.json'}: {error}") from error


@functools.cache
def as_file(lines: tuple[str, ...], name: str = "vocabulary.txt") -> pathlib.Path:
    """Write lines that lie inside another file to one that lives as long as the process."""
    folder = pathlib.Path(tempfile.mkdtemp(prefix="bertzoo-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    path = folder / name
    path.write_text("\n".join(lines) + "\n", encoding="utf-8", newline="\n")
    return path


def _is_cased(vocabulary: pathlib.Path) -> bool:
    """Whether a vocabulary has capital letters outside of special tokens such as [CLS]."""
    lines = vocabulary.read_text(encoding="utf-8", errors="replace").split("\n")
    tokens = [line for line in lines if not line.startswith("[")]
    return any("A" <= letter <= "Z" for token in tokens for letter in token)


def _inside_tokenizer_json(directory: pathlib.Path) -> pathlib.Path | None:
    """Return the WordPiece vocabulary of a tokenizer.json, the only file of transformers 5."""
    found = _model_of_tokenizer_json(directory, "WordPiece")
    return None if found is None else as_file(found[0])


def _byte_pair_inside_tokenizer_json(directory: pathlib.Path) -> dict[str, pathlib.Path]:
    """Return the byte-level BPE files of a tokenizer.json, or none."""
    found = _model_of_tokenizer_json(directory, "BPE")
    if found is None or not isinstance(found[1].get("merges"), list):
        return {}
    tokens, model = found
    ids = json.dumps({token: index for index, token in enumerate(tokens)}, ensure_ascii=False)
    # A rule is "a b" in older files, ["a", "b"] in newer ones.
    rules = [rule if isinstance(rule, str) else " ".join(rule) for rule in model["merges"]]
    return {
        "vocabulary": as_file((ids,), "vocabulary.json"),
        "merges": as_file(("#version: 0.2", *rules), "merges.txt"),
    }


def _model_of_tokenizer_json(
    directory: pathlib.Path, kind: str
) -> tuple[tuple[str, ...], dict[str, typing.Any]] | None:
    """Return the tokens by id and the model of a tokenizer.json, if it has one of this kind."""
    path = directory / "tokenizer.json"
    if not path.is_file():
        return None
    raw = read_json(path)
    model = raw.get("model")
    if not isinstance(model, dict) or not isinstance(model.get("vocab"), dict):
        return None
    if model.get("type", "WordPiece") != kind:
        return None
    ids = dict(model["vocab"])
    for token in raw.get("added_tokens") or ():
        ids.setdefault(token["content"], token["id"])
    tokens = sorted(ids, key=lambda token: ids[token])
    if [ids[token] for token in tokens] != list(range(len(tokens))):
        raise ValueError(f"{path}: the ids of its vocabulary are not 0 to {len(tokens) - 1}.")
    return tuple(tokens), model


def _settings(directory: pathlib.Path) -> dict[str, typing.Any]:
    raw: dict[str, typing.Any] = {}
    for name in ("special_tokens_map.json", "tokenizer_config.json"):
        if (directory / name).is_file():
            raw |= {key: v for key, v in read_json(directory / name).items() if v is not None}
    return raw


def _files(directory, family: str, tokenizer_class: str) -> tuple[str, dict[str, pathlib.Path]]:
    wordpiece = _first(directory, WORDPIECE) or _inside_tokenizer_json(directory)
    sentence_piece = _first(directory, SENTENCE_PIECE)
    # Multilingual MiniLM and E5 are BERT encoders with XLM-R's tokenizer.
    if tokenizer_class.startswith(("XLMRoberta", "Camembert")):
        return "sentence_piece", {"vocabulary": sentence_piece} if sentence_piece else {}
    if family == "roberta":
        paths = [directory / name for name in BYTE_PAIR]
        if all(path.is_file() for path in paths):
            return "byte_pair", dict(zip(("vocabulary", "merges"), paths, strict=True))
        return "byte_pair", _byte_pair_inside_tokenizer_json(directory)
    # The Chinese ALBERTs have a WordPiece vocabulary.
    if wordpiece is not None:
        return "wordpiece", {"vocabulary": wordpiece}
    if family == "albert" and not tokenizer_class.startswith("Bert"):
        return "sentence_piece", {"vocabulary": sentence_piece} if sentence_piece else {}
    return "wordpiece", {}


def _first(directory: pathlib.Path, names: tuple[str, ...]) -> pathlib.Path | None:
    return next((directory / name for name in names if (directory / name).is_file()), None)
