"""Our objectives of sentence embeddings against the losses of sentence-transformers."""

import keras
import numpy as np
import pytest
import torch
from sentence_transformers.sentence_transformer import losses

from bertzoo.losses.embedding_objectives import (
    CosineSimilarity,
    MultipleNegatives,
    SoftmaxClassification,
    Triplet,
)


class Echo(torch.nn.Module):
    """In the place of an encoder: features are the vectors."""

    device = torch.device("cpu")

    def forward(self, features):
        return {"sentence_embedding": features["vectors"]}


def vectors(*shape):
    return np.random.default_rng(2).normal(size=shape).astype("float32")


def theirs(loss, values, labels=None):
    columns = [{"vectors": torch.tensor(values[:, i])} for i in range(values.shape[1])]
    with torch.no_grad():
        return float(loss(columns, None if labels is None else torch.tensor(labels)))


def ours(objective, values, labels=None):
    return float(keras.ops.mean(objective(values, labels)))


@pytest.mark.parametrize("size", [2, 3, 4])
def test_multiple_negatives_with_and_without_hard_ones(size):
    values = vectors(6, size, 16)
    expected = theirs(losses.MultipleNegativesRankingLoss(Echo()), values)
    assert ours(MultipleNegatives(), values) == pytest.approx(expected, rel=1e-5)


def test_both_directions():
    values = vectors(6, 2, 16)
    expected = theirs(losses.MultipleNegativesSymmetricRankingLoss(Echo()), values)
    assert ours(MultipleNegatives(symmetric=True), values) == pytest.approx(expected, rel=1e-5)


def test_cosine_similarity():
    values, scores = vectors(6, 2, 16), np.linspace(0, 1, 6).astype("float32")
    expected = theirs(losses.CosineSimilarityLoss(Echo()), values, scores)
    assert ours(CosineSimilarity(), values, scores) == pytest.approx(expected, rel=1e-5)


def test_triplets():
    values = vectors(6, 3, 16)
    expected = theirs(losses.TripletLoss(Echo()), values)
    assert ours(Triplet(margin=5.0), values) == pytest.approx(expected, rel=1e-5)


def test_softmax_with_the_same_classifier():
    values, labels = vectors(6, 2, 16), np.array([0, 1, 2, 2, 1, 0])
    loss = losses.SoftmaxLoss(Echo(), 16, 3)
    objective = SoftmaxClassification(3)
    objective(values, labels)
    kernel, bias = loss.classifier.weight, loss.classifier.bias
    objective.dense.set_weights([kernel.detach().numpy().T, bias.detach().numpy()])
    expected = theirs(loss, values, labels)
    assert ours(objective, values, labels) == pytest.approx(expected, rel=1e-5)
