"""Tasks leave padding out where they can, and where they cannot, nothing changes."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from bertzoo.models.backbone import Backbone
from bertzoo.tasks.question_answerer import QuestionAnswerer
from bertzoo.tasks.text_classifier import TextClassifier
from tests.tasks.conftest import CONFIG

TEXTS = ["a cat", "the dog sat on the mat the cat sat on the dog the dog is a dog", "good", "film"]


def test_dense_layers_see_as_many_rows_as_there_are_tokens(classifier, monkeypatch):
    rows, dense = [], classifier.backbone.encoder_layers[0].intermediate_dense
    call = dense.call

    def count(x):
        rows.append(int(x.shape[0]))
        return call(x)

    monkeypatch.setattr(dense, "call", count)
    ids = {name: tf.constant(x) for name, x in classifier.preprocessor(TEXTS).items()}
    found = classifier(ids)
    plain = classifier.network(ids)
    tokens, places = int(tf.reduce_sum(ids["padding_mask"])), int(tf.size(ids["token_ids"]))
    assert tokens < places / 2
    assert rows == [tokens, places]
    np.testing.assert_allclose(found, plain, atol=1e-5)


def test_xla_gets_the_plain_form(classifier, preprocessor):
    ids = preprocessor(TEXTS)
    new = TextClassifier.from_backbone(Backbone(CONFIG), preprocessor, num_classes=2)
    new.compile(keras.optimizers.SGD(0.1), jit_compile=True)
    new(ids)
    assert new.unpadded is None
    # Where nobody told the task, XLA compiles the other form, too: slower, and as right.
    compiled = tf.function(lambda features: classifier(features), jit_compile=True)
    np.testing.assert_allclose(compiled(ids), classifier.network(ids), atol=1e-5)


def test_ids_without_a_mask_run_whole(classifier):
    ids = {"token_ids": np.array([[2, 7, 3, 0], [2, 9, 8, 3]])}
    np.testing.assert_allclose(classifier(ids), classifier.network(ids), atol=1e-6)


def test_a_step_of_training_is_that_of_the_plain_form(preprocessor):
    config = CONFIG.replace(dropout=0.0, attention_dropout=0.0)
    weights = []
    for jit in (False, True):
        keras.utils.set_random_seed(5)
        task = TextClassifier.from_backbone(
            Backbone(config), preprocessor, num_classes=2, dropout=0.0
        )
        task.compile(keras.optimizers.SGD(0.5), jit_compile=jit)
        task.fit(TEXTS, [0, 1, 1, 0], verbose=0)
        weights.append(task.network.get_weights())
    for one, other in zip(*weights, strict=True):
        np.testing.assert_allclose(one, other, atol=2e-6)


def test_no_weight_is_counted_or_saved_twice(classifier, tmp_path):
    classifier(classifier.preprocessor(TEXTS))
    assert classifier.unpadded is not None
    assert len(classifier.weights) == len(classifier.network.weights)
    path = tmp_path / "task.keras"
    classifier.save(path)
    again = keras.saving.load_model(path)
    np.testing.assert_allclose(again.predict(TEXTS), classifier.predict(TEXTS), atol=1e-6)


def test_answers_are_sought_among_padding_too(backbone, preprocessor):
    # The published loss is a softmax over all places: 9 of them here, 4 of which are padding.
    answerer = QuestionAnswerer.from_backbone(backbone, preprocessor)
    mask = np.array([[1, 1, 1, 1, 1, 0, 0, 0, 0]])
    ids = {"token_ids": np.array([[2, 7, 3, 9, 3, 0, 0, 0, 0]]), "padding_mask": mask}
    ids["segment_ids"] = np.array([[0, 0, 0, 1, 1, 0, 0, 0, 0]])
    plain = answerer.network(ids)["start_logits"].numpy()
    assert len(set(plain[0, 5:].tolist())) == 4, "padding has states of its own"
    np.testing.assert_array_equal(answerer(ids)["start_logits"], plain)
    assert answerer.unpadded is None


@pytest.mark.parametrize("training", [False, True])
def test_training_reaches_the_form_that_runs(training, preprocessor):
    keras.utils.set_random_seed(5)
    task = TextClassifier.from_backbone(
        Backbone(CONFIG.replace(dropout=0.5)), preprocessor, num_classes=2
    )
    ids = preprocessor(TEXTS)
    one, two = (np.asarray(task(ids, training=training)) for _ in range(2))
    assert np.allclose(one, two) != training
