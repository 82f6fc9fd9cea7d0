"""Out and in again: what every format that we write gives back, to the bit."""

import dataclasses

import numpy as np
import pytest

from bertzoo import checkpoints
from bertzoo.checkpoints.export import FORMATS
from bertzoo.config import HeadConfig, TokenizerConfig
from tests.checkpoints.test_export import ALBERT, CONFIG, DISTILBERT, ELECTRA, ROBERTA, preset

GELU_TANH = CONFIG.replace(activation="gelu_tanh")
# Two groups of two layers: no index can stand for another.
GROUPS = ALBERT.replace(num_layers=4, num_groups=2, num_inner_layers=2)
NO_POOLER = CONFIG.replace(pooler=False)
# KerasHub's RoBERTa begins its positions at the first token and has no segments.
KERAS_ROBERTA = ROBERTA.replace(position_offset=0, num_segments=0)
FIRST = {"input": "first_token"}


def masked_lm(config, **fields):
    fields = {"hidden_activation": config.activation, **fields}
    return HeadConfig("masked_lm", **{"layer_norm_epsilon": config.layer_norm_epsilon, **fields})


def classifier(**fields):
    return HeadConfig("text_classifier", labels=("low", "mid", "high"), **fields)


NEXT = HeadConfig("next_sentence", num_outputs=2, dropout=0.0)
ORDER = HeadConfig("next_sentence", num_outputs=2, dropout=0.1)
TAGS = HeadConfig("token_classifier", labels=("O", "B-X"))
SPANS = HeadConfig("question_answerer", dropout=0.0)
REPLACED = HeadConfig("discriminator", hidden_activation="gelu", dropout=0.0)
VECTORS = HeadConfig(
    "text_embedder", pooling=("cls", "mean"), normalize=True, projections=((7, "tanh", True),)
)
# KerasHub's epsilon and activation, whatever the encoder has.
KERAS_MASKED_LM = HeadConfig("masked_lm", hidden_activation="gelu", layer_norm_epsilon=1e-5)
THREE_CLASSES = HeadConfig("text_classifier", num_outputs=3)
CASES = [
    ("bertzoo", CONFIG, [masked_lm(CONFIG), NEXT, classifier(), TAGS, SPANS, VECTORS]),
    ("hf_bert", CONFIG, []),
    ("hf_bert", CONFIG, [masked_lm(CONFIG), NEXT]),
    ("hf_bert", CONFIG, [NEXT]),
    ("hf_bert", NO_POOLER, [masked_lm(CONFIG, tie_embeddings=False)]),
    ("hf_bert", GELU_TANH, [classifier(dropout=0.3)]),
    ("hf_bert", NO_POOLER, [TAGS]),
    ("hf_bert", CONFIG.replace(activation="relu"), [SPANS]),
    ("hf_distilbert", DISTILBERT, [masked_lm(DISTILBERT)]),
    ("hf_distilbert", DISTILBERT, [classifier(hidden_activation="relu", dropout=0.2, **FIRST)]),
    ("hf_distilbert", DISTILBERT, [TAGS]),
    ("hf_distilbert", DISTILBERT, [SPANS]),
    ("hf_albert", GROUPS, [masked_lm(GROUPS), ORDER]),
    ("hf_albert", GROUPS, [classifier()]),
    ("hf_albert", GROUPS.replace(pooler=False), [TAGS]),
    ("hf_albert", GROUPS.replace(pooler=False), [SPANS]),
    ("hf_roberta", ROBERTA, [masked_lm(ROBERTA, hidden_activation="gelu")]),
    ("hf_roberta", ROBERTA, [classifier(hidden_activation="tanh", **FIRST)]),
    ("hf_roberta", ROBERTA, [TAGS]),
    ("hf_roberta", ROBERTA, [SPANS]),
    ("hf_electra", ELECTRA, [REPLACED]),
    ("hf_electra", ELECTRA, [masked_lm(ELECTRA, hidden_activation="gelu")]),
    ("hf_electra", ELECTRA, [classifier(hidden_activation="gelu", **FIRST)]),
    ("hf_electra", ELECTRA, [TAGS]),
    ("hf_electra", ELECTRA, [SPANS]),
    ("sentence_transformers", CONFIG, [VECTORS]),
    ("sentence_transformers", ROBERTA, [VECTORS]),
    ("keras_hub", GELU_TANH, [KERAS_MASKED_LM]),
    ("keras_hub", GELU_TANH, [THREE_CLASSES]),
    ("keras_hub", GROUPS, []),
    ("keras_hub", DISTILBERT, []),
    ("keras_hub", KERAS_ROBERTA, []),
    ("keras_hub", GELU_TANH.replace(embedding_dim=12), []),
    ("google_bert", CONFIG, [masked_lm(CONFIG), NEXT]),
    ("google_bert", NO_POOLER, [SPANS]),
    ("google_bert", CONFIG.replace(activation="relu"), [THREE_CLASSES]),
    ("google_albert", GROUPS, [masked_lm(GROUPS), NEXT]),
]  # fmt: skip
VOCABULARIES = {
    "wordpiece": {"vocabulary.txt": "[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\nß\nCat\n".encode()},
    "byte_pair": {"vocabulary.json": b'{"<s>":0,"a":1}', "merges.txt": b"#version: 0.2\na b\n"},
    "sentence_piece": {"vocabulary.spm": b"\x0a\x0e\x0a\x05<pad>\x15\x00\x00\x00\x00\x18\x03"},
}


