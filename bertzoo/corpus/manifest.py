"""The manifest of a directory of records: what is in it, how it was made, and how to tell."""

from __future__ import annotations

import dataclasses
import hashlib
import json

import numpy as np

from bertzoo.config import Config
from bertzoo.corpus import storage
from bertzoo.corpus.rows import MODES

NAME = "manifest.json"
TOKEN_COUNTS = "token_counts.npy"
FORMAT, VERSION = "bertzoo_records", 1


@dataclasses.dataclass(frozen=True)
class RecordOptions(Config):
    """How text becomes records.

    Args:
        mode: `next_sentence` (BERT), `sentence_order` (ALBERT), `full_sentences` (RoBERTa),
            `doc_sentences` (the same within documents), or `packed` (doc-sentences, several short
            ones in a row, each attending to itself alone).
        sequence_length: Tokens of a row, special tokens included.
        form: Of the text files: `sentences`, `paragraphs` or `jsonl`.
        text_key: Of the text in a `jsonl` object.
        splitter: `lines`, or `sentencex` for texts that are not one sentence a line.
        language: For the splitter.
        short_probability: Of a document whose pairs are shorter (`short_seq_prob`).
        passes: How often the documents are gone through (`dupe_factor`): 1, as masks are drawn
            while training; Google's static masks have 10.
        masked: Whether records hold masks, with Google's feature names; else masks are drawn
            while training.
        masking: Of static masks: a strategy of `TokenMasker`.
        masking_rate: Of static masks.
        max_predictions: Of static masks, a row (`max_predictions_per_seq`).
        feature_names: Of static masks: `bert`, or `garden` (`input_word_ids` and its like).
        compression: Of static masks: empty or `GZIP`.
        num_shards: Files; None for one every `shard_bytes` of text.
        shard_bytes: Text of a shard. A shard's documents are in memory together, and the other
            documents of next-sentence pairs are drawn from them.
        seed: Of everything that is drawn.
        max_line_bytes: A longer line is refused.
        skip_bad_lines: Whether lines that are no text are left out and counted.

    Example:
    >>> RecordOptions(mode="sentence_order", sequence_length=512).passes
    1
    """

    mode: str = "next_sentence"
    sequence_length: int = 128
    form: str = "sentences"
    text_key: str = "text"
    splitter: str = "lines"
    language: str = "en"
    short_probability: float = 0.1
    passes: int = 1
    masked: bool = False
    masking: str = "token"
    masking_rate: float = 0.15
    max_predictions: int = 20
    feature_names: str = "bert"
    compression: str = ""
    num_shards: int | None = None
    shard_bytes: int = 2**24
    # create_pretraining_data.py's own default.
    seed: int = 12345
    max_line_bytes: int = 2**24
    skip_bad_lines: bool = False

    def __post_init__(self):
        """Check every field, and what they say together."""
        self._check_types()
        self._check_choice("mode", MODES)
        self._check_choice("form", ("sentences", "paragraphs", "jsonl"))
        self._check_choice("splitter", ("lines", "sentencex"))
        self._check_choice("masking", ("token", "whole_word", "ngram", "span"))
        self._check_choice("feature_names", ("bert", "garden"))
        self._check_choice("compression", ("", "GZIP"))
        lowest = {"sequence_length": 8, "passes": 1, "max_predictions": 1, "num_shards": 1,
                  "shard_bytes": 1, "max_line_bytes": 1}  # fmt: skip
        for name, least in lowest.items():
            value = getattr(self, name)
            if value is not None and value < least:
                raise ValueError(f"RecordOptions.{name} must be at least {least}; got {value}.")
        if not 0.0 <= self.short_probability <= 1.0:
            raise ValueError(
                f"RecordOptions.short_probability must be in [0, 1]; got {self.short_probability}."
            )
        if self.masked and self.mode == "packed":
            raise ValueError("packed rows have no static masks: Google's features cannot say them.")
        if self.compression and not self.masked:
            raise ValueError("compression goes with masked=True; other records are read by place.")


