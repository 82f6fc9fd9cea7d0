"""Checkpoints of TensorFlow 1, written by its own saver under the original variable names."""

import json
import shutil

import numpy as np
import pytest

from bertzoo import checkpoints
from tests.checkpoints import foreign
from tests.reference import encoder

FORMATS = ["google_bert", "google_albert"]
HEADS = {
    "cls/predictions/transform/LayerNorm/gamma": ("masked_lm/norm/gamma", "E"),
    "cls/predictions/transform/LayerNorm/beta": ("masked_lm/norm/beta", "E"),
    "cls/predictions/transform/dense/kernel": ("masked_lm/dense/kernel", "DE"),
    "cls/predictions/transform/dense/bias": ("masked_lm/dense/bias", "E"),
    "cls/predictions/output_bias": ("masked_lm/bias", "V"),
    "cls/seq_relationship/output_weights": ("next_sentence/logits/kernel", "2D"),
    "cls/seq_relationship/output_bias": ("next_sentence/logits/bias", "2"),
    "cls/squad/output_weights": ("question_answerer/logits/kernel", "2D"),
    "cls/squad/output_bias": ("question_answerer/logits/bias", "2"),
    "output_weights": ("text_classifier/logits/kernel", "5D"),
    "output_bias": ("text_classifier/logits/bias", "5"),
}


def tensors_of(format, heads=True, seed=0):
    sizes = {"V": 97, "D": 20, "E": 12 if "albert" in format else 20, "2": 2, "5": 5}
    shapes = foreign.tensor_shapes(format)
    if heads:
        shapes |= {name: tuple(sizes[x] for x in axes) for name, (_, axes) in HEADS.items()}
    return foreign.random_tensors(shapes, seed)


@pytest.mark.parametrize("format", FORMATS)
def test_every_value_lands_in_its_place(format, tmp_path):
    tensors = tensors_of(format)
    found = checkpoints.open_checkpoint(foreign.write_tf1(tmp_path / "uncased", format, tensors))
    assert found.format == format
    expected = foreign.expected_weights(format, tensors)
    for name, (path, _) in HEADS.items():
        # Logits are x W^T in all of Google's heads: W is [classes, hidden].
        expected[path] = tensors[name].T if name.endswith("output_weights") else tensors[name]
    foreign.assert_equal_weights(found.all_weights(), expected)


@pytest.mark.parametrize("format", FORMATS)
def test_saving_undoes_loading_for_every_tensor(format, tmp_path):
    tensors = tensors_of(format)
    found = checkpoints.open_checkpoint(foreign.write_tf1(tmp_path / "uncased", format, tensors))
    ours = dict(found.all_weights())
    back = {
        row.theirs: row.transform.save(ours[row.ours], found.config)
        for row in found.table.expand(found.config)
        if row.ours in ours
    }
    assert sorted(back) == sorted(tensors)
    for name, array in tensors.items():
        np.testing.assert_array_equal(back[name], array, err_msg=name)


