"""Exports: what another library's format cannot say is refused, with the reason."""

import json

import numpy as np
import pytest

from bertzoo import checkpoints
from bertzoo.config import HeadConfig, TokenizerConfig
from tests.checkpoints.test_preset_directory import CONFIG, VOCABULARY, write

DISTILBERT = CONFIG.replace(num_segments=0, pooler=False)
ROBERTA = CONFIG.replace(
    num_segments=1, position_offset=2, max_sequence_length=9, layer_norm_epsilon=1e-5, pooler=False
)
ALBERT = CONFIG.replace(embedding_dim=12, num_groups=1, activation="gelu_tanh")
ELECTRA = CONFIG.replace(embedding_dim=12, pooler=False)
GELU_TANH = CONFIG.replace(activation="gelu_tanh")
UNTIED = HeadConfig("masked_lm", hidden_activation="gelu", tie_embeddings=False)
TANH = {"input": "first_token", "hidden_activation": "tanh"}
CLASSIFIER = HeadConfig("text_classifier", labels=("a", "b"))


def preset(tmp_path, config=CONFIG, *heads, **extra):
    from tests.checkpoints.test_preset_directory import weights

    heads = {head.kind: head for head in heads}
    arrays = weights(config=config, heads=heads).items()
    return write(tmp_path / "ours", config=config, heads=heads, weights=arrays, **extra)


@pytest.mark.parametrize(
    ("format", "config", "head", "reason"),
    [
        ("hf_bert", DISTILBERT, None, "adds a segment to every token"),
        ("hf_bert", ROBERTA, None, "position_offset would be 0, and is 2"),
        ("hf_bert", ELECTRA, None, "embedding_dim would be None, and is 12"),
        ("hf_bert", ALBERT, None, "num_groups would be None, and is 1"),
        ("hf_distilbert", CONFIG, None, "num_segments would be 0, and is 2"),
        (
            "hf_distilbert",
            DISTILBERT.replace(layer_norm_epsilon=1e-5),
            None,
            "layer_norm_epsilon would be 1e-12, and is 1e-05",
        ),
        ("hf_albert", CONFIG, None, "embedding_dim would be 20, and is None"),
        ("hf_electra", ALBERT, None, "num_groups would be None"),
        ("hf_electra", CONFIG, None, "no tensors for pooler/bias"),
        ("hf_bert", CONFIG, HeadConfig("text_classifier", num_outputs=2, **TANH), "no tensors"),
        (
            "hf_bert",
            CONFIG,
            HeadConfig("masked_lm", hidden_activation="relu"),
            "masked_lm: hidden_activation would be 'gelu', and is 'relu'",
        ),
        (
            "hf_roberta",
            ROBERTA,
            HeadConfig("masked_lm", hidden_activation="gelu", layer_norm_epsilon=1e-3),
            "masked_lm: layer_norm_epsilon would be 1e-05, and is 0.001",
        ),
        (
            "hf_roberta",
            ROBERTA,
            HeadConfig(
                "text_classifier", num_outputs=2, input="first_token", hidden_activation="relu"
            ),
            "hidden_activation would be 'tanh', and is 'relu'",
        ),
        ("google_bert", DISTILBERT, None, "adds a segment to every token"),
        ("google_bert", ROBERTA, None, "position_offset would be 0, and is 2"),
        ("google_bert", ELECTRA, None, "no variables for embeddings/projection/bias"),
        ("google_bert", ALBERT, None, "no variables for embeddings/projection/bias"),
        ("google_bert", GELU_TANH, None, "`gelu` for both forms"),
        ("google_bert", CONFIG.replace(layer_norm_epsilon=1e-5), None, "layer_norm_epsilon"),
        ("google_bert", CONFIG, HeadConfig("token_classifier", num_outputs=2), "no place for"),
        ("google_bert", CONFIG, HeadConfig("text_embedder"), "no place for this text_embedder"),
        ("google_bert", CONFIG, UNTIED, "no variables for masked_lm/decoder/embeddings"),
        (
            "google_bert",
            CONFIG,
            HeadConfig("discriminator", hidden_activation="gelu"),
            "no variables for discriminator/hidden/bias",
        ),
        ("google_albert", ALBERT.replace(activation="gelu"), None, "`gelu` for both forms"),
        ("google_albert", ALBERT.replace(embedding_dim=20), None, "embedding_dim would be None"),
        ("google_albert", CONFIG, None, "num_groups would be 2, and is None"),
        ("keras_hub", CONFIG, None, "activation would be 'gelu_tanh', and is 'gelu'"),
        ("keras_hub", ELECTRA, None, "always has a pooler"),
        (
            "keras_hub",
            DISTILBERT,
            HeadConfig("token_classifier", num_outputs=2),
            "token_classifier",
        ),
    ],
)
def test_what_a_format_cannot_say_is_refused_with_the_reason(
    format, config, head, reason, tmp_path
):
    heads = [] if head is None else [head]
    source = preset(tmp_path, config, *heads)
    with pytest.raises(ValueError, match="cannot express") as error:
        checkpoints.export_checkpoint(source, tmp_path / "theirs", format)
    assert reason in str(error.value)
    assert [item.name for item in tmp_path.iterdir()] == ["ours"]


