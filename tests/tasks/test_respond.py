"""`respond`: strings to final answers in one graph, as a server runs it."""

import numpy as np
import pytest
import tensorflow as tf

from bertzoo.config import HeadConfig
from bertzoo.postprocessing.labels import label_answers


def test_a_graph_answers_what_predict_says(classifier, texts):
    graph = tf.function(classifier.respond, [tf.TensorSpec([None], "string")])
    answers = graph(tf.constant(texts))
    logits = classifier.predict(texts, verbose=0)
    shifted = np.exp(logits - logits.max(axis=1, keepdims=True))
    expected = shifted / shifted.sum(axis=1, keepdims=True)
    np.testing.assert_allclose(answers["probabilities"], expected, atol=1e-5)
    assert answers["label_id"].numpy().tolist() == logits.argmax(axis=1).tolist()
    names = [["bad", "good"][i].encode() for i in logits.argmax(axis=1)]
    assert answers["label"].numpy().tolist() == names
    # 9 times 3 words is more than the 24 - 2 tokens that fit.
    assert answers["truncated"].numpy().tolist() == [0, 0, 0, 1, 0, 0]
    assert {t.dtype.name for t in answers.values()} <= {"float32", "int32", "string"}


def test_no_texts_give_no_answers(classifier):
    answers = classifier.respond(tf.constant([], dtype="string"))
    assert {key: t.shape.as_list() for key, t in answers.items()} == {
        "label": [0],
        "label_id": [0],
        "probabilities": [0, 2],
        "truncated": [0],
    }


def test_pairs_are_answered_and_their_cuts_told(classifier):
    first, second = ["the cat"] * 2, ["sat", "sat on the mat " * 6]
    answers = classifier.respond(tf.constant(first), tf.constant(second))
    logits = classifier.predict(list(zip(first, second, strict=True)), verbose=0)
    assert answers["label_id"].numpy().tolist() == logits.argmax(axis=1).tolist()
    assert answers["truncated"].numpy().tolist() == [0, 1]


def test_vectors_are_those_of_predict(embedder, texts):
    answers = embedder.respond(tf.constant(texts))
    expected = embedder.predict(texts, verbose=0)
    np.testing.assert_allclose(answers["embedding"], expected, atol=1e-5)
    assert answers["truncated"].numpy().tolist() == [0, 0, 0, 1, 0, 0]


def test_a_text_of_a_million_words_is_answered_and_said_to_be_cut(classifier):
    answers = classifier.respond(tf.constant(["good " * 1_000_000, "good"]))
    assert answers["truncated"].numpy().tolist() == [1, 0]


def test_a_multi_label_answer_has_thresholds_and_parents():
    head = HeadConfig(
        "text_classifier",
        labels=("science", "physics", "sport"),
        problem="multi_label",
        thresholds=(0.9, 0.5, 0.2),
        parents=(-1, 0, -1),
    )
    logits = tf.constant([[0.0, 1.0, -1.0], [3.0, -1.0, -3.0]])
    answers = label_answers(logits, head)
    np.testing.assert_allclose(answers["probabilities"], 1 / (1 + np.exp(-logits)), atol=1e-6)
    # Row 0: physics by its threshold and science as its parent, sport as 0.27 > 0.2.
    assert answers["selected"].numpy().tolist() == [[1, 1, 1], [1, 0, 0]]
    assert answers["label"].numpy().tolist() == [b"physics", b"science"]


def test_a_regression_answers_with_a_number_a_text():
    head = HeadConfig("text_classifier", num_outputs=1)
    assert label_answers(tf.constant([[2.5], [-1.0]]), head)["score"].numpy().tolist() == [2.5, -1]


def test_a_task_without_a_vocabulary_says_so(backbone):
    from bertzoo.tasks.text_classifier import TextClassifier

    with pytest.raises(ValueError, match="cannot read these strings"):
        TextClassifier.from_backbone(backbone, num_classes=2).respond(tf.constant(["a"]))
