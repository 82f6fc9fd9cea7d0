"""TensorFlow 1 checkpoints as we write them: Google's names and files, as TensorFlow reads them."""

import json

import numpy as np
import pytest
import tensorflow as tf

from bertzoo import checkpoints
from bertzoo.config import HeadConfig, TokenizerConfig
from tests.checkpoints.test_export import ALBERT, preset
from tests.checkpoints.test_google import google_bert_forward
from tests.checkpoints.test_preset_directory import CONFIG

MASKED_LM = HeadConfig("masked_lm", hidden_activation="gelu")
NEXT_SENTENCE = HeadConfig("next_sentence", num_outputs=2, dropout=0.0)
CLASSIFIER = HeadConfig("text_classifier", num_outputs=5)
ANSWERER = HeadConfig("question_answerer", dropout=0.0)
# As modeling.py, run_classifier.py and run_squad.py of google-research/bert name them.
LAYER_0 = [
    "attention/output/LayerNorm/beta", "attention/output/LayerNorm/gamma",
    "attention/output/dense/bias", "attention/output/dense/kernel",
    "attention/self/key/bias", "attention/self/key/kernel",
    "attention/self/query/bias", "attention/self/query/kernel",
    "attention/self/value/bias", "attention/self/value/kernel",
    "intermediate/dense/bias", "intermediate/dense/kernel",
    "output/LayerNorm/beta", "output/LayerNorm/gamma",
    "output/dense/bias", "output/dense/kernel",
]  # fmt: skip
GOOGLES_HEADS = {
    "cls/predictions/output_bias": [31],
    "cls/predictions/transform/LayerNorm/beta": [20],
    "cls/predictions/transform/LayerNorm/gamma": [20],
    "cls/predictions/transform/dense/bias": [20],
    "cls/predictions/transform/dense/kernel": [20, 20],
    "cls/seq_relationship/output_bias": [2],
    "cls/seq_relationship/output_weights": [2, 20],
    "cls/squad/output_bias": [2],
    "cls/squad/output_weights": [2, 20],
    "output_bias": [5],
    "output_weights": [5, 20],
}


def test_the_files_and_names_are_googles(tmp_path):
    source = preset(tmp_path, CONFIG, MASKED_LM, NEXT_SENTENCE, CLASSIFIER, ANSWERER)
    target = checkpoints.export_checkpoint(source, tmp_path / "theirs", "google_bert")
    assert sorted(item.name for item in target.iterdir()) == [
        "bert_config.json",
        "bert_model.ckpt.data-00000-of-00001",
        "bert_model.ckpt.index",
        "vocab.txt",
    ]
    found = {
        name: shape for name, shape in tf.train.list_variables(str(target / "bert_model.ckpt"))
    }
    heads = {n: s for n, s in found.items() if n.startswith(("cls/", "output_"))}
    assert heads == GOOGLES_HEADS
    prefix = "bert/encoder/layer_0/"
    assert sorted(n.removeprefix(prefix) for n in found if n.startswith(prefix)) == LAYER_0
    assert found["bert/embeddings/word_embeddings"] == [31, 20]
    assert set(json.loads((target / "bert_config.json").read_text())) == {
        "attention_probs_dropout_prob", "hidden_act", "hidden_dropout_prob", "hidden_size",
        "initializer_range", "intermediate_size", "max_position_embeddings",
        "num_attention_heads", "num_hidden_layers", "type_vocab_size", "vocab_size",
    }  # fmt: skip