@dataclasses.dataclass(frozen=True)
class Shard:
    """One file of records: its name, its records and their tokens, its bytes and SHA-256."""

    file: str
    examples: int
    tokens: int
    bytes: int
    sha256: str


@dataclasses.dataclass(frozen=True)
class Manifest:
    """What a directory of records holds.

    Args:
        options: The `RecordOptions`.
        tokenizer: Its kind, size, special tokens and a SHA-256 of its files.
        sources: The text files, with their sizes.
        counts: Documents, lines, examples, tokens, and what was left out or cut.
        shards: The files, in order.
        written_by: The version of bertzoo.
    """

    options: RecordOptions
    tokenizer: dict
    sources: tuple[dict, ...]
    counts: dict
    shards: tuple[Shard, ...]
    written_by: str

    @property
    def num_examples(self) -> int:
        """How many records there are."""
        return sum(shard.examples for shard in self.shards)

    @property
    def id_type(self) -> str:
        """The type of stored ids."""
        return id_type(self.tokenizer["vocabulary_size"])

    def to_json(self) -> bytes:
        """Return the content of the file."""
        content = {
            "format": FORMAT,
            "format_version": VERSION,
            "bertzoo": self.written_by,
            "options": self.options.to_dict(),
            "tokenizer": self.tokenizer,
            "sources": list(self.sources),
            "counts": self.counts,
            "shards": [dataclasses.asdict(shard) for shard in self.shards],
        }
        return (json.dumps(content, indent=1, sort_keys=True) + "\n").encode("utf-8")

    @classmethod
    def read(cls, directory: str) -> Manifest:
        """Read and check the manifest of a directory.

        Raises:
            ValueError: if there is none, or it is not one.
        """
        path = storage.join(directory, NAME)
        if storage.size(path) is None:
            raise ValueError(
                f"{directory} has no {NAME}: it is no directory of records, or `bertzoo prepare` "
                "has not finished it; run it again, it goes on where it was."
            )
        try:
            content = json.loads(storage.read(path))
            if content["format"] != FORMAT or content["format_version"] != VERSION:
                raise ValueError(f"format {content['format']} {content['format_version']}")
            return cls(
                RecordOptions.from_dict(content["options"], path),
                content["tokenizer"],
                tuple(content["sources"]),
                content["counts"],
                tuple(Shard(**shard) for shard in content["shards"]),
                content["bertzoo"],
            )
        except (ValueError, KeyError, TypeError) as error:
            raise ValueError(
                f"{path} is no manifest of records that can be read: {error}"
            ) from None


def read_token_counts(directory: str) -> np.ndarray:
    """Return how often each token occurs in a directory of records, int64 `[V]`."""
    import io

    data = storage.read(storage.join(directory, TOKEN_COUNTS))
    return np.load(io.BytesIO(data), allow_pickle=False)


def tokenizer_identity(tokenizer) -> dict:
    """Return what tells whether ids were made by the same tokenizer.

    Not the length that its texts are cut to where nobody says one: no id depends on it.
    """
    digest = hashlib.sha256()
    for name, content in sorted(tokenizer.files().items()):
        digest.update(f"{name} {len(content)}\n".encode())
        digest.update(content)
    return {
        "kind": tokenizer.config.kind,
        "settings": {
            name: getattr(tokenizer.config, name)
            for name in tokenizer.SETTINGS
            if name != "sequence_length"
        },
        "vocabulary_size": tokenizer.vocabulary_size,
        "sha256": digest.hexdigest(),
        "special_ids": list(tokenizer.special_ids),
    }


def id_type(vocabulary_size: int) -> str:
    """Return the smallest type that holds the ids of a vocabulary.

    >>> id_type(30522), id_type(119547)
    ('uint16', 'int32')
    """
    return "uint16" if vocabulary_size <= 2**16 else "int32"
