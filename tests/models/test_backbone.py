"""The backbone against the NumPy reference: one row per architecture, asymmetric weights."""

import numpy as np
import pytest

from bertzoo.models.loading import weights_of
from tests.reference import build, cases, encoder

# Float32 has seven digits; the outputs of a post-LN encoder are of order one.
TOLERANCE = 1.0e-5

SMALL = cases.SMALL
ROWS = sorted(cases.BACKBONES)


def reference_outputs(row, inputs, weights=None, **changes):
    """Return what the reference gives for a row, or for a mistaken form of it."""
    config = cases.BACKBONES[row]
    if weights is None:
        weights = cases.random_weights(cases.variable_shapes(config))
    return encoder.encode(config.replace(**changes), weights, **inputs)


@pytest.mark.parametrize("row", ROWS)
def test_outputs_equal_the_reference(row):
    config = cases.BACKBONES[row]
    inputs = cases.random_inputs(config)
    outputs = build.shared_backbone(row)(inputs)
    expected = reference_outputs(row, inputs)
    assert sorted(outputs) == (["pooled_output"] if config.pooler else []) + ["sequence_output"]
    for name, value in outputs.items():
        assert build.difference(value, expected[name]) < TOLERANCE, name


@pytest.mark.parametrize("row", ROWS)
def test_variables_are_those_of_the_weight_contract(row):
    shapes = {path: tuple(v.shape) for path, v in weights_of(build.shared_backbone(row)).items()}
    assert shapes == cases.variable_shapes(cases.BACKBONES[row])


@pytest.mark.parametrize("row", ROWS)
def test_parameter_count_equals_the_closed_form(row):
    backbone, config = build.shared_backbone(row), cases.BACKBONES[row]
    assert backbone.count_params() == config.parameter_count()
    assert sum(v.shape.num_elements() for v in backbone.weights) == config.parameter_count()


@pytest.mark.parametrize("row", ["bert", "distilbert", "roberta", "albert_groups"])
def test_inputs_are_int32_of_any_batch_and_length(row):
    config, inputs = cases.BACKBONES[row], build.shared_backbone(row).input
    expected = {"token_ids", "padding_mask"} | ({"segment_ids"} if config.num_segments else set())
    assert set(inputs) == expected
    assert {tensor.dtype for tensor in inputs.values()} == {"int32"}
    assert {tuple(tensor.shape) for tensor in inputs.values()} == {(None, None)}


def test_the_config_is_kept():
    assert build.shared_backbone("albert_groups").config == cases.BACKBONES["albert_groups"]


# Padding -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("row", ["bert", "distilbert", "roberta", "albert", "electra_small"])
def test_padding_does_not_change_other_tokens(row):
    config, backbone = cases.BACKBONES[row], build.shared_backbone(row)
    short = cases.random_inputs(config, batch=1, length=4)
    # The padding has token 30 and segment 0: it must not matter what stands there.
    fill = {"token_ids": 30, "padding_mask": 0, "segment_ids": 0}
    padded = {k: np.pad(v, ((0, 0), (0, 5)), constant_values=fill[k]) for k, v in short.items()}
    before, after = backbone(short), backbone(padded)
    np.testing.assert_allclose(
        after["sequence_output"][:, :4], before["sequence_output"], rtol=0, atol=2e-6
    )


def test_padding_on_the_left_does_not_move_roberta_positions():
    config, backbone = cases.BACKBONES["roberta"], build.shared_backbone("roberta")
    short = cases.random_inputs(config, batch=1, length=4)
    padded = {name: np.pad(value, ((0, 0), (3, 0))) for name, value in short.items()}
    before, after = backbone(short), backbone(padded)
    np.testing.assert_allclose(
        after["sequence_output"][:, 3:], before["sequence_output"], rtol=0, atol=2e-6
    )


@pytest.mark.parametrize("row", ["bert", "roberta", "albert"])
@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "mixed_bfloat16", "mixed_float16"])
def test_a_fully_masked_row_stays_finite(row, dtype):
    inputs = cases.random_inputs(cases.BACKBONES[row])
    inputs["padding_mask"][1] = 0
    outputs = build.shared_backbone(row, dtype)(inputs)
    assert all(np.isfinite(build.to_float32(value)).all() for value in outputs.values())