def tokenizer_of(config):
    if config.position_offset or config == KERAS_ROBERTA:
        names = {"start_token": "<s>", "end_token": "</s>", "pad_token": "<pad>"}
        names |= {"unknown_token": "<unk>", "mask_token": "<mask>"}
        return TokenizerConfig("byte_pair", lowercase=False, sequence_length=7, **names)
    if config.num_groups:
        names = {"pad_token": "<pad>", "unknown_token": "<unk>"}
        return TokenizerConfig("sentence_piece", sequence_length=7, **names)
    return TokenizerConfig(lowercase=False, sequence_length=7)


def name_of(case):
    return "-".join([case[0], *(head.kind for head in case[2])])


@pytest.mark.parametrize("case", CASES, ids=name_of)
def test_what_goes_out_and_comes_in_is_equal_to_the_bit(case, tmp_path):
    format, config, heads = case
    tokenizer = tokenizer_of(config)
    files = VOCABULARIES[tokenizer.kind]
    source = preset(tmp_path, config, *heads, tokenizer=tokenizer, files=files)
    before = checkpoints.open_checkpoint(source)
    checkpoints.export_checkpoint(source, tmp_path / "out", format)
    once = checkpoints.open_checkpoint(tmp_path / "out")
    checkpoints.export_checkpoint(once, tmp_path / "again", format)
    twice = checkpoints.open_checkpoint(tmp_path / "again")
    expected = dict(before.all_weights())
    assert len(expected) > 30
    for found in (once, twice):
        weights = dict(found.all_weights())
        assert weights.keys() == expected.keys()
        for path, array in expected.items():
            np.testing.assert_array_equal(weights[path], array, err_msg=path)
        assert found.config == config
        assert comparable(found.heads, format) == comparable(before.heads, format)
        assert [p.read_bytes() for p in found.files.values()] == list(files.values())
        # Google's files do not say how long rows are, KerasHub's have no names of special tokens.
        assert found.tokenizer.kind == tokenizer.kind
        assert found.tokenizer.lowercase == tokenizer.lowercase
        if format.startswith(("hf", "bertzoo", "sentence")):
            assert found.tokenizer == tokenizer


def comparable(heads, format):
    """Only transformers and we store the names of classes."""
    if format.startswith(("hf", "bertzoo", "sentence")):
        return heads
    return {kind: dataclasses.replace(head, labels=None) for kind, head in heads.items()}


def test_every_format_that_can_be_written_is_tested_here():
    assert {case[0] for case in CASES} == set(FORMATS)
