"""One encoder layer, taken apart: residuals, the place of the norms, and shared weights."""

import numpy as np
import pytest

from tests.reference import build, cases, encoder

ONE = cases.SMALL.replace(num_layers=1)


def hidden_states(config, weights, inputs):
    outputs = build.build_backbone(config, weights=weights).tap("hidden_states")(inputs)
    return [build.to_float32(value) for value in outputs["hidden_states"]]


def quiet_layer():
    """Return weights whose sub-layers add nothing, and whose norms are plain."""
    weights = cases.random_weights(cases.variable_shapes(ONE))
    for path in weights:
        if path.startswith(("layer_0/attention/output", "layer_0/output/")):
            weights[path][:] = 0.0
        if path.startswith("layer_0/") and path.endswith("gamma"):
            weights[path][:] = 1.0
        if path.startswith("layer_0/") and path.endswith("beta"):
            weights[path][:] = 0.0
    return weights


def test_a_layer_that_adds_nothing_only_normalizes():
    before, after = hidden_states(ONE, quiet_layer(), cases.random_inputs(ONE))
    centred = before - before.mean(-1, keepdims=True)
    expected = centred / before.std(-1, keepdims=True)
    np.testing.assert_allclose(after, expected, rtol=0, atol=1e-5)


def test_the_last_operation_is_the_output_norm():
    weights = cases.random_weights(cases.variable_shapes(ONE))
    _, after = hidden_states(ONE, weights, cases.random_inputs(ONE))
    plain = (after - weights["layer_0/output_norm/beta"]) / weights["layer_0/output_norm/gamma"]
    np.testing.assert_allclose(plain.mean(-1), 0.0, rtol=0, atol=1e-5)
    np.testing.assert_allclose(plain.std(-1), 1.0, rtol=0, atol=1e-5)


def test_with_mixed_precision_what_runs_past_the_products_is_not_rounded():
    backbone = build.build_backbone(ONE, weights=quiet_layer(), dtype="mixed_bfloat16")
    before = np.random.default_rng(5).normal(size=(6, ONE.hidden_dim)).astype("float32")
    found = backbone.encoder_layers[0](before, np.zeros((2, 1, 1, 3), "float32"))
    centred = before - before.mean(-1, keepdims=True)
    np.testing.assert_allclose(
        found["hidden_state"], centred / before.std(-1, keepdims=True), rtol=0, atol=1e-5
    )
    for name in ("query", "context", "intermediate"):
        assert found[name].dtype == "bfloat16"
    # As Keras has it, what a model gives is in the dtype that it computes in.
    assert backbone(cases.random_inputs(ONE))["sequence_output"].dtype == "bfloat16"


@pytest.mark.parametrize(
    ("activation", "at_minus_one", "at_one"),
    # Standard normal distribution: Phi(1) = 0.8413447; the tanh form is 8e-5 to 2e-4 off.
    [("gelu", -0.1586553, 0.8413447), ("gelu_tanh", -0.1588080, 0.8411920), ("relu", 0.0, 1.0)],
)
def test_the_activation_at_plus_and_minus_one_is_the_textbook_value(
    activation, at_minus_one, at_one
):
    config = ONE.replace(activation=activation)
    weights = quiet_layer()
    # Feed -1 and 1 to two inner units; two output columns receive them, far apart in size.
    weights["layer_0/intermediate/kernel"][:] = 0.0
    weights["layer_0/intermediate/bias"][:] = 0.0
    weights["layer_0/intermediate/bias"][:2] = [-1.0, 1.0]
    weights["layer_0/output/kernel"][0, 3] = 100.0
    weights["layer_0/output/kernel"][1, 4] = 100.0
    inputs = cases.random_inputs(config)
    before, after = hidden_states(config, weights, inputs)
    normal = (before - before.mean(-1, keepdims=True)) / before.std(-1, keepdims=True)
    summed = normal.copy()
    summed[..., 3] += 100.0 * at_minus_one
    summed[..., 4] += 100.0 * at_one
    expected = (summed - summed.mean(-1, keepdims=True)) / summed.std(-1, keepdims=True)
    np.testing.assert_allclose(after, expected, rtol=0, atol=5e-6)


def test_shared_layers_are_one_layer_run_again():
    shared = cases.SMALL.replace(num_groups=1, num_layers=3)
    weights = cases.random_weights(cases.variable_shapes(shared))
    own = cases.SMALL.replace(num_layers=3)
    copied = dict(weights)
    for path, value in weights.items():
        if path.startswith("layer_0/"):
            copied[path.replace("layer_0", "layer_1")] = value
            copied[path.replace("layer_0", "layer_2")] = value
    inputs = cases.random_inputs(shared)
    for one, other in zip(
        hidden_states(shared, weights, inputs), hidden_states(own, copied, inputs), strict=True
    ):
        np.testing.assert_allclose(one, other, rtol=0, atol=2e-6)


def test_groups_and_inner_layers_run_in_the_published_order():
    # Lan et al. 2019, released code: step i uses group i // (layers / groups), inner ones in turn.
    config = cases.BACKBONES["albert_groups"]
    assert config.layer_schedule == (0, 1, 0, 1, 2, 3, 2, 3)
    weights = cases.random_weights(cases.variable_shapes(config))
    inputs = cases.random_inputs(config)
    x = encoder.embed(
        config, weights, inputs["token_ids"], inputs["segment_ids"], inputs["padding_mask"]
    )
    for layer in (0, 1, 0, 1, 2, 3, 2, 3):
        x, _ = encoder.encoder_layer(config, weights, f"layer_{layer}", x, inputs["padding_mask"])
    outputs = build.shared_backbone("albert_groups")(inputs)
    assert build.difference(outputs["sequence_output"], x) < 1e-5
