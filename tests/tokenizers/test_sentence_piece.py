"""ALBERT's tokenizer: ids of Google's code, offsets, and what no text may do."""

import copy
import json
import pathlib
import pickle
import subprocess
import sys
import time

import keras
import pytest
import tensorflow as tf

from bertzoo.config import TokenizerConfig
from bertzoo.tokenizers.base import Tokenizer, tokenizer_class
from bertzoo.tokenizers.sentence_piece import SentencePieceTokenizer

DATA = pathlib.Path(__file__).parents[1] / "data" / "albert-tiny"
MODEL = DATA / "spiece.model"


@pytest.fixture(scope="module")
def tokenizer():
    return SentencePieceTokenizer(MODEL)


@pytest.fixture(scope="module")
def cased():
    return SentencePieceTokenizer(MODEL, lowercase=False)


@pytest.fixture(scope="module")
def expected():
    return json.loads((DATA / "expected_ids.json").read_text("utf-8"))


def spelled(tokenizer, text):
    return [t.decode() for t in tokenizer.ids_to_tokens(tokenizer(text)).numpy().tolist()]


def spans(tokenizer, text):
    ids, starts, ends = tokenizer.tokenize_with_offsets(text)
    tokens = [t.decode() for t in tokenizer.ids_to_tokens(ids).numpy().tolist()]
    return list(zip(tokens, [text[s:e] for s, e in zip(starts, ends, strict=True)], strict=True))


def test_ids_equal_those_of_googles_code_with_the_sentencepiece_library(tokenizer, cased, expected):
    texts = [row["text"] for row in expected]
    for name, ours in (("lowercase", tokenizer), ("case", cased)):
        found = ours(texts).to_list()
        wrong = [
            (row["text"], ids, row[name])
            for row, ids in zip(expected, found, strict=True)
            if ids != row[name]
        ]
        assert not wrong, wrong[:3]


def test_offsets_come_with_the_same_ids_and_lie_in_their_texts(tokenizer, cased, expected):
    texts = [row["text"] for row in expected]
    for ours in (tokenizer, cased):
        ids, starts, ends = (part.to_list() for part in ours.tokenize_with_offsets(texts))
        assert ids == ours(texts).to_list()
        for text, begin, end in zip(texts, starts, ends, strict=True):
            assert all(0 <= s <= e <= len(text) for s, e in zip(begin, end, strict=True)), text
            assert begin == sorted(begin), text
            # A space inside a character that became several words is empty, and at its start.
            ends_of_words = [e for s, e in zip(begin, end, strict=True) if s < e]
            assert ends_of_words == sorted(ends_of_words), text


def test_offsets_span_what_a_token_was_made_of(tokenizer):
    assert spans(tokenizer, "The ﬁre") == [("▁the", "The"), ("▁fire", "ﬁre")]
    assert spans(tokenizer, "  he\u0301 \u200b the\u200b ") == [("▁he", "he"), ("▁the", "the")]
    assert spans(tokenizer, "the ``the''") == [
        ("▁the", "the"), ("▁", ""), ('"', "``"), ("the", "the"), ('"', "''")]  # fmt: skip
    assert spans(tokenizer, "ﷺ")[1] == ("<unk>", "ﷺ")


def test_offsets_of_a_split_number_end_before_the_comma(tokenizer):
    assert spelled(tokenizer, "14,") == ["▁1", "4", ","]
    assert spans(tokenizer, "é 14, \u200b14,\u200b")[-6:] == [
        ("▁1", "1"), ("4", "4"), (",", ","), ("▁1", "1"), ("4", "4"), (",", ",")]  # fmt: skip
    assert spans(tokenizer, "🄅")[-2:] == [("4", "🄅"), (",", "🄅")]


def test_offsets_hold_behind_characters_of_all_lengths(tokenizer):
    text = "é☃😀 the\u0301 漢 of"
    found = dict(spans(tokenizer, text))
    assert found["▁the"] == "the"
    assert found["▁of"] == "of"


def test_one_text_gives_one_row(tokenizer):
    assert tokenizer("the fire").numpy().tolist() == tokenizer(["the fire"]).to_list()[0]
    assert [part.shape.rank for part in tokenizer.tokenize_with_offsets("the")] == [1, 1, 1]


def test_texts_without_tokens_give_empty_rows(tokenizer):
    texts = ["", " ", "\u200b", "the", "\n\x01"]
    assert tokenizer(texts).row_lengths().numpy().tolist() == [0, 0, 0, 1, 0]
    for part in tokenizer.tokenize_with_offsets(texts):
        assert part.row_lengths().numpy().tolist() == [0, 0, 0, 1, 0]


def test_a_batch_of_no_texts_gives_no_rows(tokenizer):
    assert tokenizer([]).shape[0] == 0
    assert [part.nrows() for part in tokenizer.tokenize_with_offsets([])] == [0, 0, 0]
    assert tokenizer.detokenize(tokenizer([])).shape == (0,)


