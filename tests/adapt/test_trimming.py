"""Vocabularies cut to a corpus: what stays is spelled and computed as before."""

import numpy as np
import pytest

import bertzoo
from tests.adapt.test_vocabulary import CONFIG, SPECIAL, TABLE, WORDS, new_task, values

CORPUS = ["the cat", "a kidney.", "the kidney"]


def test_special_tokens_and_those_of_the_corpus_stay_in_their_order():
    new = bertzoo.adapt.trim_vocabulary(new_task(), CORPUS, keep_characters=False)
    expected = [*SPECIAL, "a", "cat", "the", "kid", "##ney", "."]
    assert list(new.tokenizer.vocabulary) == expected
    rows = [WORDS.index(word) for word in expected]
    np.testing.assert_array_equal(values(new)[TABLE], values(new_task())[TABLE][rows])
    assert new.backbone.config == CONFIG.replace(vocabulary_size=11)


def test_texts_of_kept_words_give_the_same_bits(tmp_path):
    task = new_task()
    new = bertzoo.adapt.trim_vocabulary(task, CORPUS)
    texts = ["a cat.", "the kidney", "cat the a ."]
    np.testing.assert_array_equal(new.predict(texts), task.predict(texts))
    new.save_to_preset(tmp_path / "small")
    loaded = bertzoo.TextEmbedder.from_preset(tmp_path / "small")
    np.testing.assert_array_equal(loaded.predict(texts), task.predict(texts))


@pytest.mark.parametrize("tie_embeddings", [True, False])
def test_a_masked_lm_keeps_the_logits_of_kept_words(tie_embeddings):
    task = new_task(bertzoo.MaskedLM, tie_embeddings=tie_embeddings)
    new = bertzoo.adapt.trim_vocabulary(task, CORPUS)
    kept = [WORDS.index(word) for word in new.tokenizer.vocabulary]
    ids = {"token_ids": np.array([[2, 9, 4, 3]]), "mask_positions": np.array([[2]])}
    ours = {**ids, "token_ids": np.array([[kept.index(i) for i in (2, 9, 4, 3)]])}
    # The product with fewer columns may round otherwise.
    np.testing.assert_allclose(np.asarray(new(ours)), np.asarray(task(ids))[..., kept], atol=1e-6)


def test_characters_are_kept_so_that_words_can_be_spelled():
    new = bertzoo.adapt.trim_vocabulary(new_task(), ["cat"])
    assert list(new.tokenizer.vocabulary) == [*SPECIAL, "a", "cat", "o", "##s", "##o", "."]


def test_rare_tokens_go_and_named_ones_stay():
    new = bertzoo.adapt.trim_vocabulary(
        new_task(), CORPUS, keep=["of"], min_count=2, keep_characters=False
    )
    assert list(new.tokenizer.vocabulary) == [*SPECIAL, "of", "the", "kid", "##ney"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({}, "needs texts= or keep="),
        ({"texts": "a cat"}, "got one string"),
        ({"keep": ["dog"]}, "'dog', which is no token"),
        ({"keep": WORDS}, "all 20 tokens would stay"),
    ],
)
def test_mistakes_are_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        bertzoo.adapt.trim_vocabulary(new_task(), **arguments)


@pytest.mark.long
@pytest.mark.weights
def test_a_real_vocabulary_cut_to_a_corpus_spells_it_as_before():
    task = bertzoo.TextEmbedder.from_preset("all_minilm_l6_v2_en")
    corpus = [
        "Distillation makes a small model of a large one.",
        "The quick brown fox jumps over the lazy dog; 3.14 and café!",
        "Donaudampfschifffahrtsgesellschaft, antidisestablishmentarianism.",
    ]
    new = bertzoo.adapt.trim_vocabulary(task, corpus)
    old_tokens, new_tokens = (
        [[t.tokenizer.id_to_token(i) for i in row] for row in t.tokenizer(corpus).to_list()]
        for t in (task, new)
    )
    assert new_tokens == old_tokens
    assert new.backbone.config.vocabulary_size < 3000
    np.testing.assert_array_equal(new.predict(corpus), task.predict(corpus))
