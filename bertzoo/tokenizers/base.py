"""What all tokenizers share: the vocabulary, the special tokens, and strings in any container."""

from __future__ import annotations

import abc
import importlib
import os
import pathlib
from collections.abc import Mapping, Sequence
from typing import ClassVar

import tensorflow as tf

from bertzoo.config import TokenizerConfig, nearest
from bertzoo.tokenizers import utf8
from bertzoo.tokenizers.vocabulary import MAX_TOKEN_BYTES, check_vocabulary, write_vocabulary

# The roles of special tokens: `<role>_token` in the config, `<role>_id` here.
SPECIAL_ROLES = ("start", "end", "pad", "unknown", "mask")
SPECIAL_TOKENS = tuple(f"{role}_token" for role in SPECIAL_ROLES)
# Kind -> module and class.
TOKENIZERS = {
    "wordpiece": ("bertzoo.tokenizers.wordpiece", "WordPieceTokenizer"),
    "byte_pair": ("bertzoo.tokenizers.byte_pair", "BytePairTokenizer"),
    "sentence_piece": ("bertzoo.tokenizers.sentence_piece", "SentencePieceTokenizer"),
}


class Tokenizer(abc.ABC):
    r"""Text to ids and back.

    Tokenizers are plain objects. Their methods consist of TensorFlow ops, so they run eagerly, in
    a `tf.function`, in `tf.data.Dataset.map` and in a SavedModel alike; the ops are pinned to the
    CPU, where strings live.

    Args:
        config: How text becomes ids.
        vocabulary: The tokens in the order of their ids.
        vocabulary_size: How many tokens there must be; None takes any number.
        where: What messages call the vocabulary.

    Attributes:
        config: The `TokenizerConfig`.
        vocabulary: The tokens, a list.
        resources: A `tf.Module` that a graph to be saved must hold, or None.
        start_id, end_id, pad_id, unknown_id, mask_id: Ids of the special tokens.

    Raises:
        ValueError: if the vocabulary has a fault or lacks a special token.

    Example:
    >>> import tempfile
    >>> path = pathlib.Path(tempfile.mkdtemp(), "vocabulary.txt")
    >>> _ = path.write_text("[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\na\ncat\n##s\n")
    >>> tokenizer = Tokenizer.from_files(TokenizerConfig(), {"vocabulary": path})
    >>> tokenizer(["A cat", "cats"]).to_list()
    [[5, 6], [6, 7]]
    """

    # What `from_files` needs by role, and the fields of the config that a class takes.
    FILES: ClassVar[dict[str, str]] = {}
    SETTINGS: ClassVar[tuple[str, ...]] = ()
    # No token may be longer; None for no limit.
    max_token_bytes: int | None = MAX_TOKEN_BYTES
    resources: tf.Module | None = None

    def __init__(
        self,
        config: TokenizerConfig,
        vocabulary: Sequence[str],
        vocabulary_size: int | None = None,
        where: str = "the vocabulary",
    ):
        """Check the vocabulary and look the special tokens up."""
        special = [(name, getattr(config, name)) for name in SPECIAL_TOKENS]
        check_vocabulary(vocabulary, special, vocabulary_size, where, self.max_token_bytes)
        self.config = config
        self.vocabulary = list(vocabulary)
        self._ids = {token: index for index, token in enumerate(self.vocabulary)}
        self.start_id = self._ids[config.start_token]
        self.end_id = self._ids[config.end_token]
        self.pad_id = self._ids[config.pad_token]
        self.unknown_id = self._ids[config.unknown_token]
        self.mask_id = self._ids[config.mask_token]
        # Eager even if built inside a graph, so that every graph can capture it.
        with tf.init_scope(), tf.device("CPU:0"):
            self._tokens = tf.constant(self.vocabulary)

    @classmethod
    def from_files(
        cls,
        config: TokenizerConfig,
        files: Mapping[str, str | os.PathLike],
        vocabulary_size: int | None = None,
    ) -> Tokenizer:
        """Build the tokenizer that a config asks for, from its files.

        Args:
            config: Its `kind` decides the class.
            files: Path by role: `vocabulary`, and for byte_pair `merges`.
            vocabulary_size: Rows of the model's token table, to be checked; None does not.

        Returns:
            A tokenizer.

        Raises:
            ValueError: if the kind is not supported, or a file is missing or has a fault.
        """
        cls = tokenizer_class(config.kind)
        for role, what in cls.FILES.items():
            if role not in files:
                raise ValueError(
                    f"a {config.kind} tokenizer needs {what}, and there is none; the backbone can "
                    "be used with token ids made elsewhere."
                )
        paths = {role: pathlib.Path(files[role]) for role in cls.FILES}
        settings = {name: getattr(config, name) for name in cls.SETTINGS}
        return cls(**paths, vocabulary_size=vocabulary_size, **settings)

    def arguments(self) -> dict:
        """Return what the class takes to build the tokenizer again, ready for JSON."""
        return {
            "vocabulary": list(self.vocabulary),
            **{name: getattr(self.config, name) for name in self.SETTINGS},
        }

    @classmethod
    def from_arguments(cls, arguments: Mapping) -> Tokenizer:
        """Build the tokenizer that `arguments` described."""
        return cls(**arguments)

    def __reduce__(self):
        """Pickle and copy by building again: models and tables are made from the vocabulary."""
        return _rebuild, (type(self), self.arguments())

    @property
    def vocabulary_size(self) -> int:
        """How many tokens there are, V."""
        return len(self.vocabulary)

    @property
    def special_ids(self) -> tuple[int, ...]:
        """Ids of the start, end, pad, unknown and mask tokens."""
        return tuple(getattr(self, f"{role}_id") for role in SPECIAL_ROLES)

    def __call__(self, texts) -> tf.RaggedTensor:
        """Same as `tokenize`."""
        return self.tokenize(texts)

    @abc.abstractmethod
    def tokenize(self, texts) -> tf.RaggedTensor:
        """Return the ids of texts, ragged int32 `[batch, None]`, without special tokens."""

    @abc.abstractmethod
    def tokenize_with_offsets(self, texts):
        """Return `(ids, starts, ends)`: ids and code points of the text, ragged int32."""

    @abc.abstractmethod
    def detokenize(self, ids):
        """Return the text of ids, strings `[batch]`."""

    def bind_masks(self, texts: tf.Tensor) -> tf.Tensor:
        """Return texts `[batch]` without what mask tokens in them take in from their left."""
        return texts

    def tokenize_masked(self, texts: tf.Tensor) -> tf.RaggedTensor:
        """Return the ids of texts in which the mask token is spelled out, as `[MASK]`.

        Only the mask token is read so; other special tokens in the text stay ordinary text.

        Args:
            texts: String tensor `[batch]`.

        Returns:
            Ragged int32 `[batch, None]`.
        """
        texts = self.bind_masks(texts)
        pieces = tf.strings.split(texts, self.config.mask_token)  # (B, pieces)
        tokens = tf.cast(self(pieces.values), tf.int32)
        mask = tf.fill([tokens.nrows(out_type=tf.int32), 1], self.mask_id)
        tokens = tf.concat([mask, tokens], axis=1)
        tokens = tf.RaggedTensor.from_nested_row_splits(
            tokens.values,
            [tf.cast(pieces.row_splits, tf.int64), tf.cast(tokens.row_splits, tf.int64)],
            validate=False,
        ).merge_dims(1, 2)  # (B, tokens): a mask in front of each piece
        return tokens[:, 1:]  # but none in front of the first one

    @abc.abstractmethod
    def join_token(self, before: str, token_id: int) -> str:
        """Return a text and the text of a token in the place of a mask behind it."""

    def token_to_id(self, token: str) -> int:
        """Return the id of a token; one that the vocabulary lacks raises ValueError."""
        if token not in self._ids:
            raise ValueError(
                f"the vocabulary has no token {token!r};{nearest(token, self.vocabulary)} "
                "text becomes ids with tokenize()."
            )
        return self._ids[token]

    def id_to_token(self, token_id: int) -> str:
        """Return the token of an id; an id outside the vocabulary raises ValueError."""
        if not 0 <= int(token_id) < self.vocabulary_size:
            raise ValueError(f"token ids are 0 to {self.vocabulary_size - 1}; got {int(token_id)}.")
        return self.vocabulary[int(token_id)]

    def ids_to_tokens(self, ids) -> tf.Tensor | tf.RaggedTensor:
        """Return the tokens of ids, strings of the same shape (ragged ids give ragged strings)."""
        with tf.device("CPU:0"):
            return tf.ragged.map_flat_values(
                lambda flat: tf.gather(self._tokens, flat), as_ids(ids)
            )

    def files(self) -> dict[str, bytes]:
        """Return the files that `from_files` reads, as name to content."""
        return {"vocabulary.txt": write_vocabulary(self.vocabulary)}


