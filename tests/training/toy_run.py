"""A toy pretraining run, for tests in this process and for those that need processes of their own.

As a program it prints one JSON line: what `main` of a test's choice returned.
"""

import hashlib
import importlib
import json
import os
import pathlib
import sys
import traceback

import keras
import numpy as np
import tensorflow as tf

from bertzoo.config import BackboneConfig
from bertzoo.models.backbone import Backbone
from bertzoo.models.pretraining import PretrainingNetwork, new_head
from bertzoo.optimizers import AdamW, WarmupPolynomial
from bertzoo.training.loop import Loop, LoopConfig, Phase
from bertzoo.training.objectives import Objective, Pretraining, cross_entropy
from bertzoo.training.replaced_tokens import ReplacedTokenDetection
from bertzoo.training.sources import ArraySource
from bertzoo.training.step import TrainStep
from bertzoo.training.stopping import Stopped
from bertzoo.training.strategy import StrategyConfig, make_replicas

ROWS, LENGTH, PREDICTIONS, VOCABULARY = 37, 7, 2, 31


def config(dropout=0.0, **changes):
    values = {
        "vocabulary_size": VOCABULARY, "num_layers": 1, "hidden_dim": 20, "num_heads": 4,
        "intermediate_dim": 37, "max_sequence_length": 16, "dropout": dropout,
        "attention_dropout": dropout, "initializer_range": 0.1,
    }  # fmt: skip
    return BackboneConfig(**{**values, **changes})


def arrays(rows=ROWS):
    random = np.random.default_rng(5)
    # Texts that can be learnt: each token follows from the first one.
    first = random.integers(5, VOCABULARY, (rows, 1))
    token_ids = 5 + (first + 3 * np.arange(LENGTH)) % (VOCABULARY - 5)
    mask = np.ones((rows, LENGTH), "int32")
    mask[::3, 5:] = 0
    positions = np.stack([random.choice(5, PREDICTIONS, replace=False) for _ in range(rows)])
    labels = np.take_along_axis(token_ids, positions, 1)
    weights = np.ones((rows, PREDICTIONS), "int32")
    weights[::4, 1] = 0  # so that parts of a batch have different weights
    np.put_along_axis(token_ids, positions, 4, 1)
    made = {
        "token_ids": token_ids * mask,
        "padding_mask": mask,
        "segment_ids": (np.arange(LENGTH) > 3) * mask,
        "mask_positions": positions,
        "mask_labels": labels,
        "mask_weights": weights,
        "next_sentence_labels": random.integers(0, 2, rows),
    }
    return {name: array.astype("int32") for name, array in made.items()}


class Tiny(Objective):
    """One word of a text from the mean of its tokens: an objective that is traced in a moment."""

    def __init__(self, dropout):
        self.table = keras.layers.Embedding(VOCABULARY, 8, name="table")
        self.drop = keras.layers.Dropout(dropout)
        self.dense = keras.layers.Dense(VOCABULARY, name="dense")
        ids = keras.Input((LENGTH,), dtype="int32")
        mean = keras.ops.mean(self.table(ids), axis=1)
        super().__init__([keras.Model(ids, self.dense(self.drop(mean)))])

    def weights(self, batch):
        return {"masked_lm": tf.reduce_sum(tf.cast(batch["mask_weights"][:, 1], tf.float32))}

    def terms(self, batch, training, key):
        logits = self.models[0](batch["token_ids"], training=training)
        weights = tf.cast(batch["mask_weights"][:, 1], tf.float32)
        total, hits = cross_entropy(logits, batch["mask_labels"][:, 1], weights)
        count = tf.reduce_sum(weights)
        return {"masked_lm": (total, count)}, {"masked_lm_accuracy": (hits, count)}


def objective(kind="pretraining", dropout=0.0, dtype=None):
    keras.utils.set_random_seed(11)
    if kind == "tiny":
        return Tiny(dropout)
    if kind == "pretraining":
        shape = config(dropout)
        heads = [new_head(shape, "masked_lm"), new_head(shape, "next_sentence")]
        return Pretraining(PretrainingNetwork(Backbone(shape, dtype=dtype), heads))
    small = config(dropout, hidden_dim=8, num_heads=2, embedding_dim=20, pooler=False)
    large = config(dropout, pooler=False)
    return ReplacedTokenDetection(
        PretrainingNetwork(Backbone(small, dtype=dtype), [new_head(small, "masked_lm")]),
        PretrainingNetwork(Backbone(large, dtype=dtype), [new_head(large, "discriminator")]),
    )