def test_a_fully_masked_row_does_not_change_the_other_rows():
    inputs = cases.random_inputs(SMALL)
    before = build.to_float32(build.shared_backbone("bert")(inputs)["sequence_output"])
    inputs["padding_mask"][1] = 0
    after = build.to_float32(build.shared_backbone("bert")(inputs)["sequence_output"])
    np.testing.assert_allclose(after[[0, 2]], before[[0, 2]], rtol=0, atol=2e-6)


# Inputs ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("row", ["bert", "roberta"])
def test_missing_segments_are_zeros_and_a_missing_mask_is_ones(row):
    backbone, inputs = build.shared_backbone(row), cases.random_inputs(cases.BACKBONES[row])
    token_ids = inputs["token_ids"]
    expected = reference_outputs(
        row,
        {
            "token_ids": token_ids,
            "segment_ids": np.zeros_like(token_ids),
            "padding_mask": np.ones_like(token_ids),
        },
    )
    alone = backbone({"token_ids": token_ids})["sequence_output"]
    assert build.difference(alone, expected["sequence_output"]) < TOLERANCE


@pytest.mark.parametrize("missing", ["segment_ids", "padding_mask"])
def test_each_optional_input_may_be_missing_alone(missing):
    inputs = cases.random_inputs(SMALL)
    del inputs[missing]
    expected = reference_outputs("bert", inputs)
    outputs = build.shared_backbone("bert")(inputs)
    assert build.difference(outputs["sequence_output"], expected["sequence_output"]) < TOLERANCE


def test_a_model_without_segments_takes_token_ids_alone():
    inputs = cases.random_inputs(cases.BACKBONES["distilbert"])
    expected = reference_outputs("distilbert", {"token_ids": inputs["token_ids"]})
    outputs = build.shared_backbone("distilbert")({"token_ids": inputs["token_ids"]})
    assert build.difference(outputs["sequence_output"], expected["sequence_output"]) < TOLERANCE


def test_missing_token_ids_are_named():
    with pytest.raises(ValueError, match="token_ids"):
        build.shared_backbone("bert")({"padding_mask": np.ones((3, 7), "int32")})


def test_an_unknown_input_is_named():
    inputs = cases.random_inputs(SMALL)
    inputs["input_ids"] = inputs.pop("token_ids")
    with pytest.raises(ValueError, match=r"input_ids|token_ids"):
        build.shared_backbone("bert")(inputs)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("token_ids", np.array([3, 7, 9], "int32")),
        ("padding_mask", np.ones((3, 5), "int32")),
        ("segment_ids", np.zeros((2, 7), "int32")),
    ],
)
def test_an_input_of_the_wrong_shape_is_named(name, value):
    inputs = {**cases.random_inputs(SMALL), name: value}
    with pytest.raises(ValueError, match=name):
        build.shared_backbone("bert")(inputs)


@pytest.mark.parametrize("dtype", ["bool", "int64", "uint8"])
def test_a_mask_of_another_integer_type_means_the_same(dtype):
    inputs = cases.random_inputs(SMALL)
    expected = reference_outputs("bert", inputs)["sequence_output"]
    inputs["padding_mask"] = inputs["padding_mask"].astype(dtype)
    outputs = build.shared_backbone("bert")(inputs)
    assert build.difference(outputs["sequence_output"], expected) < TOLERANCE


@pytest.mark.parametrize("row", ["bert", "roberta", "albert"])
def test_the_longest_allowed_input_equals_the_reference(row):
    config = cases.BACKBONES[row]
    inputs = cases.random_inputs(config, length=config.max_sequence_length)
    expected = reference_outputs(row, inputs)["sequence_output"]
    outputs = build.shared_backbone(row)(inputs)
    assert build.difference(outputs["sequence_output"], expected) < TOLERANCE


