"""Hidden states of texts: any layers, by token or pooled."""

import numpy as np
import pytest

from bertzoo.models.backbone import Backbone
from bertzoo.tasks.features import extract_features
from bertzoo.tasks.text_embedder import TextEmbedder
from tests.tasks.conftest import CONFIG


@pytest.fixture(scope="module")
def deep(preprocessor):
    return TextEmbedder.from_backbone(Backbone(CONFIG.replace(num_layers=3)), preprocessor)


def states_of(task, text):
    """The hidden states of one text alone, without padding."""
    ids = task.preprocessor([text])
    count = int(ids["padding_mask"].numpy().sum())
    states = task.backbone.tap("hidden_states")(ids)["hidden_states"]
    return [np.asarray(state)[0, :count] for state in states]


def test_layers_are_put_together_by_token(deep, texts):
    states = [states_of(deep, text) for text in texts]
    for combine, join in (
        ("concatenate", lambda rows: np.concatenate(rows, axis=-1)),
        ("sum", lambda rows: np.sum(rows, axis=0)),
        ("mean", lambda rows: np.mean(rows, axis=0)),
    ):
        found = extract_features(deep, texts, layers=(-2, -1), combine=combine, batch_size=4)
        for vectors, layers in zip(found, states, strict=True):
            np.testing.assert_allclose(vectors, join([layers[2], layers[3]]), atol=1e-5)
    (only,) = extract_features(deep, ["a cat"], layers=0)
    np.testing.assert_allclose(only, states_of(deep, "a cat")[0], atol=1e-5)


def test_the_default_is_the_last_four_side_by_side(deep):
    (found,) = extract_features(deep, ["a cat"])
    assert found.shape == (4, 80)
    np.testing.assert_allclose(found, np.concatenate(states_of(deep, "a cat"), axis=1), atol=1e-5)


def test_pooled_by_hand(deep, texts):
    found = extract_features(deep, texts, layers=-1, pooling="mean", batch_size=4)
    expected = [states_of(deep, text)[-1].mean(axis=0) for text in texts]
    np.testing.assert_allclose(found, expected, atol=1e-5)
    found = extract_features(deep, texts, layers=-1, pooling="cls")
    expected = [states_of(deep, text)[-1][0] for text in texts]
    np.testing.assert_allclose(found, expected, atol=1e-5)
    assert extract_features(deep, [], layers=(1, 2), pooling="max").shape == (0, 40)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"layers": 4}, r"from 0 \(the embeddings\) to 3, or from the end -1 to -4; got 4"),
        ({"layers": -5}, "got -5"),
        ({"layers": ()}, "at least one layer"),
        ({"combine": "stack"}, "combine must be one of concatenate, sum, mean"),
        ({"pooling": "avg"}, "pooling must be one of cls, max"),
    ],
)
def test_what_is_not_there_is_said(deep, options, message):
    with pytest.raises(ValueError, match=message):
        extract_features(deep, ["a"], **options)