def test_nul_is_a_character_that_no_piece_spells(tokenizer):
    assert spans(tokenizer, "the\0the")[1] == ("<unk>", "\0")


def test_invalid_bytes_are_skipped(tokenizer):
    text = b"the '\xff' fi\xe2\x82re \xed\xa0\x80"
    clean = text.decode("utf-8", "ignore")
    assert tokenizer(text).numpy().tolist() == tokenizer(clean).numpy().tolist()
    pairs = zip(
        tokenizer.tokenize_with_offsets(text), tokenizer.tokenize_with_offsets(clean), strict=True
    )
    for found, wanted in pairs:
        assert found.numpy().tolist() == wanted.numpy().tolist()


def test_special_tokens_in_a_text_are_ordinary_text(cased):
    text = "the [MASK] <pad> <unk> [CLS] [SEP] \ufdd0 \ufdd1"
    assert not {cased.mask_id, cased.start_id, cased.end_id, cased.pad_id} & set(
        cased(text).numpy().tolist()
    )


def test_a_model_that_finds_special_tokens_in_texts_loses_that(cased):
    made = cased._model.with_pieces({4: ("[MASK]", 4), 2: ("[CLS]", 4)})
    tokenizer = SentencePieceTokenizer(made, lowercase=False)
    assert tokenizer("[MASK] [CLS]").numpy().tolist() == cased("[MASK] [CLS]").numpy().tolist()


