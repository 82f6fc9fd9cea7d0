"""Masks: published numbers over a million tokens, and the same mask whatever surrounds it."""

import pathlib

import numpy as np
import pytest
import tensorflow as tf

from bertzoo.preprocessing import counter_random
from bertzoo.preprocessing.masking import TokenMasker
from bertzoo.tokenizers.byte_pair import BytePairTokenizer
from bertzoo.tokenizers.sentence_piece import SentencePieceTokenizer
from bertzoo.tokenizers.wordpiece import WordPieceTokenizer

DATA = pathlib.Path(__file__).parents[1] / "data"
SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
# 5 special tokens, 600 that begin a word, 395 that continue one.
TOKENS = [*SPECIAL, *(f"w{i}" for i in range(600)), *(f"##x{i}" for i in range(395))]
BATCH, LENGTH = 1024, 128  # 131,072 tokens; single tokens are counted over a million


@pytest.fixture(scope="module")
def tokenizer():
    return WordPieceTokenizer(TOKENS)


@pytest.fixture(scope="module")
def rows():
    """Pairs of random tokens: [CLS] a [SEP] b [SEP], all places filled."""
    token_ids = np.random.default_rng(7).integers(5, len(TOKENS), (BATCH, LENGTH)).astype(np.int32)
    token_ids[:, 0], token_ids[:, 60], token_ids[:, -1] = 2, 3, 3
    return token_ids


def mask(masker, rows, epoch=0, first=0):
    run = tf.function(masker, autograph=False) if len(rows) > 100 else masker
    index = tf.range(first, first + len(rows))
    features = {"token_ids": tf.constant(rows), "padding_mask": tf.ones_like(rows)}
    return {key: value.numpy() for key, value in run(features, tf.constant(epoch), index).items()}


def chosen_places(masked, length=LENGTH):
    chosen = np.zeros((len(masked["token_ids"]), length + 1), bool)
    places = np.where(masked["mask_weights"] > 0, masked["mask_positions"], length)
    np.put_along_axis(chosen, places, True, axis=1)
    return chosen[:, :length]


def near(observed, share, count, sigmas=5.0):
    """Whether a share of `count` independent trials is within five standard deviations."""
    return abs(observed - share) < sigmas * np.sqrt(share * (1 - share) / count)


def words_in(rows):
    """The number of the word that each token belongs to; special tokens have one of their own."""
    continues = (rows >= 605) & (np.roll(rows, 1, axis=1) >= 5)
    return np.cumsum(~continues, axis=1)


def test_threefry_gives_the_published_numbers():
    # Random123's known answers (kat_vectors, threefry2x32 with 20 rounds).
    cases = [
        ((0xFFFFFFFF, 0xFFFFFFFF), (0xFFFFFFFF, 0xFFFFFFFF), (0x1CB996FC, 0xBB002BE7)),
        ((0x13198A2E, 0x03707344), (0x243F6A88, 0x85A308D3), (0xC4923A9C, 0x483DF7A0)),
    ]
    for key, counter, words in cases:
        found = counter_random.threefry(
            tf.constant(key, tf.uint32), tf.constant(counter, tf.uint32)
        )
        assert tuple(int(word) for word in found) == words


