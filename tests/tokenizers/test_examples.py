"""The examples in the docstrings run."""

import doctest
import importlib

import pytest


@pytest.mark.parametrize(
    "name",
    [
        "base",
        "byte_classes",
        "byte_pair",
        "byte_pair_marks",
        "byte_pair_model",
        "byte_pair_vocabulary",
        "code_points",
        "normalizer_model",
        "train",
        "unicode_14",
        "vocabulary",
        "wordpiece",
    ],
)
def test_examples_give_what_they_say(name):
    module = importlib.import_module(f"bertzoo.tokenizers.{name}")
    result = doctest.testmod(module)
    assert result.failed == 0
    assert result.attempted > 0 or name == "normalizer_model"