def build(strategy=None, kind="pretraining", dropout=0.0, dtype=None, rate=0.01, **step):
    """Return (TrainStep, replicas)."""
    replicas = make_replicas(StrategyConfig(**(strategy or {"name": "one_device"})))
    with replicas.scope():
        made = objective(kind, dropout, dtype)
        schedule = WarmupPolynomial(rate, steps=40, warmup_steps=2)
        optimizer = AdamW(schedule, weight_decay=0.1, bias_correction=False)
    return TrainStep(made, optimizer, replicas, **{"clip_norm": 1.0, "seed": 3, **step}), replicas


def iterator(replicas, batch_size=8, first_step=0):
    source = ArraySource(arrays(), seed=2)
    return replicas.iterate(
        lambda mine: source.dataset(first_step * batch_size, batch_size, mine, replicas.count)
    )


def train(steps=5, accumulation=1, **settings):
    """Return the rows of `steps` steps, and the weights at the end by path."""
    step, replicas = build(**settings)
    batches = iterator(replicas)
    rows = step.run(batches, 0, 2, accumulation) + step.run(batches, 2, steps - 2, accumulation)
    weights = {variable.path: variable.numpy().tolist() for variable in step.variables}
    return {"rows": rows, "weights": weights}


def loop(
    directory,
    strategy=None,
    steps=30,
    dropout=0.1,
    batch_size=8,
    phases=1,
    recipe=None,
    kind="tiny",
    **config,
):
    """Return a `Loop` of one or two phases on the toy's data."""
    replicas = make_replicas(StrategyConfig(**(strategy or {"name": "one_device"})))
    with replicas.scope():
        made = objective(kind, dropout)
        optimizer = AdamW(WarmupPolynomial(0.01, steps=60, warmup_steps=2), bias_correction=False)
    held_out = ArraySource(arrays(), seed=None)
    source = ArraySource(arrays(), seed=2)
    begin = steps // 3 if phases == 2 else steps
    parts = [
        Phase(begin, batch_size, source, held_out=held_out, held_out_batches=2),
        Phase(steps - begin, batch_size, source, accumulation=2),
    ][:phases]
    settings = {
        "seed": 3, "steps_per_call": 3, "log_every": 1, "checkpoint_every": 4, "keep": 2,
        "tensorboard": False, **config,
    }  # fmt: skip
    config = LoopConfig(**settings)
    recipe = {"training": config.to_dict(), "batch_size": batch_size, **(recipe or {})}
    return Loop(made, optimizer, replicas, parts, directory, config, recipe)


def run(directory, resume=False, force=False, **settings):
    """Run the loop; return its result and a digest of the weights."""
    made = loop(directory, **settings)
    try:
        result = made.run(resume, force)
    except Stopped as stopped:
        print(stopped, file=sys.stderr)
        sys.exit(75)
    digest = hashlib.sha256()
    for variable in made.step.variables:
        digest.update(variable.numpy().tobytes())
    return {"weights": digest.hexdigest(), "result": result}


def serve():
    """Fork a process for each call that is asked for, so that TensorFlow is imported once.

    Each line of standard input is JSON: {"call", "settings", "environment", "result"} calls a
    function, `MODULE:NAME`, and writes its result to a file; the answer is the process id.
    {"wait": id} answers how it ended.
    """
    for line in sys.stdin:
        order = json.loads(line)
        if "wait" in order:
            _, status = os.waitpid(order["wait"], 0)
            print(os.waitstatus_to_exitcode(status), flush=True)
            continue
        child = os.fork()
        if child:
            print(child, flush=True)
            continue
        os.environ.update(order["environment"])
        with open(order["result"] + ".err", "w") as errors:
            os.dup2(errors.fileno(), 2)
        code = 1
        try:
            module, name = order["call"].split(":")
            result = getattr(importlib.import_module(module), name)(**order["settings"])
            pathlib.Path(order["result"]).write_text(json.dumps(result))
            code = 0
        except SystemExit as stop:
            code = stop.code
        except BaseException:
            traceback.print_exc()
        finally:
            sys.stderr.flush()
            os._exit(code)


if __name__ == "__main__":
    # KIND SETTINGS: `train` or `run`, and its arguments as JSON; or `serve`.
    if sys.argv[1] == "serve":
        serve()
    else:
        print(json.dumps({"train": train, "run": run}[sys.argv[1]](**json.loads(sys.argv[2]))))
