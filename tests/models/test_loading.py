"""From a checkpoint to the variables of a model, and back into a preset directory."""

import hashlib
import json

import keras
import numpy as np
import pytest
import tensorflow as tf
from safetensors.numpy import load_file, save_file

from bertzoo.checkpoints import open_checkpoint, write_preset
from bertzoo.config import BackboneConfig, HeadConfig
from bertzoo.models import loading
from bertzoo.models.backbone import Backbone
from bertzoo.models.loading import load_weights, weights_of
from bertzoo.models.networks import network_from_preset
from tests.reference import build, cases, encoder

ROWS = ["bert", "distilbert", "roberta", "albert_groups", "electra_small"]


def written(directory, config, heads=(), weights=None):
    """Write a preset directory with random weights, without any model."""
    if weights is None:
        weights = cases.random_weights(cases.variable_shapes(config))
        for head in heads:
            weights |= cases.random_weights(cases.head_shapes(config, head))
    return write_preset(
        directory,
        config=config,
        heads={head.kind: head for head in heads},
        tokenizer=None,
        files={},
        weights=weights.items(),
        info={},
    )


def assert_same_weights(first, second):
    first, second = weights_of(first), weights_of(second)
    assert sorted(first) == sorted(second)
    for path, variable in first.items():
        assert variable.dtype == second[path].dtype, path
        np.testing.assert_array_equal(build.to_float32(variable), build.to_float32(second[path]))


@pytest.mark.parametrize("row", ROWS)
def test_a_saved_backbone_is_loaded_bit_equal(row, tmp_path):
    backbone = build.shared_backbone(row)
    backbone.save_to_preset(tmp_path / "saved")
    again = Backbone.from_preset(tmp_path / "saved")
    assert again.config == backbone.config
    assert_same_weights(backbone, again)
    inputs = cases.random_inputs(backbone.config)
    for name, value in backbone(inputs).items():
        np.testing.assert_array_equal(value, again(inputs)[name])


def test_the_directory_may_be_given_as_text(tmp_path):
    build.shared_backbone("bert").save_to_preset(str(tmp_path / "saved"))
    assert_same_weights(
        build.shared_backbone("bert"), Backbone.from_preset(str(tmp_path / "saved"))
    )


def test_a_preset_directory_holds_weights_by_path_a_config_and_a_card(tmp_path):
    config = cases.BACKBONES["albert"]
    build.shared_backbone("albert").save_to_preset(tmp_path / "saved")
    names = {path.name for path in (tmp_path / "saved").iterdir()}
    assert names == {"preset.json", "weights.safetensors", "README.md"}
    stored = load_file(tmp_path / "saved" / "weights.safetensors")
    assert {path: value.shape for path, value in stored.items()} == cases.variable_shapes(config)
    assert "format" in "".join(json.loads((tmp_path / "saved" / "preset.json").read_text()))
    assert BackboneConfig.from_preset(tmp_path / "saved") == config


def test_a_trained_backbone_is_saved_without_optimizer_state(tmp_path):
    backbone = build.build_backbone(cases.SMALL.replace(num_layers=1))
    backbone.compile("adam", "mean_squared_error")
    inputs = cases.random_inputs(cases.SMALL)
    targets = {name: np.ones(value.shape, "float32") for name, value in backbone(inputs).items()}
    backbone.train_on_batch(inputs, targets)
    backbone.save_to_preset(tmp_path / "saved")
    stored = load_file(tmp_path / "saved" / "weights.safetensors")
    assert sorted(stored) == sorted(cases.variable_shapes(backbone.config))
    assert_same_weights(backbone, Backbone.from_preset(tmp_path / "saved"))


def test_the_architecture_alone_comes_with_new_weights(tmp_path):
    written(tmp_path / "saved", cases.SMALL)
    backbone = Backbone.from_preset(tmp_path / "saved", load_weights=False)
    assert backbone.config == cases.SMALL
    assert (weights_of(backbone)["pooler/bias"].numpy() == 0).all()


