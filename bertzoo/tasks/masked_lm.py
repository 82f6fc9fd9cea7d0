"""Words for masked places (Devlin et al. 2018, section 3.1)."""

import typing

import keras
import numpy as np
import tensorflow as tf

from bertzoo.postprocessing.fills import best_fills
from bertzoo.preprocessing import packing
from bertzoo.preprocessing.texts import read_texts
from bertzoo.tasks.task import Task

# B batch  P predictions  V vocabulary


class Fill(typing.NamedTuple):
    """One word for one masked place.

    Args:
        token: As in the vocabulary: a `##` in front (WordPiece) means that it goes on with the
            word before, a `Ġ` (byte-level BPE) or `▁` (SentencePiece) that there is a space
            before it.
        score: Its probability.
        text: The text with the word in that place; other masks stay.
    """

    token: str
    score: float
    text: str


@keras.saving.register_keras_serializable(package="bertzoo")
class MaskedLM(Task):
    """Fill masked places in texts, or give logits for masked positions of ids.

    Call with a dict of ids that also has `mask_positions`, int32 `[B, P]`; only these positions
    are projected. Returns float32 logits `[B, P, V]`.

    Example:
    >>> model = MaskedLM.from_preset("bert_toy")
    >>> fills = model.fill("Paris is the [MASK] of France.", top_k=3)
    >>> len(fills), fills[0].text.endswith(" of France.")
    (3, True)
    """

    head_kind = "masked_lm"
    no_texts = "use fill(texts) to fill masked places in texts; here it needs mask_positions too"

    def fill(self, texts, top_k=5, batch_size=32):
        """Return the most probable words for every mask token in a text.

        Only the mask token is read as a special token; others in the text are ordinary text.

        Args:
            texts: One text, or several; `[MASK]` (the tokenizer's mask token) marks the places.
            top_k: How many words for each place.
            batch_size: Texts at once.

        Returns:
            For one text with one mask: a list of `top_k` `Fill`s, the most probable first. For
            one text with several masks: a list of such lists, in the order of the masks (each
            filled for itself, while the others stay masked). For several texts: a list of these.

        Raises:
            ValueError: If a text has no mask token, or one beyond the longest row.
        """
        if isinstance(texts, str):
            return self.fill([texts], top_k, batch_size)[0]
        rows = read_texts(texts)
        self._need_strings(no_texts="")
        num_words = len(self.tokenizer.vocabulary)
        if not 1 <= top_k <= num_words:
            raise ValueError(f"top_k must be between 1 and {num_words}; got {top_k}.")
        if rows.text_pair is not None:
            raise ValueError("fill takes texts, not pairs; join each pair to one text.")
        decoded = [text.decode("utf-8", "surrogatepass") for text in rows.text]
        counts = [text.count(self._mask) for text in decoded]
        for index, count in enumerate(counts):
            if count == 0:
                raise ValueError(f"text {index} has no {self._mask}: {decoded[index]!r}.")
        results = []
        for start in range(0, len(rows), batch_size):
            part = slice(start, start + batch_size)
            results += self._fill_batch(rows[part], decoded[part], counts[part], top_k, start)
        return results

    def respond(self, text, text_pair=None, top_k=5):
        """Return the most probable words for every mask token, in the graph: what a server runs.

        Args:
            text: String tensor `[B]`; the mask token marks the places.
            text_pair: Not taken; None.
            top_k: K, how many words for each place.

        Returns:
            A dict: `fill_token` string `[B, P, K]`, `fill_score` float32 `[B, P, K]`,
            `fill_count` int32 `[B]` (how many of the P places a text has), `truncated` int32
            `[B]` (1 where the text was cut: masks behind the cut are not filled).

        Example:
        >>> fills = MaskedLM.from_preset("bert_toy").respond(tf.constant(["a [MASK]", "none"]))
        >>> fills["fill_token"].shape, fills["fill_count"].numpy().tolist()
        (TensorShape([2, 1, 5]), [1, 0])
        """
        if text_pair is not None:
            raise ValueError("masks are read in texts, not in pairs; join each pair to one text.")
        self._need_strings(no_texts="")
        preprocessor = self.preprocessor
        tokens = self.tokenizer.tokenize_masked(text)
        longest = preprocessor.sequence_length - preprocessor.form.num_special(is_pair=False)
        truncated = tf.cast(tokens.row_lengths() > longest, tf.int32)
        rows = packing.pack(tokens, None, preprocessor.form, preprocessor.sequence_length)
        fills = self.fills_of_ids(preprocessor.pad(*rows), top_k)
        return {**fills, "truncated": truncated}

    def fills_of_ids(self, features, top_k=5):
        """Return the words of `respond` for a dict of ids `[B, T]` in which mask tokens stand."""
        is_mask = tf.equal(features["token_ids"], self.tokenizer.mask_id)  # (B, T)
        weights = tf.cast(is_mask, tf.int32)
        if "padding_mask" in features:
            # Of packed rows the mask counts the texts.
            weights *= tf.cast(features["padding_mask"] > 0, tf.int32)
        counts = tf.reduce_sum(weights, axis=1)  # (B,)
        places = tf.where(weights > 0)[:, 1]  # (masks,)
        rows = tf.RaggedTensor.from_row_lengths(tf.cast(places, tf.int32), counts, validate=False)
        positions = rows.to_tensor()  # (B, P)
        weights = tf.sequence_mask(counts, tf.shape(positions)[1], dtype=tf.int32)
        logits = self.run_network({**features, "mask_positions": positions}, training=False)
        with tf.device("CPU:0"):  # strings
            return best_fills(logits, weights, tf.constant(self.tokenizer.vocabulary), top_k)

    @property
    def _mask(self):
        return self.tokenizer.config.mask_token

    def _fill_batch(self, rows, decoded, counts, top_k, first):
        features = self.preprocessor.preprocess_masked(rows)
        found = features.pop("mask_weights").numpy().sum(axis=1)
        for index, (count, seen) in enumerate(zip(counts, found, strict=True)):
            if seen < count:
                raise ValueError(
                    f"text {first + index} has {count} masks, but only {seen} of them stand within "
                    f"the first {self.preprocessor.sequence_length} tokens."
                )
        logits = np.asarray(self.predict_on_batch(features))  # (B, P, V)
        # Rows of the table beyond the vocabulary are padding: no word.
        logits = logits[:, :, : len(self.tokenizer.vocabulary)].astype(np.float64)
        results = []
        for text, count, row in zip(decoded, counts, logits, strict=True):
            places = [self._best(text, place, row[place], top_k) for place in range(count)]
            results.append(places[0] if count == 1 else places)
        return results

    def _best(self, text, place, logits, top_k):
        probabilities = np.exp(logits - logits.max())
        probabilities /= probabilities.sum()
        best = np.argsort(-probabilities, kind="stable")[:top_k]
        before, after = _around(text, self._mask, place)
        fills = []
        for token_id in best:
            token = self.tokenizer.id_to_token(int(token_id))
            filled = self.tokenizer.join_token(before, int(token_id)) + after
            fills.append(Fill(token, float(probabilities[token_id]), filled))
        return fills


def _around(text, mask, place):
    """Return what stands before and after the mask number `place`.

    >>> _around("a [MASK] c [MASK]", "[MASK]", 1)
    ('a [MASK] c ', '')
    """
    pieces = text.split(mask)
    return mask.join(pieces[: place + 1]), mask.join(pieces[place + 1 :])