@pytest.mark.parametrize("strategy", ["token", "whole_word", "ngram", "span"])
def test_of_a_million_tokens_the_published_shares_are_masked(tokenizer, rows, strategy):
    if strategy == "token":  # the other strategies decide by the same code
        rows = np.concatenate([rows] * 8)  # 1,048,576 tokens, 155,648 predictions
    masked = mask(TokenMasker(tokenizer, strategy=strategy, together=False, seed=3), rows)
    weights = masked["mask_weights"] > 0
    # round(128 * 0.15) = 19 of each row; words that do not fit may leave a place or two.
    fewest = 19 if strategy in ("token", "span") else 15
    assert weights.shape == (len(rows), 19)
    assert weights.sum(axis=1).min() >= fewest
    assert weights.mean() > 0.99
    count = weights.sum()
    places = masked["mask_positions"][weights]
    row_of = np.nonzero(weights)[0]
    labels, now = masked["mask_labels"][weights], masked["token_ids"][row_of, places]
    assert (labels == rows[row_of, places]).all()
    assert (labels >= 5).all(), "no special token is ever chosen"
    # 80 % masks; 10 % random words, one in V of which is the word itself; 10 % as they were.
    assert near((now == 4).mean(), 0.8 + 0.1 / len(TOKENS), count)
    assert near((now == labels).mean(), 0.1 + 0.1 / len(TOKENS), count)
    drawn = now[(now != 4) & (now != labels)]
    # From the whole vocabulary, special tokens included: every word nearly as often.
    shares = np.bincount(drawn, minlength=len(TOKENS)) / len(drawn)
    assert (
        np.abs(np.delete(shares, 4) - 1 / len(TOKENS)).max()
        < 6 * (1 / len(TOKENS) / len(drawn)) ** 0.5
    )
    # Nothing else has changed.
    untouched = ~chosen_places(masked)
    assert (masked["token_ids"][untouched] == rows[untouched]).all()


def test_all_places_and_pairs_of_places_are_chosen_alike(tokenizer, rows):
    chosen = chosen_places(mask(TokenMasker(tokenizer, seed=5), rows))
    candidates = np.delete(np.arange(LENGTH), [0, 60, 127])
    share = 19 / len(candidates)
    by_place = chosen.mean(axis=0)
    assert by_place[[0, 60, 127]].max() == 0
    assert all(near(by_place[place], share, BATCH) for place in candidates)
    # Neighbours are independent, but for being drawn without putting back.
    both = (chosen[:, 1:59] & chosen[:, 2:60]).mean()
    assert near(both, share * 18 / (len(candidates) - 1), BATCH * 58)


def test_words_are_masked_whole(tokenizer, rows):
    chosen = chosen_places(mask(TokenMasker(tokenizer, strategy="whole_word", seed=1), rows))
    words = words_in(rows)
    for row in range(200):
        for word in np.unique(words[row][chosen[row]]):
            assert chosen[row][words[row] == word].all()


def test_ngrams_have_the_lengths_of_albert(tokenizer):
    # Single-token words, so a run of chosen tokens is a run of words; few, so that runs rarely
    # touch: 3 of 126 tokens.
    rows = np.random.default_rng(1).integers(5, 605, (BATCH, LENGTH)).astype(np.int32)
    rows[:, 0], rows[:, -1] = 2, 3
    masked = mask(TokenMasker(tokenizer, rate=3 / 128, strategy="ngram", seed=2), rows)
    chosen = np.pad(chosen_places(masked), [(0, 0), (1, 1)]).astype(int)
    runs = [np.diff(np.flatnonzero(np.diff(row)))[::2].tolist() for row in chosen]
    lengths = [tuple(sorted(run)) for run in runs]
    # n = 1, 2, 3 with 6/11, 3/11, 2/11; a run that does not fit is tried shorter.
    p1, p2, p3 = 6 / 11, 3 / 11, 2 / 11
    expected = {
        (3,): p3,
        (1, 2): p2 + p1 * (p2 + p3),
        (1, 1, 1): p1 * p1,
    }
    touching = 0.06  # runs that happen to lie side by side, and anchors without room
    for kind, share in expected.items():
        assert abs(lengths.count(kind) / BATCH - share) < touching, kind


def test_spans_have_the_lengths_of_spanbert(tokenizer):
    rows = np.random.default_rng(1).integers(5, 605, (BATCH, LENGTH)).astype(np.int32)
    rows[:, 0], rows[:, -1] = 2, 3
    # One decision a span: seen where ten places are masked, nine spans in ten at once.
    masker = TokenMasker(tokenizer, rate=10 / 128, strategy="span", mask_share=1.0,
                         random_share=0.0, seed=2)  # fmt: skip
    masked = mask(masker, rows)
    chosen = np.pad(chosen_places(masked), [(0, 0), (1, 1)]).astype(int)
    whole = np.mean([(np.diff(row) == 1).sum() == 1 for row in chosen])
    # One span of ten words: 0.8**9 * 0.2 / (1 - 0.8**10) = 0.0301; the others are by chance.
    assert 0.015 < whole < 0.06
    spans = np.mean([(np.diff(row) == 1).sum() for row in chosen])
    # The mean length is sum(n p(n)) = 3.797: ten places need 2 to 4 spans.
    assert 2.5 < spans < 4.0


