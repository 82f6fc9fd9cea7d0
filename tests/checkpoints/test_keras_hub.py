"""KerasHub directories written by hand with h5py, without KerasHub."""

import json

import h5py
import numpy as np
import pytest

from bertzoo import checkpoints
from tests.checkpoints import foreign

BLOCK = "layers/transformer_encoder{n}/"
SIZES = {
    "vocabulary_size": 97,
    "num_layers": 2,
    "num_heads": 4,
    "hidden_dim": 20,
    "intermediate_dim": 37,
    "max_sequence_length": 13,
    "num_segments": 3,
    "dropout": 0.2,
}


def bert_shapes():
    shapes = {
        "layers/reversible_embedding/vars/0": (97, 20),
        "layers/position_embedding/vars/0": (13, 20),
        "layers/embedding/vars/0": (3, 20),
        "layers/layer_normalization/vars/0": (20,),
        "layers/layer_normalization/vars/1": (20,),
        "layers/dense/vars/0": (20, 20),
        "layers/dense/vars/1": (20,),
    }
    for n in ("", "_1"):
        block = BLOCK.format(n=n)
        for name in ("query", "key", "value"):
            shapes[f"{block}_self_attention_layer/{name}_dense/vars/0"] = (20, 4, 5)
            shapes[f"{block}_self_attention_layer/{name}_dense/vars/1"] = (4, 5)
        shapes[f"{block}_self_attention_layer/output_dense/vars/0"] = (4, 5, 20)
        shapes[f"{block}_self_attention_layer/output_dense/vars/1"] = (20,)
        for norm in ("_self_attention_layer_norm", "_feedforward_layer_norm"):
            shapes[f"{block}{norm}/vars/0"] = shapes[f"{block}{norm}/vars/1"] = (20,)
        shapes[f"{block}_feedforward_intermediate_dense/vars/0"] = (20, 37)
        shapes[f"{block}_feedforward_intermediate_dense/vars/1"] = (37,)
        shapes[f"{block}_feedforward_output_dense/vars/0"] = (37, 20)
        shapes[f"{block}_feedforward_output_dense/vars/1"] = (20,)
    return shapes


def write(directory, tensors, package="keras_hub", **changes):
    directory.mkdir(exist_ok=True)
    config = {"registered_name": f"{package}>BertBackbone", "config": {**SIZES, **changes}}
    (directory / "config.json").write_text(json.dumps(config))
    foreign.write_h5(directory / "model.weights.h5", tensors)
    return directory


@pytest.fixture
def tensors():
    return foreign.random_tensors(bert_shapes())


@pytest.mark.parametrize("package", ["keras_hub", "keras_nlp"])
def test_every_value_lands_in_its_place(package, tensors, tmp_path):
    found = checkpoints.open_checkpoint(write(tmp_path / "a", tensors, package))
    assert found.format == "keras_hub"
    assert (found.config.activation, found.config.attention_dropout) == ("gelu_tanh", 0.2)
    weights = dict(found.all_weights())
    assert len(weights) == len(tensors)
    block = BLOCK.format(n="_1")
    attention = f"{block}_self_attention_layer/"
    for name in ("query", "key", "value"):
        kernel = weights[f"layer_1/attention/{name}/kernel"]
        theirs = tensors[f"{attention}{name}_dense/vars/0"]
        for head in range(4):  # head n owns five columns
            np.testing.assert_array_equal(kernel[:, 5 * head : 5 * head + 5], theirs[:, head])
        bias = weights[f"layer_1/attention/{name}/bias"]
        np.testing.assert_array_equal(bias, tensors[f"{attention}{name}_dense/vars/1"].ravel())
    kernel = weights["layer_1/attention/output/kernel"]
    for head in range(4):  # and five rows of the output kernel
        theirs = tensors[f"{attention}output_dense/vars/0"][head]
        np.testing.assert_array_equal(kernel[5 * head : 5 * head + 5], theirs)
    plain = {
        "embeddings/token/embeddings": "layers/reversible_embedding/vars/0",
        "embeddings/position/embeddings": "layers/position_embedding/vars/0",
        "embeddings/segment/embeddings": "layers/embedding/vars/0",
        "embeddings/norm/gamma": "layers/layer_normalization/vars/0",
        "embeddings/norm/beta": "layers/layer_normalization/vars/1",
        "layer_1/attention/output/bias": f"{attention}output_dense/vars/1",
        "layer_1/attention_norm/gamma": f"{block}_self_attention_layer_norm/vars/0",
        "layer_1/attention_norm/beta": f"{block}_self_attention_layer_norm/vars/1",
        "layer_1/intermediate/kernel": f"{block}_feedforward_intermediate_dense/vars/0",
        "layer_1/intermediate/bias": f"{block}_feedforward_intermediate_dense/vars/1",
        "layer_1/output/kernel": f"{block}_feedforward_output_dense/vars/0",
        "layer_1/output/bias": f"{block}_feedforward_output_dense/vars/1",
        "layer_1/output_norm/gamma": f"{block}_feedforward_layer_norm/vars/0",
        "layer_1/output_norm/beta": f"{block}_feedforward_layer_norm/vars/1",
        "pooler/kernel": "layers/dense/vars/0",
        "pooler/bias": "layers/dense/vars/1",
    }
    for ours, theirs in plain.items():
        np.testing.assert_array_equal(weights[ours], tensors[theirs], err_msg=ours)


