"""Heads of a width of their own: fewer heads than the width of the model would hold."""

import numpy as np
import pytest

from bertzoo.checkpoints.shapes import variable_shapes
from bertzoo.config import BackboneConfig
from bertzoo.models.loading import weights_of
from tests.reference import build, cases

FEWER = cases.SMALL.replace(num_heads=3, head_dim=5)


def test_the_usual_width_is_one_and_the_same_as_none():
    assert cases.SMALL.replace(head_dim=5) == cases.SMALL
    assert (cases.SMALL.attention_dim, FEWER.attention_dim) == (20, 15)
    assert BackboneConfig.from_dict(FEWER.to_dict()) == FEWER


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"num_heads": 3}, "hidden_dim must be a multiple of num_heads"),
        ({"head_dim": 0}, "BackboneConfig.head_dim must be at least 1; got 0"),
    ],
)
def test_sizes_that_make_no_heads_raise(changes, message):
    with pytest.raises(ValueError, match=message):
        cases.SMALL.replace(**changes)


def test_variables_and_their_number_follow():
    backbone = build.build_backbone(FEWER, weights=cases.random_weights(variable_shapes(FEWER)))
    shapes = {path: tuple(w.shape) for path, w in weights_of(backbone).items()}
    assert shapes == variable_shapes(FEWER)
    assert shapes["layer_0/attention/query/kernel"] == (20, 15)
    assert shapes["layer_0/attention/output/kernel"] == (15, 20)
    assert backbone.count_params() == FEWER.parameter_count()


def test_a_head_without_a_way_out_is_a_head_less():
    # A model of four heads, the third of which reaches nothing, is the one of the other three.
    weights = cases.random_weights(variable_shapes(cases.SMALL))
    kept = np.r_[0:10, 15:20]
    fewer = dict(weights)
    for path, array in weights.items():
        if "/attention/output/kernel" in path:
            weights[path] = array.copy()
            weights[path][10:15] = 0.0
            fewer[path] = array[kept]
        elif "/attention/" in path and "output" not in path:
            fewer[path] = array[..., kept]
    inputs = cases.random_inputs(FEWER)
    expected = build.build_backbone(cases.SMALL, weights=weights)(inputs)["sequence_output"]
    result = build.build_backbone(FEWER, weights=fewer)(inputs)["sequence_output"]
    np.testing.assert_allclose(result, expected, atol=1e-5)
