"""Windows of long texts, pooled: nothing of a text goes unread."""

import numpy as np
import pytest
import tensorflow as tf

from bertzoo.postprocessing.pooling import pool_windows
from bertzoo.tasks.text_classifier import TextClassifier

LOGITS = np.array([[0.5, -1.0, 2.0], [1.5, 0.0, -2.0], [0.0, 3.0, 1.0]], np.float32)


def softmax(x):
    e = np.exp(x - x.max(axis=-1, keepdims=True))
    return e / e.sum(axis=-1, keepdims=True)


def sigmoid(x):
    return 1 / (1 + np.exp(-x.astype(np.float64)))


@pytest.mark.parametrize("how", ["mean", "max"])
def test_pooling_is_that_of_numpy(how):
    def pooled(kind, problem="single_label"):
        return pool_windows(tf.constant(LOGITS), [0, 0, 1], 2, f"{how}_{kind}", problem).numpy()

    pool = getattr(np, how)
    expected = np.stack([pool(LOGITS[:2], axis=0), LOGITS[2]])
    np.testing.assert_allclose(pooled("logits"), expected, rtol=1e-6)
    p = softmax(LOGITS)
    expected = np.stack([pool(p[:2], axis=0), p[2]])
    expected /= expected.sum(axis=1, keepdims=True)
    np.testing.assert_allclose(softmax(pooled("probabilities")), expected, rtol=1e-5)
    p = sigmoid(LOGITS)
    expected = np.stack([pool(p[:2], axis=0), p[2]])
    result = sigmoid(pooled("probabilities", "multi_label"))
    np.testing.assert_allclose(result, expected, rtol=1e-5)


def test_a_probability_near_one_keeps_its_digits():
    logits = tf.constant([[40.0], [60.0]])
    result = pool_windows(logits, [0, 0], 1, "max_probabilities", "multi_label").numpy()
    assert result[0, 0] == pytest.approx(60.0, abs=0.01)


def by_hand(classifier, words):
    """Logits of the windows of 22 words, each starting 11 words behind the last."""
    starts = [0] if len(words) <= 22 else range(0, len(words) - 22 + 11, 11)
    rows = [" ".join(words[s : s + 22]) for s in starts]
    return classifier.predict(rows, verbose=0)


@pytest.mark.parametrize("count", [3, 22, 23, 33, 34, 100])
def test_every_word_is_read_whatever_the_length(classifier, count):
    words = ["good", "bad", "cat", "film", "mat", "dog", "great"] * 20
    words = words[:count]
    text = " ".join(words)
    result = classifier.predict([text, "good"], windows="mean_logits", verbose=0)
    expected = by_hand(classifier, words).mean(axis=0)
    np.testing.assert_allclose(result[0], expected, atol=1e-5)
    np.testing.assert_allclose(result[1], classifier.predict(["good"])[0], atol=1e-5)


@pytest.mark.long
def test_the_graph_and_python_pool_alike(preprocessor, classifier):
    task = TextClassifier(classifier.network, preprocessor)
    texts = ["good cat " * 30, "", "bad", "a dog sat on the mat. " * 9]
    task.windows = "max_probabilities"
    answers = tf.function(task.respond, [tf.TensorSpec([None], "string")])(tf.constant(texts))
    told = task.classify(texts)
    assert [one.label.encode() for one in told] == answers["label"].numpy().tolist()
    np.testing.assert_allclose(
        [list(one.probabilities.values()) for one in told], answers["probabilities"], atol=1e-5
    )
    assert answers["truncated"].numpy().tolist() == [0, 0, 0, 0]
    # What one row holds is something else than the whole text.
    assert np.abs(task.predict(texts) - classifier.predict(texts)).max() > 1e-4


def test_no_texts_and_unknown_poolings(classifier):
    assert classifier.predict([], windows="mean_logits").shape == (0, 2)
    with pytest.raises(ValueError, match="windows must be one of mean_logits"):
        classifier.predict(["a"], windows="mean")
    with pytest.raises(ValueError, match="single texts; got pairs"):
        classifier.predict([("a", "b")], windows="mean_logits")


def test_a_regression_has_no_probabilities_to_pool(backbone, preprocessor):
    regressor = TextClassifier.from_backbone(backbone, preprocessor, num_classes=1)
    with pytest.raises(ValueError, match="no probabilities"):
        regressor.windows = "mean_probabilities"
