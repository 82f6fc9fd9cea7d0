"""Checkpoints of transformers: theirs load here, ours load there, and both compute the same."""

import json
import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np
import pytest
import torch
import transformers

from bertzoo import checkpoints
from bertzoo.models.backbone import Backbone
from bertzoo.models.networks import network_from_preset

TOLERANCE = 1e-5
# Awkward sizes, so that no two axes can be mistaken for each other.
SIZES = {
    "vocab_size": 97,
    "hidden_size": 20,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "intermediate_size": 37,
    "max_position_embeddings": 13,
}
DISTILBERT_SIZES = {
    "vocab_size": 97,
    "dim": 20,
    "n_layers": 3,
    "n_heads": 4,
    "hidden_dim": 37,
    "max_position_embeddings": 13,
}
CONFIGS = {
    "bert": lambda **k: transformers.BertConfig(**{**SIZES, "type_vocab_size": 3, **k}),
    "distilbert": lambda **k: transformers.DistilBertConfig(**{**DISTILBERT_SIZES, **k}),
    "albert": lambda **k: transformers.AlbertConfig(
        **{
            **SIZES,
            "num_hidden_layers": 4,
            "embedding_size": 12,
            "num_hidden_groups": 2,
            "inner_group_num": 2,
            **k,
        }
    ),
    "roberta": lambda **k: transformers.RobertaConfig(
        **{**SIZES, "type_vocab_size": 1, "layer_norm_eps": 1e-5, "pad_token_id": 1, **k}
    ),
    "electra": lambda **k: transformers.ElectraConfig(**{**SIZES, "embedding_size": 12, **k}),
}
LABELS = {"id2label": {0: "low", 1: "mid", 2: "high"}, "label2id": {"low": 0, "mid": 1, "high": 2}}
HEADS = [
    ("bert", "BertForMaskedLM", "masked_lm"),
    ("bert", "BertForPreTraining", "masked_lm"),
    ("bert", "BertForPreTraining", "next_sentence"),
    ("bert", "BertForNextSentencePrediction", "next_sentence"),
    ("bert", "BertForSequenceClassification", "text_classifier"),
    ("bert", "BertForTokenClassification", "token_classifier"),
    ("bert", "BertForQuestionAnswering", "question_answerer"),
    ("bert", "BertForMultipleChoice", "multiple_choice"),
    ("distilbert", "DistilBertForMaskedLM", "masked_lm"),
    ("distilbert", "DistilBertForSequenceClassification", "text_classifier"),
    ("distilbert", "DistilBertForTokenClassification", "token_classifier"),
    ("distilbert", "DistilBertForQuestionAnswering", "question_answerer"),
    ("distilbert", "DistilBertForMultipleChoice", "multiple_choice"),
    ("albert", "AlbertForMaskedLM", "masked_lm"),
    ("albert", "AlbertForPreTraining", "masked_lm"),
    ("albert", "AlbertForPreTraining", "next_sentence"),
    ("albert", "AlbertForSequenceClassification", "text_classifier"),
    ("albert", "AlbertForTokenClassification", "token_classifier"),
    ("albert", "AlbertForQuestionAnswering", "question_answerer"),
    ("albert", "AlbertForMultipleChoice", "multiple_choice"),
    ("roberta", "RobertaForMaskedLM", "masked_lm"),
    ("roberta", "RobertaForSequenceClassification", "text_classifier"),
    ("roberta", "RobertaForTokenClassification", "token_classifier"),
    ("roberta", "RobertaForQuestionAnswering", "question_answerer"),
    ("roberta", "RobertaForMultipleChoice", "multiple_choice"),
    ("electra", "ElectraForMaskedLM", "masked_lm"),
    ("electra", "ElectraForPreTraining", "discriminator"),
    ("electra", "ElectraForSequenceClassification", "text_classifier"),
    ("electra", "ElectraForTokenClassification", "token_classifier"),
    ("electra", "ElectraForQuestionAnswering", "question_answerer"),
    ("electra", "ElectraForMultipleChoice", "multiple_choice"),
]
BASES = {
    "bert": "BertModel",
    "distilbert": "DistilBertModel",
    "albert": "AlbertModel",
    "roberta": "RobertaModel",
    "electra": "ElectraModel",
}
MASK_POSITIONS = np.array([[1, 3], [2, 0], [4, 1]], np.int32)


