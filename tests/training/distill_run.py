"""A toy distillation, for tests in this process and for those that need two devices.

As a program it prints one JSON line: for each method named, what `train` returned.
"""

import json
import sys

import keras
import numpy as np

from bertzoo.config import BackboneConfig, HeadConfig
from bertzoo.losses import losses_from
from bertzoo.models.backbone import Backbone
from bertzoo.models.networks import build_network
from bertzoo.optimizers import AdamW
from bertzoo.training.distillation.objective import Distillation
from bertzoo.training.sources import ArraySource
from bertzoo.training.step import TrainStep
from bertzoo.training.strategy import StrategyConfig, make_replicas

ROWS, LENGTH, VOCABULARY = 24, 7, 31
# Losses together, since each set costs a compilation: DistilBERT's; and, for a narrower student,
# TinyBERT's, MiniLM's of both versions, and those of masked places.
METHODS = {
    "distilbert": {
        "soft_targets": {"weight": 5.0, "temperature": 2.0},
        "masked_lm": 2.0,
        "last_hidden_cosine": 1.0,
    },
    "narrower": {
        "masked_soft_targets": 1.0,
        "masked_lm": 1.0,
        "embedding_layer_mse": 1.0,
        "hidden_states_mse": 1.0,
        "attention_scores_mse": 1.0,
        "attention_relation": 1.0,
        "query_relation": {"relation_heads": 2},
        "value_relation": {"relation_heads": 2},
    },
    "sentences": {"sentence_similarity": 1.0},
}


def config(**changes):
    values = {
        "vocabulary_size": VOCABULARY, "num_layers": 2, "hidden_dim": 20, "num_heads": 4,
        "intermediate_dim": 37, "max_sequence_length": 16, "dropout": 0.0,
        "attention_dropout": 0.0, "initializer_range": 0.2, "pooler": False,
    }  # fmt: skip
    return BackboneConfig(**{**values, **changes})


def network(shape, kind="masked_lm", seed=1, **head):
    keras.utils.set_random_seed(seed)
    if kind == "masked_lm":
        head = {"hidden_activation": "gelu", **head}
    return build_network(Backbone(shape), HeadConfig(kind, **head))


def arrays():
    random = np.random.default_rng(5)
    mask = np.ones((ROWS, LENGTH), "int32")
    mask[::3, 4:] = 0
    weights = np.ones((ROWS, 2), "int32")
    weights[::4, 1] = 0
    return {
        "token_ids": random.integers(0, VOCABULARY, (ROWS, LENGTH)).astype("int32"),
        "padding_mask": mask,
        "segment_ids": random.integers(0, 2, (ROWS, LENGTH)).astype("int32"),
        "mask_positions": random.integers(0, 4, (ROWS, 2)).astype("int32"),
        "mask_labels": random.integers(0, VOCABULARY, (ROWS, 2)).astype("int32"),
        "mask_weights": weights,
        "labels": random.integers(-1, 3, ROWS).astype("int32"),
    }


def models(method, dropout=0.0):
    """Return student and teacher."""
    size = {} if method == "distilbert" else {"hidden_dim": 12, "num_heads": 4}
    kind = "text_embedder" if method == "sentences" else "masked_lm"
    student = network(config(num_layers=1, dropout=dropout, **size), kind, seed=2)
    return student, network(config(), kind, seed=1)


def build(method, replicas=None, dropout=0.0, **step):
    replicas = replicas or make_replicas(StrategyConfig("one_device"))
    with replicas.scope():
        objective = Distillation(*models(method, dropout), losses_from(METHODS[method]))
        optimizer = AdamW(0.01, weight_decay=0.0)
    return TrainStep(objective, optimizer, replicas, **{"seed": 3, **step}), replicas


def train(method, steps=3, accumulation=1, **settings):
    """Return the rows of the log, one a step."""
    step, replicas = build(method, **settings)
    source = ArraySource(arrays(), seed=2)
    batches = replicas.iterate(lambda mine: source.dataset(0, 8, mine, replicas.count))
    return step.run(batches, 0, steps, accumulation)


if __name__ == "__main__":
    methods, settings = sys.argv[1].split(","), json.loads(sys.argv[2])
    # One set of devices for all, as for the stages of a run.
    settings["replicas"] = make_replicas(StrategyConfig(**settings.pop("strategy")))
    print(json.dumps({method: train(method, **settings) for method in methods}))
