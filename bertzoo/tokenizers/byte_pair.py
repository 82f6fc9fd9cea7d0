"""Byte-level byte-pair encoding (Radford et al. 2019; RoBERTa, Liu et al. 2019), in the graph.

Words are found by `byte_pair_words.py`. A word that is a token (nine in ten, in English) is looked
up in a table; the others, each once in a batch, are spelled by SentencePiece with the model of
`byte_pair_model.py`. All ops here are linked by stock TensorFlow Serving from 2.13 to 2.20.
Legend: B batch, C bytes of all texts, W words, U words to be spelled, N tokens.
"""

from __future__ import annotations

import os
import pathlib
import re
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import tensorflow as tf
import tensorflow_text as tf_text

from bertzoo.config import TokenizerConfig
from bertzoo.tokenizers import byte_pair_marks, byte_pair_model, offsets
from bertzoo.tokenizers.base import SPECIAL_TOKENS, Tokenizer, as_ids, as_texts
from bertzoo.tokenizers.byte_classes import WHITE_SPACES
from bertzoo.tokenizers.byte_pair_vocabulary import (
    BYTE_CHARACTERS,
    check_merges,
    order_tokens,
    parse_merges,
    read_merges,
    read_token_ids,
    token_bytes,
    write_merges,
    write_token_ids,
)
from bertzoo.tokenizers.byte_pair_words import find_words
from bertzoo.tokenizers.sentencepiece_op import SentencepieceOp


class _Tokens(NamedTuple):
    """Tokens of all texts: ids `[N]`, ends of rows `[B + 1]`, and white space that they took in.

    `taken` is the bytes of white space in front of a mask token that belong to it: positions of
    tokens, and how many bytes.
    """

    ids: tf.Tensor
    row_splits: tf.Tensor
    taken: tuple[tf.Tensor, tf.Tensor] | None