def their_model(name, config, seed=0):
    """A model whose every value is random: layer norms are not 1 and 0, biases not 0."""
    model = getattr(transformers, name)(config).eval()
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter_name, parameter in model.named_parameters():
            noise = torch.randn(parameter.shape, generator=generator)
            shift = 1.0 if "norm" in parameter_name.lower() and "weight" in parameter_name else 0.0
            parameter.copy_(shift + 0.3 * noise)
    return model


def batch(family, segments):
    """Three rows of seven tokens, two of them padded."""
    pad = 1 if family == "roberta" else 0
    generator = np.random.default_rng(3)
    token_ids = generator.integers(5, 97, (3, 7)).astype(np.int32)
    padding_mask = np.ones((3, 7), np.int32)
    padding_mask[1, 5:] = 0
    padding_mask[2, 6:] = 0
    token_ids[padding_mask == 0] = pad
    segment_ids = generator.integers(0, max(segments, 1), (3, 7)).astype(np.int32)
    return {"token_ids": token_ids, "segment_ids": segment_ids, "padding_mask": padding_mask}


def their_outputs(model, family, features):
    inputs = {
        "input_ids": torch.tensor(features["token_ids"].astype(np.int64)),
        "attention_mask": torch.tensor(features["padding_mask"].astype(np.int64)),
    }
    if family != "distilbert":
        inputs["token_type_ids"] = torch.tensor(features["segment_ids"].astype(np.int64))
    if "MultipleChoice" in type(model).__name__:  # the rows as choices of one text
        inputs = {key: rows[None] for key, rows in inputs.items()}
    with torch.no_grad():
        return model(**inputs)


def their_logits(outputs, name, kind):
    if kind == "question_answerer":
        return {"start_logits": outputs.start_logits, "end_logits": outputs.end_logits}
    if kind == "multiple_choice":
        return {"logits": outputs.logits[0]}
    if kind == "next_sentence" and "PreTraining" in name:
        key = "sop_logits" if "Albert" in name else "seq_relationship_logits"
        return {"logits": outputs[key]}
    if kind == "masked_lm":
        logits = outputs.prediction_logits if "PreTraining" in name else outputs.logits
        rows = torch.arange(3)[:, None]
        return {"logits": logits[rows, torch.tensor(MASK_POSITIONS.astype(np.int64))]}
    return {"logits": outputs.logits}


def our_logits(network, kind, features):
    ids = {key: value for key, value in features.items() if key in network.input}
    if kind == "masked_lm":
        ids["mask_positions"] = MASK_POSITIONS
    outputs = network(ids)
    return outputs if isinstance(outputs, dict) else {"logits": outputs}


def config_of(family, kind="", **extra):
    labels = LABELS if kind in ("text_classifier", "token_classifier") else {}
    return CONFIGS[family](**labels, **extra)


def assert_same(ours, theirs):
    """Everywhere, at padding too: RoBERTa's padding has a position of its own."""
    for key, expected in theirs.items():
        assert np.abs(np.asarray(ours[key]) - expected.numpy()).max() < TOLERANCE, key


@pytest.mark.parametrize(("family", "name", "kind"), HEADS)
def test_a_head_that_transformers_wrote_gives_the_same_logits(family, name, kind, tmp_path):
    model = their_model(name, config_of(family, kind))
    model.save_pretrained(tmp_path)
    network, checkpoint = network_from_preset(tmp_path, kind)
    features = batch(family, checkpoint.config.num_segments)
    theirs = their_logits(their_outputs(model, family, features), name, kind)
    assert_same(our_logits(network, kind, features), theirs)
    if kind in ("text_classifier", "token_classifier"):
        assert checkpoint.heads[kind].labels == ("low", "mid", "high")


