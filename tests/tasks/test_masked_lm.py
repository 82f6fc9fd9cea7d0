"""Filling masks: the same words as a softmax over the network's logits, in every form."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from bertzoo.tasks.masked_lm import MaskedLM


def expected_scores(masked_lm, tokens, position):
    """Probabilities at `position` of a row that is written out, from the network alone."""
    ids = [[masked_lm.tokenizer.token_to_id(token) for token in tokens.split()]]
    inputs = {"token_ids": np.array(ids), "mask_positions": np.array([[position]])}
    logits = np.asarray(masked_lm(inputs))[0, 0, : len(masked_lm.tokenizer.vocabulary)]
    return np.exp(logits) / np.exp(logits).sum()


def test_one_mask_gives_the_most_probable_words(masked_lm):
    fills = masked_lm.fill("Paris is the [MASK] of France.", top_k=4)
    row = "[CLS] paris is the [MASK] of france . [SEP]"
    scores = expected_scores(masked_lm, row, position=4)
    best = np.argsort(-scores)[:4]
    assert [fill.token for fill in fills] == [masked_lm.tokenizer.vocabulary[i] for i in best]
    np.testing.assert_allclose([fill.score for fill in fills], scores[best], rtol=1e-5)
    for fill in fills:
        if not fill.token.startswith("##"):
            assert fill.text == f"Paris is the {fill.token} of France."


def test_several_masks_are_filled_one_by_one(masked_lm):
    first, second = masked_lm.fill("[MASK] cat [MASK]", top_k=2)
    scores = expected_scores(masked_lm, "[CLS] [MASK] cat [MASK] [SEP]", position=3)
    assert second[0].token == masked_lm.tokenizer.vocabulary[int(np.argmax(scores))]
    assert second[0].text.startswith("[MASK] cat")
    assert first[0].text.endswith(" cat [MASK]")


def test_several_texts_give_what_each_gives(masked_lm):
    texts = ["a [MASK]", "[MASK] [MASK] on the mat.", "the city of [MASK]"] * 3
    for text, fills in zip(texts, masked_lm.fill(texts, top_k=3, batch_size=2), strict=True):
        alone = masked_lm.fill(text, top_k=3)
        tokens = [f.token for f in keras.tree.flatten_with_path(fills) and _flat(fills)]
        assert tokens == [f.token for f in _flat(alone)]
        np.testing.assert_allclose(
            [f.score for f in _flat(fills)], [f.score for f in _flat(alone)], rtol=1e-4
        )


def _flat(fills):
    return [f for place in fills for f in place] if isinstance(fills[0], list) else fills


def test_a_continuation_joins_the_word_before(masked_lm):
    fills = masked_lm.fill("the cat [MASK] sat", top_k=len(masked_lm.tokenizer.vocabulary))
    texts = {fill.token: fill.text for fill in fills}
    assert texts["##s"] == "the cats sat"
    assert texts["dog"] == "the cat dog sat"


def test_scores_are_probabilities_over_the_vocabulary(masked_lm):
    num_words = len(masked_lm.tokenizer.vocabulary)
    fills = masked_lm.fill("[MASK]", top_k=num_words)
    assert sum(fill.score for fill in fills) == pytest.approx(1.0)
    assert len({fill.token for fill in fills}) == num_words


def test_no_texts_give_no_answers(masked_lm):
    assert masked_lm.fill([]) == []


@pytest.mark.parametrize(
    ("texts", "top_k", "message"),
    [
        ("no mask", 5, r"text 0 has no \[MASK\]"),
        (["[MASK]", "a [SEP]"], 5, r"text 1 has no \[MASK\]"),
        ("a " * 30 + "[MASK]", 5, "text 0 has 1 masks, but only 0 of them"),
        ("[MASK]", 0, "top_k must be between 1 and"),
        ("[MASK]", 10_000, "top_k must be between 1 and"),
        ([("[MASK]", "b")], 5, "not pairs"),
        (["[MASK]", None], 5, "text 1 should be a string"),
    ],
)
def test_what_cannot_be_filled_raises(masked_lm, texts, top_k, message):
    with pytest.raises(ValueError, match=message):
        masked_lm.fill(texts, top_k=top_k)


def test_predict_on_texts_points_to_fill(masked_lm):
    with pytest.raises(ValueError, match="use fill"):
        masked_lm.predict(["a [MASK]"])


def test_without_a_tokenizer_fill_raises_and_ids_work(backbone):
    masked_lm = MaskedLM.from_backbone(backbone)
    inputs = {"token_ids": np.array([[2, 4, 3]]), "mask_positions": np.array([[1, 1]])}
    assert masked_lm.predict(inputs, verbose=0).shape == (1, 2, 31)
    with pytest.raises(ValueError, match="without a preprocessor"):
        masked_lm.fill("[MASK]")


def test_a_mask_that_counts_texts_weighs_no_word_twice(masked_lm):
    mask = masked_lm.tokenizer.mask_id
    token_ids = tf.constant([[2, mask, 3, 2, mask, 3, 0], [2, 7, 3, 2, mask, mask, 3]])
    counted = tf.constant([[1, 1, 1, 2, 2, 2, 0], [1, 1, 1, 2, 2, 2, 2]])
    fills = masked_lm.fills_of_ids({"token_ids": token_ids, "padding_mask": counted}, top_k=3)
    ones = tf.cast(counted > 0, tf.int32)
    expected = masked_lm.fills_of_ids({"token_ids": token_ids, "padding_mask": ones}, top_k=3)
    assert fills["fill_count"].numpy().tolist() == [2, 2]
    for name, value in expected.items():
        assert (fills[name].numpy() == value.numpy()).all(), name