class BytePairTokenizer(Tokenizer):
    r"""RoBERTa's and GPT-2's tokenizer.

    Ids and offsets equal those of Hugging Face's `RobertaTokenizerFast`, with letters, numbers and
    white space of Unicode 16.0. Nothing is unknown: every byte has a token. Invalid UTF-8 is
    skipped, as `bytes.decode(errors="ignore")` does.

    Args:
        vocabulary: Path of a `vocab.json`, a mapping from token to id, or the tokens.
        merges: Path of a `merges.txt`, or its rules: `"a b"` or `("a", "b")`.
        add_prefix_space: Whether a text that does not begin with a space gets one, so that its
            first word is spelled as those inside.
        special_tokens_in_text: Whether `<mask>` and the other special tokens in a text become
            their ids; the mask token takes in white space on its left. By default they are
            ordinary text, so that no user can smuggle them in.
        start_token: First token of a packed input.
        end_token: Token after each segment.
        pad_token: Token that fills the rest.
        unknown_token: Has an id, and is never made.
        mask_token: Token that hides a word.
        sequence_length: Length to which inputs are packed by default.
        vocabulary_size: How many tokens there must be (rows of a model's token table); None takes
            any number.

    Raises:
        ValueError: if the vocabulary has a fault; the message names the file.

    Example:
    >>> tokens = ["<s>", "<pad>", "</s>", "<unk>", "<mask>", *BYTE_CHARACTERS, "ca", "cat", "Ġcat"]
    >>> tokenizer = BytePairTokenizer(tokens, ["c a", "ca t", "Ġ cat"])
    >>> tokenizer.ids_to_tokens(tokenizer(["cat: a cat"])).to_list()
    [[b'cat', b':', b'\xc4\xa0', b'a', b'\xc4\xa0cat']]
    """

    FILES = {  # noqa: RUF012
        "vocabulary": "a vocabulary file (vocab.json or vocabulary.json)",
        "merges": "a file of merges (merges.txt)",
    }
    SETTINGS = (
        "add_prefix_space", "special_tokens_in_text", *SPECIAL_TOKENS, "sequence_length",
    )  # fmt: skip
    max_token_bytes = None

    def __init__(
        self,
        vocabulary: str | os.PathLike | Mapping[str, int] | Sequence[str],
        merges: str | os.PathLike | Sequence[str] | Sequence[tuple[str, str]],
        add_prefix_space: bool = False,
        special_tokens_in_text: bool = False,
        start_token: str = "<s>",
        end_token: str = "</s>",
        pad_token: str = "<pad>",
        unknown_token: str = "<unk>",
        mask_token: str = "<mask>",
        sequence_length: int | None = None,
        vocabulary_size: int | None = None,
    ):
        """Read and check the vocabulary, and build the table and the model."""
        config = TokenizerConfig(
            kind="byte_pair",
            add_prefix_space=add_prefix_space,
            special_tokens_in_text=special_tokens_in_text,
            start_token=start_token,
            end_token=end_token,
            pad_token=pad_token,
            unknown_token=unknown_token,
            mask_token=mask_token,
            sequence_length=sequence_length,
        )
        where = "the vocabulary"
        if isinstance(vocabulary, str | os.PathLike):
            where = str(pathlib.Path(vocabulary))
            vocabulary = read_token_ids(vocabulary)
        elif isinstance(vocabulary, Mapping):
            vocabulary = order_tokens(vocabulary)
        if isinstance(merges, str | os.PathLike):
            merges = read_merges(merges)
        else:
            merges = parse_merges(merges)
        super().__init__(config, vocabulary, vocabulary_size, where)
        check_merges(self.vocabulary, merges, where)
        self.merges = merges
        if special_tokens_in_text and add_prefix_space:
            raise ValueError(
                "special_tokens_in_text and add_prefix_space do not go together: it would be "
                "unclear which spaces belong to the text."
            )
        rules = byte_pair_model.making_rules(self.vocabulary, merges)
        self._check_special_tokens(rules)
        special = [getattr(config, name) for name in SPECIAL_TOKENS]
        self._marks = byte_pair_marks.marks_of(special) if special_tokens_in_text else {}
        self._build(rules)

    def _build(self, rules: dict[int, int]) -> None:
        spelled = [token_bytes(token) for token in self.vocabulary]
        # A word that is a token and that its own text becomes.
        words = {spelled[index]: index for index in rules}
        words |= {bytes([byte]): self._ids[c] for byte, c in enumerate(BYTE_CHARACTERS)}
        words |= {mark: self._ids[token] for token, mark in self._marks.items()}
        model = byte_pair_model.build_sentencepiece_model(self.vocabulary, rules, self.unknown_id)
        # Eager even if built inside a graph, so that every graph can capture them.
        with tf.init_scope(), tf.device("CPU:0"):
            self._texts_of_tokens = tf.constant(spelled)
            self._sizes = tf.constant([len(text) for text in spelled], tf.int32)
            spaces = [(len(s) - len(s.lstrip(b" ")), len(s) - len(s.rstrip(b" "))) for s in spelled]
            self._spaces = tf.constant(spaces, tf.int32)  # (V, 2): in front, at the end
            self.resources = tf.Module()
            self.resources.words = tf.lookup.StaticHashTable(
                tf.lookup.KeyValueTensorInitializer(
                    tf.constant(list(words)), tf.constant(list(words.values()), tf.int32)
                ),
                default_value=-1,
            )
            self.resources.pieces = SentencepieceOp(model)

    def tokenize(self, texts) -> tf.RaggedTensor:
        """Return the ids of texts, without special tokens.

        Args:
            texts: A list, array or string tensor `[batch]`, or one string.

        Returns:
            Ragged int32 `[batch, None]`; for one string, int32 `[tokens]`.

        Raises:
            ValueError: if something is not a string; the message names the row.
        """
        with tf.device("CPU:0"):
            texts = as_texts(texts)
            if texts.shape.rank == 0:
                return self.tokenize(texts[None])[0]
            texts, _ = self._with_prefix(offsets.drop_invalid_bytes(texts))
            tokens = self._encode(texts)
            return tf.RaggedTensor.from_row_splits(tokens.ids, tokens.row_splits, validate=False)

    def tokenize_with_offsets(self, texts):
        """Return ids and where each token stands in its text.

        Offsets count Unicode code points of the Python string; spaces at a token's ends do not
        belong to it (`trim_offsets` of `RobertaTokenizerFast`). The tokens of a character that is
        spelled by several of them all have its place. A text with invalid UTF-8 counts as
        `bytes.decode(errors="ignore")`.

        Args:
            texts: A list, array or string tensor `[batch]`, or one string.

        Returns:
            `(ids, starts, ends)`, each ragged int32 `[batch, None]`; for one string, `[tokens]`.

        Example:
        >>> tokens = ["<s>", "<pad>", "</s>", "<unk>", "<mask>", *BYTE_CHARACTERS, "Ġa"]
        >>> ids, starts, ends = BytePairTokenizer(tokens, ["Ġ a"]).tokenize_with_offsets("é a")
        >>> starts.numpy().tolist(), ends.numpy().tolist()
        ([0, 0, 2], [1, 1, 3])
        """
        with tf.device("CPU:0"):
            texts = as_texts(texts)
            if texts.shape.rank == 0:
                return tuple(values[0] for values in self.tokenize_with_offsets(texts[None]))
            texts, prefixes = self._with_prefix(offsets.drop_invalid_bytes(texts))
            tokens = self._encode(texts)
            ids = tf.RaggedTensor.from_row_splits(tokens.ids, tokens.row_splits, validate=False)
            # Tokens tile the bytes of the texts, but for what masks took in.
            sizes = tf.gather(self._sizes, tokens.ids)
            steps = sizes
            if tokens.taken is not None:
                positions, taken = tokens.taken
                steps = tf.tensor_scatter_nd_add(sizes, positions[:, None], taken)
            ends = tf.cumsum(steps)
            starts, ends = offsets.code_points_of_bytes(
                texts, ids.value_rowids(), ends - sizes, ends
            )
            spaces = tf.gather(self._spaces, tokens.ids)
            front = spaces[:, 0]
            if prefixes is not None:
                # One space in front of the text is the first token's, added or not.
                front -= tf.cast((starts == 0) & (front > 0), tf.int32)
            starts = tf.minimum(starts + front, ends)
            ends = tf.maximum(ends - spaces[:, 1], starts)
            if prefixes is not None:
                added = tf.gather(prefixes, ids.value_rowids())
                starts, ends = (tf.maximum(values - added, 0) for values in (starts, ends))
            return ids, ids.with_values(starts), ids.with_values(ends)

    def split_words(self, texts) -> tf.RaggedTensor:
        """Return the words that are then spelled, each for itself, by tokens.

        Args:
            texts: A list, array or string tensor `[batch]`.

        Returns:
            Ragged strings `[batch, None]`; side by side the words are the text.
        """
        with tf.device("CPU:0"):
            texts, _ = self._with_prefix(offsets.drop_invalid_bytes(as_texts(texts)))
            words, row_splits, _ = self._find_words(texts)
            return tf.RaggedTensor.from_row_splits(words, row_splits, validate=False)

    def continues_word(self, ids):
        """Return whether each token continues the word of the token before it: it has no space.

        This is fairseq's rule for RoBERTa's whole-word masks; punctuation belongs to the word that
        it stands behind, and the first word of a text looks as if it continued one.

        Args:
            ids: Integers of any shape, ragged or not.

        Returns:
            Booleans of the same shape; false for special tokens.
        """
        with tf.device("CPU:0"):
            special = tf.constant(self.special_ids)

            def continues(flat):
                spaced = tf.gather(self._spaces[:, 0] > 0, flat)
                return ~spaced & tf.reduce_all(flat[..., None] != special, axis=-1)

            return tf.ragged.map_flat_values(continues, as_ids(ids))

    def detokenize(self, ids):
        """Return the text of ids; start, end and pad tokens are left out.

        The bytes are those of the tokens: `detokenize(tokenize(text))` is the text. Ids that break
        off inside a character give bytes that are not UTF-8: `decode(errors="replace")`.

        Args:
            ids: Integers `[batch, tokens]`, ragged or not, or `[tokens]`.

        Returns:
            Strings `[batch]`, or one string.

        Example:
        >>> tokens = ["<s>", "<pad>", "</s>", "<unk>", "<mask>", *BYTE_CHARACTERS]
        >>> tokenizer = BytePairTokenizer(tokens, [])
        >>> tokenizer.detokenize([0, *tokenizer("déjà vu").numpy(), 2, 1]).numpy().decode()
        'déjà vu'
        """
        with tf.device("CPU:0"):
            ids = as_ids(ids)
            if ids.shape.rank == 1:
                return self.detokenize(ids[None])[0]
            texts = tf.ragged.map_flat_values(tf.gather, self._texts_of_tokens, ids)
            left_out = tf.constant([self.start_id, self.end_id, self.pad_id])
            texts = tf.ragged.map_flat_values(
                lambda text, flat: tf.where(
                    tf.reduce_any(flat[..., None] == left_out, axis=-1), "", text
                ),
                texts,
                ids,
            )
            return tf.strings.reduce_join(texts, axis=-1)

    def files(self) -> dict[str, bytes]:
        """Return the files that `from_files` reads, as name to content."""
        return {
            "vocabulary.json": write_token_ids(self.vocabulary),
            "merges.txt": write_merges(self.merges),
        }

    def arguments(self) -> dict:
        """Return what the class takes to build the tokenizer again, ready for JSON."""
        return {**super().arguments(), "merges": [" ".join(rule) for rule in self.merges]}

    def bind_masks(self, texts: tf.Tensor) -> tf.Tensor:
        """Return texts `[batch]` without white space on the left of mask tokens."""
        mask = re.escape(self.config.mask_token)
        return tf.strings.regex_replace(texts, f"{byte_pair_marks.WHITE_SPACE}+({mask})", r"\1")

    def join_token(self, before: str, token_id: int) -> str:
        """Return a text and a token in the place of a mask behind it.

        Raises:
            ValueError: if there is no such id.
        """
        token = token_bytes(self.id_to_token(token_id)).decode("utf-8", "replace")
        return before.rstrip(WHITE_SPACES) + token

    def _with_prefix(self, texts: tf.Tensor):
        # Texts, and 1 where a space was put in front, 0 elsewhere.
        if not self.config.add_prefix_space:
            return texts, None
        first = tf.strings.substr(texts, 0, 1)
        lacks = (first != " ") & (first != "")
        return tf.where(lacks, " " + texts, texts), tf.cast(lacks, tf.int32)

    def _encode(self, texts: tf.Tensor) -> _Tokens:
        words, row_splits, raw = self._find_words(byte_pair_marks.write_marks(texts, self._marks))
        positions, extra = None, None
        if self._marks:
            words, row_splits, positions, extra = byte_pair_marks.take_white_space(
                words, row_splits, self._marks[self.config.mask_token]
            )
        ids = self.resources.words.lookup(words)
        missing = tf.where(ids < 0)[:, 0]
        spelled, place = tf.unique(tf.gather(words, missing))  # (U,)
        pieces = self._spell(spelled, tf.reduce_any(tf.equal(raw, 0)))
        # A ragged gather: each word takes a run of the pool, its own id or its pieces.
        size = tf.size(ids, tf.int64)
        place = tf.gather(pieces.row_splits, tf.stack([place, place + 1]))
        first = tf.tensor_scatter_nd_update(tf.range(size), missing[:, None], size + place[0])
        count = tf.tensor_scatter_nd_update(
            tf.ones_like(first), missing[:, None], place[1] - place[0]
        )
        runs = tf.ragged.range(first, first + count)
        ids = tf.gather(tf.concat([ids, pieces.values], 0), runs.values)
        taken = None if positions is None else (tf.gather(runs.row_splits, positions), extra)
        return _Tokens(ids, tf.gather(runs.row_splits, row_splits), taken)

    def _find_words(self, texts: tf.Tensor):
        # All words `[W]`, the ends of rows `[B + 1]`, and all bytes `[C]`.
        joined = tf.strings.reduce_join(texts)
        raw = tf.io.decode_raw(joined, tf.uint8)
        found = find_words(raw, tf.strings.length(texts))

        def row(values):
            return tf.RaggedTensor.from_row_lengths(values, [tf.size(values)], validate=False)

        splitter = tf_text.ByteSplitter()
        words = splitter.split_by_offsets(joined[None], row(found.starts), row(found.ends))
        return words.values, found.row_splits, raw

    def _spell(self, words: tf.Tensor, has_zeros: tf.Tensor) -> tf.RaggedTensor:
        # Bytes as characters: what ISO-8859-1 says.
        words = tf.strings.unicode_transcode(words, "ISO-8859-1", "UTF-8")
        words = tf.cond(
            has_zeros,
            lambda: tf.strings.regex_replace(words, r"\x00", byte_pair_model.ZERO),
            lambda: words,
        )
        return self.resources.pieces.tokenize(words)

    def _check_special_tokens(self, rules: dict[int, int]) -> None:
        unknown = self.config.unknown_token
        if self.unknown_id in rules or unknown in BYTE_CHARACTERS:
            raise ValueError(
                f"the unknown token {unknown!r} is one that text becomes; name another one with "
                "unknown_token=."
            )
