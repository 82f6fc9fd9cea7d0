"""Words to tags and texts to entities: training, windows, answers, and what is refused."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from bertzoo.models.backbone import Backbone
from bertzoo.tasks.token_classifier import TokenClassifier
from bertzoo.tasks.token_labels import TokenAccuracy
from tests.tasks.conftest import CONFIG

LABELS = ["O", "B-LOC", "I-LOC", "B-PET", "I-PET"]
ALLOWED_TEXT_OPS = {
    "FastBertNormalize",
    "FastWordpieceTokenizeWithOffsets",
    "RegexSplitWithOffsets",
    "TFText>ByteSplitByOffsets",
}
WORDS = [["the", "cats", "sat"], ["paris", "city", "is", "great"], [], ["a", "dog", "on", "paris"]]
TAGS = [
    ["O", "B-PET", "O"],
    ["B-LOC", "I-LOC", "O", "O"],
    [],
    ["O", "B-PET", "O", "B-LOC"],
]
LONG = ["the", "cats", "sat", "on", "paris", "city", "."] * 8  # 64 tokens in rows of 24


def new_tagger(preprocessor, labels=LABELS):
    keras.utils.set_random_seed(3)
    return TokenClassifier.from_backbone(Backbone(CONFIG), preprocessor, labels=tuple(labels))


@pytest.fixture(scope="module")
def tagger(preprocessor):
    """A tagger that no test may change."""
    return new_tagger(preprocessor)


def rows_of(tagger, x, y=None):
    """The rows of training data: token ids, and the label of each."""
    data, _, _ = tagger._training_data(x, y, None, 1000)
    features, labels = next(iter(data))
    return features["token_ids"].numpy(), labels.numpy()


def test_a_label_stands_on_the_first_piece_of_its_word(tagger):
    ids, labels = rows_of(tagger, WORDS, TAGS)
    spelled = [[tagger.tokenizer.vocabulary[i] for i in row if i] for row in ids]
    assert spelled[0] == ["[CLS]", "the", "cat", "##s", "sat", "[SEP]"]
    assert labels[0].tolist()[:6] == [-1, 0, 3, -1, 0, -1]
    assert labels[1].tolist()[:6] == [-1, 1, 2, 0, 0, -1]
    assert set(labels[2].tolist()) == {-1}
    assert set(labels[0].tolist()[6:]) == {-1}


def test_entities_of_raw_texts_are_the_tags_of_their_words(tagger):
    texts = ["The cats sat", "Paris  city is great", "", "a DOG on paris"]
    entities = [
        [(4, 8, "PET")],
        [{"start": 0, "end": 11, "label": "LOC"}],
        [],
        [(9, 14, "LOC"), (2, 5, "PET")],
    ]
    for of_texts, of_words in zip(
        rows_of(tagger, texts, entities), rows_of(tagger, WORDS, TAGS), strict=True
    ):
        np.testing.assert_array_equal(of_texts, of_words)


@pytest.mark.parametrize(
    ("labels", "expected"),
    [
        (["O", "I-LOC", "B-LOC"], [2, 1, 0, 2]),
        (["O", "I-LOC"], [1, 1, 0, 1]),
        (["LOC", "O"], [0, 0, 1, 0]),
        (["O", "B-LOC", "I-LOC", "E-LOC", "S-LOC"], [1, 3, 0, 4]),
        (["O", "B-LOC", "I-LOC", "L-LOC", "U-LOC"], [1, 3, 0, 4]),
    ],
)
def test_entities_are_spelled_in_the_scheme_of_the_labels(preprocessor, labels, expected):
    tagger = new_tagger(preprocessor, labels)
    _, found = rows_of(tagger, ["paris city on paris"], [[(0, 10, "LOC"), (14, 19, "LOC")]])
    assert found[0].tolist()[1:5] == expected


def test_a_long_text_trains_all_its_words_by_windows(tagger):
    tags = ["O", "B-PET", "O", "O", "B-LOC", "I-LOC", "O"] * 8
    ids, labels = rows_of(tagger, [LONG], [tags])
    windows, _ = tagger.preprocessor.word_windows(tf.ragged.constant([LONG]))
    assert len(ids) == len(windows.text_index) > 3
    first = windows.first_piece.numpy() > 0
    expected = np.array(tags)[windows.word_index.numpy()[first]]
    assert [LABELS[label] for label in labels[first]] == expected.tolist()
    assert set(windows.word_index.numpy()[first]) == set(range(len(LONG)))
    assert set(labels[~first]) == {-1}


def test_loss_and_accuracy_are_of_labelled_tokens_alone(tagger):
    loss, accuracy = tagger.evaluate(WORDS, TAGS, verbose=0)
    ids, labels = rows_of(tagger, WORDS, TAGS)
    mask = (ids > 0).astype(np.int32)
    logits = tagger.predict({"token_ids": ids, "padding_mask": mask}, verbose=0)
    powers = np.exp(logits)
    probabilities = powers / powers.sum(axis=-1, keepdims=True)
    kept = labels >= 0
    chosen = probabilities[kept][range(kept.sum()), labels[kept]]
    np.testing.assert_allclose(loss, -np.log(chosen).mean(), rtol=1e-4)
    np.testing.assert_allclose(accuracy, (logits.argmax(-1) == labels)[kept].mean(), rtol=1e-6)
    labels = np.where(kept, labels, -100)  # as torch has it
    again = tagger.evaluate({"token_ids": ids, "padding_mask": mask}, labels, verbose=0)
    np.testing.assert_allclose(again, [loss, accuracy], rtol=1e-4)


def test_sample_weights_weigh_rows(tagger):
    metric = TokenAccuracy()
    logits = np.eye(3, dtype=np.float32)[[[0, 1, 2], [0, 0, 0]]]
    metric.update_state(np.array([[0, 1, -1], [1, 0, -1]]), logits, np.array([3.0, 1.0]))
    np.testing.assert_allclose(float(metric.result()), (3 + 3 + 1) / (3 + 3 + 1 + 1))
    weighed = tagger.evaluate(WORDS, TAGS, sample_weight=[0, 2.0, 1.0, 0], verbose=0)
    one, _ = tagger.evaluate(WORDS[1:2], TAGS[1:2], verbose=0)
    total = sum(map(len, WORDS))
    np.testing.assert_allclose(weighed[0], one * 2 * len(WORDS[1]) / total, rtol=1e-4)


def test_it_learns_tags_and_finds_their_entities(preprocessor):
    tagger = new_tagger(preprocessor)
    tagger.compile(keras.optimizers.Adam(0.01))
    history = tagger.fit(
        [*WORDS * 4, LONG], [*TAGS * 4, ["O", "B-PET", "O", "O", "B-LOC", "I-LOC", "O"] * 8],
        epochs=25, batch_size=8, verbose=0,
    )  # fmt: skip
    assert history.history["accuracy"][-1] > 0.98
    assert tagger.tag(WORDS) == TAGS
    found = tagger.entities("The cats sat  on Paris city. " * 4)
    assert [(e.text, e.label) for e in found] == [("cats", "PET"), ("Paris city", "LOC")] * 4
    text = "The cats sat  on Paris city. " * 4
    assert all(text[e.start : e.end] == e.text for e in found)
    scores = tagger.score(WORDS, TAGS)
    assert (scores.f1, scores.accuracy, scores.support) == (1.0, 1.0, 4)
    assert tagger.score(["The cats sat"], [[(4, 8, "PET")]]).f1 == 1.0
    assert tagger.score(["The cats sat"], [[(4, 8, "LOC")]]).f1 == 0.0


def test_words_are_answered_as_each_row_alone(tagger):
    together = tagger.predict([*WORDS, LONG], batch_size=3)
    assert [part.shape for part in together] == [(3, 5), (4, 5), (0, 5), (4, 5), (56, 5)]
    for row, words in enumerate(WORDS):
        if not words:
            continue
        ids, _ = rows_of(tagger, [words], [["O"] * len(words)])
        logits = tagger.predict({"token_ids": ids, "padding_mask": (ids > 0) * 1}, verbose=0)
        pieces = [tagger.tokenizer.vocabulary[i] for i in ids[0]]
        first = [i for i, p in enumerate(pieces) if p[0] not in "[#"]
        powers = np.exp(logits[0, first])
        expected = powers / powers.sum(axis=-1, keepdims=True)
        np.testing.assert_allclose(together[row], expected, rtol=1e-4, atol=1e-6)


@pytest.mark.long
def test_a_server_finds_what_python_finds(tagger):
    texts = ["The cats sat  on Paris city. " * 4, "", "dog", "東 paris\u200b é"]
    respond = tf.function(tagger.respond, [tf.TensorSpec([None], "string")])
    got = {key: value.numpy() for key, value in respond(tf.constant(texts)).items()}
    for row, found in enumerate(tagger.entities(texts)):
        assert got["entity_count"][row] == len(found)
        for place, entity in enumerate(found):
            for name in ("text", "label"):
                assert got[f"entity_{name}"][row, place].decode() == getattr(entity, name)
            assert got["entity_start"][row, place] == entity.start
            assert got["entity_end"][row, place] == entity.end
            np.testing.assert_allclose(got["entity_score"][row, place], entity.score, rtol=1e-4)
    assert sum(got["entity_count"]) > 3
    graph = respond.get_concrete_function().graph.as_graph_def()
    used = {node.op for node in graph.node}
    used |= {node.op for function in graph.library.function for node in function.node_def}
    assert used - set(dir(tf.raw_ops)) == ALLOWED_TEXT_OPS
    assert not used & {"PyFunc", "EagerPyFunc", "MutableHashTableV2"}


def test_presets_and_keras_files_bring_it_back(tagger, tmp_path):
    tagger.save_to_preset(tmp_path / "preset")
    again = TokenClassifier.from_preset(tmp_path / "preset")
    assert again.labels == tuple(LABELS)
    assert again.entities(["cats on paris"]) == tagger.entities(["cats on paris"])
    tagger.save(tmp_path / "tagger.keras")
    loaded = keras.models.load_model(tmp_path / "tagger.keras")
    assert loaded.tag(WORDS) == tagger.tag(WORDS)
    np.testing.assert_allclose(
        loaded.evaluate(WORDS, TAGS, verbose=0), tagger.evaluate(WORDS, TAGS, verbose=0), rtol=1e-5
    )
    new = TokenClassifier.from_preset(tmp_path / "preset", labels=["O", "X-Y"])
    assert new.predict([["cats"]])[0].shape == (1, 2)


def test_validation_takes_the_last_rows(tagger, preprocessor):
    same = new_tagger(preprocessor)
    same.compile(keras.optimizers.SGD(0.0))  # so that it stays what `tagger` is
    history = same.fit(WORDS, TAGS, validation_split=0.5, verbose=0).history
    expected = tagger.evaluate(WORDS[2:], TAGS[2:], verbose=0)
    np.testing.assert_allclose(history["val_loss"] + history["val_accuracy"], expected, rtol=1e-4)
    on_batch = tagger.test_on_batch(WORDS[2:], TAGS[2:])
    np.testing.assert_allclose(on_batch[1], expected[1], rtol=1e-4)


@pytest.mark.parametrize(
    ("x", "y", "message"),
    [
        (WORDS, TAGS[:3], "expected as many lists of labels as rows; got 3 and 4"),
        ([["a", "dog"]], [["O"]], "row 0 has 2 words and 1 tags"),
        ([["a"], ["dog"]], [["O"], ["B-DOG"]],
         r"row 1, word 0 \('dog'\): the tag should be one of O, .*; got 'B-DOG'. did you mean"),
        ([["a"]], [[7]], r"row 0, word 0 \('a'\): .* a number from 0 to 4; got 7"),
        ([["a"], "dog"], None, "row 1 should be a list of words like row 0; got 'dog'"),
        (["a", ["dog"]], None, r"text 1 should be a string; got \['dog'\]"),
        (["a cat"], [[(0, 1, "LOC"), (0, 5, "LOC")]], "row 0: the entities .* overlap"),
        (["a", "a cat"], [[], [(2, 9, "LOC")]],
         "row 1: the entity from 2 to 9 does not lie in its text of 5 characters"),
        (["a cat"], [[(2, 2, "LOC")]], "does not lie in its text"),
        (["a cat"], [[(2, 5, "CAT")]], "row 0: 'CAT' is no type .* which are LOC, PET"),
        (["a cat"], [[("LOC", 2, 5)]], r"an entity is \(start, end, label\)"),
        (["a cat"], [[(1, 2, "LOC")]], "row 0: no word stands in the entity from 1 to 2"),
        (["a", "catdog"], [[], [(0, 3, "PET"), (3, 6, "PET")]],
         r"row 1: the entities \(0, 3, 'PET'\) and \(3, 6, 'PET'\) share a word"),
        ([], [], "expected at least one example; got none"),
        ({"text": ["a"], "tokens": [["a"]]}, [[]], "one key `text`, `words` or `tokens`"),
    ],
)  # fmt: skip
def test_bad_input_is_named_with_its_row(tagger, x, y, message):
    with pytest.raises(ValueError, match=message):
        tagger.fit(x, y, verbose=0)


def test_class_weights_and_datasets_of_strings_are_refused(tagger):
    with pytest.raises(ValueError, match="class_weight is not a setting of TokenClassifier"):
        tagger.fit(WORDS, TAGS, class_weight={0: 1.0})
    dataset = tf.data.Dataset.from_tensor_slices((["a"], ["O"]))
    for call in (tagger.fit, tagger.evaluate, tagger.predict):
        with pytest.raises(ValueError, match="a text may become several rows"):
            call(dataset)


def test_without_names_labels_come_by_number(preprocessor):
    tagger = TokenClassifier.from_backbone(Backbone(CONFIG), preprocessor, num_outputs=3)
    _, labels = rows_of(tagger, WORDS, [[1] * len(row) for row in WORDS])
    assert set(labels.ravel()) == {-1, 1}
    assert {tag for row in tagger.tag(WORDS) for tag in row} <= {"0", "1", "2"}
    with pytest.raises(ValueError, match="have no names"):
        tagger.fit(WORDS, TAGS)