def test_a_span_is_decided_as_one(tokenizer, rows):
    masked = mask(TokenMasker(tokenizer, strategy="span", random_share=0.0, seed=2), rows)
    is_mask = (masked["token_ids"] == 4) & chosen_places(masked)
    chosen = chosen_places(masked)
    beside = chosen[:, 1:] & chosen[:, :-1]
    unlike = (is_mask[:, 1:] != is_mask[:, :-1])[beside].mean()
    # Of independent decisions 2 * 0.8 * 0.2 = 32 % of neighbours would differ.
    assert unlike < 0.08
    apart = mask(
        TokenMasker(tokenizer, strategy="span", random_share=0.0, together=False, seed=2), rows
    )
    is_mask = apart["token_ids"] == 4
    assert abs((is_mask[:, 1:] != is_mask[:, :-1])[beside].mean() - 0.32) < 0.01


def test_rare_tokens_are_masked_more_often_by_the_published_power():
    tokenizer = WordPieceTokenizer([*SPECIAL, "a", "b", "c"])
    # One prediction a row: drawn in proportion to count ** -0.7.
    rows = np.tile([2, 5, 5, 6, 7, 1, 3], (20000, 1)).astype(np.int32)
    counts = np.array([9, 9, 9, 9, 9, 1000, 100, 10])
    masker = TokenMasker(tokenizer, strategy="frequency", token_counts=counts, seed=4)
    labels = mask(masker, rows)["mask_labels"][:, 0]
    weights = np.array([2 * 1000**-0.7, 100**-0.7, 10**-0.7])
    for token, share in zip((5, 6, 7), weights / weights.sum(), strict=True):
        assert near((labels == token).mean(), share, len(rows))
    assert not (labels == 1).any(), "unknown tokens are not predicted by this rule"


@pytest.mark.parametrize("strategy", ["token", "whole_word", "ngram", "span"])
def test_a_mask_depends_on_seed_epoch_and_place_alone(tokenizer, rows, strategy):
    masker = TokenMasker(tokenizer, strategy=strategy, seed=11)
    whole = mask(masker, rows[:64], epoch=2)
    half = mask(masker, rows[40:64], epoch=2, first=40)  # another batch, another replica
    for key, value in half.items():
        assert (value == whole[key][40:]).all(), key
    assert (mask(masker, rows[:64], epoch=3)["mask_positions"] != whole["mask_positions"]).any()
    other = TokenMasker(tokenizer, strategy=strategy, seed=12)
    assert (mask(other, rows[:64], epoch=2)["mask_positions"] != whole["mask_positions"]).any()
    same_text = mask(masker, np.tile(rows[:1], (2, 1)))
    assert (same_text["mask_positions"][0] != same_text["mask_positions"][1]).any()


def test_epochs_may_differ_inside_a_batch(tokenizer, rows):
    masker = TokenMasker(tokenizer, seed=11)
    mixed = masker({"token_ids": rows[:2]}, tf.constant([4, 5]), tf.constant([7, 0]))
    last = masker({"token_ids": rows[:1]}, tf.constant(4), tf.constant([7]))
    first = masker({"token_ids": rows[1:2]}, tf.constant(5), tf.constant([0], tf.int64))
    positions = np.concatenate([last["mask_positions"], first["mask_positions"]])
    assert (mixed["mask_positions"].numpy() == positions).all()


