"""The classifier learns from texts in every form that Keras's `fit` takes."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from bertzoo.config import BackboneConfig
from bertzoo.models.backbone import Backbone
from bertzoo.tasks.text_classifier import TextClassifier

CONFIG = BackboneConfig(
    vocabulary_size=31,
    num_layers=1,
    hidden_dim=20,
    num_heads=4,
    intermediate_dim=37,
    max_sequence_length=24,
    initializer_range=0.3,
)
# The word `good` makes a text good; lengths differ, so batches are padded.
GOOD = ["good film", "a good cat on the mat", "the city is good good good", "good"]
BAD = ["bad film", "a bad cat on the mat", "the city is bad bad bad", "bad"]
TEXTS = [text for pair in zip(GOOD, BAD, strict=True) for text in pair] * 4
NAMES = ["good", "bad"] * 16
IDS = [1, 0] * 16


@pytest.fixture(scope="module")
def learner(preprocessor):
    """A classifier that learns fast, and its first weights."""
    keras.utils.set_random_seed(15)
    backbone = Backbone(CONFIG.replace(dropout=0.0, attention_dropout=0.0))
    classifier = TextClassifier.from_backbone(
        backbone, preprocessor, labels=["bad", "good"], dropout=0.0
    )
    classifier.compile(keras.optimizers.SGD(0.05))
    return classifier, classifier.get_weights()


@pytest.fixture
def fresh(learner):
    """The learner before its first step; its training function is traced once for all tests."""
    classifier, weights = learner
    classifier.set_weights(weights)
    return classifier


def test_it_learns_names_from_a_list_and_reports_on_validation_data(fresh):
    known = (GOOD + BAD, ["good"] * 4 + ["bad"] * 4)
    history = fresh.fit(TEXTS, NAMES, batch_size=8, epochs=20, verbose=0, validation_data=known)
    assert history.history["accuracy"][-1] == 1.0
    assert history.history["val_accuracy"][-1] == 1.0
    loss, accuracy = fresh.evaluate(np.array(TEXTS), IDS, verbose=0)
    assert (loss < 0.3, accuracy) == (True, 1.0)
    answer = fresh.classify(["the city is good good good", "bad"])
    assert [one.label for one in answer] == ["good", "bad"]
    assert answer[0].probability == answer[0].probabilities["good"]
    assert sum(answer[0].probabilities.values()) == pytest.approx(1.0)


@pytest.mark.parametrize(
    "dataset",
    [
        lambda: tf.data.Dataset.from_tensor_slices((TEXTS, NAMES)),
        lambda: tf.data.Dataset.from_tensor_slices((TEXTS, IDS)).batch(7),
        lambda: tf.data.Dataset.from_tensor_slices((TEXTS, IDS, [1.0] * 32)).batch(7),
        lambda: tf.data.Dataset.from_tensor_slices(({"text": TEXTS}, NAMES)).batch(7),
    ],
    ids=["single rows", "batches", "weights", "dicts"],
)
def test_evaluate_is_the_same_on_a_dataset_as_on_lists(classifier, dataset):
    expected = classifier.evaluate(TEXTS, IDS, verbose=0)
    np.testing.assert_allclose(classifier.evaluate(dataset(), verbose=0), expected, atol=1e-5)


@pytest.mark.long
def test_fit_takes_datasets_with_datasets_to_validate(fresh):
    train = tf.data.Dataset.from_tensor_slices((TEXTS, NAMES)).batch(8)
    history = fresh.fit(train, epochs=3, verbose=0, validation_data=train.take(2))
    assert history.history["loss"][-1] < 0.9 * history.history["loss"][0]
    assert history.history["val_loss"][-1] < history.history["val_loss"][0]


def test_fit_on_texts_moves_weights_as_fit_on_their_ids_does(learner):
    classifier, first_weights = learner
    moved = []
    for x in (TEXTS[:8], classifier.preprocessor(TEXTS[:8])):
        classifier.set_weights(first_weights)
        classifier.fit(x, IDS[:8], batch_size=4, shuffle=False, verbose=0)
        moved.append(classifier.get_weights())
    for on_texts, on_ids in zip(*moved, strict=True):
        np.testing.assert_allclose(on_texts, on_ids, atol=1e-6)
    assert np.abs(on_texts - first_weights[-1]).max() > 1e-4


def test_sample_weights_and_class_weights_count(fresh):
    # All weight on one class, which has the other's texts too: it wins everywhere.
    weights = [0.0 if name == "good" else 1.0 for name in NAMES]
    fresh.fit(TEXTS, NAMES, sample_weight=weights, epochs=4, batch_size=8, verbose=0)
    assert (fresh.predict(GOOD, verbose=0).argmax(axis=1) == 0).all()
    weights = {"good": 1.0, "bad": 0.0}
    fresh.fit(TEXTS, NAMES, class_weight=weights, epochs=8, batch_size=8, verbose=0)
    assert (fresh.predict(BAD, verbose=0).argmax(axis=1) == 1).all()


def test_every_epoch_has_a_new_order_and_every_text_once(preprocessor):
    from bertzoo.tasks.datasets import Order, features_of_texts
    from bertzoo.tasks.labels import AnyLabels

    keras.utils.set_random_seed(5)
    order = Order()
    dataset = features_of_texts(
        ["a"] * 20, list(range(20)), None, preprocessor, AnyLabels(), 6, order
    )
    assert len(dataset) == 4
    epochs = []
    for order.epoch in range(2):
        epochs.append([int(y) for _, labels in dataset for y in labels])
    assert epochs[0] != epochs[1]
    assert sorted(epochs[0]) == sorted(epochs[1]) == list(range(20))


def test_validation_split_takes_the_last_rows(classifier, monkeypatch):
    seen = {}
    monkeypatch.setattr(keras.Model, "fit", lambda self, x, y, **kwargs: seen.update(x=x, **kwargs))
    classifier.fit(TEXTS[:10], IDS[:10], validation_split=0.3, verbose=0)
    assert sum(len(y) for _, y in seen["x"]) == 7
    assert sum(len(y) for _, y in seen["validation_data"]) == 3
    assert seen["validation_split"] == 0.0


@pytest.mark.long
def test_pairs_can_be_learnt(fresh):
    pairs = [("the cat", text) for text in GOOD + BAD]
    history = fresh.fit(pairs * 4, ([1] * 4 + [0] * 4) * 4, epochs=30, batch_size=8, verbose=0)
    assert history.history["accuracy"][-1] == 1.0


def test_single_batches_are_trained_and_tested(fresh):
    before = fresh.test_on_batch(TEXTS[:6], NAMES[:6])
    fresh.train_on_batch(TEXTS[:6], NAMES[:6])
    after = fresh.test_on_batch(TEXTS[:6], NAMES[:6])
    assert after[0] < before[0]


@pytest.mark.parametrize(
    ("x", "y", "message"),
    [
        (["a", "b"], ["good", "god"], "label 1 should be one of bad, good; got 'god'"),
        (["a", "b"], [0, 2], r"label 1 should be a whole number in \[0, 1\]"),
        (["a", "b"], [0], "as many labels as texts; got 1 and 2"),
        (["a", "b"], [0, float("nan")], "label 1 is not a finite number"),
        (["a", float("nan")], [0, 1], "text 1 should be a string; got nan"),
        ([], [], "at least one text"),
    ],
)
def test_wrong_training_data_is_named(classifier, x, y, message):
    with pytest.raises(ValueError, match=message):
        classifier.fit(x, y, verbose=0)


def test_labels_of_one_class_are_refused_unless_they_are_meant(fresh):
    before = fresh.get_weights()
    with pytest.raises(ValueError, match=r"all 4 labels are 'good'.*allow_one_class=True"):
        fresh.fit(GOOD, ["good"] * 4, verbose=0)
    with pytest.raises(ValueError, match="all 4 labels are 'bad'"):
        fresh.fit({"token_ids": np.full((4, 3), 2)}, [0] * 4, verbose=0)
    # Sorted by class, so that what is left behind for validation is the other one.
    with pytest.raises(ValueError, match="all 4 labels are 'good'"):
        fresh.fit(GOOD + BAD, ["good"] * 4 + ["bad"] * 4, validation_split=0.5, verbose=0)
    for one, other in zip(before, fresh.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)
    fresh.fit(GOOD, ["good"] * 4, allow_one_class=True, verbose=0)
    assert any((a != b).any() for a, b in zip(before, fresh.get_weights(), strict=True))


def test_wrong_labels_in_a_dataset_are_named(fresh):
    dataset = tf.data.Dataset.from_tensor_slices((["a", "b"], ["good", "god"])).batch(2)
    with pytest.raises(ValueError, match="not one of bad, good; got god"):
        fresh.fit(dataset, verbose=0)


def test_a_head_without_pooler_reads_the_first_token_through_tanh(preprocessor):
    config = CONFIG.replace(pooler=False, num_segments=0)
    classifier = TextClassifier.from_backbone(Backbone(config), preprocessor, num_classes=3)
    head = classifier.network.head
    assert (head.input, head.hidden_activation, classifier.labels) == ("first_token", "tanh", None)
    assert classifier.predict(["a cat"], verbose=0).shape == (1, 3)
    assert classifier.classify(["a cat"])[0].label in (0, 1, 2)


def test_one_output_is_a_regression(backbone, preprocessor):
    regressor = TextClassifier.from_backbone(backbone, preprocessor, num_classes=1)
    assert isinstance(regressor.loss, keras.losses.MeanSquaredError)
    loss = regressor.evaluate(["a", "b"], [2.5, -1.0], verbose=0)
    scores = regressor.predict(["a", "b"], verbose=0)[:, 0]
    assert loss == pytest.approx(np.mean((scores - [2.5, -1.0]) ** 2), abs=1e-4)


def test_the_default_is_fine_tuning(backbone, preprocessor):
    classifier = TextClassifier.from_backbone(backbone, preprocessor, labels=["bad", "good"])
    assert float(classifier.optimizer.learning_rate) == pytest.approx(5e-5)
    assert classifier.loss.get_config()["from_logits"]
    variables = classifier.trainable_variables
    for variable in variables:
        variable.assign_add(np.ones(variable.shape))
    before = [variable.numpy() for variable in variables]
    classifier.optimizer.apply([np.zeros(v.shape, "float32") for v in variables], variables)
    decayed = {
        variable.name
        for variable, value in zip(variables, before, strict=True)
        if not np.array_equal(variable.numpy(), value)
    }
    assert decayed == {"kernel", "embeddings"}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({}, "labels= or num_classes="),
        ({"labels": "ab"}, "list of names"),
        ({"labels": ["a", "b"], "num_classes": 3}, "num_classes=3 and 2 labels"),
        ({"labels": ["a", "a"]}, "differ from each other"),
    ],
)
def test_a_new_head_needs_its_classes(backbone, arguments, message):
    with pytest.raises(ValueError, match=message):
        TextClassifier.from_backbone(backbone, **arguments)


def test_a_new_head_on_a_sentence_encoder_reads_the_mean(tmp_path):
    # bert_toy says that it pools by the mean; without that head it is a plain encoder.
    on_sentences = TextClassifier.from_preset("bert_toy", num_classes=3)
    assert on_sentences.network.head.input == "mean"
    on_sentences.backbone.save_to_preset(tmp_path / "plain")
    assert TextClassifier.from_preset(tmp_path / "plain", num_classes=3).network.head.input == (
        "pooled"
    )
