"""RoBERTa's form: `<s> a </s></s> b </s>`, truncation as Hugging Face's, masks spelled out."""

import itertools
import pathlib

import keras
import pytest
import tensorflow as tf

from bertzoo.preprocessing import packing
from bertzoo.preprocessing.preprocessor import Preprocessor
from bertzoo.tokenizers.byte_pair import BytePairTokenizer

FOLDER = pathlib.Path(__file__).parents[1] / "data" / "roberta-base-cut"
START, PAD, END, MASK = 0, 1, 2, 2260


@pytest.fixture(scope="module")
def tokenizer():
    return BytePairTokenizer(FOLDER / "vocab.json", FOLDER / "merges.txt")


@pytest.fixture(scope="module")
def preprocessor(tokenizer):
    return Preprocessor(tokenizer, sequence_length=12, padding="longest", num_segments=1)


def truncate_as_tokenizers_does(first, second, budget):
    """LongestFirst of the crate `tokenizers`, described: the shorter text keeps up to half of the
    budget (rounded down), the longer one the rest; equally long, the first is the shorter one."""
    if first + second <= budget:
        return first, second
    shorter = min(first, second, budget // 2)
    longer = budget - shorter
    return (shorter, longer) if first <= second else (longer, shorter)


def test_truncation_is_that_of_tokenizers_on_every_pair_of_lengths_up_to_12():
    pairs = list(itertools.product(range(13), repeat=2))
    columns = [tf.constant(column) for column in zip(*pairs, strict=True)]
    for budget in range(12):
        kept = packing.kept_lengths(*columns, budget, odd_token_to_longer=True)
        for (first, second), *got in zip(pairs, *(k.numpy().tolist() for k in kept), strict=True):
            assert tuple(got) == truncate_as_tokenizers_does(first, second, budget), (
                first, second, budget,
            )  # fmt: skip


def test_pairs_have_two_end_tokens_between_and_one_segment(preprocessor, tokenizer):
    features = preprocessor([("a b", "c"), ("", "c")])
    a, b, c = (tokenizer.token_to_id(token) for token in ("a", "Ġb", "c"))
    assert features["token_ids"].numpy().tolist() == [
        [START, a, b, END, END, c, END],
        [START, END, END, c, END, PAD, PAD],
    ]
    assert features["padding_mask"].numpy().tolist() == [[1] * 7, [1] * 5 + [0] * 2]
    assert not features["segment_ids"].numpy().any()


def test_long_pairs_lose_the_ends_of_the_longer_text(preprocessor, tokenizer):
    # 12 tokens, 4 of them special: 8 for both.
    features = preprocessor([("a" * 50, "b b"), ("x y z w v", "1 2 3 4 5 6")])
    rows = features["token_ids"].numpy().tolist()
    assert rows[0][-4:] == [END, *tokenizer("b b").numpy().tolist(), END]
    assert rows[1].count(END) == 3
    assert rows[1][1:5] == tokenizer("x y z w").numpy().tolist()


def test_no_text_gives_no_rows_and_an_empty_one_special_tokens(preprocessor):
    assert preprocessor(tf.constant([], tf.string))["token_ids"].shape[0] == 0
    assert preprocessor([""])["token_ids"].numpy().tolist() == [[START, END]]


def test_a_mask_takes_in_the_space_before_it(preprocessor, tokenizer):
    features = preprocessor.preprocess_masked(["the \n<mask> the<mask>", "<mask>", " <mask>."])
    the, space_the = tokenizer.token_to_id("the"), tokenizer.token_to_id("Ġthe")
    dot = tokenizer.token_to_id(".")
    assert features["token_ids"].numpy().tolist() == [
        [START, the, MASK, space_the, MASK, END],
        [START, MASK, END, PAD, PAD, PAD],
        [START, MASK, dot, END, PAD, PAD],
    ]
    assert features["mask_positions"].numpy().tolist() == [[2, 4], [1, 0], [1, 0]]
    assert features["mask_weights"].numpy().tolist() == [[1, 1], [1, 0], [1, 0]]


def test_a_mask_in_plain_texts_is_ordinary_text(preprocessor):
    assert MASK not in preprocessor(["the <mask>"])["token_ids"].numpy()


def test_the_layer_comes_back_from_its_config(tokenizer):
    layer = Preprocessor(tokenizer, sequence_length=12, num_segments=1)
    config = keras.saving.serialize_keras_object(layer)
    again = keras.saving.deserialize_keras_object(config)
    assert again.tokenizer.merges == tokenizer.merges
    texts = ["It's the <mask>.", " é"]
    assert again(texts)["token_ids"].numpy().tolist() == layer(texts)["token_ids"].numpy().tolist()


def test_it_runs_on_a_string_input_and_in_a_pipeline(preprocessor):
    texts = ["the sea", "it's"]
    expected = preprocessor(texts)["token_ids"].numpy().tolist()
    text = keras.Input((), dtype="string")
    model = keras.Model(text, preprocessor(text)["token_ids"])
    assert model(tf.constant(texts)).numpy().tolist() == expected
    dataset = tf.data.Dataset.from_tensor_slices(texts).batch(2).map(preprocessor)
    assert next(iter(dataset))["token_ids"].numpy().tolist() == expected
