"""Attention seen through the taps of a one-layer backbone, by hand where that is possible."""

import numpy as np
import pytest

from tests.reference import build, cases

ONE = cases.SMALL.replace(num_layers=1)
ROW = "layer_0/attention"


def tapped(weights, inputs, *names, dtype=None):
    return build.build_backbone(ONE, dtype, weights).tap(*names)(inputs)


def random_weights():
    return cases.random_weights(cases.variable_shapes(ONE))


def test_equal_keys_share_the_attention_among_real_tokens():
    weights = random_weights()
    weights[f"{ROW}/key/kernel"][:] = 0.0
    inputs = cases.random_inputs(ONE)
    found = tapped(weights, inputs, "attention_probabilities")["attention_probabilities"][0]
    mask = inputs["padding_mask"][:, None, None, :]
    expected = np.broadcast_to(mask / mask.sum(-1, keepdims=True), (3, 4, 7, 7))
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-6)


def test_scores_are_divided_by_the_root_of_the_head_width():
    inputs = cases.random_inputs(ONE)
    inputs["padding_mask"][:] = 1
    outputs = tapped(random_weights(), inputs, "attention_scores", "query", "key")
    query, key = outputs["query"][0].numpy(), outputs["key"][0].numpy()
    expected = query @ key.transpose(0, 1, 3, 2) / np.sqrt(5.0)
    np.testing.assert_allclose(outputs["attention_scores"][0], expected, rtol=0, atol=1e-5)


def test_a_head_owns_neighbouring_columns_of_the_kernel():
    weights, inputs = random_weights(), cases.random_inputs(ONE)
    before = tapped(weights, inputs, "query")["query"][0].numpy()
    # Columns 5 to 9 are head 1 of four heads of width 5.
    weights[f"{ROW}/query/kernel"][:, 5:10] += 1.0
    after = tapped(weights, inputs, "query")["query"][0].numpy()
    changed = np.abs(after - before).max(axis=(0, 2, 3)) > 1e-3
    assert changed.tolist() == [False, True, False, False]


def test_a_key_bias_changes_no_probability():
    weights, inputs = random_weights(), cases.random_inputs(ONE)
    name = "attention_probabilities"
    before = tapped(weights, inputs, name)[name][0].numpy()
    weights[f"{ROW}/key/bias"] += 2.0
    np.testing.assert_allclose(tapped(weights, inputs, name)[name][0], before, rtol=0, atol=1e-5)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "mixed_bfloat16", "mixed_float16"])
def test_probabilities_of_every_query_sum_to_one(dtype):
    inputs = cases.random_inputs(ONE)
    inputs["padding_mask"][2] = 0
    name = "attention_probabilities"
    found = build.to_float32(tapped(random_weights(), inputs, name, dtype=dtype)[name][0])
    # Where nothing may be attended to, the answer is free but finite.
    assert np.isfinite(found).all()
    tolerance = 1e-6 if dtype == "float32" else 1e-2
    np.testing.assert_allclose(found[:2].sum(-1), 1.0, rtol=0, atol=tolerance)


@pytest.mark.parametrize("dtype", ["float32", "mixed_bfloat16", "mixed_float16"])
def test_padding_gets_nothing_however_high_its_score(dtype):
    weights, inputs = random_weights(), cases.random_inputs(ONE)
    for name in ("query", "key"):
        weights[f"{ROW}/{name}/kernel"] *= 20.0
    found = build.to_float32(
        tapped(weights, inputs, "attention_probabilities", dtype=dtype)["attention_probabilities"][
            0
        ]
    )
    padding = np.broadcast_to(inputs["padding_mask"][:, None, None, :] == 0, found.shape)
    assert found[padding].max() == 0.0


def test_the_order_of_tokens_matters_only_through_positions():
    weights, inputs = random_weights(), cases.random_inputs(ONE)
    weights["embeddings/position/embeddings"][:] = 0.3
    order = np.array([3, 0, 6, 2, 5, 1, 4])
    backbone = build.build_backbone(ONE, weights=weights)
    before = backbone(inputs)["sequence_output"].numpy()
    after = backbone({name: value[:, order] for name, value in inputs.items()})
    np.testing.assert_allclose(after["sequence_output"], before[:, order], rtol=0, atol=5e-6)
