"""What every format test ends with: a directory, opened, computes what NumPy computes."""

import numpy as np

from bertzoo import checkpoints
from bertzoo.models.backbone import Backbone
from bertzoo.models.networks import network_from_preset
from tests.reference import build, cases, encoder

TOLERANCE = 1e-5


def weights_of(row):
    """(config, head, random weights) of a backbone row or a head row of `cases`."""
    backbone, head = cases.HEADS.get(row, (row, None))
    config = cases.BACKBONES[backbone]
    return config, head, cases.random_weights(cases.variable_shapes(config, head))


def assert_same_outputs(directory, config, head, weights, format=None):
    """Open a directory as users do and compare it with the reference encoder."""
    inputs = cases.random_inputs(config, head)
    if head is None:
        outputs = Backbone.from_preset(directory, format=format)(inputs)
        expected = encoder.encode(config, weights, **inputs)
        assert build.difference(outputs["sequence_output"], expected["sequence_output"]) < TOLERANCE
        if config.pooler:
            assert build.difference(outputs["pooled_output"], expected["pooled_output"]) < TOLERANCE
        return
    network, _ = network_from_preset(directory, head.kind, format=format)
    expected = encoder.head_outputs(config, head, weights, inputs)
    assert build.difference(network(inputs), expected) < TOLERANCE


def assert_same_weights(directory, weights, format=None):
    """Every variable arrives, and no bit of it has changed."""
    opened = checkpoints.open_checkpoint(directory, format)
    found = dict(opened.all_weights())
    assert sorted(found) == sorted(weights)
    for path, value in weights.items():
        np.testing.assert_array_equal(found[path], value, err_msg=path)
    return opened
