"""New words as tokens: where they go, how they begin, and that nothing else changes."""

import keras
import numpy as np
import pytest

import bertzoo
from bertzoo.config import BackboneConfig
from bertzoo.models.loading import weights_of

SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
UNUSED = ["[unused0]", "[unused1]", "[unused12]"]
OSTEOTOMY = ["o", "##s", "##te", "##o", "##tomy"]
WORDS = [*SPECIAL, *UNUSED, "a", "cat", "of", "the", *OSTEOTOMY, "kid", "##ney", "."]
CONFIG = BackboneConfig(
    vocabulary_size=len(WORDS),
    num_layers=1,
    hidden_dim=20,
    num_heads=4,
    intermediate_dim=37,
    max_sequence_length=16,
    initializer_range=0.3,
)
TEXTS = ["the cat of a kidney.", "a", ""]
TABLE = "embeddings/token/embeddings"


def new_task(cls=bertzoo.TextEmbedder, config=CONFIG, tokenizer=None, **head):
    keras.utils.set_random_seed(8)
    tokenizer = tokenizer or bertzoo.WordPieceTokenizer(WORDS)
    preprocessor = bertzoo.Preprocessor(tokenizer, sequence_length=16)
    task = cls.from_backbone(bertzoo.Backbone(config), preprocessor, **head)
    generator = np.random.default_rng(9)
    for path, weight in weights_of(task.network).items():
        if path.endswith("/bias"):
            weight.assign(generator.standard_normal(weight.shape))
    return task


def values(task):
    return {path: np.array(weight) for path, weight in weights_of(task.network).items()}


def test_a_new_row_is_the_mean_of_its_pieces():
    task = new_task()
    new = bertzoo.adapt.add_tokens(task, ["osteotomy", "kidney"])
    assert new.tokenizer.vocabulary == [*WORDS, "osteotomy", "kidney"]
    assert new.tokenizer(["Osteotomy of the kidney."]).to_list() == [[20, 10, 11, 21, 19]]
    rows = values(task)[TABLE]
    expected = [np.mean([rows[WORDS.index(piece)] for piece in OSTEOTOMY], axis=0)]
    expected += [(rows[WORDS.index("kid")] + rows[WORDS.index("##ney")]) / 2]
    np.testing.assert_allclose(values(new)[TABLE][20:], expected, rtol=1e-6)


def test_old_tokens_give_the_same_bits():
    task = new_task()
    before = task.predict(TEXTS)
    new = bertzoo.adapt.add_tokens(task, ["osteotomy"])
    np.testing.assert_array_equal(new.predict(TEXTS), before)
    np.testing.assert_array_equal(task.predict(TEXTS), before)  # the old task is as it was
    after = values(new)
    for path, array in values(task).items():
        np.testing.assert_array_equal(after[path][:20] if path == TABLE else after[path], array)


@pytest.mark.parametrize("tie_embeddings", [True, False])
def test_a_masked_lm_gets_a_bias_and_a_decoder_for_the_new_token(tie_embeddings):
    task = new_task(bertzoo.MaskedLM, tie_embeddings=tie_embeddings)
    new = bertzoo.adapt.add_tokens(task, ["osteotomy"])
    pieces = [WORDS.index(piece) for piece in OSTEOTOMY]
    paths = ["masked_lm/bias"] + ["masked_lm/decoder/embeddings"] * (not tie_embeddings)
    for path in paths:
        old, after = values(task)[path], values(new)[path]
        np.testing.assert_array_equal(after[:20], old)
        np.testing.assert_allclose(after[20], old[pieces].mean(axis=0), rtol=1e-5, atol=1e-7)
    ids = {"token_ids": np.array([[2, 9, 4, 3]]), "mask_positions": np.array([[2]])}
    np.testing.assert_array_equal(np.asarray(new(ids))[..., :20], np.asarray(task(ids)))
    # The mean of rows and biases makes the mean of logits.
    logits = np.asarray(new(ids))[0, 0]
    assert logits[20] == pytest.approx(logits[pieces].mean(), abs=1e-4)
    assert {fill.token for fill in new.fill("a [MASK]", top_k=21)} == {*WORDS, "osteotomy"}


def test_rows_beyond_the_vocabulary_are_taken_first():
    task = new_task(config=CONFIG.replace(vocabulary_size=21))
    new = bertzoo.adapt.add_tokens(task, ["kidney", "osteotomy"])
    assert new.backbone.config.vocabulary_size == 22
    one = bertzoo.adapt.add_tokens(task, ["kidney"])
    assert one.backbone.config.vocabulary_size == 21
    rows = values(task)[TABLE]
    expected = (rows[WORDS.index("kid")] + rows[WORDS.index("##ney")]) / 2
    np.testing.assert_allclose(values(one)[TABLE][20], expected, rtol=1e-6)


