"""Which format a directory has, and how a preset's row and its files meet."""

import json

import numpy as np
import pytest

from bertzoo import checkpoints, hub, presets
from bertzoo.checkpoints import opening
from tests.checkpoints import foreign


def hugging_face(directory, **config):
    tensors = foreign.random_tensors(foreign.tensor_shapes("hf_bert"))
    return foreign.write_hugging_face(directory, "hf_bert", tensors, **config)


def test_the_format_is_found_or_given(tmp_path):
    directory = hugging_face(tmp_path / "a")
    assert checkpoints.open_checkpoint(directory).format == "hf_bert"
    assert checkpoints.open_checkpoint(directory, format="hf_bert").format == "hf_bert"
    assert checkpoints.open_checkpoint(directory / "model.safetensors").format == "hf_bert"
    assert checkpoints.open_checkpoint(str(directory) + "/").format == "hf_bert"


def test_an_unknown_format_names_the_nearest(tmp_path):
    with pytest.raises(ValueError, match=r"unknown key `hf_brt`.*did you mean `hf_bert`"):
        checkpoints.open_checkpoint(hugging_face(tmp_path / "a"), format="hf_brt")


def test_a_format_given_wrongly_does_not_load(tmp_path):
    directory = hugging_face(tmp_path / "a")
    with pytest.raises(ValueError):
        checkpoints.open_checkpoint(directory, format="hf_distilbert").all_weights()


def test_a_directory_with_nothing_to_read_says_what_was_expected(tmp_path):
    (tmp_path / "a").mkdir()
    with pytest.raises(ValueError, match=r"expected preset.json .*config.json.*index"):
        checkpoints.open_checkpoint(tmp_path / "a")
    with pytest.raises(ValueError, match="does not exist"):
        checkpoints.open_checkpoint(tmp_path / "b")


@pytest.mark.parametrize("content", ["", "[1, 2]", "null", "{'a': 1}"])
def test_a_config_that_is_not_json_is_named(content, tmp_path):
    (tmp_path / "config.json").write_text(content)
    with pytest.raises(ValueError, match=r"config\.json (is not valid JSON|must hold)"):
        checkpoints.open_checkpoint(tmp_path)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"hidden_size": 24}, "config.json contradicts the weights"),
        ({"intermediate_size": 40}, "contradicts"),
        ({"vocab_size": 98}, "contradicts"),
        ({"max_position_embeddings": 14}, "contradicts"),
        ({"num_hidden_layers": 999}, "asks for 999 layers"),
    ],
)
def test_sizes_that_contradict_the_weights_raise_when_opened(changes, message, tmp_path):
    with pytest.raises(ValueError, match=message):
        checkpoints.open_checkpoint(hugging_face(tmp_path / "a", **changes))


@pytest.mark.parametrize("layers", [1, 3])
def test_a_wrong_number_of_layers_does_not_load(layers, tmp_path):
    found = checkpoints.open_checkpoint(hugging_face(tmp_path / "a", num_hidden_layers=layers))
    with pytest.raises(ValueError, match=r"encoder.layer.(1|2)|layer_2"):
        found.all_weights()


def test_a_preset_without_files_opens_and_says_where_to_get_them(monkeypatch, tmp_path):
    monkeypatch.setenv("BERTZOO_HOME", str(tmp_path))
    found = checkpoints.open_source("biobert_base_v1_1_en_cased")
    assert found.config.vocabulary_size == 28996
    assert found.directory is None
    info = presets.find_preset("biobert_base_v1_1_en_cased")
    with pytest.raises(ValueError) as error:
        found.all_weights()
    assert str(error.value) == hub.where_to_get(info)


def test_an_unknown_name_names_the_nearest():
    with pytest.raises(ValueError, match="did you mean `bert_base_en_uncased`"):
        checkpoints.open_source("bert_base_en_uncase")


def test_an_opened_checkpoint_is_a_source_too(tmp_path):
    found = checkpoints.open_checkpoint(hugging_face(tmp_path / "a"))
    assert checkpoints.open_source(found) is found


