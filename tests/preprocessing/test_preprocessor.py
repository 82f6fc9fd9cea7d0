"""The preprocessor in each place that Keras puts a layer."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from bertzoo.preprocessing.preprocessor import Preprocessor
from bertzoo.tokenizers.wordpiece import WordPieceTokenizer

TEXTS = ["the cat sat on the mat.", "", "a dog"]


def as_lists(features):
    return {key: value.numpy().tolist() for key, value in features.items()}


def test_a_pair_is_packed_with_segments(preprocessor, spell):
    features = as_lists(preprocessor([("a cat", "the dog.")]))
    assert features["token_ids"][0][:8] == spell("[CLS] a cat [SEP] the dog . [SEP]")
    assert features["segment_ids"][0] == [0] * 4 + [1] * 4
    assert features["padding_mask"][0] == [1] * 8


def test_a_tuple_of_two_tensors_is_a_pair_and_never_labels(preprocessor):
    pair = (tf.constant(["a cat"]), tf.constant(["the dog."]))
    features = preprocessor(pair)
    assert isinstance(features, dict)
    assert as_lists(features) == as_lists(
        preprocessor({"text": ["a cat"], "text_pair": ["the dog."]})
    )


def test_truncation_leaves_the_end_token(make_preprocessor, spell):
    features = make_preprocessor(sequence_length=5)(["a b c d e f g"])
    assert features["token_ids"].numpy().tolist() == [spell("[CLS] a b c [SEP]")]


@pytest.mark.parametrize(("padding", "length"), [("fixed", 13), ("longest", 9), ("bucketed", 13)])
def test_padding_decides_the_length(make_preprocessor, padding, length):
    preprocessor = make_preprocessor(sequence_length=13, padding=padding)
    assert preprocessor(TEXTS)["token_ids"].shape == (3, length)


def test_short_batches_get_a_short_bucket(make_preprocessor):
    preprocessor = make_preprocessor(sequence_length=64)
    assert preprocessor(["a"])["token_ids"].shape == (1, 8)
    assert preprocessor(["a b c d e f g"])["token_ids"].shape == (1, 16)


def test_special_tokens_in_text_are_ordinary_text(preprocessor, tokenizer):
    ids = preprocessor(["a [MASK] [SEP]"])["token_ids"].numpy()[0].tolist()
    assert tokenizer.mask_id not in ids
    assert ids.count(tokenizer.end_id) == 1


def test_dataset_map_gives_what_a_call_gives(preprocessor):
    whole = preprocessor(TEXTS)
    dataset = tf.data.Dataset.from_tensor_slices(TEXTS).batch(3).map(preprocessor)
    assert as_lists(next(iter(dataset))) == as_lists(whole)


def test_dataset_map_on_single_texts_can_be_batched_later(make_preprocessor):
    preprocessor = make_preprocessor(sequence_length=13, padding="fixed")
    dataset = tf.data.Dataset.from_tensor_slices(TEXTS).map(preprocessor).batch(3)
    assert as_lists(next(iter(dataset))) == as_lists(preprocessor(TEXTS))


def test_dataset_map_keeps_labels_and_weights(preprocessor):
    rows = (TEXTS, [0, 2, 1], [0.5, 1.0, 2.0])
    dataset = tf.data.Dataset.from_tensor_slices(rows).batch(3).map(preprocessor)
    features, labels, weights = next(iter(dataset))
    assert as_lists(features) == as_lists(preprocessor(TEXTS))
    assert labels.numpy().tolist() == [0, 2, 1]
    assert weights.numpy().tolist() == [0.5, 1.0, 2.0]


def test_dataset_map_refuses_to_take_a_second_text_for_a_label(preprocessor):
    dataset = tf.data.Dataset.from_tensor_slices((["a"], ["b"])).batch(1)
    with pytest.raises(ValueError, match="text_pair"):
        dataset.map(preprocessor)


def test_a_keras_input_of_strings_becomes_a_model(preprocessor):
    text = keras.Input((), dtype="string")
    features = preprocessor(text)
    assert features["token_ids"].shape == (None, None)
    assert features["token_ids"].dtype == "int32"
    model = keras.Model(text, features)
    assert as_lists(model(tf.constant(TEXTS))) == as_lists(preprocessor(TEXTS))


def test_two_keras_inputs_become_pairs(preprocessor):
    inputs = [keras.Input((), dtype="string"), keras.Input((), dtype="string")]
    model = keras.Model(inputs, preprocessor(inputs))
    columns = [tf.constant(["a cat", "b"]), tf.constant(["the dog", ""])]
    assert as_lists(model(columns)) == as_lists(preprocessor(tuple(columns)))


def test_config_holds_the_vocabulary_and_rebuilds_the_layer(tokenizer):
    preprocessor = Preprocessor(tokenizer, 17, padding="longest", num_segments=1, name="mine")
    again = Preprocessor.from_config(preprocessor.get_config())
    assert again.get_config() == preprocessor.get_config()
    assert again.name == "mine"
    assert as_lists(again(TEXTS)) == as_lists(preprocessor(TEXTS))


def test_config_keeps_how_the_tokenizer_reads_text():
    words = "[PAD] [UNK] <s> </s> <m> Cat cat e é"
    tokenizer = WordPieceTokenizer(
        words.split(),
        lowercase=False,
        strip_accents=True,
        special_tokens_in_text=True,
        start_token="<s>",
        end_token="</s>",
        mask_token="<m>",
    )
    preprocessor = Preprocessor(tokenizer, 12)
    again = Preprocessor.from_config(preprocessor.get_config())
    assert as_lists(again(["Cat é <m> cat"])) == as_lists(preprocessor(["Cat é <m> cat"]))
    assert tokenizer.mask_id in again(["<m>"])["token_ids"].numpy()


def test_a_keras_file_needs_no_vocabulary_file(preprocessor, tmp_path):
    text = keras.Input((), dtype="string")
    model = keras.Model(text, preprocessor(text))
    model.save(tmp_path / "preprocessor.keras")
    loaded = keras.saving.load_model(tmp_path / "preprocessor.keras")
    assert as_lists(loaded(tf.constant(TEXTS))) == as_lists(preprocessor(TEXTS))


def test_masks_are_found_where_they_stand(preprocessor, spell):
    features = as_lists(preprocessor.preprocess_masked(["[MASK] a [MASK]", "b", "cat[MASK]s"]))
    assert features["token_ids"][0][:5] == spell("[CLS] [MASK] a [MASK] [SEP]")
    assert features["token_ids"][1][:3] == spell("[CLS] b [SEP]")
    assert features["token_ids"][2][:5] == [*spell("[CLS] cat [MASK]"), 1, spell("[SEP]")[0]]
    assert features["mask_positions"] == [[1, 3], [0, 0], [2, 0]]
    assert features["mask_weights"] == [[1, 1], [0, 0], [1, 0]]


def test_only_the_mask_token_is_read_in_masked_texts(preprocessor, tokenizer):
    ids = preprocessor.preprocess_masked(["a [SEP] [MASK] [CLS]"])["token_ids"].numpy()[0].tolist()
    assert ids.count(tokenizer.mask_id) == 1
    assert ids.count(tokenizer.end_id) == 1
    assert ids.count(tokenizer.start_id) == 1


def test_masked_texts_without_masks_are_packed_like_others(preprocessor):
    masked = as_lists(preprocessor.preprocess_masked(TEXTS))
    plain = as_lists(preprocessor(TEXTS))
    assert {key: masked[key] for key in plain} == plain


def test_a_mask_beyond_the_longest_row_is_cut_off(preprocessor):
    features = preprocessor.preprocess_masked(["[MASK] " + "a " * 20 + "[MASK]"])
    assert features["mask_positions"].numpy().tolist() == [[1]]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"padding": "short"}, "bucketed, longest, fixed"),
        ({"sequence_length": 2}, "3 special tokens"),
    ],
)
def test_wrong_arguments_raise(tokenizer, arguments, message):
    with pytest.raises(ValueError, match=message):
        Preprocessor(tokenizer, **arguments)


def test_numbers_are_refused(preprocessor):
    with pytest.raises(ValueError, match="int32"):
        preprocessor(tf.constant([1, 2]))
    with pytest.raises(ValueError, match="text 1 should be a string"):
        preprocessor(["a", 3])


def test_odd_strings_have_a_defined_row(preprocessor, spell):
    texts = ["", " \t\n", "\0", b"\xff\xfe", "�", "x" * 10_000]
    rows = preprocessor(texts)["token_ids"].numpy()
    for row in rows[:5]:
        assert row[:2].tolist() == spell("[CLS] [SEP]")
    assert rows[5, :3].tolist() == spell("[CLS] [UNK] [SEP]")


def test_a_batch_of_no_texts_has_no_rows(preprocessor):
    assert preprocessor([])["token_ids"].shape[0] == 0
    assert np.asarray(preprocessor(tf.constant([], "string"))["padding_mask"]).shape[0] == 0
