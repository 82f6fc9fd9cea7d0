"""Multiple choice: every choice read with its text, one of them chosen."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from bertzoo.checkpoints.export import export_checkpoint
from bertzoo.config import BackboneConfig
from bertzoo.models.backbone import Backbone
from bertzoo.tasks.multiple_choice import MultipleChoice

# The choice with `good` is right.
ROWS = [
    ("the cat", ["sat", "is good", "is bad"]),
    ("the film is", ["good", "a dog", "bad bad bad"]),
    ("paris", ["is a city", "is on the mat", "is a good city"]),
    ("a dog", ["is a bad dog", "a good dog on the mat", "cat"]),
] * 3
RIGHT = [1, 0, 2, 1] * 3


@pytest.fixture
def chooser(preprocessor):
    keras.utils.set_random_seed(31)
    config = BackboneConfig(
        vocabulary_size=31, num_layers=1, hidden_dim=20, num_heads=4, intermediate_dim=37,
        max_sequence_length=24, initializer_range=0.3, dropout=0.0, attention_dropout=0.0,
    )  # fmt: skip
    return MultipleChoice.from_backbone(Backbone(config), preprocessor, dropout=0.0)


def as_dataset():
    texts, choices = zip(*ROWS, strict=True)
    columns = {"text": list(texts), "choices": list(map(list, choices))}
    return tf.data.Dataset.from_tensor_slices((columns, RIGHT))


@pytest.mark.long
def test_each_choice_is_read_with_its_text(chooser):
    features = chooser.preprocessor([(text, c) for text, choices in ROWS for c in choices])
    expected = chooser.network(features).numpy().reshape(-1, 3)
    np.testing.assert_allclose(chooser.predict(ROWS, verbose=0), expected, atol=1e-5)
    grouped = {key: tf.reshape(rows, [12, 3, -1]) for key, rows in features.items()}
    np.testing.assert_allclose(chooser(grouped), expected, atol=1e-5)
    np.testing.assert_allclose(chooser.predict(grouped, verbose=0), expected, atol=1e-5)
    np.testing.assert_allclose(chooser.predict(as_dataset(), verbose=0), expected, atol=1e-5)
    texts, choices = zip(*ROWS, strict=True)
    columns = {"text": list(texts), "choices": list(choices)}
    np.testing.assert_allclose(chooser.predict(columns, verbose=0), expected, atol=1e-5)


def test_it_learns_and_chooses(chooser):
    chooser.compile(keras.optimizers.Adam(0.01))
    history = chooser.fit(ROWS, RIGHT, epochs=15, batch_size=4, verbose=0)
    assert history.history["accuracy"][-1] == 1.0
    told = chooser.choose(ROWS[:4])
    assert [one.choice for one in told] == RIGHT[:4]
    assert [one.text for one in told] == ["is good", "good", "is a good city",
                                          "a good dog on the mat"]  # fmt: skip
    assert told[0].probability == told[0].probabilities[1]
    assert sum(told[0].probabilities) == pytest.approx(1.0)


@pytest.mark.slow
def test_datasets_batches_and_lists_are_evaluated_alike(chooser):
    expected = chooser.evaluate(ROWS, RIGHT, batch_size=5, verbose=0)
    logits = chooser.predict(ROWS, verbose=0).astype(np.float64)
    losses = np.log(np.exp(logits).sum(axis=1)) - logits[np.arange(12), RIGHT]
    assert expected[0] == pytest.approx(losses.mean(), abs=1e-5)
    np.testing.assert_allclose(chooser.evaluate(as_dataset(), verbose=0), expected, atol=1e-5)
    history = chooser.fit(as_dataset().batch(4), verbose=0, validation_data=(ROWS, RIGHT))
    assert {"val_loss", "val_accuracy"} <= set(history.history)
    before = chooser.test_on_batch(ROWS, RIGHT)[0]
    for _ in range(3):
        chooser.train_on_batch(ROWS, RIGHT)
    assert chooser.test_on_batch(ROWS, RIGHT)[0] < before


@pytest.mark.long
def test_the_graph_answers_as_predict(chooser):
    texts, choices = (tf.constant(column) for column in zip(*ROWS, strict=True))
    specs = [tf.TensorSpec([None], "string"), tf.TensorSpec([None, None], "string")]
    answers = tf.function(chooser.respond, specs)(texts, choices)
    logits = chooser.predict(ROWS, verbose=0)
    assert answers["choice"].numpy().tolist() == logits.argmax(axis=1).tolist()
    expected = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    np.testing.assert_allclose(answers["probabilities"], expected, atol=1e-5)
    long = chooser.respond(tf.constant(["a", "a"]), [["b", "good " * 40], ["b", "c"]])
    assert long["truncated"].numpy().tolist() == [1, 0]


@pytest.mark.long
def test_presets_and_keras_files_and_transformers_form_bring_it_back(chooser, tmp_path):
    expected = chooser.predict(ROWS, verbose=0)
    chooser.save_to_preset(tmp_path / "ours")
    export_checkpoint(tmp_path / "ours", tmp_path / "theirs", format="hf_bert")
    for name in ("ours", "theirs"):
        again = MultipleChoice.from_preset(tmp_path / name)
        np.testing.assert_allclose(again.predict(ROWS, verbose=0), expected, atol=1e-6)
    chooser.save(tmp_path / "whole.keras")
    again = keras.models.load_model(tmp_path / "whole.keras")
    np.testing.assert_allclose(again.predict(ROWS, verbose=0), expected, atol=1e-6)


@pytest.mark.parametrize(
    ("x", "y", "message"),
    [
        ([("a", ["b", "c"]), ("a", ["b"])], [0, 0], "row 1 has 1 choices; expected 2, like row 0"),
        ([("a", ["b"])], [0], "row 0 has 1 choices; expected at least 2"),
        ([("a", "bc")], [0], r"row 0 should be a tuple \(text, \[choices\]\)"),
        ([("a", ["b", None])], [0], "row 0 should be of strings; got None"),
        ([("a", ["b", "c"])], [2], r"label 0 should be a whole number in \[0, 1\]; got 2"),
        ([("a", ["b", "c"])], [0, 1], "as many labels as groups of texts; got 2 and 1"),
        ({"text": ["a"], "choice": [["b", "c"]]}, [0], "keys `text` and `choices`"),
        ([], [], "at least one text with choices"),
    ],
)
def test_wrong_rows_are_named(chooser, x, y, message):
    with pytest.raises(ValueError, match=message):
        chooser.fit(x, y, verbose=0)


def test_a_checkpoint_without_the_head_says_what_to_do():
    with pytest.raises(ValueError, match="Pass new_head=True"):
        MultipleChoice.from_preset("bert_toy")