def test_an_inexact_export_is_written_when_asked_for(tmp_path):
    source = preset(tmp_path)
    checkpoints.export_checkpoint(source, tmp_path / "theirs", "keras_hub", allow_inexact=True)
    written = checkpoints.open_checkpoint(tmp_path / "theirs")
    assert (written.format, written.config.activation) == ("keras_hub", "gelu_tanh")


@pytest.mark.parametrize(
    ("format", "reason"),
    [("hf_bert", "no class of this family with the heads"), ("keras_hub", "holds one task")],
)
def test_one_directory_holds_one_task(format, reason, tmp_path):
    masked_lm = HeadConfig("masked_lm", hidden_activation="gelu_tanh", layer_norm_epsilon=1e-5)
    config = CONFIG.replace(activation="gelu_tanh")
    source = preset(tmp_path, config, masked_lm, CLASSIFIER)
    with pytest.raises(ValueError, match=reason):
        checkpoints.export_checkpoint(source, tmp_path / "theirs", format)
    target = tmp_path / "theirs"
    checkpoints.export_checkpoint(source, target, format, heads=["text_classifier"])
    written = checkpoints.open_checkpoint(target)
    assert list(written.heads) == ["text_classifier"]
    with pytest.raises(ValueError, match=r"unknown key `text_clasifier`.*did you mean"):
        checkpoints.export_checkpoint(source, tmp_path / "x", format, heads=["text_clasifier"])


def test_the_vocabulary_and_the_labels_go_along(tmp_path):
    source = preset(tmp_path, CONFIG, CLASSIFIER)
    target = checkpoints.export_checkpoint(source, tmp_path / "theirs", "hf_bert")
    assert (target / "vocab.txt").read_bytes() == VOCABULARY
    written = checkpoints.open_checkpoint(target)
    assert written.tokenizer == TokenizerConfig(lowercase=False, sequence_length=9)
    assert written.heads["text_classifier"] == CLASSIFIER
    raw = json.loads((target / "config.json").read_text())
    assert raw["architectures"] == ["BertForSequenceClassification"]
    assert raw["label2id"] == {"a": 0, "b": 1}


def test_embedders_are_written_for_sentence_transformers(tmp_path):
    head = HeadConfig(
        "text_embedder",
        pooling=("max", "mean"),
        normalize=True,
        projections=((7, "tanh", True), (5, None, False)),
    )
    source = preset(tmp_path, CONFIG, head)
    target = checkpoints.export_checkpoint(source, tmp_path / "theirs", "hf_bert")
    listed = json.loads((target / "modules.json").read_text())
    assert [module["path"] for module in listed] == [
        "", "1_Pooling", "2_Dense", "3_Dense", "4_Normalize",
    ]  # fmt: skip
    written = checkpoints.open_checkpoint(target)
    assert written.heads == {"text_embedder": head}
    before = dict(checkpoints.open_checkpoint(source).all_weights())
    after = dict(written.all_weights())
    assert before.keys() == after.keys()
    assert all(np.array_equal(before[path], after[path]) for path in before)


