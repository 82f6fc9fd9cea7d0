"""`predict` on every form of texts: one network output a text, in the order of the input."""

import re

import keras
import numpy as np
import pytest
import tensorflow as tf

from bertzoo import checkpoints
from bertzoo.preprocessing import bucketing
from bertzoo.preprocessing.preprocessor import preprocessor_of_checkpoint


@pytest.fixture(scope="module")
def expected(embedder, texts):
    """The vectors of `texts`, each computed alone and unpadded."""
    rows = embedder.preprocessor.pack(tf.constant(texts))[0].to_list()
    return np.concatenate([embedder({"token_ids": np.array([row], np.int32)}) for row in rows])


@pytest.mark.parametrize(
    "form",
    [
        list,
        lambda texts: [text.encode() for text in texts],
        lambda texts: np.array(texts, dtype=object),
        np.array,
        tf.constant,
        lambda texts: {"text": texts},
        tf.data.Dataset.from_tensor_slices,
        lambda texts: tf.data.Dataset.from_tensor_slices(texts).batch(4),
        lambda texts: tf.data.Dataset.from_tensor_slices({"text": texts}).batch(4),
        lambda texts: tf.data.Dataset.from_tensor_slices((texts, range(len(texts)))).batch(4),
    ],
    ids=["list", "bytes", "objects", "array", "tensor", "dict", "dataset", "batched dataset",
         "dataset of dicts", "dataset with labels"],
)  # fmt: skip
def test_texts_in_any_form_give_vectors_in_their_order(embedder, texts, expected, form):
    vectors = embedder.predict(form(texts), verbose=0)
    assert isinstance(vectors, np.ndarray)
    assert vectors.dtype == np.float32
    np.testing.assert_allclose(vectors, expected, atol=1e-5)


@pytest.mark.parametrize("batch_size", [1, 2, 5, 100])
def test_batches_and_their_padding_do_not_change_results(embedder, texts, expected, batch_size):
    vectors = embedder.predict(texts * 3, batch_size=batch_size, verbose=0)
    np.testing.assert_allclose(vectors, np.concatenate([expected] * 3), atol=1e-5)


def test_packed_ids_give_what_their_texts_give(embedder, texts, expected):
    ids = {key: value.numpy() for key, value in embedder.preprocessor(texts).items()}
    np.testing.assert_allclose(embedder.predict(ids, verbose=0), expected, atol=1e-5)
    np.testing.assert_allclose(embedder.predict_on_batch(texts), expected, atol=1e-5)
    lists = {"token_ids": ids["token_ids"].tolist(), "padding_mask": ids["padding_mask"].tolist()}
    np.testing.assert_allclose(embedder.predict(lists, verbose=0), expected, atol=1e-5)


def test_many_windows_give_what_one_gives(embedder, texts, expected, monkeypatch):
    whole = bucketing.packed_windows
    monkeypatch.setattr(
        bucketing, "packed_windows", lambda chunks, preprocessor: whole(chunks, preprocessor, 20)
    )
    dataset = tf.data.Dataset.from_tensor_slices(texts).batch(2)
    np.testing.assert_allclose(embedder.predict(dataset, verbose=0), expected, atol=1e-5)


def test_pairs_come_as_tuples_columns_or_datasets(classifier, texts):
    other = texts[::-1]
    expected = classifier.predict(list(zip(texts, other, strict=True)), verbose=0)
    columns = {"text": texts, "text_pair": other}
    np.testing.assert_array_equal(classifier.predict((texts, other), verbose=0), expected)
    np.testing.assert_array_equal(classifier.predict(columns, verbose=0), expected)
    dataset = tf.data.Dataset.from_tensor_slices(columns)
    np.testing.assert_allclose(classifier.predict(dataset, verbose=0), expected, atol=1e-5)
    nested = tf.data.Dataset.from_tensor_slices(((texts, other), [0] * 6)).batch(4)
    np.testing.assert_allclose(classifier.predict(nested, verbose=0), expected, atol=1e-5)
    assert np.abs(expected - classifier.predict(texts, verbose=0)).max() > 1e-3


def test_a_dataset_of_two_strings_is_not_taken_for_pairs_or_labels(classifier):
    dataset = tf.data.Dataset.from_tensor_slices((["a"], ["good"]))
    with pytest.raises(ValueError, match="tuple of two strings"):
        classifier.predict(dataset)


