"""Half precision: what is stored, what is calculated in float32, and how far the outputs move."""

import numpy as np
import pytest
import tensorflow as tf

from bertzoo.models.loading import weights_of
from tests.reference import build, cases, encoder

MIXED = ["mixed_bfloat16", "mixed_float16"]


@pytest.mark.parametrize("row", ["bert", "roberta", "albert"])
@pytest.mark.parametrize("dtype", ["bfloat16", *MIXED])
def test_half_precision_stays_near_float32(row, dtype):
    config = cases.BACKBONES[row]
    inputs = cases.random_inputs(config)
    weights = cases.random_weights(cases.variable_shapes(config))
    expected = encoder.encode(config, weights, **inputs)
    for name, value in build.shared_backbone(row, dtype)(inputs).items():
        assert build.relative_error(value, expected[name]) < 2e-2, name


@pytest.mark.parametrize("row", ["bert", "albert"])
def test_bfloat16_stores_every_weight_as_bfloat16(row):
    variables = weights_of(build.shared_backbone(row, "bfloat16"))
    assert {path for path, v in variables.items() if v.dtype != "bfloat16"} == set()


@pytest.mark.parametrize("dtype", MIXED)
def test_mixed_precision_stores_every_weight_as_float32(dtype):
    variables = weights_of(build.shared_backbone("bert", dtype))
    assert {path for path, v in variables.items() if v.dtype != "float32"} == set()


@pytest.mark.parametrize(
    ("dtype", "compute"),
    [("bfloat16", "bfloat16"), ("mixed_bfloat16", "bfloat16"), ("mixed_float16", "float16")],
)
def test_matrix_products_run_in_the_compute_type(dtype, compute):
    backbone = build.shared_backbone("bert", dtype)
    products = {"MatMul", "BatchMatMul", "BatchMatMulV2", "BatchMatMulV3"}
    types = [op.get_attr("T") for op in graph_of(backbone) if op.type in products]
    assert len(types) >= 2 * 8  # four projections, two products, two feed-forward, two layers
    assert {kind.name for kind in types} == {compute}


@pytest.mark.parametrize("dtype", ["bfloat16", *MIXED])
def test_softmax_and_layer_norm_run_in_float32(dtype):
    operations = graph_of(build.shared_backbone("bert", dtype))
    softmax = [op for op in operations if op.type in ("Softmax", "Exp")]
    roots = [op for op in operations if op.type in ("Rsqrt", "Sqrt", "FusedBatchNormV3")]
    # Two layers of attention; two norms each, and that of the embeddings.
    assert len(softmax) >= 2
    assert len(roots) >= 5
    for operation in softmax + roots:
        assert operation.outputs[0].dtype == tf.float32, operation.name


def test_a_constant_row_stays_finite_in_float16():
    # A variance of 0 with epsilon 1e-12: float16 has nothing that small, so 0 / 0.
    weights = cases.random_weights(cases.variable_shapes(cases.SMALL))
    for name in ("token", "position", "segment"):
        weights[f"embeddings/{name}/embeddings"][:] = 0.25
    backbone = build.build_backbone(cases.SMALL, "mixed_float16", weights)
    output = build.to_float32(backbone(cases.random_inputs(cases.SMALL))["sequence_output"])
    assert np.isfinite(output).all()


def test_large_activations_do_not_overflow_in_float16():
    # 400 ** 2 is over 65,504, the largest float16: the variance needs float32.
    weights = cases.random_weights(cases.variable_shapes(cases.SMALL))
    weights["embeddings/token/embeddings"] *= 1000.0
    inputs = cases.random_inputs(cases.SMALL)
    expected = encoder.encode(cases.SMALL, weights, **inputs)["sequence_output"]
    backbone = build.build_backbone(cases.SMALL, "mixed_float16", weights)
    assert build.relative_error(backbone(inputs)["sequence_output"], expected) < 2e-2


def graph_of(model):
    """Return the operations TensorFlow runs for one call."""
    inputs = {name: tf.TensorSpec((None, None), tf.int32) for name in model.input}
    graph = tf.function(lambda x: model(x, training=False)).get_concrete_function(inputs).graph
    return graph.get_operations()