@pytest.mark.parametrize("row", ["bert", "roberta", "albert"])
def test_an_input_longer_than_the_position_table_is_refused(row):
    config = cases.BACKBONES[row]
    inputs = cases.random_inputs(config, length=config.max_sequence_length + 1)
    with pytest.raises(ValueError, match=r"at most 11 tokens.*12"):
        build.shared_backbone(row)(inputs)


@pytest.mark.filterwarnings("error")
def test_an_input_of_one_token_equals_the_reference_without_a_warning():
    inputs = cases.random_inputs(SMALL, length=7)
    inputs = {name: value[:1, :1] for name, value in inputs.items()}
    expected = reference_outputs("bert", inputs)
    outputs = build.shared_backbone("bert")(inputs)
    assert build.difference(outputs["pooled_output"], expected["pooled_output"]) < TOLERANCE


# Mistakes that the comparison above must be able to see -------------------------------------------

MISTAKES = [
    ("bert", {"activation": "gelu_tanh"}),
    ("albert", {"activation": "gelu"}),
    ("bert", {"activation": "relu"}),
    ("bert", {"num_heads": 2}),
    ("bert", {"num_heads": 5}),
    ("roberta", {"position_offset": 1}),
    ("roberta", {"position_offset": 0}),
    ("bert_three_segments", {"layer_norm_epsilon": 1.0e-12}),
    ("roberta", {"layer_norm_epsilon": 1.0e-3}),
    ("albert_groups", {"num_groups": 1}),
    ("albert_groups", {"num_inner_layers": 1}),
    ("bert", {"num_layers": 1}),
]


@pytest.mark.parametrize(("row", "mistake"), MISTAKES, ids=str)
def test_a_wrong_choice_is_seen(row, mistake):
    inputs = cases.random_inputs(cases.BACKBONES[row])
    wrong = reference_outputs(row, inputs, **mistake)["sequence_output"]
    outputs = build.shared_backbone(row)(inputs)
    assert build.difference(outputs["sequence_output"], wrong) > 1.0e-4


def swapped(weights, first, second):
    """Exchange two layers of the same shape by name."""

    def other(path):
        return path.replace(first, "\0").replace(second, first).replace("\0", second)

    return {path: weights.get(other(path), value) for path, value in weights.items()}


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("attention_norm", "output_norm"),
        ("attention/query", "attention/key"),
        ("attention/value", "attention/output"),
        ("layer_0", "layer_1"),
        ("gamma", "beta"),
    ],
)
def test_two_layers_that_trade_places_are_seen(first, second):
    inputs = cases.random_inputs(SMALL)
    weights = swapped(cases.random_weights(cases.variable_shapes(SMALL)), first, second)
    wrong = reference_outputs("bert", inputs, weights)["sequence_output"]
    outputs = build.shared_backbone("bert")(inputs)
    assert build.difference(outputs["sequence_output"], wrong) > 1.0e-4


@pytest.mark.parametrize("name", ["query", "key", "value", "output"])
def test_a_square_kernel_that_is_transposed_is_seen(name):
    inputs = cases.random_inputs(SMALL)
    weights = cases.random_weights(cases.variable_shapes(SMALL))
    path = f"layer_1/attention/{name}/kernel"
    weights[path] = weights[path].T
    wrong = reference_outputs("bert", inputs, weights)["sequence_output"]
    outputs = build.shared_backbone("bert")(inputs)
    assert build.difference(outputs["sequence_output"], wrong) > 1.0e-4


@pytest.mark.parametrize("path", sorted(cases.variable_shapes(SMALL)))
def test_every_variable_but_the_key_bias_matters(path):
    inputs = cases.random_inputs(SMALL)
    weights = cases.random_weights(cases.variable_shapes(SMALL))
    weights[path] = weights[path] + 0.5 * np.sign(weights[path])
    wrong = reference_outputs("bert", inputs, weights)
    outputs = build.shared_backbone("bert")(inputs)
    name = "pooled_output" if path.startswith("pooler/") else "sequence_output"
    # A key bias adds one number to all scores of a query: the softmax takes it out again.
    seen = build.difference(outputs[name], wrong[name]) > 1.0e-4
    assert seen is not path.endswith("attention/key/bias")
