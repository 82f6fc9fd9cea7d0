"""Strings to int32 features: tokenize, pack, pad, as a Keras layer that runs in any graph."""

import keras
import tensorflow as tf

from bertzoo.preprocessing import packing, texts, windows, words
from bertzoo.tokenizers.base import TOKENIZERS, Tokenizer, as_texts, tokenizer_class

# B batch  T length  P predictions

# How each kind of tokenizer packs, as fields of `packing.PackingForm`.
FORMS = {
    "wordpiece": {},
    "byte_pair": {"num_separators": 2, "odd_token_to_longer": True},
    "sentence_piece": {},
}
PADDINGS = ("bucketed", "longest", "fixed")


@keras.saving.register_keras_serializable(package="bertzoo")
class Preprocessor(keras.layers.Layer):
    """Strings, or pairs of strings, to a dict of int32 `[B, T]`.

    It runs eagerly, in `dataset.map`, and on `keras.Input((), dtype="string")`; only TensorFlow
    ops are used, whatever the Keras backend, and TensorFlow tensors come out.

    Args:
        tokenizer: A `Tokenizer`.
        sequence_length: Longest row, special tokens included; longer texts are cut, the longer
            one of a pair first. None for the tokenizer's own, or 512.
        padding: `bucketed`: to the batch's longest row, rounded up to one of a few lengths;
            `longest`: to the batch's longest; `fixed`: to `sequence_length` (TPU, XLA).
        num_segments: Of the backbone: 0 gives no `segment_ids`, 1 only zeros, 2 or more 0 and 1.

    Call with texts: a string tensor `[B]` (or `[]`), a list or array; or pairs: a dict with
    `text` and `text_pair`, a tuple of two columns, or a list of 2-tuples. Returns a dict:
    `token_ids`, `padding_mask`, `segment_ids`. On a dataset of (texts, labels),
    `dataset.map(preprocessor)` keeps the labels.

    Example:
    >>> tokenizer = WordPieceTokenizer(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "a", "cat"])
    >>> Preprocessor(tokenizer, padding="longest")(["a cat"])["token_ids"].numpy().tolist()
    [[2, 5, 6, 3]]
    """

    def __init__(
        self, tokenizer, sequence_length=None, padding="bucketed", num_segments=2, **kwargs
    ):
        if isinstance(tokenizer, dict):
            tokenizer = _tokenizer_from_config(tokenizer)
        super().__init__(**kwargs)
        if padding not in PADDINGS:
            raise ValueError(f"padding must be one of {', '.join(PADDINGS)}; got {padding!r}.")
        # 512: the position table of every published BERT.
        sequence_length = sequence_length or tokenizer.config.sequence_length or 512
        form = packing.PackingForm(
            start=tokenizer.start_id,
            end=tokenizer.end_id,
            pad=tokenizer.pad_id,
            **FORMS[tokenizer.config.kind],
        )
        shortest = form.num_special(is_pair=True)
        if sequence_length < shortest:
            raise ValueError(
                f"sequence_length must hold the {shortest} special tokens of a pair; "
                f"got {sequence_length}."
            )
        self.tokenizer = tokenizer
        self.tokenizer_resources = tokenizer.resources  # found here when a graph is saved
        self.sequence_length = sequence_length
        self.padding = padding
        self.num_segments = num_segments
        self.form = form
        self.built = True
        # Strings stay TensorFlow's on every Keras backend, and Python strings may come in.
        self._convert_input_args = False
        self._allow_non_tensor_positional_args = True
        self._pack_text = _Traced(self._pack, [_STRINGS])
        self._pack_pair = _Traced(self._pack, [_STRINGS, _STRINGS])
        self._pad_some = _Traced(self._pad_members, _ROWS)

    def call(self, inputs, y=None, sample_weight=None):
        """Return the features, with `y` and `sample_weight` behind them where they are given."""
        if getattr(y, "dtype", None) == tf.string:
            raise ValueError(
                "the second of two string tensors may be a label or the second text of a pair: "
                "give pairs as {'text': ..., 'text_pair': ...}, labels by number."
            )
        features = self.preprocess(inputs)
        if sample_weight is not None:
            return features, y, sample_weight
        return features if y is None else (features, y)

    def preprocess(self, inputs):
        """Return the features of texts: `call` without Keras around it, on any backend.

        >>> preprocessor = TextClassifier.from_preset("bert_toy").preprocessor
        >>> preprocessor.preprocess(["a cat"])["padding_mask"].shape
        TensorShape([1, 8])
        """
        first, second = self.columns(inputs)
        is_scalar = first.shape.rank == 0
        if is_scalar:
            first, second = first[None], None if second is None else second[None]
        features = self.pad(*self.pack(first, second))
        for feature in features.values():  # ragged tensors forget a static batch size; TPUs need it
            feature.set_shape([first.shape[0], None])
        return {key: value[0] for key, value in features.items()} if is_scalar else features

    def columns(self, inputs):
        """Return the texts and the second texts (or None) as string tensors `[B]` or `[]`."""
        if isinstance(inputs, str | bytes):
            return tf.constant(inputs), None
        columns = texts.split_columns(inputs)
        if not all(column is None or tf.is_tensor(column) for column in columns):
            read = texts.read_texts(inputs).columns()
            return read["text"], read.get("text_pair")
        for column in columns:
            if column is not None and column.dtype != tf.string:
                raise ValueError(f"expected strings; got a tensor of {column.dtype.name}.")
        first, second = columns
        if first.shape.rank == 2 and first.shape[1] == 2 and second is None:
            return first[:, 0], first[:, 1]
        return _squeeze(first), None if second is None else _squeeze(second)

    def pack(self, text, text_pair=None):
        """Return ragged packed rows of string tensors `[B]`; see `packing.pack`."""
        if not tf.executing_eagerly():
            return self._pack(text, text_pair)
        return self._pack_text(text) if text_pair is None else self._pack_pair(text, text_pair)

    def preprocess_whole(self, text, text_pair=None):
        """Return the features of string tensors `[B]`, and which texts were cut to fit.

        Returns:
            The features, and int32 `[B]`: 1 where tokens were left out, else 0.

        Example:
        >>> preprocessor = TextClassifier.from_preset("bert_toy").preprocessor
        >>> preprocessor.preprocess_whole(tf.constant(["a cat", "cat " * 99]))[1].numpy().tolist()
        [0, 1]
        """
        first, second = self._tokens(text), None if text_pair is None else self._tokens(text_pair)
        lengths = first.row_lengths() + self.form.num_special(second is not None)
        if second is not None:
            lengths += second.row_lengths()
        token_ids, first_lengths = packing.pack(first, second, self.form, self.sequence_length)
        kept = tf.cast(token_ids.row_lengths(), lengths.dtype)
        truncated = tf.cast(lengths > kept, "int32")
        return self.pad(token_ids, first_lengths), truncated

    def pad(self, token_ids, first_lengths, length=None):
        """Return dense features of packed rows; see `packing.pad`."""
        if length is None:
            length = self.padded_length(token_ids.row_lengths())
        return packing.pad(token_ids, first_lengths, length, self.form, self.num_segments)

    def pad_some(self, rows, members, length=None):
        """Return dense features of some of many packed rows.

        Args:
            rows: `bucketing.PackedRows`.
            members: Int64 `[B]`, the rows wanted.
            length: T, at least the longest of them; None for what `padding` says.
        """
        if length is None:
            length = self.padded_length(tf.gather(rows.lengths, members))
        pad_members = self._pad_some if tf.executing_eagerly() else self._pad_members
        return pad_members(*rows, members, length)

    def padded_length(self, lengths):
        """Return the length that `padding` says for a batch with rows of these lengths."""
        if self.padding == "fixed":
            return self.sequence_length
        # A batch without rows has no longest one: reduce_max would give the smallest integer.
        longest = tf.maximum(tf.cast(tf.reduce_max(lengths), "int32"), 1)
        if self.padding == "longest":
            return longest
        return packing.round_up(longest, packing.length_buckets(self.sequence_length))

    def pack_masked(self, text):
        """Pack string tensors `[B]` in which the mask token is spelled out, as `[MASK]`.

        Only the mask token is read so; other special tokens in the text stay ordinary text.
        """
        tokens = self.tokenizer.tokenize_masked(text)
        return packing.pack(tokens, None, self.form, self.sequence_length)

    def preprocess_masked(self, inputs, length=None):
        """Return the features of texts that spell the mask token out, and where it stands.

        Args:
            inputs: Texts, as for `call`; no pairs.
            length: T, at least that of the longest row; None for what `padding` says.

        Returns:
            The features, and `mask_positions` and `mask_weights`, int32 `[B, P]`: P is the
            largest number of masks in a row; the weight is 1 for a mask and 0 for padding.

        Example:
        >>> preprocessor = MaskedLM.from_preset("bert_toy").preprocessor
        >>> preprocessor.preprocess_masked(["a [MASK]"])["mask_positions"].numpy().tolist()
        [[2]]
        """
        text, text_pair = self.columns(inputs)
        if text_pair is not None:
            raise ValueError("masks are read in texts, not in pairs; join each pair to one text.")
        token_ids, first_lengths = self.pack_masked(text)
        features = self.pad(token_ids, first_lengths, length)
        is_mask = tf.equal(features["token_ids"], self.tokenizer.mask_id)  # (B, T)
        positions = tf.where(is_mask)  # (masks, 2): row and place
        counts = tf.reduce_sum(tf.cast(is_mask, "int32"), axis=1)  # (B,)
        places = tf.RaggedTensor.from_row_lengths(tf.cast(positions[:, 1], "int32"), counts)
        features["mask_positions"] = places.to_tensor()
        features["mask_weights"] = tf.sequence_mask(counts, dtype="int32")
        return features

    def windows(self, text, question=None, doc_stride=None, max_query_length=64):
        """Cut texts that are too long for one row into several rows that overlap.

        Args:
            text: Strings `[B]`: a list, an array or a tensor.
            question: Strings `[B]` that go in front of every window of their text, or None.
            doc_stride: Tokens between the starts of two windows; None for half of what a window
                holds, and with a question at most 128. See `windows.cut`.
            max_query_length: Most tokens of a question; the rest of it is cut off.

        Returns:
            `windows.Windows`: features `[W, T]`, the text of each window, and where each token
            stands in its text, in code points.

        Example:
        >>> preprocessor = TextClassifier.from_preset("bert_toy").preprocessor
        >>> windows = preprocessor.windows(["the cat sat on the mat. " * 6, "a dog"])
        >>> windows.text_index.numpy().tolist()
        [0, 0, 1]
        """
        with tf.device("CPU:0"):
            tokens = windows.TextTokens(*self.tokenizer.tokenize_with_offsets(as_texts(text)))
            if question is not None:
                question = tf.cast(self.tokenizer(as_texts(question)), "int32")
            return self._cut(tokens, question, doc_stride, max_query_length)

    def word_windows(self, text, doc_stride=None):
        """Cut texts into windows, with the word that each token belongs to.

        Args:
            text: Strings `[B]`, in which words are found as BERT finds them; or words, ragged
                strings `[B, None]`, each of which is then tokenized for itself.
            doc_stride: As of `windows`.

        Returns:
            `windows.Windows` with `word_index` and `first_piece`, and `words.Words`: the texts
            and where their words stand.
        """
        with tf.device("CPU:0"):
            if isinstance(text, tf.RaggedTensor):
                found, tokens = words.tokenize_words(self.tokenizer, text)
            else:
                found = words.find_words(as_texts(text))
                tokens = words.tokens_in_words(self.tokenizer, found)
            return self._cut(tokens, None, doc_stride, windows.MAX_QUERY_LENGTH), found

    def _cut(self, tokens, question, doc_stride, max_query_length):
        return windows.cut(
            tokens,
            question,
            self.form,
            self.sequence_length,
            self.padded_length,
            self.num_segments,
            doc_stride,
            max_query_length,
        )

    def compute_output_spec(self, inputs, y=None, sample_weight=None):
        """Return the shapes of the features, for `keras.Input`s."""
        first, _ = texts.split_columns(inputs)
        if not isinstance(first, keras.KerasTensor):
            first = keras.KerasTensor(self.columns(inputs)[0].shape, dtype="string")
        length = self.sequence_length if self.padding == "fixed" else None
        shape = (*first.shape[:1], length)
        return {
            name: keras.KerasTensor(shape, dtype="int32", name=name)
            for name in self.feature_names()
        }

    def feature_names(self):
        """Return the names of the features."""
        return ["token_ids", "padding_mask"] + (["segment_ids"] if self.num_segments else [])

    def get_config(self):
        """Return what `from_config` needs, the vocabulary included: no file is read again."""
        return {
            **super().get_config(),
            "tokenizer": _tokenizer_config(self.tokenizer),
            "sequence_length": self.sequence_length,
            "padding": self.padding,
            "num_segments": self.num_segments,
        }

    def _pack(self, text, text_pair=None):
        first, second = self._tokens(text), None if text_pair is None else self._tokens(text_pair)
        return packing.pack(first, second, self.form, self.sequence_length)

    def _tokens(self, text):
        return tf.cast(self.tokenizer(text), "int32")

    def _pad_members(self, values, lengths, first_lengths, members, length):
        token_ids = tf.RaggedTensor.from_row_lengths(values, lengths, validate=False)
        return self.pad(tf.gather(token_ids, members), tf.gather(first_lengths, members), length)


