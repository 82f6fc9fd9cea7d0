"""The poolings of a text embedder on values that can be worked by hand."""

import numpy as np
import pytest

from bertzoo.config import HeadConfig
from bertzoo.models.backbone import Backbone
from bertzoo.models.networks import build_network
from tests.reference import build, cases


def vectors(mode, mask):
    """Return what one pooling makes of a row, and the token vectors of that row."""
    backbone = build.shared_backbone("distilbert")
    network = build_network(backbone, HeadConfig("text_embedder", pooling=(mode,)))
    inputs = {
        "token_ids": np.array([[3, 7, 9, 11]], "int32"),
        "padding_mask": np.array([mask], "int32"),
    }
    tokens = build.to_float32(backbone(inputs)["sequence_output"])[0]
    return build.to_float32(network(inputs))[0], tokens


@pytest.mark.parametrize(
    ("mode", "expected"),
    [
        ("cls", lambda tokens: tokens[0]),
        ("max", lambda tokens: np.maximum(np.maximum(tokens[0], tokens[1]), tokens[2])),
        ("mean", lambda tokens: (tokens[0] + tokens[1] + tokens[2]) / 3.0),
        ("mean_sqrt", lambda tokens: (tokens[0] + tokens[1] + tokens[2]) / np.sqrt(3.0)),
    ],
)
def test_each_pooling_reads_real_tokens_only(mode, expected):
    vector, tokens = vectors(mode, [1, 1, 1, 0])
    np.testing.assert_allclose(vector, expected(tokens), rtol=0, atol=2e-6)


def test_the_maximum_of_negative_values_is_not_zero():
    config = cases.BACKBONES["distilbert"]
    weights = cases.random_weights(cases.variable_shapes(config))
    weights["layer_2/output_norm/beta"][:] = -100.0
    backbone = build.build_backbone(config, weights=weights)
    network = build_network(backbone, HeadConfig("text_embedder", pooling=("max",)))
    vector = build.to_float32(network(cases.random_inputs(config)))
    assert vector.max() < -50.0


def test_several_poolings_stand_in_the_order_of_sentence_transformers():
    head = HeadConfig("text_embedder", pooling=("mean", "cls"))
    network = build_network(build.shared_backbone("distilbert"), head)
    inputs = cases.random_inputs(cases.BACKBONES["distilbert"])
    vector = build.to_float32(network(inputs))
    tokens = build.to_float32(build.shared_backbone("distilbert")(inputs)["sequence_output"])
    assert vector.shape == (3, 40)
    np.testing.assert_allclose(vector[:, :20], tokens[:, 0], rtol=0, atol=1e-6)


def test_an_embedder_without_projections_has_no_variables_of_its_own():
    backbone = Backbone(cases.BACKBONES["distilbert"])
    network = build_network(backbone, HeadConfig("text_embedder", normalize=True))
    assert len(network.weights) == len(backbone.weights)