@pytest.mark.parametrize("strategy", ["ngram"])
def test_xla_draws_the_same_masks_with_static_shapes(tokenizer, rows, strategy):
    masker = TokenMasker(tokenizer, strategy=strategy, max_predictions=12, seed=11)
    plain = mask(masker, rows[:16])
    compiled = tf.function(masker, jit_compile=True, autograph=False)
    features = {"token_ids": tf.constant(rows[:16]), "padding_mask": tf.ones_like(rows[:16])}
    found = compiled(features, tf.constant(0), tf.range(16))
    for key, value in found.items():
        assert (value.numpy() == plain[key]).all(), key
        assert value.shape.is_fully_defined()
        assert value.dtype == tf.int32


def test_the_number_of_predictions_is_googles_for_every_length(tokenizer):
    lengths = np.arange(0, 41)
    rows = np.full((41, 40), 0, np.int32)
    for row, length in enumerate(lengths):
        rows[row, :length] = 9
        if length:
            rows[row, 0], rows[row, length - 1] = 2, 3
    masker = TokenMasker(tokenizer, max_predictions=4, seed=0)
    features = {"token_ids": rows, "padding_mask": (rows > 0).astype(np.int32)}
    weights = masker(features, 0, np.arange(41))["mask_weights"].numpy().sum(axis=1)
    expected = [min(4, max(1, round(n * 0.15)), max(n - 2, 0)) for n in lengths]
    assert weights.tolist() == expected


def test_words_of_byte_pairs_begin_with_a_space():
    folder = DATA / "roberta-base-cut"
    tokenizer = BytePairTokenizer(folder / "vocab.json", folder / "merges.txt")
    ids = tokenizer("The unbelievable cat, 123").numpy()
    continues = tokenizer.continues_word(ids).numpy()
    tokens = [token.decode() for token in tokenizer.ids_to_tokens(ids).numpy()]
    assert [not c for c in continues] == [token.startswith("Ġ") for token in tokens]
    assert not tokenizer.continues_word(list(tokenizer.special_ids)).numpy().any()
    rows = np.concatenate([[0], ids, [2]])[None].astype(np.int32)
    masker = TokenMasker(tokenizer, rate=0.9, strategy="whole_word", mask_share=1.0, random_share=0)
    masked = masker({"token_ids": rows}, 0, [0])
    assert masked["token_ids"].numpy()[0, [0, -1]].tolist() == [0, 2]


def test_words_of_sentencepiece_begin_with_its_space():
    tokenizer = SentencePieceTokenizer(DATA / "albert-tiny" / "spiece.model")
    ids = tokenizer("unbelievable words of a sentence").numpy()
    rows = np.concatenate([[tokenizer.start_id], ids, [tokenizer.end_id]])[None].astype(np.int32)
    words = np.cumsum([token.startswith("▁") for token in (tokenizer.id_to_token(i) for i in ids)])
    masker = TokenMasker(tokenizer, rate=0.4, strategy="whole_word", seed=1)
    for index in range(20):
        masked = masker({"token_ids": rows}, 0, [index])
        chosen = chosen_places(
            {key: value.numpy() for key, value in masked.items()}, rows.shape[1]
        )[0, 1:-1]
        assert chosen.any()
        for word in np.unique(words[chosen]):
            assert chosen[words == word].all()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"strategy": "words"}, "strategy must be one of"),
        ({"rate": 0.0}, "rate must be above 0"),
        ({"mask_share": 0.9, "random_share": 0.2}, "at most 1 together"),
        ({"max_predictions": 0}, "max_predictions must be at least 1"),
        ({"strategy": "frequency"}, "needs token_counts"),
        ({"strategy": "frequency", "token_counts": [1, 2]}, "one number a token"),
        ({"strategy": "span", "max_span": 0}, "max_span"),
        ({"strategy": "ngram", "max_ngram": 0}, "max_ngram"),
    ],
)
def test_settings_that_do_not_fit_are_named(tokenizer, settings, message):
    with pytest.raises(ValueError, match=message):
        TokenMasker(tokenizer, **settings)


def test_an_example_without_a_place_is_refused(tokenizer, rows):
    with pytest.raises(ValueError, match="give `epoch` and `example_index`"):
        TokenMasker(tokenizer)({"token_ids": rows[:1]})
