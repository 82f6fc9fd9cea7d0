"""What `Backbone.tap` shows of the inside: the values distillation compares."""

import keras
import numpy as np
import pytest

from tests.reference import build, cases, encoder

SHAPES = {
    "context": (21, 20),
    "intermediate": (21, 37),
    "hidden_states": (3, 7, 20),
    "attention_scores": (3, 4, 7, 7),
    "attention_probabilities": (3, 4, 7, 7),
    "query": (3, 4, 7, 5),
    "key": (3, 4, 7, 5),
    "value": (3, 4, 7, 5),
}
NAMES = sorted(SHAPES)


@pytest.fixture(scope="module", params=["bert", "roberta", "albert", "electra_small"])
def tapped(request):
    """One row with every tap, beside the reference."""
    row = request.param
    config = cases.BACKBONES[row]
    inputs = cases.random_inputs(config)
    outputs = build.shared_backbone(row).tap(*NAMES)(inputs)
    weights = cases.random_weights(cases.variable_shapes(config))
    return config, inputs, outputs, encoder.encode(config, weights, **inputs)


def test_taps_come_beside_the_usual_outputs(tapped):
    config, _, outputs, expected = tapped
    usual = ["sequence_output"] + (["pooled_output"] if config.pooler else [])
    assert sorted(outputs) == sorted([*NAMES, *usual])
    for name in usual:
        assert build.difference(outputs[name], expected[name]) < 1e-5


@pytest.mark.parametrize("name", NAMES)
def test_a_tap_is_a_list_with_one_tensor_per_layer(tapped, name):
    config, _, outputs, _ = tapped
    assert isinstance(outputs[name], list)
    assert len(outputs[name]) == config.num_layers + (name == "hidden_states")
    assert {tuple(value.shape) for value in outputs[name]} == {SHAPES[name]}


@pytest.mark.parametrize("name", ["hidden_states", "query", "key", "value"])
def test_hidden_states_and_heads_equal_the_reference(tapped, name):
    _, _, outputs, expected = tapped
    for ours, theirs in zip(outputs[name], expected[name], strict=True):
        assert build.difference(ours, theirs) < 1e-5


def test_the_last_hidden_state_is_the_sequence_output(tapped):
    _, _, outputs, _ = tapped
    np.testing.assert_array_equal(outputs["hidden_states"][-1], outputs["sequence_output"])


def test_scores_between_real_tokens_equal_the_reference(tapped):
    _, inputs, outputs, expected = tapped
    # What stands in the columns of padding is not promised.
    real = np.broadcast_to(inputs["padding_mask"][:, None, None, :] == 1, (3, 4, 7, 7))
    for ours, theirs in zip(outputs["attention_scores"], expected["attention_scores"], strict=True):
        assert np.abs(build.to_float32(ours) - theirs)[real].max() < 1e-5


def test_probabilities_equal_the_reference_and_padding_gets_none(tapped):
    _, inputs, outputs, expected = tapped
    padding = np.broadcast_to(inputs["padding_mask"][:, None, None, :] == 0, (3, 4, 7, 7))
    for ours, theirs in zip(
        outputs["attention_probabilities"], expected["attention_probabilities"], strict=True
    ):
        assert build.difference(ours, theirs) < 1e-5
        assert build.to_float32(ours)[padding].max() < 1e-12


@pytest.mark.parametrize("name", NAMES)
def test_one_tap_alone_brings_only_itself(name):
    outputs = build.shared_backbone("bert").tap(name)(cases.random_inputs(cases.SMALL))
    assert sorted(outputs) == sorted([name, "sequence_output", "pooled_output"])


def test_a_tapped_model_is_a_keras_model_on_the_same_variables():
    backbone = build.build_backbone(cases.SMALL)
    tapped = backbone.tap("hidden_states")
    assert isinstance(tapped, keras.Model)
    assert {id(v) for v in tapped.weights} <= {id(v) for v in backbone.weights}
    inputs = cases.random_inputs(cases.SMALL)
    before = build.to_float32(tapped(inputs)["hidden_states"][0])
    backbone.get_layer("embeddings").weights[0].assign_add(
        np.random.default_rng(1).normal(size=(31, 20)).astype("float32")
    )
    assert build.difference(tapped(inputs)["hidden_states"][0], before) > 1e-2


def test_an_unknown_tap_is_refused_with_the_known_ones():
    with pytest.raises(ValueError, match=r"hidden_states, attention_scores.*got 'hidden_state'"):
        build.shared_backbone("bert").tap("hidden_state")