def google_bert_forward(t, token_ids, segment_ids, mask):
    """modeling.py of Google's BERT in NumPy, by its own variable names; erf GELU."""

    def norm(name, x):
        mean, variance = x.mean(-1, keepdims=True), x.var(-1, keepdims=True)
        gamma, beta = t[f"{name}/LayerNorm/gamma"], t[f"{name}/LayerNorm/beta"]
        return (x - mean) / np.sqrt(variance + 1e-12) * gamma + beta

    def dense(name, x):
        return x @ t[f"{name}/kernel"] + t[f"{name}/bias"]

    def heads(x):
        return x.reshape(*x.shape[:2], 4, 5).transpose(0, 2, 1, 3)

    root = "bert/embeddings/"
    x = t[root + "word_embeddings"][token_ids] + t[root + "token_type_embeddings"][segment_ids]
    x = norm("bert/embeddings", x + t[root + "position_embeddings"][: x.shape[1]])
    for layer in ("bert/encoder/layer_0/", "bert/encoder/layer_1/"):
        q, k, v = (heads(dense(f"{layer}attention/self/{n}", x)) for n in ("query", "key", "value"))
        scores = q @ k.transpose(0, 1, 3, 2) / np.sqrt(5.0) - 10000.0 * (1 - mask)[:, None, None]
        probabilities = np.exp(scores - scores.max(-1, keepdims=True))
        probabilities /= probabilities.sum(-1, keepdims=True)
        context = (probabilities @ v).transpose(0, 2, 1, 3).reshape(x.shape)
        attended = dense(layer + "attention/output/dense", context)
        x = norm(layer + "attention/output", x + attended)
        inner = encoder.gelu(dense(layer + "intermediate/dense", x))
        x = norm(layer + "output", x + dense(layer + "output/dense", inner))
    pooled = np.tanh(dense("bert/pooler/dense", x[:, 0]))
    relation = pooled @ t["cls/seq_relationship/output_weights"].T
    return x, pooled, relation + t["cls/seq_relationship/output_bias"]


def test_the_network_computes_what_googles_code_computes(tmp_path):
    from bertzoo.models.networks import network_from_preset

    tensors = tensors_of("google_bert")
    tensors = {name: 0.3 * array for name, array in tensors.items()}
    foreign.write_tf1(tmp_path / "uncased", "google_bert", tensors)
    generator = np.random.default_rng(1)
    token_ids = generator.integers(0, 97, (3, 7)).astype(np.int32)
    segment_ids = generator.integers(0, 3, (3, 7)).astype(np.int32)
    mask = np.array([[1] * 7, [1] * 5 + [0] * 2, [1] * 2 + [0] * 5], np.int32)
    wide = {name: array.astype(np.float64) for name, array in tensors.items()}
    sequence, pooled, relation = google_bert_forward(wide, token_ids, segment_ids, mask)
    network, _ = network_from_preset(tmp_path / "uncased", "next_sentence")
    inputs = {"token_ids": token_ids, "segment_ids": segment_ids, "padding_mask": mask}
    ours = network.backbone(inputs)
    assert np.abs(np.asarray(ours["sequence_output"]) - sequence).max() < 1e-5
    assert np.abs(np.asarray(ours["pooled_output"]) - pooled).max() < 1e-5
    assert np.abs(np.asarray(network(inputs)) - relation).max() < 1e-5


@pytest.mark.parametrize("mistake", [{"num_attention_heads": 5}, {"hidden_act": "gelu_new"}])
def test_a_wrong_number_of_heads_or_gelu_is_seen_in_the_outputs(mistake, tmp_path):
    """No shape tells them: the comparison above is what finds them."""
    from bertzoo.models.backbone import Backbone

    tensors = {name: 0.3 * a for name, a in tensors_of("google_bert", False).items()}
    ids = np.arange(14, dtype=np.int32).reshape(2, 7)
    outputs = []
    for changes in ({}, mistake):
        directory = tmp_path / f"a{len(outputs)}"
        foreign.write_tf1(directory, "google_bert", tensors, **changes)
        backbone = Backbone.from_preset(directory)
        outputs.append(np.asarray(backbone({"token_ids": ids})["sequence_output"]))
    assert np.abs(outputs[0] - outputs[1]).max() > 3e-5


def test_erf_is_the_default_and_can_be_overridden(tmp_path):
    directory = foreign.write_tf1(
        tmp_path / "uncased", "google_bert", tensors_of("google_bert", False), hidden_act="gelu"
    )
    assert checkpoints.open_checkpoint(directory).config.activation == "gelu"
    told = checkpoints.open_checkpoint(directory, activation="gelu_tanh")
    assert told.config.activation == "gelu_tanh"