def test_words_are_cleaned_once_and_tokens_left_out():
    new = bertzoo.adapt.add_tokens(new_task(), ["Kidney", "kidney", "KÍDNEY", "cat", "日"])
    assert new.tokenizer.vocabulary[20:] == ["kidney", "日"]
    cased = bertzoo.WordPieceTokenizer(WORDS, lowercase=False)
    new = bertzoo.adapt.add_tokens(new_task(tokenizer=cased), ["Kidney", "kidney"])
    assert new.tokenizer.vocabulary[20:] == ["Kidney", "kidney"]


def test_a_word_that_nothing_spells_begins_as_the_unknown_token():
    task = new_task()
    new = bertzoo.adapt.add_tokens(task, ["日"])
    np.testing.assert_array_equal(values(new)[TABLE][20], values(task)[TABLE][1])


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["kid", "covid-19"], "'covid-19' is several words"),
        (["heart attack"], "'heart attack' is several words"),
        (["##itis"], "several words"),
        ([" \t"], "is nothing"),
        (["cat", "the"], "tokens of the vocabulary already"),
        ("kidney", "a list of words; got the string 'kidney'"),
        ([], "got none"),
    ],
)
@pytest.mark.parametrize("function", ["add_tokens", "replace_unused_tokens"])
def test_words_that_can_be_no_token_raise(function, words, message):
    with pytest.raises(ValueError, match=message):
        getattr(bertzoo.adapt, function)(new_task(), words)


def test_unused_tokens_are_replaced_in_their_order():
    task = new_task(bertzoo.MaskedLM)
    new = bertzoo.adapt.replace_unused_tokens(task, ["osteotomy", "kidney"])
    assert new.tokenizer.vocabulary[5:8] == ["osteotomy", "kidney", "[unused12]"]
    assert new.backbone.config == task.backbone.config
    before, after = values(task), values(new)
    pieces = [WORDS.index(piece) for piece in OSTEOTOMY]
    for path in (TABLE, "masked_lm/bias"):
        mean = before[path][pieces].mean(axis=0)
        np.testing.assert_allclose(after[path][5], mean, rtol=1e-5, atol=1e-7)
        kept = [index for index in range(20) if index not in (5, 6)]
        np.testing.assert_array_equal(after[path][kept], before[path][kept])
    ids = {"token_ids": np.array([[2, 9, 4, 3]]), "mask_positions": np.array([[2]])}
    logits = [np.asarray(model(ids))[0, 0, kept] for model in (task, new)]
    np.testing.assert_array_equal(*logits)


def test_more_words_than_unused_tokens_raise():
    words = ["osteotomy", "kidney", "osteo", "kids"]
    with pytest.raises(ValueError, match="3 unused tokens for 4 new words"):
        bertzoo.adapt.replace_unused_tokens(new_task(), words)


@pytest.mark.long
def test_labels_padding_and_origin_are_kept_and_a_preset_can_be_written(tmp_path):
    task = new_task(bertzoo.TextClassifier, labels=["bad", "good"])
    new = bertzoo.adapt.add_tokens(task, ["kidney"])
    new.save_to_preset(tmp_path / "preset")
    assert "1 words were added" in (tmp_path / "preset" / "README.md").read_text()
    loaded = bertzoo.TextClassifier.from_preset(tmp_path / "preset")
    assert loaded.labels == ("bad", "good")
    assert loaded.preprocessor.sequence_length == 16
    assert loaded.tokenizer.token_to_id("kidney") == 20
    np.testing.assert_array_equal(loaded.predict(["a kidney"]), new.predict(["a kidney"]))


def test_adapters_and_int8_kernels_are_in_the_way():
    with_adapter, quantized = new_task(), new_task()
    with_adapter.enable_lora(2)
    with pytest.raises(ValueError, match=r"merge_lora\(\) first"):
        bertzoo.adapt.add_tokens(with_adapter, ["kidney"])
    quantized.quantize("int8")
    with pytest.raises(ValueError, match="quantize the result"):
        bertzoo.adapt.extend_positions(quantized, 32)


def test_a_task_without_a_tokenizer_has_no_vocabulary():
    task = bertzoo.TextEmbedder.from_backbone(bertzoo.Backbone(CONFIG))
    with pytest.raises(ValueError, match="no tokenizer"):
        bertzoo.adapt.add_tokens(task, ["kidney"])
    longer = bertzoo.adapt.extend_positions(task, 20)  # needs none
    assert longer.preprocessor is None