def tokenizer_class(kind: str) -> type[Tokenizer]:
    """Return the class of a kind of tokenizer.

    Raises:
        ValueError: if there is none.
    """
    if kind not in TOKENIZERS:
        raise ValueError(
            f"{kind} tokenizers are not part of this release of bertzoo; the backbone can be used "
            "with token ids made elsewhere."
        )
    module, name = TOKENIZERS[kind]
    return getattr(importlib.import_module(module), name)


def as_texts(texts) -> tf.Tensor:
    """Return texts as a string tensor of rank 0 or 1.

    Python strings become UTF-8, as `utf8.encode` does it.

    Raises:
        ValueError: if something is not a string, or texts are nested.
    """
    if isinstance(texts, str | bytes):
        return tf.constant(utf8.encode(texts))
    if tf.is_tensor(texts) or isinstance(texts, tf.RaggedTensor):
        if texts.dtype != tf.string or texts.shape.rank is None or texts.shape.rank > 1:
            raise ValueError(
                "texts must be a string tensor of shape [batch] or []; got "
                f"{texts.dtype.name} of shape {texts.shape}."
            )
        return texts
    if hasattr(texts, "ndim") and texts.ndim == 0:
        return as_texts(texts.item())
    # Not any iterable: a dictionary would give its keys, a set no order.
    if isinstance(texts, Mapping | set | frozenset) or not hasattr(texts, "__iter__"):
        raise ValueError(
            f"texts must be a string or a list of strings; got {texts!r} ({type(texts).__name__})."
        )
    texts = list(texts)
    for row, text in enumerate(texts):
        if not isinstance(text, str | bytes):
            raise ValueError(
                f"texts must be strings; row {row} is {text!r} ({type(text).__name__})."
            )
    return tf.constant([utf8.encode(text) for text in texts], tf.string)


def as_ids(ids) -> tf.Tensor | tf.RaggedTensor:
    """Return ids as an int32 tensor, or ragged where they are or rows differ in length."""
    if not (tf.is_tensor(ids) or isinstance(ids, tf.RaggedTensor)):
        if isinstance(ids, list | tuple) and any(isinstance(row, list | tuple) for row in ids):
            ids = tf.ragged.constant(ids, ragged_rank=1)
        else:
            ids = tf.convert_to_tensor(ids)
        if 0 in ids.shape or (ids.dtype == tf.float32 and not tf.size(ids)):
            ids = tf.cast(ids, tf.int32)  # an empty list has no type of its own
    if not ids.dtype.is_integer:
        raise ValueError(f"token ids must be integers; got {ids.dtype.name}.")
    return tf.cast(ids, tf.int32)


def _rebuild(cls: type[Tokenizer], arguments: dict) -> Tokenizer:
    return cls.from_arguments(arguments)