def test_a_preset_name_gives_its_architecture():
    backbone = Backbone.from_preset("bert_l2_h128_en_uncased", load_weights=False)
    assert backbone.count_params() == 4_385_920


def test_weights_are_stored_in_bfloat16_where_that_is_asked_for(tmp_path):
    written(tmp_path / "saved", cases.SMALL)
    backbone = Backbone.from_preset(tmp_path / "saved", dtype="bfloat16")
    assert_same_weights(backbone, build.build_backbone(cases.SMALL, "bfloat16"))


@pytest.mark.parametrize("dtype", ["bfloat16"])
def test_a_backbone_in_bfloat16_is_saved_and_loaded_bit_equal(dtype, tmp_path):
    backbone = build.shared_backbone("bert", dtype)
    backbone.save_to_preset(tmp_path / "saved")
    assert_same_weights(backbone, Backbone.from_preset(tmp_path / "saved", dtype=dtype))


@pytest.mark.parametrize(
    "row", ["masked_lm", "masked_lm_untied", "classifier_roberta", "embedder_projections"]
)
def test_a_network_with_the_head_of_the_checkpoint_equals_the_reference(row, tmp_path):
    backbone, head = cases.HEADS[row]
    config = cases.BACKBONES[backbone]
    written(tmp_path / "saved", config, [head])
    network, checkpoint = network_from_preset(tmp_path / "saved", head.kind)
    assert network.head == checkpoint.heads[head.kind] == head
    weights = cases.random_weights(cases.variable_shapes(config, head))
    inputs = cases.random_inputs(config, head)
    expected = encoder.head_outputs(config, head, weights, inputs)
    assert build.difference(network(inputs), expected) < 1e-5


def test_a_new_head_is_random_on_a_loaded_backbone(tmp_path):
    written(tmp_path / "saved", cases.SMALL)
    head = HeadConfig("text_classifier", labels=("no", "yes", "maybe"))
    network, _ = network_from_preset(tmp_path / "saved", head.kind, head=lambda config: head)
    assert network.head.labels == ("no", "yes", "maybe")
    assert_same_weights(network.backbone, build.shared_backbone("bert"))
    assert np.abs(weights_of(network)["text_classifier/logits/kernel"].numpy()).max() > 0


def test_a_new_head_takes_the_place_of_the_stored_one(tmp_path):
    stored = HeadConfig("text_classifier", num_outputs=5)
    written(tmp_path / "saved", cases.SMALL, [stored])
    head = HeadConfig("text_classifier", num_outputs=2)
    network, _ = network_from_preset(tmp_path / "saved", head.kind, head=lambda config: head)
    assert weights_of(network)["text_classifier/logits/kernel"].shape == (20, 2)
    assert_same_weights(network.backbone, build.shared_backbone("bert"))


@pytest.mark.parametrize(
    "heads",
    [(), (HeadConfig("masked_lm", hidden_activation="gelu"), HeadConfig("question_answerer"))],
    ids=["no head", "two heads"],
)
def test_a_head_that_the_checkpoint_lacks_is_refused_with_those_it_has(heads, tmp_path):
    written(tmp_path / "saved", cases.SMALL, heads)
    with pytest.raises(ValueError, match="text_classifier") as error:
        network_from_preset(tmp_path / "saved", "text_classifier")
    for head in heads:
        assert head.kind in str(error.value)


def test_a_backbone_leaves_the_heads_of_its_checkpoint_alone(tmp_path):
    heads = (HeadConfig("masked_lm", hidden_activation="gelu"), HeadConfig("question_answerer"))
    written(tmp_path / "saved", cases.SMALL, heads)
    assert_same_weights(Backbone.from_preset(tmp_path / "saved"), build.shared_backbone("bert"))


def test_some_parts_may_be_loaded_alone(tmp_path):
    written(tmp_path / "saved", cases.SMALL)
    backbone = Backbone(cases.SMALL)
    load_weights(backbone, open_checkpoint(tmp_path / "saved"), parts={"pooler"})
    loaded, expected = weights_of(backbone), weights_of(build.shared_backbone("bert"))
    for path, variable in loaded.items():
        same = np.array_equal(variable.numpy(), expected[path].numpy())
        assert same is path.startswith("pooler/"), path