def test_the_toys_weights_are_the_same_on_every_machine():
    found = checkpoints.open_source("bert_toy")
    first, second = dict(found.all_weights()), dict(found.all_weights())
    assert all(np.array_equal(first[path], second[path]) for path in first)
    # Golden: drawn by PCG64 from the preset's seed and the variable's name.
    kernel = first["layer_0/attention/query/kernel"]
    assert np.abs(kernel).max() <= 0.04
    assert 0.015 < kernel.std() < 0.02
    assert not np.array_equal(kernel, first["layer_1/attention/query/kernel"])
    assert found.files["vocabulary"].read_text().split("\n")[:2] == ["[PAD]", "[UNK]"]


@pytest.fixture
def ner(tmp_path, monkeypatch):
    """The files of a preset with nine labels, in miniature; and its row, cut to that size."""
    info = presets.find_preset("bert_base_ner_en_cased")
    labels = info.heads["token_classifier"].labels
    tensors = foreign.random_tensors(
        {
            **foreign.tensor_shapes("hf_bert"),
            "classifier.weight": (len(labels), 20),
            "classifier.bias": (len(labels),),
        }
    )
    directory = foreign.write_hugging_face(
        tmp_path / info.name,
        "hf_bert",
        {name: a for name, a in tensors.items() if not name.startswith("pooler")},
        architectures=["BertForTokenClassification"],
        id2label={str(i): f"LABEL_{i}" for i in range(len(labels))},
    )
    (directory / "vocab.txt").write_text("[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\ncat\n")
    (directory / "tokenizer_config.json").write_text(json.dumps({"do_lower_case": True}))
    small = info.config.replace(
        vocabulary_size=97, num_layers=2, hidden_dim=20, num_heads=4, intermediate_dim=37,
        max_sequence_length=13, num_segments=3, pooler=False,
    )  # fmt: skip
    monkeypatch.setenv("BERTZOO_HOME", str(tmp_path))
    row = presets.dataclasses.replace(info, config=small, sources=(), sha256=None)
    monkeypatch.setattr(presets, "find_preset", lambda name: row)
    return directory, row


def test_the_row_of_a_preset_decides_on_case_and_labels(ner):
    directory, row = ner
    found = checkpoints.open_source("bert_base_ner_en_cased")
    assert found.directory == directory
    assert not found.tokenizer.lowercase  # its tokenizer_config.json says the opposite
    assert found.heads["token_classifier"].labels == row.heads["token_classifier"].labels
    assert found.info["license"] == row.license
    by_path = checkpoints.open_source(directory)
    assert by_path.tokenizer.lowercase
    assert by_path.heads["token_classifier"].labels[0] == "LABEL_0"


@pytest.mark.parametrize(
    ("key", "value", "field"),
    [("hidden_act", "gelu_new", "activation"), ("layer_norm_eps", 1e-5, "layer_norm_epsilon")],
)
def test_files_that_contradict_the_row_raise(key, value, field, ner):
    directory, _ = ner
    raw = json.loads((directory / "config.json").read_text())
    (directory / "config.json").write_text(json.dumps({**raw, key: value}))
    with pytest.raises(ValueError, match=f"not those of the preset: {field}"):
        checkpoints.open_source("bert_base_ner_en_cased")


def test_labels_of_another_number_raise(ner, monkeypatch):
    _, row = ner
    head = row.heads["token_classifier"].replace(labels=("a", "b"), num_outputs=2)
    row = presets.dataclasses.replace(row, heads={"token_classifier": head})
    monkeypatch.setattr(presets, "find_preset", lambda name: row)
    with pytest.raises(ValueError, match="has 2 labels, but"):
        checkpoints.open_source("bert_base_ner_en_cased")


def test_a_checksum_that_the_row_knows_is_verified(ner, monkeypatch):
    _, row = ner
    row = presets.dataclasses.replace(row, sha256={"config.json": "0" * 64})
    monkeypatch.setattr(presets, "find_preset", lambda name: row)
    with pytest.raises(ValueError, match=r"config.json is not the file"):
        checkpoints.open_source("bert_base_ner_en_cased")


def test_all_formats_of_the_contract_are_there():
    assert set(opening.FORMATS) == {
        "bertzoo", "hf_bert", "hf_distilbert", "hf_albert", "hf_roberta", "hf_electra",
        "google_bert", "google_albert", "keras_hub",
    }  # fmt: skip
