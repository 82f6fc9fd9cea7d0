"""Embedders learn from pairs, triplets, scores and classes; and are scored on STS and retrieval."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from bertzoo.config import BackboneConfig
from bertzoo.losses.embedding_objectives import (
    CosineSimilarity,
    MultipleNegatives,
    SoftmaxClassification,
    Triplet,
)
from bertzoo.losses.embeddings import multiple_negatives
from bertzoo.models.backbone import Backbone
from bertzoo.tasks.text_embedder import TextEmbedder

PAIRS = [("the cat", "a cat sat"), ("a film", "the great film"), ("paris", "a city"),
         ("the dog", "a dog"), ("mat", "on the mat"), ("bad", "is bad")] * 2  # fmt: skip


@pytest.fixture
def learner(preprocessor):
    keras.utils.set_random_seed(41)
    config = BackboneConfig(
        vocabulary_size=31, num_layers=1, hidden_dim=20, num_heads=4, intermediate_dim=37,
        max_sequence_length=24, initializer_range=0.3, dropout=0.0, attention_dropout=0.0,
    )  # fmt: skip
    return TextEmbedder.from_backbone(Backbone(config), preprocessor)


def unit(x):
    return x / np.linalg.norm(x, axis=-1, keepdims=True)


def random_vectors(*shape):
    return np.random.default_rng(5).normal(size=shape).astype("float32")


def test_multiple_negatives_is_cross_entropy_over_all_candidates():
    v = random_vectors(5, 3, 8)
    anchors, candidates = unit(v[:, 0]), unit(np.concatenate([v[:, 1], v[:, 2]]))
    scores = 20.0 * anchors.astype(np.float64) @ candidates.T
    own = scores[np.arange(5), np.arange(5)]
    expected = np.log(np.exp(scores).sum(axis=1)) - own
    np.testing.assert_allclose(MultipleNegatives()(v), expected, rtol=1e-4)
    back = 20.0 * unit(v[:, 1]).astype(np.float64) @ anchors.T
    expected_back = np.log(np.exp(back).sum(axis=1)) - own
    both = MultipleNegatives(symmetric=True)(v)
    np.testing.assert_allclose(both, (expected + expected_back) / 2, rtol=1e-4)


def test_two_replicas_with_gathered_candidates_give_what_one_gives():
    v = random_vectors(6, 2, 8)
    whole = MultipleNegatives()(v).numpy()
    halves = [
        multiple_negatives(v[part, 0], v[:, 1], np.arange(6)[part]).numpy()
        for part in (slice(0, 3), slice(3, 6))
    ]
    np.testing.assert_allclose(np.concatenate(halves), whole, rtol=1e-5)


def test_a_text_that_comes_twice_is_no_negative():
    v = random_vectors(3, 2, 8)
    v[2] = v[0]
    ids = np.array([[[2, 7], [2, 8]], [[2, 5], [2, 6]], [[2, 7], [2, 8]]])
    losses = MultipleNegatives()(v, None, token_ids=ids).numpy()
    # Without the duplicate, row 0 has one negative: row 1.
    expected = MultipleNegatives()(v[:2]).numpy()
    np.testing.assert_allclose(losses[[0, 2]], expected[[0, 0]], rtol=1e-4)
    # Row 1 has both copies against it.
    np.testing.assert_allclose(losses[1], MultipleNegatives()(v).numpy()[1], rtol=1e-4)


def test_cosine_triplet_and_softmax_are_those_of_numpy():
    v = random_vectors(4, 3, 8).astype(np.float64)
    cosine = (unit(v[:, 0]) * unit(v[:, 1])).sum(axis=1)
    scores = np.array([0.0, 5.0, 2.5, 1.0])
    result = CosineSimilarity(highest_score=5.0)(v[:, :2].astype("float32"), scores)
    np.testing.assert_allclose(result, (cosine - scores / 5.0) ** 2, rtol=1e-4)
    near = np.linalg.norm(v[:, 0] - v[:, 1], axis=1)
    far = np.linalg.norm(v[:, 0] - v[:, 2], axis=1)
    result = Triplet(margin=1.5)(v.astype("float32"))
    np.testing.assert_allclose(result, np.maximum(near - far + 1.5, 0), atol=1e-4)
    objective = SoftmaxClassification(3, seed=1)
    result = objective(v[:, :2].astype("float32"), np.array([0, 2, 1, 1])).numpy()
    kernel, bias = (np.asarray(w).astype(np.float64) for w in objective.dense.weights)
    features = np.concatenate([v[:, 0], v[:, 1], np.abs(v[:, 0] - v[:, 1])], axis=1)
    logits = features @ kernel + bias
    expected = np.log(np.exp(logits).sum(axis=1)) - logits[np.arange(4), [0, 2, 1, 1]]
    np.testing.assert_allclose(result, expected, rtol=1e-4)


def test_equal_texts_have_a_finite_gradient():
    v = tf.Variable(np.ones((2, 3, 4), "float32"))
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(Triplet()(v)) + tf.reduce_sum(MultipleNegatives()(v))
    assert np.isfinite(tape.gradient(loss, v)).all()


@pytest.mark.parametrize(
    ("x", "y", "objective"),
    [
        ([(*pair, "good") for pair in PAIRS], None, MultipleNegatives),
        (PAIRS, [1.0, 0.5, 0.25, 1.0, 0.0, 0.75] * 2, CosineSimilarity),
        (PAIRS, ["yes", "no", "maybe"] * 4, SoftmaxClassification),
    ],
    ids=["hard negatives", "scores", "names"],
)
def test_the_data_say_the_objective_and_the_loss_falls(learner, x, y, objective):
    learner.compile(keras.optimizers.Adam(0.01))
    history = learner.fit(x, y, epochs=8, batch_size=6, verbose=0)
    assert type(learner.objective) is objective
    assert history.history["loss"][-1] < 0.9 * history.history["loss"][0]
    assert learner.evaluate(x, y, verbose=0) < history.history["loss"][0]
    assert learner.predict(["a cat"], verbose=0).shape == (1, 20)


@pytest.mark.long
def test_datasets_of_columns_and_of_rows_are_lists(learner):
    learner.compile(keras.optimizers.SGD(0.0), objective="multiple_negatives")
    expected = learner.evaluate(PAIRS, batch_size=4, verbose=0)
    first, second = zip(*PAIRS, strict=True)
    columns = tf.data.Dataset.from_tensor_slices({"anchor": list(first), "positive": list(second)})
    for dataset in (columns.batch(4), tf.data.Dataset.from_tensor_slices(PAIRS).batch(4)):
        assert learner.evaluate(dataset, verbose=0) == pytest.approx(expected, abs=1e-5)


@pytest.mark.slow
def test_triplets_learn_with_validation_and_a_new_objective_drops_the_old_one(learner):
    learner.compile(keras.optimizers.Adam(0.01), objective="softmax")
    count = len(learner.trainable_variables)
    learner.fit(PAIRS, [0, 1, 2] * 4, verbose=0)
    learner.compile(keras.optimizers.Adam(0.01), objective=Triplet(margin=5.0))
    assert len(learner.trainable_variables) == count - 2
    triplets = [(a, b, PAIRS[i - 1][1]) for i, (a, b) in enumerate(PAIRS)]
    history = learner.fit(triplets, epochs=4, validation_split=0.25, verbose=0)
    assert history.history["val_loss"][-1] < history.history["val_loss"][0]


@pytest.mark.long
def test_a_keras_file_brings_objective_and_optimizer_back(learner, tmp_path):
    learner.compile(keras.optimizers.Adam(0.01), objective=SoftmaxClassification(["a", "b"]))
    learner.fit(PAIRS, ["a", "b"] * 6, verbose=0)
    learner.save(tmp_path / "embedder.keras")
    again = keras.models.load_model(tmp_path / "embedder.keras")
    assert again.evaluate(PAIRS, ["a", "b"] * 6, verbose=0) == pytest.approx(
        learner.evaluate(PAIRS, ["a", "b"] * 6, verbose=0), abs=1e-6
    )
    assert int(again.optimizer.iterations) == int(learner.optimizer.iterations) == 1


def test_similarity_and_retrieval_are_those_of_the_vectors(embedder, texts):
    pairs = [(texts[0], texts[3]), (texts[2], texts[4]), (texts[5], texts[0]), (texts[2],) * 2]
    vectors = [unit(embedder.predict(list(pair), verbose=0)) for pair in pairs]
    cosines = np.array([a @ b for a, b in vectors])
    scores = np.array([1.0, 0.5, 3.0, 4.0])
    result = embedder.evaluate_similarity(pairs, scores)
    assert result["pearson"] == pytest.approx(np.corrcoef(scores, cosines)[0, 1], abs=1e-5)
    places = np.argsort(np.argsort(scores)) - np.argsort(np.argsort(cosines))
    assert result["spearman"] == pytest.approx(1 - 6 * (places**2).sum() / (4 * 15))
    # A text finds itself first.
    found = embedder.evaluate_retrieval(texts[2:], texts, [[2], [3], [4], [5]], ks=(1,))
    assert found == {"ndcg@1": 1.0, "mrr@1": 1.0, "recall@1": 1.0, "map@1": 1.0}


@pytest.mark.parametrize(
    ("x", "y", "message"),
    [
        ([("a", "b"), ("a",)], None, "row 1 should be 2 texts like row 0"),
        (["a", "b"], None, "at least 2 texts"),
        ([("a", 3)], None, "row 0 should be of strings; got 3"),
        ([("a", "b")], [2.5], "the highest here is 2.5"),
        ([("a", "b")], [float("nan")], "label 0 is not a finite number"),
        ([("a", "b", "c")], [0.5], "CosineSimilarity takes 2 texts a row; got 3"),
        ([("a", "b")], [0.5, 1.0], "as many labels as groups of texts; got 2 and 1"),
        ([], None, "at least one group of texts"),
    ],
)
def test_wrong_groups_are_named(learner, x, y, message):
    with pytest.raises(ValueError, match=message):
        learner.fit(x, y, verbose=0)


def test_an_objective_that_does_not_fit_is_named(learner):
    with pytest.raises(ValueError, match="objective must be one of"):
        learner.compile(objective="contrastive")
    learner.compile(objective="triplet")
    with pytest.raises(ValueError, match="Triplet takes 3 texts a row; got 2"):
        learner.fit(PAIRS, verbose=0)
    learner.compile(objective="cosine")
    with pytest.raises(ValueError, match="needs scores as labels"):
        learner.fit(PAIRS, verbose=0)
