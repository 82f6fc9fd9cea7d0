"""Keras's own idioms on a backbone: configs, clones, saving, composition, freezing, training."""

import keras
import numpy as np
import pytest

from bertzoo.config import HeadConfig
from bertzoo.models.backbone import Backbone
from bertzoo.models.loading import weights_of
from bertzoo.models.networks import build_network
from tests.reference import build, cases, encoder

ROWS = ["bert", "distilbert", "roberta", "albert_groups", "electra_small"]
SMALL = cases.SMALL


def assert_same_outputs(first, second, inputs):
    first, second = first(inputs), second(inputs)
    assert sorted(first) == sorted(second)
    for name, value in first.items():
        np.testing.assert_array_equal(build.to_float32(value), build.to_float32(second[name]))


@pytest.mark.parametrize("row", ROWS)
def test_from_config_makes_the_same_architecture(row):
    backbone = build.build_backbone(cases.BACKBONES[row], name="encoder")
    again = Backbone.from_config(backbone.get_config())
    assert isinstance(again, Backbone)
    assert again.config == backbone.config
    assert again.name == "encoder"
    again.set_weights(backbone.get_weights())
    assert_same_outputs(backbone, again, cases.random_inputs(backbone.config))


def test_get_config_can_be_written_as_json():
    config = build.shared_backbone("albert_groups", "bfloat16").get_config()
    text = keras.saving.serialize_keras_object(config)
    again = Backbone.from_config(keras.saving.deserialize_keras_object(text))
    assert again.config == cases.BACKBONES["albert_groups"]
    assert again.weights[0].dtype == "bfloat16"


@pytest.mark.parametrize("row", ROWS)
def test_a_clone_has_variables_of_its_own(row):
    backbone = build.shared_backbone(row)
    clone = keras.models.clone_model(backbone)
    assert not {id(v) for v in clone.weights} & {id(v) for v in backbone.weights}
    clone.set_weights(backbone.get_weights())
    assert_same_outputs(backbone, clone, cases.random_inputs(cases.BACKBONES[row]))


@pytest.mark.parametrize("part", ["backbone", "network"])
def test_a_keras_file_keeps_what_was_frozen_and_lets_it_go_again(part, tmp_path):
    model = backbone = build.build_backbone(cases.BACKBONES["bert"])
    if part == "network":
        model = build_network(backbone, HeadConfig("text_classifier", num_outputs=3))
        model.get_layer("text_classifier").trainable = False
    backbone.embeddings.trainable = False
    backbone.encoder_layers[0].trainable = False
    weights_of(backbone)["layer_1/intermediate/bias"].trainable = False
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    paths = [{weight.path for weight in m.trainable_weights} for m in (model, loaded)]
    assert paths[0] == paths[1]
    assert "layer_1/intermediate/kernel" in paths[1]
    assert not {path for path in paths[1] if path.startswith(("embed", "layer_0", "text_"))}
    again = loaded if part == "backbone" else loaded.backbone
    again.encoder_layers[0].trainable = True
    assert "layer_0/attention/query/kernel" in {w.path for w in loaded.trainable_weights}


@pytest.mark.parametrize("row", ROWS)
@pytest.mark.parametrize("dtype", [None, "bfloat16"])
def test_keras_saving_and_loading_is_bit_equal(row, dtype, tmp_path):
    backbone = build.shared_backbone(row, dtype)
    backbone.save(tmp_path / "backbone.keras")
    again = keras.saving.load_model(tmp_path / "backbone.keras")
    assert isinstance(again, Backbone)
    assert again.config == backbone.config
    assert {v.dtype for v in again.weights} == {v.dtype for v in backbone.weights}
    assert_same_outputs(backbone, again, cases.random_inputs(cases.BACKBONES[row]))


def test_weights_alone_are_saved_and_loaded_bit_equal(tmp_path):
    backbone = build.shared_backbone("albert")
    backbone.save_weights(tmp_path / "x.weights.h5")
    again = Backbone(backbone.config)
    again.load_weights(tmp_path / "x.weights.h5")
    assert_same_outputs(backbone, again, cases.random_inputs(backbone.config))


def classifier(backbone, loss="mean_squared_error", optimizer=None):
    """Return a backbone inside one's own functional model, compiled."""
    inputs = {
        name: keras.Input((None,), dtype="int32", name=name)
        for name in ("token_ids", "segment_ids", "padding_mask")
    }
    outputs = backbone(inputs)
    mean = keras.layers.GlobalAveragePooling1D()(outputs["sequence_output"])
    logits = keras.layers.Dense(2)(keras.layers.Concatenate()([mean, outputs["pooled_output"]]))
    model = keras.Model(inputs, logits)
    model.compile(optimizer or keras.optimizers.SGD(0.1), loss)
    return model


def without_dropout(config=SMALL):
    return config.replace(dropout=0.0, attention_dropout=0.0)


def test_a_backbone_works_inside_ones_own_functional_model(tmp_path):
    model = classifier(build.build_backbone(SMALL))
    inputs = cases.random_inputs(SMALL)
    weights = cases.random_weights(cases.variable_shapes(SMALL))
    expected = encoder.encode(SMALL, weights, **inputs)
    both = np.concatenate([expected["sequence_output"].mean(1), expected["pooled_output"]], -1)
    kernel, bias = (build.to_float32(v) for v in model.layers[-1].weights)
    before = model.predict(inputs, verbose=0)
    assert build.difference(before, both @ kernel + bias) < 1e-5
    model.save(tmp_path / "own.keras")
    again = keras.saving.load_model(tmp_path / "own.keras")
    np.testing.assert_array_equal(again.predict(inputs, verbose=0), before)


