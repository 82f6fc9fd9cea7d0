"""What a TPU asks for: one static shape for all batches, several steps in one call."""

import keras
import numpy as np
import pytest

from bertzoo.config import BackboneConfig
from bertzoo.models.backbone import Backbone
from bertzoo.preprocessing.preprocessor import Preprocessor
from bertzoo.tasks.text_classifier import TextClassifier

TEXTS, LABELS = ["good film", "bad", "a cat sat on the mat", "the dog"] * 5, [1, 0, 1, 0] * 5


@pytest.fixture
def classifier(preprocessor):
    keras.utils.set_random_seed(3)
    config = BackboneConfig(
        vocabulary_size=31, num_layers=1, hidden_dim=20, num_heads=4, intermediate_dim=37,
        max_sequence_length=24, dropout=0.0, attention_dropout=0.0,
    )  # fmt: skip
    fixed = Preprocessor(preprocessor.tokenizer, sequence_length=24, padding="fixed")
    return TextClassifier.from_backbone(Backbone(config), fixed, num_classes=2, dropout=0.0)


@pytest.mark.long
def test_every_batch_has_one_static_shape_and_steps_run_together(classifier, monkeypatch):
    seen = {}
    original = keras.Model.fit

    def fit(self, x, y, **kwargs):
        seen["spec"], seen["steps"] = x.element_spec, len(x)
        return original(self, x, y, **kwargs)

    monkeypatch.setattr(keras.Model, "fit", fit)
    first = classifier.get_weights()
    moved = []
    for steps in (1, 2):
        classifier.set_weights(first)
        classifier.compile(keras.optimizers.SGD(0.1), steps_per_execution=steps)
        classifier.fit(
            TEXTS, LABELS, batch_size=6, shuffle=False, drop_remainder=True, epochs=2, verbose=0
        )
        moved.append(classifier.get_weights())
    features, labels = seen["spec"]
    assert [spec.shape.as_list() for spec in features.values()] == [[6, 24]] * 3
    assert labels.shape.as_list() == [6]
    assert seen["steps"] == 3  # of 20 rows, two are left out
    assert int(classifier.optimizer.iterations) == 6
    for one, two in zip(*moved, strict=True):
        np.testing.assert_allclose(one, two, atol=1e-6)


def test_fewer_rows_than_a_batch_are_said(classifier):
    with pytest.raises(ValueError, match="leaves nothing of 20 rows in batches of 32"):
        classifier.fit(TEXTS, LABELS, drop_remainder=True, verbose=0)
