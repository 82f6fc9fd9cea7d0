"""WordPiece (Devlin et al. 2018), exactly as Google's BERT does it, in the graph.

Two ops of tensorflow-text do the work: FastBertNormalize with our own table cleans the text,
FastWordpiece (Song et al. 2021, arXiv:2012.15524) splits it and finds the longest tokens. All
ops here are linked by stock TensorFlow Serving from 2.13 to 2.20.
"""

from __future__ import annotations

import os
import pathlib
import re
from collections.abc import Sequence

import tensorflow as tf
import tensorflow_text as tf_text

from bertzoo.config import TokenizerConfig
from bertzoo.tokenizers import long_words, offsets, wordpiece_model
from bertzoo.tokenizers.base import SPECIAL_TOKENS, Tokenizer, as_ids, as_texts
from bertzoo.tokenizers.final_sigma import lower_sigma
from bertzoo.tokenizers.long_words import Tokens
from bertzoo.tokenizers.vocabulary import read_vocabulary
from bertzoo.tokenizers.wordpiece_model import (
    CLOSING_MARK,
    CONTINUATION,
    FILLING,
    OPENING_MARKS,
    USERS_OPENING_MARK,
)


class WordPieceTokenizer(Tokenizer):
    """BERT's tokenizer.

    The ids equal those of google-research/bert (`tokenization.py`), with Unicode 14.0 for every
    character. Invalid UTF-8 is skipped, as `bytes.decode(errors="ignore")` does; U+FFFD, NUL and
    other control characters are deleted; words of more than 200 characters are unknown.

    Args:
        vocabulary: Path of a vocabulary file (one token a line), or the tokens.
        lowercase: Whether text is lower-cased.
        strip_accents: Whether combining marks are removed; None follows `lowercase`.
        special_tokens_in_text: Whether `[MASK]` and the other special tokens in a text become
            their ids. By default they are ordinary text, so that no user can smuggle them in.
        start_token: First token of a packed input.
        end_token: Token after each segment.
        pad_token: Token that fills the rest.
        unknown_token: Token of words that the vocabulary cannot spell.
        mask_token: Token that hides a word.
        sequence_length: Length to which inputs are packed by default.
        vocabulary_size: How many tokens there must be (rows of a model's token table); None takes
            any number.

    Attributes:
        stand_ins: What stands for a character in clean text, see `wordpiece_model.py`.

    Raises:
        ValueError: if the vocabulary has a fault; the message names the file and the line.

    Example:
    >>> tokens = "[PAD] [UNK] [CLS] [SEP] [MASK] un ##aff ##able , deja vu".split()
    >>> tokenizer = WordPieceTokenizer(tokens)
    >>> tokenizer(["Unaffable, déjà vu!"]).to_list()
    [[5, 6, 7, 8, 9, 10, 1]]
    """

    FILES = {"vocabulary": "a vocabulary file (vocab.txt or vocabulary.txt)"}  # noqa: RUF012
    SETTINGS = (
        "lowercase", "strip_accents", "special_tokens_in_text", *SPECIAL_TOKENS, "sequence_length",
    )  # fmt: skip

    def __init__(
        self,
        vocabulary: str | os.PathLike | Sequence[str],
        lowercase: bool = True,
        strip_accents: bool | None = None,
        special_tokens_in_text: bool = False,
        start_token: str = "[CLS]",
        end_token: str = "[SEP]",
        pad_token: str = "[PAD]",
        unknown_token: str = "[UNK]",
        mask_token: str = "[MASK]",
        sequence_length: int | None = None,
        vocabulary_size: int | None = None,
    ):
        """Read and check the vocabulary and build the models of the two ops."""
        config = TokenizerConfig(
            kind="wordpiece",
            lowercase=lowercase,
            strip_accents=strip_accents,
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
            vocabulary = read_vocabulary(vocabulary)
        super().__init__(config, vocabulary, vocabulary_size, where)
        self._special_tokens = self._find_special_tokens() if special_tokens_in_text else []
        model = wordpiece_model.build_wordpiece_model(
            self.vocabulary,
            unknown_token,
            lowercase,
            self.strips_accents,
            max_word_bytes=long_words.MAX_CHARACTERS,
            special_tokens=self._special_tokens,
        )
        # Eager even if built inside a graph, so that every graph can capture them.
        with tf.init_scope(), tf.device("CPU:0"):
            self._normalizer_model = tf.constant(model.normalizer)
            self.wordpiece_model = tf.constant(model.wordpiece)
            self._continues_word = tf.constant(
                [token.startswith(CONTINUATION) for token in self.vocabulary]
            )
        self.stand_ins = model.stand_ins
        self._max_bytes_place = wordpiece_model.max_word_bytes_place(model.wordpiece)

    @property
    def strips_accents(self) -> bool:
        """Whether combining marks are removed."""
        strip_accents = self.config.strip_accents
        return self.config.lowercase if strip_accents is None else strip_accents

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
            tokens = self._tokenize_clean(self.clean(texts))
            return tf.RaggedTensor.from_row_splits(tokens.ids, tokens.row_splits, validate=False)

    def tokenize_with_offsets(self, texts):
        """Return ids and where each token stands in its text.

        Offsets count Unicode code points of the Python string: `text[start:end]` is what the
        token was made of. A text with invalid UTF-8 counts as `bytes.decode(errors="ignore")`.

        Args:
            texts: A list, array or string tensor `[batch]`, or one string.

        Returns:
            `(ids, starts, ends)`, each ragged int32 `[batch, None]`; for one string, `[tokens]`.

        Example:
        >>> tokens = "[PAD] [UNK] [CLS] [SEP] [MASK] un ##aff ##able , deja vu".split()
        >>> ids, starts, ends = WordPieceTokenizer(tokens).tokenize_with_offsets("déjà vu")
        >>> ids.numpy().tolist(), starts.numpy().tolist(), ends.numpy().tolist()
        ([9, 10], [0, 5], [4, 7])
        """
        with tf.device("CPU:0"):
            texts = as_texts(texts)
            if texts.shape.rank == 0:
                return tuple(values[0] for values in self.tokenize_with_offsets(texts[None]))
            texts = offsets.drop_invalid_bytes(texts)
            clean, sources = self._normalizer().normalize_with_offsets(
                self._mark_special_tokens(texts)
            )
            tokens = self._tokenize_clean(self._lower_sigma(clean))
            ids = tf.RaggedTensor.from_row_splits(tokens.ids, tokens.row_splits, validate=False)
            starts, ends = offsets.code_point_offsets(
                texts, sources, ids.value_rowids(), tokens.starts, tokens.ends
            )
            return ids, ids.with_values(starts), ids.with_values(ends)

    def clean(self, texts) -> tf.Tensor:
        """Return texts as they are before they are split into words and tokens.

        White space is a space, control characters are gone, and case and accents are as the
        settings say. A character may be there as its stand-in (`stand_ins`, 36 rare ones).

        Args:
            texts: A list, array or string tensor `[batch]`.

        Returns:
            Strings `[batch]`.
        """
        with tf.device("CPU:0"):
            texts = self._mark_special_tokens(as_texts(texts))
            return self._lower_sigma(self._normalizer().normalize(texts))

    def continues_word(self, ids):
        """Return whether each token continues the word of the token before it (`##...`).

        Args:
            ids: Integers of any shape, ragged or not.

        Returns:
            Booleans of the same shape.
        """
        with tf.device("CPU:0"):
            return tf.ragged.map_flat_values(
                lambda flat: tf.gather(self._continues_word, flat), as_ids(ids)
            )

    def detokenize(self, ids):
        """Return text with one space between words; start, end and pad tokens are left out.

        Args:
            ids: Integers `[batch, tokens]`, ragged or not, or `[tokens]`.

        Returns:
            Strings `[batch]`, or one string.

        Example:
        >>> tokens = "[PAD] [UNK] [CLS] [SEP] [MASK] un ##aff ##able , deja vu".split()
        >>> WordPieceTokenizer(tokens).detokenize([2, 5, 6, 7, 8, 4, 3, 0]).numpy().decode()
        'unaffable , [MASK]'
        """
        with tf.device("CPU:0"):
            ids = as_ids(ids)
            if ids.shape.rank == 1:
                return self.detokenize(ids[None])[0]
            if not isinstance(ids, tf.RaggedTensor):
                ids = tf.RaggedTensor.from_tensor(ids)
            left_out = [self.start_id, self.end_id, self.pad_id]
            kept = tf.reduce_all(ids.flat_values[:, None] != tf.constant(left_out), axis=1)
            ids = tf.ragged.boolean_mask(ids, ids.with_flat_values(kept))
            text = tf.strings.reduce_join(self.ids_to_tokens(ids), axis=-1, separator=" ")
            return tf.strings.regex_replace(text, f" {CONTINUATION}", "")

    def join_token(self, before: str, token_id: int) -> str:
        """Return a text and a token in the place of a mask behind it; `##...` is joined to it.

        Raises:
            ValueError: if there is no such id.
        """
        token = self.id_to_token(token_id)
        if token.startswith(CONTINUATION):
            return before.rstrip() + token.removeprefix(CONTINUATION)
        return before + token

    def _normalizer(self) -> tf_text.FastBertNormalizer:
        return tf_text.FastBertNormalizer(model_buffer=self._normalizer_model)

    def _tokenize_clean(self, clean: tf.Tensor) -> Tokens:
        tokens = _run_wordpiece(self.wordpiece_model, clean)

        def tokenize_long(words):
            model = wordpiece_model.with_max_word_bytes(
                self.wordpiece_model, self._max_bytes_place, long_words.MAX_BYTES
            )
            return _run_wordpiece(model, words)

        return long_words.respell_long_words(clean, tokens, self.unknown_id, tokenize_long)

    def _lower_sigma(self, clean: tf.Tensor) -> tf.Tensor:
        # The table left capital sigma alone, as it alone is lower-cased by what stands around it.
        return lower_sigma(clean) if self.config.lowercase else clean

    def _find_special_tokens(self) -> list[str]:
        tokens = [self.vocabulary[index] for index in sorted(set(self.special_ids))]
        for token in tokens:
            if len(token.encode("utf-8")) < 3:
                raise ValueError(
                    "special_tokens_in_text needs special tokens of at least three bytes; got "
                    f"{token!r}."
                )
        return sorted(tokens, key=len, reverse=True)

    def _mark_special_tokens(self, texts: tf.Tensor) -> tf.Tensor:
        # A special token becomes marks of the same length in bytes, so offsets stay right.
        if not self._special_tokens:
            return texts
        users = f"[{chr(OPENING_MARKS[0])}-{chr(OPENING_MARKS[-1])}]"
        texts = tf.strings.regex_replace(texts, users, USERS_OPENING_MARK)
        texts = tf.strings.regex_replace(texts, CLOSING_MARK, FILLING)
        for mark, token in zip(OPENING_MARKS, self._special_tokens, strict=False):
            filling = FILLING * (len(token.encode("utf-8")) - 3)
            marked = chr(mark) + filling + CLOSING_MARK
            texts = tf.strings.regex_replace(texts, re.escape(token), marked)
        return texts


def _run_wordpiece(model: tf.Tensor, texts: tf.Tensor) -> Tokens:
    op = tf_text.FastWordpieceTokenizer(model_buffer=model, token_out_type=tf.int32)
    ids, starts, ends = op.tokenize_with_offsets(texts)
    return Tokens(ids.values, starts.values, ends.values, ids.row_splits)