def test_optimizer_slots_and_counters_are_ignored(tmp_path):
    tensors = tensors_of("google_bert", heads=False)
    expected = foreign.expected_weights("google_bert", tensors)
    slots = {}
    for name, array in tensors.items():
        slots |= {f"{name}/adam_m": array, f"{name}/adam_v": array, f"{name}/lamb_m": array}
    slots["global_step"] = np.array(7, np.int64)
    directory = foreign.write_tf1(tmp_path / "run", "google_bert", {**tensors, **slots})
    foreign.assert_equal_weights(checkpoints.open_checkpoint(directory).all_weights(), expected)


def test_the_module_prefix_of_tf_hub_is_taken_off(tmp_path):
    tensors = tensors_of("google_albert", heads=False)
    stored = {f"module/{name}": array for name, array in tensors.items()}
    directory = foreign.write_tf1(tmp_path / "hub", "google_albert", stored)
    foreign.assert_equal_weights(
        checkpoints.open_checkpoint(directory).all_weights(),
        foreign.expected_weights("google_albert", tensors),
    )


def test_albert_with_square_embeddings_has_no_projection(tmp_path):
    tensors = tensors_of("google_albert", heads=False)
    tensors = {name: a for name, a in tensors.items() if "mapping_in" not in name}
    for name in foreign.TF1_TABLES:
        tensors[name] = np.repeat(tensors[name], 2, axis=1)[:, :20]
    for name in ("gamma", "beta"):
        tensors[f"bert/embeddings/LayerNorm/{name}"] = np.arange(20, dtype=np.float32)
    directory = foreign.write_tf1(tmp_path / "a", "google_albert", tensors, embedding_size=20)
    found = checkpoints.open_checkpoint(directory)
    assert found.config.embedding_dim is None
    assert found.config.activation == "gelu_tanh"
    assert len(dict(found.all_weights())) == len(tensors)


@pytest.mark.parametrize("place", ["here", "below"])
@pytest.mark.parametrize("prefix", ["bert_model.ckpt", "model.ckpt-1000000", "model.ckpt-best"])
def test_the_prefix_is_found_here_or_one_directory_below(prefix, place, tmp_path):
    directory = tmp_path / "a" if place == "here" else tmp_path / "a" / "uncased_L-2"
    foreign.write_tf1(directory, "google_bert", tensors_of("google_bert", False), prefix)
    found = checkpoints.open_checkpoint(tmp_path / "a")
    assert found.directory == directory
    assert found.config.num_segments == 3


def test_the_released_checkpoint_is_preferred_and_others_can_be_named(tmp_path):
    released, later = tensors_of("google_bert", False), tensors_of("google_bert", False, seed=1)
    foreign.write_tf1(tmp_path / "a", "google_bert", released)
    foreign.write_tf1(tmp_path / "a", "google_bert", later, "model.ckpt-5")
    name = "bert/pooler/dense/bias"

    def pooler_bias(path):
        return dict(checkpoints.open_checkpoint(path).all_weights())["pooler/bias"]

    np.testing.assert_array_equal(pooler_bias(tmp_path / "a"), released[name])
    np.testing.assert_array_equal(pooler_bias(tmp_path / "a" / "model.ckpt-5"), later[name])
    np.testing.assert_array_equal(pooler_bias(tmp_path / "a" / "model.ckpt-5.index"), later[name])


def test_several_checkpoints_of_a_run_are_told_apart_by_its_own_note(tmp_path):
    for step in (3, 5):
        tensors = tensors_of("google_bert", False, seed=step)
        foreign.write_tf1(tmp_path / "run", "google_bert", tensors, f"model.ckpt-{step}")
    with pytest.raises(ValueError, match=r"holds 2 checkpoints \(model.ckpt-3, model.ckpt-5\)"):
        checkpoints.open_checkpoint(tmp_path / "run")
    note = 'model_checkpoint_path: "model.ckpt-3"\nall_model_checkpoint_paths: "model.ckpt-5"\n'
    (tmp_path / "run" / "checkpoint").write_text(note)
    found = dict(checkpoints.open_checkpoint(tmp_path / "run").all_weights())
    tensors = tensors_of("google_bert", False, seed=3)
    np.testing.assert_array_equal(found["pooler/bias"], tensors["bert/pooler/dense/bias"])