def test_googles_code_computes_what_ours_does_on_what_we_write(tmp_path):
    """Its forward pass in NumPy, on the variables as TensorFlow reads them from the file."""
    from bertzoo.models.networks import network_from_preset

    source = preset(tmp_path, CONFIG, NEXT_SENTENCE)
    checkpoints.export_checkpoint(source, tmp_path / "theirs", "google_bert")
    reader = tf.train.load_checkpoint(str(tmp_path / "theirs" / "bert_model.ckpt"))
    theirs = {
        n: reader.get_tensor(n).astype(np.float64) for n in reader.get_variable_to_dtype_map()
    }
    generator = np.random.default_rng(1)
    token_ids = generator.integers(0, 31, (3, 7)).astype(np.int32)
    segment_ids = generator.integers(0, 2, (3, 7)).astype(np.int32)
    mask = np.array([[1] * 7, [1] * 5 + [0] * 2, [1] * 2 + [0] * 5], np.int32)
    _, _, relation = google_bert_forward(theirs, token_ids, segment_ids, mask)
    network, _ = network_from_preset(source, "next_sentence")
    ours = network({"token_ids": token_ids, "segment_ids": segment_ids, "padding_mask": mask})
    # Weights of standard deviation 1 give logits of about 10.
    assert np.abs(np.asarray(ours) - relation).max() < 1e-4


def test_albert_has_the_names_and_files_of_its_release(tmp_path):
    source = preset(tmp_path, ALBERT, HeadConfig("masked_lm", hidden_activation="gelu_tanh"))
    target = checkpoints.export_checkpoint(source, tmp_path / "theirs", "google_albert")
    raw = json.loads((target / "albert_config.json").read_text())
    assert (raw["hidden_act"], raw["embedding_size"], raw["num_hidden_groups"]) == ("gelu", 12, 1)
    found = dict(tf.train.list_variables(str(target / "model.ckpt-best")))
    group = "bert/encoder/transformer/group_0/inner_group_0/"
    assert found[group + "ffn_1/intermediate/output/dense/kernel"] == [37, 20]
    assert found["bert/encoder/embedding_hidden_mapping_in/kernel"] == [12, 20]
    assert found["cls/predictions/transform/dense/kernel"] == [20, 12]


def test_an_albert_vocabulary_has_its_own_name(tmp_path):
    """The bytes go along as they are; here they are no model, and nobody looks into them."""
    source = preset(
        tmp_path,
        ALBERT,
        tokenizer=TokenizerConfig("sentence_piece", pad_token="<pad>", unknown_token="<unk>"),
        files={"vocabulary.spm": b"\x0a\x0bpieces"},
    )
    target = checkpoints.export_checkpoint(source, tmp_path / "theirs", "google_albert")
    assert (target / "30k-clean.model").read_bytes() == b"\x0a\x0bpieces"
    opened = checkpoints.open_checkpoint(target)
    assert opened.tokenizer.kind == "sentence_piece"


@pytest.mark.parametrize(
    ("tokenizer", "file", "reason"),
    [
        (TokenizerConfig("sentence_piece"), "vocabulary.spm", "no sentence_piece tokenizer"),
        (TokenizerConfig(strip_accents=False), "vocabulary.txt", "strips accents exactly when"),
        (TokenizerConfig(start_token="<s>"), "vocabulary.txt", "the start_token is '\\[CLS\\]'"),
    ],
)
def test_a_tokenizer_that_google_has_not_is_refused(tokenizer, file, reason, tmp_path):
    source = preset(tmp_path, tokenizer=tokenizer, files={file: b"[PAD]\n"})
    with pytest.raises(ValueError, match=reason):
        checkpoints.export_checkpoint(source, tmp_path / "theirs", "google_bert")
    assert not (tmp_path / "theirs").exists()


def test_two_heads_with_one_name_are_not_written_over_each_other(tmp_path):
    source = preset(tmp_path, CONFIG, CLASSIFIER, HeadConfig("token_classifier", num_outputs=5))
    with pytest.raises(ValueError, match=r"same names.*choose one with heads="):
        checkpoints.export_checkpoint(source, tmp_path / "theirs", "google_bert")


def test_a_tagger_is_written_under_biobert_s_names_when_asked_for(tmp_path):
    source = preset(tmp_path, CONFIG, HeadConfig("token_classifier", num_outputs=5))
    checkpoints.export_checkpoint(source, tmp_path / "theirs", "google_bert", allow_inexact=True)
    told = checkpoints.open_checkpoint(tmp_path / "theirs", expected_heads=["token_classifier"])
    assert told.heads["token_classifier"].num_outputs == 5
