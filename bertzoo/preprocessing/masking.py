"""Masks for masked language modelling, drawn in the graph while training.

BERT (Devlin et al. 2018, 3.1), whole words and n-grams (google-research/bert and albert,
`create_masked_lm_predictions`), spans (Joshi et al. 2019, SpanBERT, 3.1), rare words more often
(Sanh et al. 2019, DistilBERT's code). What is drawn for an example is a function of (seed, epoch,
place in the epoch), whatever the batch, the replica or the run that it is in.
"""

import numpy as np
import tensorflow as tf

from bertzoo.preprocessing import counter_random, mask_choice

# B batch  T length  P predictions  V vocabulary

STRATEGIES = ("token", "whole_word", "ngram", "span", "frequency")

# What numbers are drawn for; each has a stream of its own.
_RANK, _LENGTH, _DECISION, _WORD = range(4)


class TokenMasker:
    """Hides tokens, and says which they were.

    Args:
        tokenizer: A `Tokenizer`: its special tokens, its vocabulary, and where words begin.
        rate: Share of the tokens of a row to predict, special tokens counted, as Google does: at
            least one, rounded to even.
        strategy: `token`; `whole_word`; `ngram` (runs of 1 to `max_ngram` words, of length n with
            a probability proportional to 1/n, as ALBERT); `span` (runs of words from a geometric
            distribution, as SpanBERT); `frequency` (tokens with a probability proportional to
            count ** -`smoothing`, as DistilBERT).
        max_predictions: P, most predictions of a row, and the width of the outputs; None for what
            `rate` gives for the longest row. Google uses 20 for 128 tokens, 76 or so for 512.
        mask_share: Of the chosen tokens, how many become the mask token.
        random_share: How many become a random word of the whole vocabulary; the rest stay.
        together: Whether a run of words is decided as one (SpanBERT, and the Model Garden's
            n-grams) or each token for itself (ALBERT); None: as one for `span` alone.
        max_ngram: Most words of an n-gram.
        favor_longer: Whether n-grams of n words have the probabilities in the reverse order.
        span_probability: Of the geometric distribution.
        max_span: Most words of a span; the distribution is cut there.
        token_counts: For `frequency`: how often each token occurs, `[V]`, as the manifest of
            records says.
        smoothing: For `frequency`; XLM's and DistilBERT's 0.7.
        seed: Of all that is drawn, an integer.

    Call with a dict of int32 `[B, T]` (T static): `token_ids` and `padding_mask`; and where an
    example is: `epoch` (a scalar or `[B]`) and `example_index` `[B]`, in the dict or as arguments.
    Returns the dict with hidden tokens in `token_ids`, and int32 `[B, P]`: `mask_positions` (in
    ascending order), `mask_labels` (the tokens that were there) and `mask_weights` (1, and 0 where
    there is nothing to predict; positions and labels are 0 there).

    Raises:
        ValueError: For settings that do not fit together, or a length that is not static.

    Example:
    >>> masker = TokenMasker(MaskedLM.from_preset("bert_toy").preprocessor.tokenizer, seed=7)
    >>> masked = masker({"token_ids": np.array([[2, 7, 9, 11, 13, 3]])}, 0, [0])
    >>> masked["mask_positions"].shape, int(masked["mask_weights"][0, 0])
    (TensorShape([1, 1]), 1)
    """

    def __init__(
        self,
        tokenizer,
        rate=0.15,
        strategy="token",
        max_predictions=None,
        mask_share=0.8,
        random_share=0.1,
        together=None,
        max_ngram=3,
        favor_longer=False,
        span_probability=0.2,
        max_span=10,
        token_counts=None,
        smoothing=0.7,
        seed=0,
    ):
        self.rate, self.strategy, self.seed = rate, strategy, seed
        self.max_predictions = max_predictions
        self.mask_share, self.random_share = mask_share, random_share
        self._check()
        self.mask_id = tokenizer.mask_id
        self.vocabulary_size = tokenizer.vocabulary_size
        self.together = strategy == "span" if together is None else together
        special = [tokenizer.start_id, tokenizer.end_id, tokenizer.pad_id, tokenizer.mask_id]
        hidden = np.zeros(self.vocabulary_size, bool)
        hidden[special] = True
        with tf.init_scope(), tf.device("CPU:0"):
            # 1: continues the word before it; 2: special. One look-up for both.
            continues = tokenizer.continues_word(np.arange(self.vocabulary_size)).numpy()
        self._kinds = (continues + 2 * hidden).astype(np.int32)
        self._lengths = _run_lengths(strategy, max_ngram, favor_longer, span_probability, max_span)
        self._weights = None
        if strategy == "frequency":
            hidden[tokenizer.unknown_id] = True
            self._weights = _rarity(token_counts, smoothing, hidden)

    def _check(self):
        if self.strategy not in STRATEGIES:
            raise ValueError(
                f"strategy must be one of {', '.join(STRATEGIES)}; got {self.strategy!r}."
            )
        if not 0.0 < self.rate <= 1.0:
            raise ValueError(f"rate must be above 0 and at most 1; got {self.rate}.")
        if self.max_predictions is not None and self.max_predictions < 1:
            raise ValueError(f"max_predictions must be at least 1; got {self.max_predictions}.")
        shares = (self.mask_share, self.random_share)
        if min(shares) < 0.0 or sum(shares) > 1.0 + 1.0e-9:
            raise ValueError(
                "mask_share and random_share must not be negative, and at most 1 together; "
                f"got {shares[0]} and {shares[1]}."
            )

    def num_predictions(self, length):
        """Return P, the width of the outputs for rows of `length` tokens.

        >>> masker = TokenMasker(MaskedLM.from_preset("bert_toy").preprocessor.tokenizer)
        >>> masker.num_predictions(128), masker.num_predictions(512)
        (19, 77)
        """
        if self.max_predictions is not None:
            return min(self.max_predictions, length)
        return max(1, round(self.rate * length))

    def __call__(self, features, epoch=None, example_index=None):
        """Return the features with tokens hidden; see the class."""
        features = dict(features)
        epoch = features.get("epoch") if epoch is None else epoch
        example_index = features.get("example_index") if example_index is None else example_index
        if epoch is None or example_index is None:
            raise ValueError(
                "masks are drawn by (seed, epoch, example): give `epoch` and `example_index`."
            )
        token_ids = tf.cast(tf.convert_to_tensor(features["token_ids"]), tf.int32)
        length = token_ids.shape[1]
        if length is None:
            raise ValueError("masking needs rows of a static length; use padding=`fixed`.")
        real = tf.ones_like(token_ids)
        if "padding_mask" in features:
            real = tf.convert_to_tensor(features["padding_mask"])
        key = counter_random.example_keys(
            self.seed, tf.convert_to_tensor(epoch), tf.convert_to_tensor(example_index)
        )
        kinds = tf.gather(self._kinds, token_ids)
        candidates = (real > 0) & (kinds < 2)
        num_real = tf.reduce_sum(tf.cast(real > 0, tf.int32), axis=1)
        room = tf.gather(self._budgets(length), num_real)
        chosen, owners = self._choose(key, token_ids, candidates, kinds == 1, room)
        positions, weights = _positions(chosen, self.num_predictions(length))
        labels = tf.gather(token_ids, positions, batch_dims=1)  # (B, P)
        decided_at = positions if owners is None else tf.gather(owners, positions, batch_dims=1)
        replaced = self._replace(key, labels, positions, decided_at)
        features["token_ids"] = _put(token_ids, positions, weights, replaced)
        features["mask_positions"] = positions
        features["mask_labels"] = labels * weights
        features["mask_weights"] = weights
        return features

    def _budgets(self, length):
        # Google's rule for each number of tokens, in Python's own numbers: round() goes to even.
        most = self.num_predictions(length)
        return np.array(
            [min(most, max(min(n, 1), round(n * self.rate))) for n in range(length + 1)], np.int32
        )

    def _choose(self, key, token_ids, candidates, continues, room):
        length = token_ids.shape[1]
        places = tf.broadcast_to(tf.range(length)[None], tf.shape(token_ids))
        if self.strategy == "frequency":
            # The first of exponential clocks with rates w: drawing by w without putting back.
            waits = -tf.math.log1p(-counter_random.uniform(_draw(key, places, _RANK)[0]))
            weights = tf.where(candidates, tf.gather(self._weights, token_ids), 0.0)
            may = weights > 0.0
            ranks = tf.where(may, tf.math.divide_no_nan(waits, weights), np.inf)
            possible = tf.reduce_sum(tf.cast(may, tf.int32), axis=1)
            return mask_choice.choose_first(ranks, tf.minimum(room, possible)), None
        starts = mask_choice.word_starts(candidates, continues)
        groups = places
        if self.strategy in ("whole_word", "ngram"):
            groups = tf.cumsum(tf.cast(starts, tf.int32), axis=1)  # at most T
        # The group in the lower bits: no two groups have one rank.
        bits = length.bit_length()
        words = counter_random.below(_draw(key, groups, _RANK)[0], 2 ** (31 - bits))
        ranks = words * 2**bits + groups
        if self.strategy == "token":
            ranks = tf.where(candidates, ranks, mask_choice.LAST)
            possible = tf.reduce_sum(tf.cast(candidates, tf.int32), axis=1)
            return mask_choice.choose_first(ranks, tf.minimum(room, possible)), None
        if self.strategy == "whole_word":
            return mask_choice.choose_words(ranks, candidates, starts, room), None
        is_span = self.strategy == "span"
        anchors = candidates if is_span else starts
        ranks = tf.where(anchors, ranks, mask_choice.LAST)
        lengths = self._run_lengths_at(key, places, candidates, starts)
        chosen, owners = mask_choice.choose_runs(
            ranks, candidates, starts, lengths, self._lengths.shape[1], room, overlap=is_span
        )
        return chosen, owners if self.together else None

    def _run_lengths_at(self, key, places, candidates, starts):
        # Cut at the end of the run: n-grams are drawn from the lengths that are possible there.
        drawn = counter_random.uniform(_draw(key, places, _LENGTH)[0])
        longest = self._lengths.shape[1]
        available = tf.fill(tf.shape(places), longest)
        if self.strategy == "ngram":
            available = tf.minimum(mask_choice.words_left(candidates, starts), longest)
        bounds = tf.gather(self._lengths, available - 1)  # (B, T, longest)
        return 1 + tf.reduce_sum(tf.cast(drawn[..., None] >= bounds, tf.int32), axis=-1)

    def _replace(self, key, labels, positions, decided_at):
        words = _draw(key, positions, _WORD)
        decision = _draw(key, decided_at, _DECISION)[0]
        share = counter_random.uniform(decision)
        random_words = counter_random.below(words[0], self.vocabulary_size)
        replaced = tf.where(share < self.mask_share + self.random_share, random_words, labels)
        return tf.where(share < self.mask_share, self.mask_id, replaced)