def test_more_tokens_than_16_bits_count_come_from_one_call(tokenizer):
    text = "the fire " * 5000
    ids, starts, ends = tokenizer.tokenize_with_offsets([text] * 5)
    assert ids.row_lengths().numpy().tolist() == [10_000] * 5
    assert set(ids.values.numpy().tolist()) == set(tokenizer("the fire").numpy().tolist())
    assert starts.values.numpy().tolist() == [9 * (i // 2) + 4 * (i % 2) for i in range(10_000)] * 5
    assert (ends - starts).values.numpy().tolist() == [3, 4] * 25_000


def test_a_long_text_has_the_tokens_and_offsets_of_its_parts(tokenizer):
    part = "é the fire, in 1999, ☃ λόγος "
    text = part * 4000
    assert len(text.encode()) > 100_000
    one = [values.numpy().tolist() for values in tokenizer.tokenize_with_offsets(part)]
    ids, starts, ends = (
        values.numpy().tolist() for values in tokenizer.tokenize_with_offsets(text)
    )
    assert ids == one[0] * 4000
    assert starts == [len(part) * i + start for i in range(4000) for start in one[1]]
    assert ends == [len(part) * i + end for i in range(4000) for end in one[2]]


def test_a_megabyte_of_unknown_characters_takes_no_quadratic_time(tokenizer):
    tokenizer("☃")
    began = time.process_time()
    ids = tokenizer("😀" * 250_000)
    # Measured: 0.4 s, and 10 s in one piece.
    assert time.process_time() - began < 5
    assert set(ids.numpy().tolist()) <= {tokenizer.unknown_id, tokenizer.token_to_id("▁")}


def test_detokenize_gives_the_cleaned_text(tokenizer):
    text = "the fire (in 1999, the end.)"
    assert tokenizer.detokenize(tokenizer([text, "The  Fire"])).numpy().tolist() == [
        text.encode(), b"the fire"]  # fmt: skip
    special = [tokenizer.start_id, *tokenizer("the").numpy(), tokenizer.mask_id]
    ids = [*special, *tokenizer("☃").numpy(), tokenizer.end_id, tokenizer.pad_id]
    assert tokenizer.detokenize(ids).numpy().decode() == "the [MASK] <unk>"


def test_a_mask_takes_the_place_of_a_word(tokenizer):
    the, of, mask = tokenizer.token_to_id("▁the"), tokenizer.token_to_id("▁of"), tokenizer.mask_id
    stop = tokenizer.token_to_id(".")
    texts = tf.constant(["The [MASK] of [MASK].", "[MASK][MASK] the", "", "[mask] ", "the[MASK]"])
    ids = tokenizer.tokenize_masked(texts).to_list()
    assert ids[:3] == [[the, mask, of, mask, stop], [mask, mask, the], []]
    assert ids[3] == tokenizer("[mask]").numpy().tolist()
    assert ids[4] == [the, mask]


def test_sigma_beside_a_mask_is_lowered_as_at_the_end_of_a_word(tokenizer):
    ids = tokenizer.tokenize_masked(tf.constant(["ΛΟΓΟΣ[MASK]"])).to_list()[0]
    assert ids == [*tokenizer("λογος").numpy().tolist(), tokenizer.mask_id]


def test_a_token_is_joined_to_a_text_as_a_word_or_within_one(tokenizer):
    assert tokenizer.join_token("on ", tokenizer.token_to_id("▁the")) == "on the"
    assert tokenizer.join_token("", tokenizer.token_to_id("▁the")) == "the"
    assert tokenizer.join_token("cat ", tokenizer.token_to_id("s")) == "cats"


def test_continues_word_is_false_for_first_and_special_tokens(tokenizer):
    ids = [tokenizer.start_id, *(tokenizer.token_to_id(t) for t in ("▁the", "s", "."))]
    assert tokenizer.continues_word([ids]).numpy().tolist() == [[False, False, True, True]]


def test_accents_stay_where_they_are_asked_for():
    tokenizer = SentencePieceTokenizer(MODEL, strip_accents=False)
    assert tokenizer.token_to_id("ο") in tokenizer("ο").numpy()
    assert spelled(tokenizer, "É")[-1] == "<unk>"
    assert spans(tokenizer, "e\u0301 ½ the")[-1] == ("▁the", "the")


def test_it_can_be_copied_pickled_and_written_as_json(tokenizer):
    text = "the fire, in 1999, ☃"
    arguments = json.loads(json.dumps(tokenizer.arguments()))
    twins = [
        copy.deepcopy(tokenizer),
        pickle.loads(pickle.dumps(tokenizer)),
        tokenizer_class("sentence_piece").from_arguments(arguments),
    ]
    for twin in twins:
        assert twin.config == tokenizer.config
        assert twin(text).numpy().tolist() == tokenizer(text).numpy().tolist()


def test_its_file_is_the_one_it_was_made_from(tokenizer, tmp_path):
    assert tokenizer.files() == {"vocabulary.spm": MODEL.read_bytes()}
    config = TokenizerConfig(kind="sentence_piece", lowercase=False)
    again = Tokenizer.from_files(config, {"vocabulary": MODEL}, vocabulary_size=1000)
    assert again.config == config
    with pytest.raises(ValueError, match=r"needs a SentencePiece model \(spiece.model"):
        Tokenizer.from_files(config, {})


def test_it_runs_in_a_dataset(tokenizer):
    texts = ["the fire", "", "☃ 1,000,"]
    dataset = tf.data.Dataset.from_tensor_slices(texts).batch(2).map(tokenizer.tokenize)
    rows = [row for batch in dataset for row in batch.to_list()]
    assert rows == tokenizer(texts).to_list()


def test_it_outlives_what_keras_clears(tokenizer):
    ids = tokenizer("the fire").numpy().tolist()
    keras.utils.set_random_seed(3)
    keras.backend.clear_session()
    assert tokenizer("the fire").numpy().tolist() == ids


def test_it_is_built_inside_a_graph_too():
    @tf.function
    def count(texts):
        return SentencePieceTokenizer(MODEL).tokenize(texts).row_lengths()

    assert count(tf.constant(["the fire"])).numpy().tolist() == [2]


# In a process that has tensorflow-text and nothing of ours.
LOAD = """
import json, sys
import tensorflow as tf, tensorflow_text
model = tf.saved_model.load(sys.argv[1])
found = model.run(tf.constant(json.loads(sys.argv[2])))
print(json.dumps([part.numpy().tolist() for part in found]))
"""
# Ops of tensorflow-text that a graph may hold, see the module's docstring.
SERVED = {
    "FastBertNormalize", "SentencepieceOp", "SentencepieceTokenizeOp",
    "SentencepieceTokenizeWithOffsetsOp", "TFText>ByteSplitByOffsets"}  # fmt: skip


@pytest.mark.long
def test_a_saved_graph_gives_the_same_ids_and_offsets_without_us(tokenizer, expected, tmp_path):
    module = tf.Module()
    module.resources = tokenizer.resources

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string)])
    def run(texts):
        ids, starts, ends = tokenizer.tokenize_with_offsets(texts)
        return tokenizer(texts).values, ids.values, starts.values, ends.values

    module.run = run
    tf.saved_model.save(module, tmp_path)
    graph = run.get_concrete_function().graph.as_graph_def()
    nodes = [*graph.node, *(node for f in graph.library.function for node in f.node_def)]
    ops = {node.op for node in nodes if "entencepiece" in node.op or "Fast" in node.op}
    ops |= {node.op for node in nodes if node.op.startswith("TFText")}
    assert ops <= SERVED
    texts = [row["text"].replace("\0", "") for row in expected[::9]]
    done = subprocess.run(
        [sys.executable, "-c", LOAD, tmp_path, json.dumps(texts)],
        capture_output=True,
        text=True,
        check=True,
    )
    found = json.loads(done.stdout)
    assert found == [part.numpy().tolist() for part in run(tf.constant(texts))]


def test_a_special_token_that_the_model_lacks_is_named():
    with pytest.raises(ValueError, match=r"lacks the special token '<mask>'.*mask_token="):
        SentencePieceTokenizer(MODEL, mask_token="<mask>")
    with pytest.raises(ValueError, match=r"the unknown token of this model is '<unk>'"):
        SentencePieceTokenizer(MODEL, unknown_token="<pad>")
    with pytest.raises(ValueError, match=r"has 1000 tokens; the model has 30000 rows"):
        SentencePieceTokenizer(MODEL, vocabulary_size=30000)