def test_what_is_read_and_exported_again_is_equal_to_the_bit(tensors, tmp_path):
    source = write(tmp_path / "a", tensors)
    checkpoints.export_checkpoint(source, tmp_path / "b", "keras_hub")
    with h5py.File(tmp_path / "b" / "model.weights.h5") as file:
        for name, array in tensors.items():
            np.testing.assert_array_equal(file[name][()], array, err_msg=name)


def test_the_folder_name_of_old_keras_versions_is_understood(tensors, tmp_path):
    old = {
        name.replace("layers/", "_layer_checkpoint_dependencies/", 1): array
        for name, array in tensors.items()
    }
    new = dict(checkpoints.open_checkpoint(write(tmp_path / "a", tensors)).all_weights())
    found = dict(checkpoints.open_checkpoint(write(tmp_path / "b", old)).all_weights())
    assert all(np.array_equal(new[path], found[path]) for path in new)


def test_a_missing_and_an_extra_array_are_both_named(tensors, tmp_path):
    lost = "layers/transformer_encoder_1/_feedforward_output_dense/vars/1"
    del tensors[lost]
    tensors["layers/adapter/vars/0"] = np.ones(3, np.float32)
    found = checkpoints.open_checkpoint(write(tmp_path / "a", tensors))
    with pytest.raises(ValueError, match="layers/adapter/vars/0") as error:
        found.all_weights()
    assert lost in str(error.value)


def test_a_wrong_number_of_heads_contradicts_the_arrays(tensors, tmp_path):
    with pytest.raises(ValueError, match=r"is \(20, 4, 5\), not \(20, 5, 4\)"):
        checkpoints.open_checkpoint(write(tmp_path / "a", tensors, num_heads=5))


def test_an_unknown_argument_is_named(tensors, tmp_path):
    """KerasHub passes over unknown keys in silence, whatever they were meant to change."""
    with pytest.raises(ValueError, match="unknown key `layer_norm_epsilon`"):
        checkpoints.open_checkpoint(write(tmp_path / "a", tensors, layer_norm_epsilon=0.5))


@pytest.mark.parametrize("kind", ["soft", "external", "data"])
def test_links_are_not_followed(kind, tensors, tmp_path):
    directory = write(tmp_path / "a", tensors)
    foreign.write_h5(tmp_path / "secret.h5", {"secret": np.ones(20, np.float32)})
    with h5py.File(directory / "model.weights.h5", "a") as file:
        del file["layers/dense/vars/1"]
        if kind == "soft":
            file["layers/dense/vars/1"] = h5py.SoftLink("/layers/layer_normalization/vars/0")
        elif kind == "external":
            link = h5py.ExternalLink(str(tmp_path / "secret.h5"), "secret")
            file["layers/dense/vars/1"] = link
        else:
            (tmp_path / "raw").write_bytes(bytes(80))
            file.create_dataset(
                "layers/dense/vars/1", (20,), "f4", external=[(str(tmp_path / "raw"), 0, 80)]
            )
    with pytest.raises(ValueError, match=r"`layers/dense/vars/1` (is a link|keeps its data)"):
        checkpoints.open_checkpoint(directory)