@pytest.mark.parametrize(("family", "name", "kind"), HEADS)
def test_transformers_loads_what_we_export(family, name, kind, tmp_path):
    both = name in ("BertForPreTraining", "AlbertForPreTraining")
    kinds = ["masked_lm", "next_sentence"] if both else [kind]
    model = their_model(name, config_of(family, kind), seed=1)
    model.save_pretrained(tmp_path / "theirs")
    opened = checkpoints.open_checkpoint(tmp_path / "theirs")
    assert sorted(opened.heads) == sorted(kinds)
    # By way of our own directory: what transformers reads then comes from us alone.
    checkpoints.export_checkpoint(opened, tmp_path / "ours", "bertzoo")
    checkpoints.export_checkpoint(tmp_path / "ours", tmp_path / "back", f"hf_{family}")
    again, report = getattr(transformers, name).from_pretrained(
        tmp_path / "back", output_loading_info=True
    )
    assert not report["missing_keys"]
    assert not report["mismatched_keys"]
    assert not [key for key in report["unexpected_keys"] if "pooler" not in key]
    before, after = model.state_dict(), again.state_dict()
    assert all(torch.equal(before[key], after[key]) for key in after)
    features = batch(family, opened.config.num_segments)
    theirs = their_logits(their_outputs(model, family, features), name, kind)
    back = their_logits(their_outputs(again.eval(), family, features), name, kind)
    for key, expected in theirs.items():
        # One output a row: its sum has another order where memory lies otherwise.
        torch.testing.assert_close(back[key], expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize("family", BASES)
def test_a_base_model_without_prefix_gives_the_same_vectors(family, tmp_path):
    model = their_model(BASES[family], config_of(family))
    model.save_pretrained(tmp_path)
    backbone = Backbone.from_preset(tmp_path)
    features = batch(family, backbone.config.num_segments)
    theirs = their_outputs(model, family, features)
    ours = backbone({key: value for key, value in features.items() if key in backbone.input})
    difference = np.asarray(ours["sequence_output"]) - theirs.last_hidden_state.numpy()
    assert np.abs(difference).max() < TOLERANCE
    if getattr(theirs, "pooler_output", None) is not None:
        difference = np.asarray(ours["pooled_output"]) - theirs.pooler_output.numpy()
        assert np.abs(difference).max() < TOLERANCE
    else:
        assert "pooled_output" not in ours


@pytest.mark.parametrize(
    ("family", "extra"),
    [
        ("bert", {"hidden_act": "gelu_new"}),
        ("bert", {"hidden_act": "relu"}),
        ("bert", {"layer_norm_eps": 0.1}),
        ("albert", {"hidden_act": "gelu"}),
        ("albert", {"embedding_size": 20}),
        ("roberta", {"type_vocab_size": 2}),
        ("roberta", {"pad_token_id": 3}),
        ("roberta", {"hidden_act": "relu"}),
        ("electra", {"embedding_size": 20}),
        ("electra", {"hidden_act": "relu"}),
        ("distilbert", {"activation": "relu"}),
    ],
)
def test_masked_lm_follows_what_the_config_says(family, extra, tmp_path):
    name = next(n for f, n, k in HEADS if f == family and n.endswith("ForMaskedLM"))
    model = their_model(name, config_of(family, **extra))
    model.save_pretrained(tmp_path)
    network, checkpoint = network_from_preset(tmp_path, "masked_lm")
    features = batch(family, checkpoint.config.num_segments)
    if "pad_token_id" in extra:
        features["token_ids"][features["padding_mask"] == 0] = extra["pad_token_id"]
    theirs = their_logits(their_outputs(model, family, features), name, "masked_lm")
    assert_same(our_logits(network, "masked_lm", features), theirs)


@pytest.mark.parametrize("family", ["bert", "albert", "roberta", "electra", "distilbert"])
def test_an_untied_decoder_is_loaded_and_exported(family, tmp_path):
    name = next(n for f, n, k in HEADS if f == family and n.endswith("ForMaskedLM"))
    model = their_model(name, config_of(family, tie_word_embeddings=False), seed=5)
    model.save_pretrained(tmp_path / "theirs")
    network, checkpoint = network_from_preset(tmp_path / "theirs", "masked_lm")
    assert not checkpoint.heads["masked_lm"].tie_embeddings
    features = batch(family, checkpoint.config.num_segments)
    theirs = their_logits(their_outputs(model, family, features), name, "masked_lm")
    assert_same(our_logits(network, "masked_lm", features), theirs)
    checkpoints.export_checkpoint(tmp_path / "theirs", tmp_path / "back", f"hf_{family}")
    again = getattr(transformers, name).from_pretrained(tmp_path / "back").eval()
    back = their_logits(their_outputs(again, family, features), name, "masked_lm")
    assert torch.equal(back["logits"], theirs["logits"])


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_files_load_as_float32(dtype, tmp_path):
    model = their_model("BertModel", config_of("bert")).to(dtype)
    model.save_pretrained(tmp_path)
    checkpoint = checkpoints.open_checkpoint(tmp_path)
    ours = dict(checkpoint.all_weights())
    theirs = model.embeddings.word_embeddings.weight.detach().float().numpy()
    assert ours["embeddings/token/embeddings"].dtype == np.float32
    np.testing.assert_array_equal(ours["embeddings/token/embeddings"], theirs)


def test_shards_load_as_one_file_does(tmp_path):
    model = their_model("BertModel", config_of("bert"))
    model.save_pretrained(tmp_path / "one")
    model.save_pretrained(tmp_path / "many", max_shard_size="10KB")
    assert (tmp_path / "many" / "model.safetensors.index.json").is_file()
    one = dict(checkpoints.open_checkpoint(tmp_path / "one").all_weights())
    many = dict(checkpoints.open_checkpoint(tmp_path / "many").all_weights())
    assert one.keys() == many.keys()
    assert all(np.array_equal(one[path], many[path]) for path in one)


def test_the_wrong_gelu_or_number_of_heads_is_seen_in_the_outputs(tmp_path):
    """The comparison above would not pass by chance: each mistake moves the outputs."""
    model = their_model("BertModel", config_of("bert"))
    model.save_pretrained(tmp_path)
    features = batch("bert", 3)
    expected = their_outputs(model, "bert", features).last_hidden_state.numpy()
    for key, value in {"hidden_act": "gelu_new", "num_attention_heads": 5}.items():
        raw = json.loads((tmp_path / "config.json").read_text())
        kept = raw[key]
        raw[key] = value
        (tmp_path / "config.json").write_text(json.dumps(raw))
        backbone = Backbone.from_preset(tmp_path)
        difference = np.asarray(backbone(features)["sequence_output"]) - expected
        assert np.abs(difference).max() > TOLERANCE, key
        raw[key] = kept
        (tmp_path / "config.json").write_text(json.dumps(raw))


def test_an_off_by_one_roberta_position_is_seen_in_the_outputs(tmp_path):
    model = their_model("RobertaModel", config_of("roberta"))
    model.save_pretrained(tmp_path)
    raw = json.loads((tmp_path / "config.json").read_text())
    raw["pad_token_id"] = 2
    (tmp_path / "config.json").write_text(json.dumps(raw))
    backbone = Backbone.from_preset(tmp_path)
    features = batch("roberta", 1)
    expected = their_outputs(model, "roberta", features).last_hidden_state.numpy()
    difference = np.asarray(backbone(features)["sequence_output"]) - expected
    assert np.abs(difference).max() > 1e-2


def test_roberta_keeps_every_row_of_its_position_table(tmp_path):
    their_model("RobertaModel", config_of("roberta")).save_pretrained(tmp_path)
    checkpoint = checkpoints.open_checkpoint(tmp_path)
    assert (checkpoint.config.position_offset, checkpoint.config.max_sequence_length) == (2, 11)
    assert dict(checkpoint.all_weights())["embeddings/position/embeddings"].shape == (13, 20)


@pytest.mark.parametrize("problem", ["single_label", "multi_label", "regression"])
def test_the_problem_of_a_classifier_is_that_of_its_config(problem, tmp_path):
    theirs = {"single_label": "single_label_classification"}.get(problem, problem)
    theirs = {"multi_label": "multi_label_classification"}.get(theirs, theirs)
    config = config_of("bert", "text_classifier", problem_type=theirs)
    their_model("BertForSequenceClassification", config).save_pretrained(tmp_path / "theirs")
    opened = checkpoints.open_checkpoint(tmp_path / "theirs")
    assert opened.heads["text_classifier"].problem == problem
    checkpoints.export_checkpoint(opened, tmp_path / "back", "hf_bert")
    again = transformers.BertForSequenceClassification.from_pretrained(tmp_path / "back")
    assert again.config.problem_type == theirs


def test_the_vocabulary_inside_tokenizer_json_is_found(tmp_path):
    """Version 5 of transformers writes no vocab.txt."""
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "the", "Cat", "##s"]
    tokenizer = transformers.BertTokenizer(
        vocab={word: index for index, word in enumerate(words)},
        do_lower_case=False,
        model_max_length=9,
    )
    tokenizer.save_pretrained(tmp_path)
    their_model("BertModel", config_of("bert")).save_pretrained(tmp_path)
    checkpoint = checkpoints.open_checkpoint(tmp_path)
    assert not checkpoint.tokenizer.lowercase
    assert checkpoint.tokenizer.sequence_length == 9
    assert checkpoint.files["vocabulary"].read_text().split() == words