def _draw(key, places, stream):
    words = tf.bitcast(tf.cast(places, tf.int32), tf.uint32)
    return counter_random.threefry(key, (words, tf.constant(stream, tf.uint32)))


def _positions(chosen, width):
    # (B, T) -> the chosen places in order, and 1 for each; zeros behind them: (B, P).
    length = chosen.shape[1]
    keys = tf.where(chosen, length - tf.range(length)[None], 0)
    top = tf.math.top_k(keys, width).values
    weights = tf.cast(top > 0, tf.int32)
    return (length - top) * weights, weights


def _put(token_ids, positions, weights, replaced):
    # What is no prediction goes to a column of its own, which is cut off.
    length = token_ids.shape[1]
    rows = tf.broadcast_to(tf.range(tf.shape(token_ids)[0])[:, None], tf.shape(positions))
    places = tf.where(weights > 0, positions, length)
    wide = tf.pad(token_ids, [[0, 0], [0, 1]])
    wide = tf.tensor_scatter_nd_update(wide, tf.stack([rows, places], axis=-1), replaced)
    return tf.ensure_shape(wide[:, :length], token_ids.shape)


def _run_lengths(strategy, max_ngram, favor_longer, probability, max_span):
    # Row a: upper bounds of the probability of 1, 2, ... words where a + 1 words are left.
    if strategy == "ngram":
        if max_ngram < 1:
            raise ValueError(f"max_ngram must be at least 1; got {max_ngram}.")
        shares = 1.0 / np.arange(1, max_ngram + 1)
        shares = shares[::-1] if favor_longer else shares
    elif strategy == "span":
        if max_span < 1 or not 0.0 < probability <= 1.0:
            raise ValueError(
                "max_span must be at least 1 and span_probability above 0 and at most 1; "
                f"got {max_span} and {probability}."
            )
        shares = probability * (1.0 - probability) ** np.arange(max_span)
    else:
        return None
    rows = [shares[: left + 1].cumsum() / shares[: left + 1].sum() for left in range(len(shares))]
    bounds = np.full((len(rows), len(rows)), 2.0, np.float32)
    for left, row in enumerate(rows):
        bounds[left, :left] = row[:left]  # the last has no bound: floats may not reach 1
    return bounds


def _rarity(token_counts, smoothing, excluded):
    if token_counts is None:
        raise ValueError("strategy=`frequency` needs token_counts; a records manifest has them.")
    counts = np.asarray(token_counts, np.float64)
    if counts.shape != excluded.shape:
        raise ValueError(
            f"token_counts must have one number a token, {len(excluded)}; got {counts.shape}."
        )
    # As DistilBERT's code: a token that never occurred counts as one.
    weights = np.maximum(counts, 1.0) ** -smoothing
    return np.where(excluded, 0.0, weights / weights.max()).astype(np.float32)