@pytest.mark.parametrize(
    "nothing",
    [[], np.array([], dtype=object), tf.constant([], "string"), {"text": [], "text_pair": []}],
    ids=["list", "array", "tensor", "pairs"],
)
def test_no_texts_give_no_rows_of_the_right_width(embedder, nothing):
    vectors = embedder.predict(nothing)
    assert vectors.shape == (0, 20)
    assert vectors.dtype == np.float32


def test_an_empty_dataset_gives_no_rows(embedder):
    dataset = tf.data.Dataset.from_tensor_slices(["a"]).take(0)
    assert embedder.predict(dataset, verbose=0).shape == (0, 20)


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        ("one text", "put it in a list"),
        (["a", None], "text 1 should be a string; got None"),
        (["a", "b", float("nan")], "text 2 should be a string; got nan"),
        ([1, 2], "text 0 should be a string; got 1"),
        (np.zeros((3, 4)), r"\[3, 4\] of float64"),
        ({"tokens": [1]}, r"got \['tokens'\]"),
        ({"token_ids": [[2, 31]]}, "token_ids should be from 0 to 30; got 31 in row 0"),
        ({"token_ids": np.array([[2, 3], [2, -1]])}, "got -1 in row 1"),
    ],
)
def test_what_is_no_text_raises(embedder, bad, message):
    with pytest.raises(ValueError, match=message):
        embedder.predict(bad)


def test_progress_is_shown_when_there_are_several_batches(embedder, texts, capsys):
    embedder.predict(texts, batch_size=2)
    assert "/" in capsys.readouterr().out
    embedder.predict(texts, batch_size=2, verbose=0)
    assert capsys.readouterr().out == ""


def test_callbacks_see_the_batches(embedder, texts):
    seen = []
    callback = keras.callbacks.LambdaCallback()
    callback.on_predict_batch_end = lambda batch, logs=None: seen.append(len(logs["outputs"]))
    embedder.predict(texts, batch_size=4, callbacks=[callback], verbose=0)
    assert sum(seen) == len(texts)


def test_steps_stop_early(embedder, texts, expected):
    two = embedder.predict(texts, batch_size=2, steps=1, verbose=0)
    np.testing.assert_allclose(two, expected[:2], atol=1e-5)
    dataset = tf.data.Dataset.from_tensor_slices(texts).batch(2)
    np.testing.assert_allclose(
        embedder.predict(dataset, steps=2, verbose=0), expected[:4], atol=1e-5
    )


def test_the_network_is_traced_once_for_all_shapes(preprocessor, backbone):
    from bertzoo.tasks.text_embedder import TextEmbedder

    embedder = TextEmbedder.from_backbone(backbone, preprocessor)
    for texts in (["a"], ["a b c d e f g h"] * 3, ["a", "the cat sat on the mat " * 3] * 20):
        embedder.predict(texts, verbose=0)
    assert embedder.predict_function.experimental_get_tracing_count() == 1


def test_a_call_takes_ids_only(embedder):
    with pytest.raises(ValueError, match="dict of ids"):
        embedder(["a cat"])


@pytest.mark.parametrize(
    ("preset", "reason"),
    [
        ("bert_base_en_cased", "the files of bert_base_en_cased, .* are not here"),
        ("albert_base_v2_en_uncased", "the files of albert_base_v2_en_uncased, .* are not here"),
    ],
)
def test_a_preset_whose_text_cannot_be_read_says_why(preset, reason, monkeypatch, tmp_path):
    monkeypatch.setenv("BERTZOO_HOME", str(tmp_path))
    checkpoint = checkpoints.open_source(preset)
    preprocessor, why = preprocessor_of_checkpoint(checkpoint)
    assert preprocessor is None
    assert re.search(reason, why)


def test_without_a_tokenizer_only_strings_raise(backbone):
    from bertzoo.tasks.text_embedder import TextEmbedder

    embedder = TextEmbedder.from_backbone(backbone)
    assert embedder.tokenizer is None
    assert embedder.predict({"token_ids": np.array([[2, 7, 3]])}, verbose=0).shape == (1, 20)
    with pytest.raises(ValueError, match="without a preprocessor"):
        embedder.predict(["a cat"])
    with pytest.raises(ValueError, match="without a preprocessor"):
        embedder.predict(tf.data.Dataset.from_tensor_slices(["a cat"]))