def test_sentence_transformers_is_a_format_of_its_own(tmp_path):
    """The family is found by the encoder; other heads stay behind, as there is no place."""
    embedder = HeadConfig("text_embedder", pooling=("mean",), normalize=True)
    for name, config in (("BertModel", CONFIG), ("DistilBertModel", DISTILBERT),
                         ("RobertaModel", ROBERTA), ("AlbertModel", ALBERT),
                         ("ElectraModel", ELECTRA)):  # fmt: skip
        (tmp_path / name).mkdir()
        source = preset(tmp_path / name, config, embedder)
        target = tmp_path / name / "theirs"
        checkpoints.export_checkpoint(source, target, "sentence_transformers")
        raw = json.loads((target / "config.json").read_text())
        assert raw["architectures"] == [name]
        assert (target / "config_sentence_transformers.json").is_file()
        assert checkpoints.open_checkpoint(target).heads == {"text_embedder": embedder}


def test_a_sentence_transformers_directory_needs_an_embedder_and_holds_no_other_head(tmp_path):
    source = preset(tmp_path, CONFIG, CLASSIFIER)
    with pytest.raises(ValueError, match=r"no text_embedder head.*save_to_preset"):
        checkpoints.export_checkpoint(source, tmp_path / "theirs", "sentence_transformers")
    with pytest.raises(ValueError, match="no other head"):
        checkpoints.export_checkpoint(
            source, tmp_path / "theirs", "sentence_transformers", heads=["text_classifier"]
        )
    both = preset(tmp_path / "both", CONFIG, CLASSIFIER, HeadConfig("text_embedder"))
    checkpoints.export_checkpoint(both, tmp_path / "theirs", "sentence_transformers")
    assert list(checkpoints.open_checkpoint(tmp_path / "theirs").heads) == ["text_embedder"]


def test_a_directory_with_something_in_it_is_not_written_to(tmp_path):
    source = preset(tmp_path)
    (tmp_path / "theirs").mkdir()
    (tmp_path / "theirs" / "notes.txt").write_text("keep me")
    with pytest.raises(ValueError, match="is there and not empty"):
        checkpoints.export_checkpoint(source, tmp_path / "theirs", "hf_bert")
    assert [item.name for item in (tmp_path / "theirs").iterdir()] == ["notes.txt"]


def test_an_unknown_format_is_named_with_the_nearest(tmp_path):
    with pytest.raises(ValueError, match="unknown key `hf_brt` in the formats to export to"):
        checkpoints.export_checkpoint(preset(tmp_path), tmp_path / "theirs", "hf_brt")


def test_roberta_is_folded_for_keras_hub(tmp_path):
    """Row 0 of its table is the position of the first token, with the segment row added."""
    source = preset(tmp_path, ROBERTA)
    target = checkpoints.export_checkpoint(source, tmp_path / "theirs", "keras_hub")
    before = dict(checkpoints.open_checkpoint(source).all_weights())
    written = checkpoints.open_checkpoint(target)
    after = dict(written.all_weights())
    assert (written.config.position_offset, written.config.num_segments) == (0, 0)
    expected = (
        before["embeddings/position/embeddings"][2:] + before["embeddings/segment/embeddings"]
    )
    np.testing.assert_array_equal(after["embeddings/position/embeddings"], expected)


@pytest.mark.parametrize("format", ["hf_bert", "keras_hub", "google_bert"])
def test_pruned_heads_are_refused(format, tmp_path):
    config = CONFIG.replace(
        num_heads=CONFIG.num_heads - 1, head_dim=CONFIG.attention_dim // CONFIG.num_heads
    )
    source = preset(tmp_path, config)
    with pytest.raises(ValueError, match=r"heads were pruned to .* of width .*Keep it as a preset"):
        checkpoints.export_checkpoint(source, tmp_path / "out", format, allow_inexact=True)
    assert not (tmp_path / "out").exists()
    checkpoints.export_checkpoint(source, tmp_path / "copy", "bertzoo")
    assert checkpoints.open_source(tmp_path / "copy").config == config