# What must not pass ------------------------------------------------------------------------------


def edited(directory, edit):
    """Change the stored tensors of a preset directory, and the checksum with them."""
    written(directory, cases.SMALL)
    path, described = directory / "weights.safetensors", directory / "preset.json"
    old = hashlib.sha256(path.read_bytes()).hexdigest()
    stored = load_file(path)
    edit(stored)
    save_file(stored, path)
    new = hashlib.sha256(path.read_bytes()).hexdigest()
    assert old in described.read_text()
    described.write_text(described.read_text().replace(old, new))
    return directory


def test_a_missing_and_an_extra_tensor_are_both_named(tmp_path):
    def rename(stored):
        stored["layer_0/attention/query/wrong"] = stored.pop("layer_0/attention/query/kernel")

    with pytest.raises(ValueError, match="layer_0/attention/query") as error:
        Backbone.from_preset(edited(tmp_path / "saved", rename))
    assert "layer_0/attention/query/kernel" in str(error.value)
    assert "layer_0/attention/query/wrong" in str(error.value)


@pytest.mark.parametrize(
    ("edit", "named"),
    [
        (lambda s: s.pop("pooler/bias"), "pooler/bias"),
        (lambda s: s.update(extra=np.ones(3, "float32")), "extra"),
        (lambda s: s.update({"pooler/bias": np.ones(21, "float32")}), "pooler/bias"),
        (
            lambda s: s.update({"layer_1/output/kernel": np.ones((20, 37), "float32")}),
            "layer_1/output/kernel",
        ),
    ],
    ids=["missing", "extra", "one row too many", "transposed"],
)
def test_tensors_that_do_not_fit_are_refused_by_name(edit, named, tmp_path):
    with pytest.raises(ValueError, match=named):
        Backbone.from_preset(edited(tmp_path / "saved", edit))


def test_a_refused_checkpoint_changes_no_variable(tmp_path):
    directory = edited(tmp_path / "saved", lambda stored: stored.pop("pooler/bias"))
    backbone = build.build_backbone(cases.SMALL)
    with pytest.raises(ValueError, match="pooler/bias"):
        load_weights(backbone, open_checkpoint(directory))
    assert_same_weights(backbone, build.shared_backbone("bert"))


def test_an_unknown_preset_names_the_nearest():
    with pytest.raises(ValueError, match="bert_base_en_uncased"):
        Backbone.from_preset("bert_base_en_uncase")


def test_a_preset_whose_files_are_not_here_says_where_to_get_them(monkeypatch, tmp_path):
    monkeypatch.setenv("BERTZOO_HOME", str(tmp_path))
    with pytest.raises(ValueError, match="bert_l2_h128_en_uncased") as error:
        Backbone.from_preset("bert_l2_h128_en_uncased")
    assert str(tmp_path) in str(error.value)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_a_large_weight_is_filled_part_by_part(dtype, monkeypatch):
    monkeypatch.setattr(loading, "PART_BYTES", 100)
    values = np.random.default_rng(0).normal(size=(17, 3)).astype("float32")
    weight = keras.Variable(np.zeros((17, 3)), dtype=dtype)
    whole = []
    monkeypatch.setattr(keras.Variable, "assign", lambda *arguments: whole.append(arguments))
    loading.assign(weight, values)
    assert not whole  # 17 rows of 12 bytes, 8 at a time
    expected = values.astype(weight.numpy().dtype)
    np.testing.assert_array_equal(weight.numpy(), expected)
    # Nor is it copied at every read from then on, as TensorFlow does after a part was written.
    first, second = (
        np.frombuffer(memoryview(tf.bitcast(weight.value.read_value(), "uint8")), "uint8")
        for _ in range(2)
    )
    assert np.shares_memory(first, second)