def test_a_functional_model_may_leave_out_the_optional_inputs():
    token_ids = keras.Input((None,), dtype="int32", name="token_ids")
    model = keras.Model(token_ids, build.shared_backbone("bert")({"token_ids": token_ids}))
    inputs = cases.random_inputs(SMALL)
    weights = cases.random_weights(cases.variable_shapes(SMALL))
    expected = encoder.encode(SMALL, weights, inputs["token_ids"])
    ours = model(inputs["token_ids"])["sequence_output"]
    assert build.difference(ours, expected["sequence_output"]) < 1e-5


def test_predict_gives_what_a_call_gives():
    inputs = cases.random_inputs(SMALL)
    called = build.shared_backbone("bert")(inputs)
    predicted = build.shared_backbone("bert").predict(inputs, verbose=0)
    for name, value in called.items():
        # A graph may fuse what eager calls run one by one: the last digit moves.
        np.testing.assert_allclose(predicted[name], value, rtol=0, atol=1e-5)


def test_frozen_first_layers_keep_their_values_and_leave_the_trainable_list():
    backbone = build.build_backbone(SMALL.replace(num_layers=3))
    everything = len(backbone.trainable_variables)
    frozen = ("embeddings", "layer_0", "layer_1")
    for name in frozen:
        backbone.get_layer(name).trainable = False
    before = {path: v.numpy().copy() for path, v in weights_of(backbone).items()}
    still = [path for path in before if path.split("/")[0] not in frozen]
    assert len(backbone.trainable_variables) == len(still) < everything
    model = classifier(backbone)
    model.train_on_batch(cases.random_inputs(SMALL), np.ones((3, 2), "float32"))
    after = {path: v.numpy() for path, v in weights_of(backbone).items()}
    changed = {path for path in before if not np.array_equal(before[path], after[path])}
    # A key bias has no gradient but rounding: the softmax takes it out.
    assert {p for p in changed if p.split("/")[0] in frozen} == set()
    assert set(still) - changed <= {"layer_2/attention/key/bias"}


@pytest.mark.parametrize("row", ["bert", "albert", "roberta_with_pooler"])
def test_one_training_step_changes_every_variable(row):
    backbone = build.build_backbone(without_dropout(cases.BACKBONES[row]))
    before = {path: v.numpy().copy() for path, v in weights_of(backbone).items()}
    model = classifier(backbone)
    model.train_on_batch(cases.random_inputs(backbone.config), np.ones((3, 2), "float32"))
    same = {p for p, v in weights_of(backbone).items() if np.array_equal(before[p], v.numpy())}
    assert {path for path in same if not path.endswith("attention/key/bias")} == set()


def test_dropout_acts_in_training_only():
    backbone, inputs = build.shared_backbone("bert"), cases.random_inputs(SMALL)
    plain = build.to_float32(backbone(inputs, training=False)["sequence_output"])
    first = build.to_float32(backbone(inputs, training=True)["sequence_output"])
    second = build.to_float32(backbone(inputs, training=True)["sequence_output"])
    np.testing.assert_array_equal(plain, backbone(inputs)["sequence_output"])
    assert np.abs(first - plain).max() > 1e-2
    assert np.abs(first - second).max() > 1e-2


@pytest.mark.parametrize("changes", [{"dropout": 0.0}, {"attention_dropout": 0.0}])
def test_each_dropout_rate_acts_alone(changes):
    backbone = build.build_backbone(SMALL.replace(**changes))
    inputs = cases.random_inputs(SMALL)
    plain = build.to_float32(backbone(inputs)["sequence_output"])
    trained = build.to_float32(backbone(inputs, training=True)["sequence_output"])
    assert np.abs(trained - plain).max() > 1e-3


def test_a_model_without_dropout_is_the_same_in_training():
    backbone = build.build_backbone(without_dropout())
    inputs = cases.random_inputs(SMALL)
    np.testing.assert_allclose(
        backbone(inputs, training=True)["sequence_output"],
        backbone(inputs)["sequence_output"],
        rtol=0,
        atol=2e-6,
    )


def test_new_weights_are_a_truncated_normal_with_ones_and_zeros_beside():
    config = SMALL.replace(vocabulary_size=997, hidden_dim=60, initializer_range=0.5)
    for path, variable in weights_of(Backbone(config)).items():
        value, name = variable.numpy(), path.rsplit("/", 1)[1]
        if name in ("bias", "beta"):
            assert (value == 0).all(), path
        elif name == "gamma":
            assert (value == 1).all(), path
        else:
            # BERT truncates at two deviations, which leaves 0.88 of the deviation.
            assert np.abs(value).max() <= 2 * 0.5 + 1e-6, path
            # The smallest table has 120 entries: four standard errors are a quarter.
            assert abs(value.std() / (0.88 * 0.5) - 1.0) < 0.3, path


def test_a_seed_makes_new_weights_repeatable():
    keras.utils.set_random_seed(11)
    first = Backbone(SMALL).get_weights()
    keras.utils.set_random_seed(11)
    second = Backbone(SMALL).get_weights()
    for one, other in zip(first, second, strict=True):
        np.testing.assert_array_equal(one, other)