def test_a_missing_and_an_extra_variable_are_both_named(tmp_path):
    tensors = tensors_of("google_bert", heads=False)
    del tensors["bert/encoder/layer_1/output/dense/bias"]
    tensors["bert/encoder/adapter"] = np.ones(3, np.float32)
    found = checkpoints.open_checkpoint(foreign.write_tf1(tmp_path / "a", "google_bert", tensors))
    with pytest.raises(ValueError, match="bert/encoder/adapter") as error:
        found.all_weights()
    assert "bert/encoder/layer_1/output/dense/bias" in str(error.value)


def test_a_preset_may_know_that_the_classifier_reads_tokens(tmp_path):
    directory = foreign.write_tf1(tmp_path / "a", "google_bert", tensors_of("google_bert"))
    assert "text_classifier" in checkpoints.open_checkpoint(directory).heads
    told = checkpoints.open_checkpoint(directory, expected_heads=["token_classifier"])
    assert told.heads["token_classifier"].num_outputs == 5
    assert "text_classifier" not in told.heads


def test_weights_without_a_configuration_raise(tmp_path):
    directory = foreign.write_tf1(tmp_path / "a", "google_bert", tensors_of("google_bert", False))
    (directory / "bert_config.json").unlink()
    with pytest.raises(ValueError, match=r"no bert_config.json"):
        checkpoints.open_checkpoint(directory)


def test_a_configuration_that_contradicts_the_weights_raises(tmp_path):
    directory = foreign.write_tf1(
        tmp_path / "a", "google_bert", tensors_of("google_bert", False), hidden_size=24
    )
    with pytest.raises(ValueError, match=r"bert_config.json contradicts the weights"):
        checkpoints.open_checkpoint(directory)


def test_more_layers_than_there_are_tensors_raise(tmp_path):
    directory = foreign.write_tf1(
        tmp_path / "a", "google_bert", tensors_of("google_bert", False), num_hidden_layers=900
    )
    with pytest.raises(ValueError, match="asks for 900 layers"):
        checkpoints.open_checkpoint(directory)


def test_a_truncated_checkpoint_is_named(tmp_path):
    directory = foreign.write_tf1(tmp_path / "a", "google_bert", tensors_of("google_bert", False))
    (directory / "bert_model.ckpt.index").write_bytes(b"not an index")
    with pytest.raises(ValueError, match=r"bert_model.ckpt is not a whole TensorFlow checkpoint"):
        checkpoints.open_checkpoint(directory)


def test_electra_of_tensorflow_1_is_refused_by_name(tmp_path):
    tensors = {"electra/embeddings/word_embeddings": np.ones((97, 20), np.float32)}
    directory = foreign.write_tf1(tmp_path / "a", "google_bert", tensors)
    with pytest.raises(ValueError, match="ELECTRA checkpoint of TensorFlow 1"):
        checkpoints.open_checkpoint(directory)


def test_the_vocabulary_beside_it_is_found_and_tells_the_case(tmp_path):
    directory = foreign.write_tf1(tmp_path / "a", "google_bert", tensors_of("google_bert", False))
    (directory / "vocab.txt").write_text("[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\nCat\n")
    found = checkpoints.open_checkpoint(directory)
    assert not found.tokenizer.lowercase
    assert found.files["vocabulary"].name == "vocab.txt"


def test_google_files_beside_an_unreadable_config_json_are_still_found(tmp_path):
    directory = foreign.write_tf1(tmp_path / "a", "google_bert", tensors_of("google_bert", False))
    shutil.copy(directory / "bert_config.json", directory / "config.json")
    assert checkpoints.open_checkpoint(directory).format == "google_bert"
    assert json.loads((directory / "config.json").read_text())["hidden_size"] == 20