@pytest.mark.parametrize("content", [b"", b"not HDF5"])
def test_a_damaged_file_is_named(content, tensors, tmp_path):
    directory = write(tmp_path / "a", tensors)
    (directory / "model.weights.h5").write_bytes(content)
    with pytest.raises(ValueError, match=r"model.weights.h5 is not a whole HDF5 file"):
        checkpoints.open_checkpoint(directory)


def task(directory, name, **arguments):
    value = {"registered_name": f"keras_hub>{name}", "config": arguments}
    (directory / "task.json").write_text(json.dumps(value))


def test_a_classifier_and_its_optimizer(tensors, tmp_path):
    directory = write(tmp_path / "a", tensors)
    task(directory, "BertTextClassifier", num_classes=5, activation="linear", dropout=0.4)
    head = foreign.random_tensors({"layers/dense/vars/0": (20, 5), "layers/dense/vars/1": (5,)}, 1)
    slots = {"optimizer/vars/0": np.array(3), "optimizer/vars/1": np.ones((97, 20))}
    foreign.write_h5(directory / "task.weights.h5", {**head, **slots})
    found = checkpoints.open_checkpoint(directory)
    assert found.heads["text_classifier"].dropout == 0.4
    weights = dict(found.all_weights())
    kernel = weights["text_classifier/logits/kernel"]
    np.testing.assert_array_equal(kernel, head["layers/dense/vars/0"])
    task(directory, "BertTextClassifier", num_classes=6)
    with pytest.raises(ValueError, match="num_classes 6, but the weights have 5"):
        checkpoints.open_checkpoint(directory)
    task(directory, "BertTextClassifier", num_classes=5, activation="relu")
    assert "relu" in checkpoints.open_checkpoint(directory).unread_heads["text_classifier"]


def test_a_masked_lm_has_kerashubs_own_epsilon_and_activation(tensors, tmp_path):
    directory = write(tmp_path / "a", tensors)
    task(directory, "BertMaskedLM")
    prefix = "layers/masked_lm_head/"
    head = foreign.random_tensors(
        {
            f"{prefix}_intermediate_dense/vars/0": (20, 20),
            f"{prefix}_intermediate_dense/vars/1": (20,),
            f"{prefix}_intermediate_layer_norm/vars/0": (20,),
            f"{prefix}_intermediate_layer_norm/vars/1": (20,),
            f"{prefix}vars/0": (97,),
        },
        seed=2,
    )
    foreign.write_h5(directory / "task.weights.h5", head)
    found = checkpoints.open_checkpoint(directory)
    config = found.heads["masked_lm"]
    assert (config.hidden_activation, config.layer_norm_epsilon) == ("gelu", 1e-5)
    weights = dict(found.all_weights())
    np.testing.assert_array_equal(weights["masked_lm/bias"], head[f"{prefix}vars/0"])
    gamma = head[f"{prefix}_intermediate_layer_norm/vars/0"]
    np.testing.assert_array_equal(weights["masked_lm/norm/gamma"], gamma)


@pytest.mark.parametrize("name", ["FNetBackbone", "XLMRobertaBackbone", "GemmaBackbone"])
def test_other_classes_are_refused_by_name(name, tensors, tmp_path):
    directory = write(tmp_path / "a", tensors)
    raw = json.loads((directory / "config.json").read_text())
    raw["registered_name"] = f"keras_hub>{name}"
    (directory / "config.json").write_text(json.dumps(raw))
    with pytest.raises(ValueError, match=name):
        checkpoints.open_checkpoint(directory)


def test_the_tokenizer_keeps_what_keras_hub_would_do(tensors, tmp_path):
    directory = write(tmp_path / "a", tensors)
    value = {"registered_name": "keras_hub>BertTokenizer", "config": {"lowercase": True}}
    (directory / "tokenizer.json").write_text(json.dumps(value))
    (directory / "preprocessor.json").write_text(json.dumps({"config": {"sequence_length": 9}}))
    (directory / "assets" / "tokenizer").mkdir(parents=True)
    (directory / "assets" / "tokenizer" / "vocabulary.txt").write_text("[PAD]\n")
    found = checkpoints.open_checkpoint(directory)
    assert (found.tokenizer.lowercase, found.tokenizer.strip_accents) == (True, False)
    assert found.tokenizer.sequence_length == 9
    assert found.files["vocabulary"].read_text() == "[PAD]\n"
