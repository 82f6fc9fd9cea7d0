"""SentencePiece (Kudo and Richardson 2018) with ALBERT's preprocessing, in the graph.

FastBertNormalize with our own table does what ALBERT's Python code does to a text, and the
SentencePiece op of tensorflow-text (the C++ library, 0.1.96) does the rest. Both are linked by
stock TensorFlow Serving from 2.13 to 2.20. FastSentencepiece is not used: before 2.20 more than
32,767 tokens in a call corrupt memory, and it knows no offsets.
"""

from __future__ import annotations

import base64
import os
from collections.abc import Mapping

import tensorflow as tf
import tensorflow_text as tf_text

from bertzoo.config import TokenizerConfig
from bertzoo.tokenizers import (
    digit_comma,
    long_texts,
    normalizer_model,
    offsets,
    sentence_piece_model,
)
from bertzoo.tokenizers.albert_cleaning import AlbertCleaning
from bertzoo.tokenizers.base import SPECIAL_TOKENS, Tokenizer, as_ids, as_texts
from bertzoo.tokenizers.sentencepiece_op import SentencepieceOp

WORD_START = "\u2581"  # SentencePiece's sign for a space


class SentencePieceTokenizer(Tokenizer):
    """ALBERT's tokenizer.

    White space becomes single spaces; two grave accents or apostrophes become a quotation mark;
    then NFKD without combining marks, then lower case, all by Unicode 14.0. SentencePiece finds
    the most probable pieces, and a piece that ends in a digit and a comma is split in front of the
    comma. The ids equal those of `tokenization.py` of google-research/albert with version 0.1.99
    or older of the sentencepiece library; newer ones choose otherwise between spellings of equal
    score. (The rule on quotes is XLNet's and Hugging Face's; Google's ALBERT has none.)

    Invalid UTF-8 is skipped, as `bytes.decode(errors="ignore")` does. Special tokens in a text are
    ordinary text, so that no user can smuggle them in. Texts of more than 64 kB are tokenized in
    parts, cut before a space, or inside a run of more than 32 kB without one.

    Args:
        vocabulary: Path of a SentencePiece model (`spiece.model`, `30k-clean.model`), or the
            content of such a file.
        lowercase: Whether text is lower-cased.
        strip_accents: Whether NFKD is applied and combining marks are removed; None means yes,
            whatever the case.
        start_token: First token of a packed input.
        end_token: Token after each segment.
        pad_token: Token that fills the rest.
        unknown_token: The model's piece for what it cannot spell.
        mask_token: Token that hides a word.
        sequence_length: Length to which inputs are packed by default.
        vocabulary_size: How many tokens there must be (rows of a model's token table); None takes
            any number.

    Raises:
        ValueError: if the file is no SentencePiece model, is cut off, or lacks a special token.

    Example:
    >>> tokenizer = SentencePieceTokenizer("spiece.model")  # doctest: +SKIP
    >>> tokenizer.detokenize(tokenizer(["Déjà vu!"])).numpy()[0].decode()  # doctest: +SKIP
    'deja vu!'
    """

    FILES = {  # noqa: RUF012
        "vocabulary": "a SentencePiece model (spiece.model, 30k-clean.model or vocabulary.spm)"
    }
    SETTINGS = ("lowercase", "strip_accents", *SPECIAL_TOKENS, "sequence_length")
    max_token_bytes = None

    def __init__(
        self,
        vocabulary: str | os.PathLike | bytes,
        lowercase: bool = True,
        strip_accents: bool | None = None,
        start_token: str = "[CLS]",
        end_token: str = "[SEP]",
        pad_token: str = "<pad>",
        unknown_token: str = "<unk>",
        mask_token: str = "[MASK]",
        sequence_length: int | None = None,
        vocabulary_size: int | None = None,
    ):
        """Read and check the model, and build what the ops need."""
        config = TokenizerConfig(
            kind="sentence_piece",
            lowercase=lowercase,
            strip_accents=strip_accents,
            start_token=start_token,
            end_token=end_token,
            pad_token=pad_token,
            unknown_token=unknown_token,
            mask_token=mask_token,
            sequence_length=sequence_length,
        )
        self._model, where = sentence_piece_model.read_model(vocabulary)
        pieces = self._model.pieces
        super().__init__(config, pieces, vocabulary_size, where)
        unknown = pieces[self._model.kinds.index(sentence_piece_model.UNKNOWN)]
        if unknown_token != unknown:
            raise ValueError(
                f"{where}: the unknown token of this model is {unknown!r}; got "
                f"unknown_token={unknown_token!r}."
            )
        self._cleaning = AlbertCleaning(lowercase, self.strips_accents, set().union(*pieces))
        # What the model's own rules delete or turn into a space is no part of a token's span.
        hidden = {c: text for c, text in self._model.rules.items() if not text.strip(" ")}
        hidden |= {ord(" "): " ", ord(WORD_START): " "}
        others = "".join(f"\\x{{{c:X}}}" for c in sorted(hidden) if c != ord(" "))
        # Of texts in which a token begins at most one space too early.
        self._single_spaces = f"(?: ?[^ {others}])* ?"
        special = set(self.special_ids)
        # Eager even if built inside a graph, so that every graph can capture them.
        with tf.init_scope(), tf.device("CPU:0"):
            self._hidden_table = tf.constant(normalizer_model.build_model(hidden))
            self._is_blank = tf.constant([not piece.strip(WORD_START) for piece in pieces])
            self._continues_word = tf.constant(
                [
                    index not in special and not piece.startswith(WORD_START)
                    for index, piece in enumerate(pieces)
                ]
            )
            self._written = tf.constant(self._pieces_as_text())
            self._op = self._build_op(where)
            self._digit_comma = digit_comma.DigitComma(pieces, self._ids, self.unknown_id, self._op)
        self.resources = self._op  # a SavedModel holds the model only if it finds the way to it

    def arguments(self) -> dict:
        """Return what `from_arguments` takes to build the tokenizer again, ready for JSON."""
        content = base64.b64encode(self._model.content).decode("ascii")
        return {**super().arguments(), "vocabulary": content}

    @classmethod
    def from_arguments(cls, arguments: Mapping) -> SentencePieceTokenizer:
        """Build the tokenizer that `arguments` described."""
        return cls(**{**arguments, "vocabulary": base64.b64decode(arguments["vocabulary"])})

    @property
    def strips_accents(self) -> bool:
        """Whether NFKD is applied and combining marks are removed."""
        return self.config.strip_accents is not False

    def files(self) -> dict[str, bytes]:
        """Return the files that `from_files` reads, as name to content."""
        return {"vocabulary.spm": self._model.content}

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
            return self._tokenize_clean(self._cleaning.clean(offsets.drop_invalid_bytes(texts)))

    def tokenize_with_offsets(self, texts):
        """Return ids and where each token stands in its text.

        Offsets count Unicode code points of the Python string: `text[start:end]` is what the
        token was made of, without spaces around it. A piece that is a space alone is empty and
        stands where the word behind it begins. A text with invalid UTF-8 counts as
        `bytes.decode(errors="ignore")`.

        Args:
            texts: A list, array or string tensor `[batch]`, or one string.

        Returns:
            `(ids, starts, ends)`, each ragged int32 `[batch, None]`; for one string, `[tokens]`.
        """
        with tf.device("CPU:0"):
            texts = as_texts(texts)
            if texts.shape.rank == 0:
                return tuple(values[0] for values in self.tokenize_with_offsets(texts[None]))
            texts = offsets.drop_invalid_bytes(texts)
            marked = self._cleaning.mark_quotes(texts)
            clean, sources = self._cleaning.fold_with_sources(marked)
            clean = self._cleaning.lower_sigma(clean)
            ids, starts, ends = self._run_with_offsets(clean)
            starts, ends = self._without_hidden(clean, sources, ids.value_rowids(), starts, ends)
            flat, row_splits, starts, ends = self._digit_comma.split(
                ids.values, ids.row_splits, starts, ends
            )
            ids = tf.RaggedTensor.from_row_splits(flat, row_splits, validate=False)
            rows = ids.value_rowids()
            first, last = offsets.code_point_offsets(texts, sources, rows, starts, ends)
            places = tf.gather(sources.values, tf.gather(sources.row_splits, rows) + ends - 1)
            last += self._cleaning.second_quotes(texts, marked, rows, places)
            last = tf.where(tf.gather(self._is_blank, flat), first, last)
            return ids, ids.with_values(first), ids.with_values(last)

    def tokenize_masked(self, texts) -> tf.RaggedTensor:
        """Return the ids of texts in which the mask token is spelled out, as `[MASK]`.

        The mask stands for a word with the space in front of it, as it does in training: what
        follows goes on without a space where the text has none.

        Args:
            texts: String tensor `[batch]`.

        Returns:
            Ragged int32 `[batch, None]`.
        """
        if self._model.is_word_model:
            raise ValueError(
                "a SentencePiece model of type word has no pieces inside of words, so masks in a "
                "text cannot be read; give ids with the mask's id in them."
            )
        with tf.device("CPU:0"):
            texts = offsets.drop_invalid_bytes(as_texts(texts))
            pieces = tf.strings.split(texts, self.config.mask_token)  # (B, pieces)
            folded = self._cleaning.fold(self._cleaning.mark_quotes(pieces.values))
            is_first = tf.range(tf.size(folded, tf.int64)) == tf.gather(
                pieces.row_splits, pieces.value_rowids()
            )
            # Not join's separator: between ragged strings it is left out where one is empty.
            folded = tf.where(is_first, folded, self._cleaning.mask_mark + folded)
            marked = tf.strings.reduce_join(pieces.with_values(folded), axis=-1)
            ids = self._tokenize_clean(self._cleaning.lower_sigma(marked))
            if WORD_START not in self._ids:
                return ids
            before_mask = tf.concat([ids.values[1:] == self.mask_id, [False]], 0)[: tf.size(ids)]
            space = before_mask & (ids.values == self._ids[WORD_START])
            return tf.ragged.boolean_mask(ids, ids.with_values(~space))

    def detokenize(self, ids):
        """Return the text of ids; start, end and pad tokens are left out.

        Args:
            ids: Integers `[batch, tokens]`, ragged or not, or `[tokens]`.

        Returns:
            Strings `[batch]`, or one string.
        """
        with tf.device("CPU:0"):
            ids = as_ids(ids)
            if ids.shape.rank == 1:
                return self.detokenize(ids[None])[0]
            if not isinstance(ids, tf.RaggedTensor):
                ids = tf.RaggedTensor.from_tensor(ids)
            written = ids.with_flat_values(tf.gather(self._written, ids.flat_values))
            text = tf.strings.reduce_join(written, axis=-1)
            return tf.strings.regex_replace(text, "^ ", "")

    def continues_word(self, ids):
        """Return whether each token continues the word of the token before it.

        Args:
            ids: Integers of any shape, ragged or not.

        Returns:
            Booleans of the same shape; false for special tokens.
        """
        with tf.device("CPU:0"):
            return tf.ragged.map_flat_values(
                lambda flat: tf.gather(self._continues_word, flat), as_ids(ids)
            )

    def join_token(self, before: str, token_id: int) -> str:
        """Return a text and a token in the place of a mask behind it, as a word or within one.

        Raises:
            ValueError: if there is no such id.
        """
        token, before = self.id_to_token(token_id), before.rstrip()
        if token.startswith(WORD_START) and before:
            return before + token.replace(WORD_START, " ")
        return before + token.removeprefix(WORD_START)

    def _pieces_as_text(self) -> list[str]:
        texts = [piece.replace(WORD_START, " ") for piece in self.vocabulary]
        texts[self.mask_id] = " " + self.vocabulary[self.mask_id]
        for index in (self.start_id, self.end_id, self.pad_id):
            texts[index] = ""
        return texts

    def _build_op(self, where: str) -> SentencepieceOp:
        # No special token is found in a text but the mask, and that only by its mark.
        kinds = {index: sentence_piece_model.CONTROL for index in self.special_ids}
        kinds[self.unknown_id] = sentence_piece_model.UNKNOWN
        changes = {index: (self.vocabulary[index], kind) for index, kind in kinds.items()}
        changes[self.mask_id] = (self._cleaning.mask_mark, sentence_piece_model.USER_DEFINED)
        try:
            return SentencepieceOp(self._model.with_pieces(changes))
        except tf.errors.OpError as error:
            raise ValueError(
                f"{where} is not accepted by SentencePiece: {error.message}"
            ) from error

    def _tokenize_clean(self, clean: tf.Tensor) -> tf.RaggedTensor:
        parts = long_texts.cut(clean)
        ids = self._op.tokenize(parts.texts)
        row_splits = tf.gather(ids.row_splits, parts.row_splits)
        flat, row_splits = self._digit_comma.split(ids.values, row_splits)
        return tf.RaggedTensor.from_row_splits(flat, row_splits, validate=False)

    def _run_with_offsets(self, clean: tf.Tensor):
        # Ragged ids [B, None], and the bytes of the clean text where each begins and ends.
        parts = long_texts.cut(clean)
        ids, starts, ends = self._op.tokenize_with_offsets(parts.texts)
        begins = tf.gather(parts.starts, ids.value_rowids())
        row_splits = tf.gather(ids.row_splits, parts.row_splits)
        whole = tf.RaggedTensor.from_row_splits(ids.values, row_splits, validate=False)
        return whole, begins + starts.values, begins + ends.values

    def _without_hidden(self, clean, sources, rows, starts, ends):
        # The op's spans hold spaces and what it deletes. Each token goes from its first to its
        # last visible byte; one without any stands at the next. Bytes are counted as in `sources`,
        # which has an entry more than bytes for each row.
        row_starts = sources.row_splits  # (B + 1,)
        base = tf.gather(row_starts, rows)  # (N,)

        def bytes_of(texts):
            return tf.io.decode_raw(tf.strings.reduce_join(texts, separator=" ") + " ", tf.uint8)

        def one_space():
            return starts + tf.cast(tf.gather(bytes_of(clean), base + starts) == ord(" "), tf.int64)

        def all_hidden():
            table = tf_text.FastBertNormalizer(model_buffer=self._hidden_table)
            shown, origins = table.normalize_with_offsets(clean)
            places = tf.gather(row_starts, origins.value_rowids()) + origins.values
            visible = tf.boolean_mask(places, bytes_of(shown) != ord(" "))
            first = tf.searchsorted(visible, base + starts)
            last = tf.searchsorted(visible, base + ends) - 1
            first = tf.gather(visible, tf.minimum(first, tf.size(visible) - 1)) - base
            return first, tf.gather(visible, tf.maximum(last, 0)) - base + 1

        is_simple = tf.reduce_all(tf.strings.regex_full_match(clean, self._single_spaces))
        first, end = tf.cond(is_simple, lambda: (one_space(), ends), all_hidden)
        # A space at the end of a row, and pieces that the op made of one character.
        first = tf.minimum(first, tf.gather(row_starts, rows + 1) - 2 - base)
        return first, tf.maximum(first + 1, end)