# Fixed signatures: one trace each, whatever the sizes.
_STRINGS = tf.TensorSpec([None], "string")
_IDS = tf.TensorSpec([None], "int32")
_ROWS = [_IDS, _IDS, _IDS, tf.TensorSpec([None], "int64"), tf.TensorSpec([], "int32")]


class _Traced:
    """A graph of a function for tensors of any sizes, made when it is first called.

    A `tf.function` would do, but TensorFlow counts the traces of all instances of a method as one
    and warns from the fifth on.
    """

    def __init__(self, function, signature):
        self._function = tf.function(function, signature, autograph=False)
        self._signature, self._concrete = signature, None

    def __call__(self, *values):
        if self._concrete is None:
            self._concrete = self._function.get_concrete_function()
        return self._concrete(
            *(tf.convert_to_tensor(value, spec.dtype)
              for value, spec in zip(values, self._signature, strict=True))
        )  # fmt: skip


def _squeeze(column):
    if column.shape.rank == 2 and column.shape[1] == 1:
        return column[:, 0]
    if column.shape.rank not in (0, 1):
        raise ValueError(
            f"a string tensor of texts has the shape [B], of pairs [B, 2]; got {column.shape}."
        )
    return column


def preprocessor_of_checkpoint(checkpoint, sequence_length=None, padding="bucketed"):
    """Return the `Preprocessor` of a `Checkpoint`, or None and the reason why there is none.

    Args:
        checkpoint: From `checkpoints.open_source`.
        sequence_length: Longest row; None for the tokenizer's own, else the position table's.
        padding: See `Preprocessor`.

    Returns:
        The preprocessor (or None), and why strings cannot be read (or "").
    """
    config = checkpoint.tokenizer
    if config is not None and config.kind not in TOKENIZERS:
        return None, (
            f"{checkpoint.name} has a {config.kind} vocabulary, and tokenizers of that kind are "
            "not part of this release"
        )
    if checkpoint.directory is None and "vocabulary" not in checkpoint.files:
        return None, f"the files of {checkpoint.name}, and with them its vocabulary, are not here"
    if config is None or "vocabulary" not in checkpoint.files:
        return None, f"{checkpoint.name} comes without a vocabulary"
    if config.kind == "sentence_piece" and config.start_token == "<s>":
        return None, (
            f"{checkpoint.name} has the vocabulary of XLM-RoBERTa, whose ids are not those of its "
            "SentencePiece model; it is not part of this release"
        )
    positions = checkpoint.config.max_sequence_length
    if sequence_length is None:
        # Tokenizer files may promise more than the position table holds.
        sequence_length = min(config.sequence_length or positions, positions)
    preprocessor = Preprocessor(
        Tokenizer.from_files(config, checkpoint.files),
        sequence_length=sequence_length,
        padding=padding,
        num_segments=checkpoint.config.num_segments,
    )
    return preprocessor, ""


def _tokenizer_config(tokenizer):
    return {"kind": tokenizer.config.kind, **tokenizer.arguments()}


def _tokenizer_from_config(config):
    arguments = dict(config)
    return tokenizer_class(arguments.pop("kind")).from_arguments(arguments)
