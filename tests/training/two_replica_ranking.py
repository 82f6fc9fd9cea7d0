"""Sentence embeddings that learn by ranking: two replicas against one, by recipe and by `fit`.

Run by `test_global_negatives.py`, in a process of its own: python two_replica_ranking.py FOLDER
"""

import contextlib
import json
import pathlib
import sys

import keras
import numpy as np

import bertzoo as bz
from bertzoo.losses.embedding_objectives import MultipleNegatives
from bertzoo.models.backbone import Backbone
from bertzoo.training import run_recipe
from bertzoo.training.strategy import (
    StrategyConfig,
    find_among_replicas,
    make_replicas,
    split_processor,
)

TRIPLETS = [
    ("a cat", "the cat", "a film"), ("a good film", "good film", "bad film"),
    ("the dog sat", "a dog", "the mat"), ("paris", "the capital", "a dog"),
    ("on the mat", "mat", "the cat"), ("bad film", "a bad film", "a good film"),
    ("france", "the capital of france", "on the mat"),
]  # fmt: skip


def without_dropout(folder):
    """Write bert_toy without dropout, whose noise differs between replicas."""
    toy = bz.TextEmbedder.from_preset("bert_toy")
    backbone = Backbone(toy.backbone.config.replace(dropout=0.0, attention_dropout=0.0))
    backbone.set_weights(toy.backbone.get_weights())
    embedder = bz.TextEmbedder.from_backbone(backbone, toy.preprocessor, pooling=("mean",))
    embedder.save_to_preset(folder)


def by_recipe(preset, output, devices, negatives="global"):
    """Return the losses of two epochs and the weights that a recipe ends with."""
    strategy = {"name": "one_device"} if devices == 1 else {"name": "mirrored", "devices": devices}
    run_recipe(
        "finetune/sbert_ranking",
        {"output": str(output), "model.preset": str(preset), "training.batch_size": 8,
         "training.epochs": 2, "training.strategy": strategy, "training.keep": "last",
         "training.negatives": negatives},
        smoke=True,
    )  # fmt: skip
    (outcome,) = output.glob("trials/*/outcome.json")
    losses = json.loads(outcome.read_text())["history"]["loss"]
    return losses, bz.TextEmbedder.from_preset(output / "preset").get_weights()


def by_fit(preset, scope):
    """Return the losses of `fit` on an odd number of triplets, in both directions, and weights."""
    with scope:
        embedder = bz.TextEmbedder.from_preset(preset)
        embedder.compile(keras.optimizers.SGD(0.5), MultipleNegatives(symmetric=True))
    embedder.gather = find_among_replicas
    # Batches of 6 and of 1, of which a second replica gets nothing.
    history = embedder.fit(TRIPLETS, batch_size=6, epochs=2, shuffle=False, verbose=0).history
    measured = embedder.evaluate(TRIPLETS, batch_size=6, verbose=0)
    return [*history["loss"], measured], embedder.get_weights()


def main(folder):
    """Print what the losses are, for the test to look at."""
    split_processor(2)
    preset = folder / "preset"
    without_dropout(preset)
    first = bz.TextEmbedder.from_preset(preset).get_weights()
    one, weights = by_recipe(preset, folder / "one", 1)
    two, others = by_recipe(preset, folder / "two", 2)
    local, _ = by_recipe(preset, folder / "local", 2, "local")
    fit_one, fit_weights = by_fit(preset, contextlib.nullcontext())
    replicas = make_replicas(StrategyConfig("mirrored", devices=2))
    assert replicas.count == 2
    fit_two, fit_others = by_fit(preset, replicas.scope())
    print(
        json.dumps(
            {
                "one": one,
                "two": two,
                "local": local,
                "weights": worst(first, weights, others),
                "fit_one": fit_one,
                "fit_two": fit_two,
                "fit_weights": worst(first, fit_weights, fit_others),
            }
        )
    )


def worst(first, ones, others):
    """Return how far the weights differ, in parts of the furthest that any of them went."""
    pairs = list(zip(first, ones, others, strict=True))
    went = max(np.abs(one - start).max() for start, one, _ in pairs)
    assert went > 0
    return float(max(np.abs(one - other).max() for _, one, other in pairs) / went)


if __name__ == "__main__":
    main(pathlib.Path(sys.argv[1]))
