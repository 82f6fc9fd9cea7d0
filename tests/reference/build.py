"""Models with the random weights of `cases`, and the comparison that every model test makes."""

import functools

import numpy as np
from keras import ops

from bertzoo.models.backbone import Backbone
from bertzoo.models.loading import weights_of
from bertzoo.models.networks import build_network
from tests.reference import cases


def build_backbone(config, dtype=None, weights=None, name=None):
    """Return a new backbone that holds `weights`, by default the random ones of its config."""
    backbone = Backbone(config, dtype=dtype, name=name)
    if weights is None:
        weights = cases.random_weights(cases.variable_shapes(config))
    assign(backbone, weights)
    return backbone


def build_head(config, head, dtype=None):
    """Return a new network, backbone and head, with random weights."""
    network = build_network(Backbone(config, dtype=dtype), head)
    assign(network, cases.random_weights(cases.variable_shapes(config, head)))
    return network


@functools.cache
def shared_backbone(row, dtype=None):
    """Return the backbone of a row, built once for all tests: nobody may change it."""
    return build_backbone(cases.BACKBONES[row], dtype)


@functools.cache
def shared_network(row, dtype=None):
    """Return the network of a head row, built once for all tests: nobody may change it."""
    backbone, head = cases.HEADS[row]
    return build_head(cases.BACKBONES[backbone], head, dtype)


def assign(model, weights):
    """Fill every variable of the model; the paths must be exactly those of `weights`."""
    variables = weights_of(model)
    assert sorted(variables) == sorted(weights)
    for path, variable in variables.items():
        assert tuple(variable.shape) == weights[path].shape, path
        variable.assign(weights[path])


def to_float32(tensor):
    """Return a NumPy array that NumPy itself can calculate with."""
    return ops.convert_to_numpy(ops.cast(tensor, "float32"))


def difference(ours, reference):
    """Return the largest absolute difference of two arrays of one shape."""
    ours = to_float32(ours)
    assert ours.shape == reference.shape
    return float(np.max(np.abs(ours - reference)))


def relative_error(ours, reference):
    """Return the norm of the difference over the norm of the reference."""
    ours = to_float32(ours)
    assert ours.shape == reference.shape
    return float(np.linalg.norm(ours - reference) / np.linalg.norm(reference))
