"""Packed batches in the objectives, the step and a recipe: the loss of the texts alone."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import bertzoo as bz
from bertzoo.corpus.manifest import RecordOptions
from bertzoo.corpus.prepare import prepare_records
from bertzoo.models.backbone import Backbone
from bertzoo.models.pretraining import PretrainingNetwork, new_head
from bertzoo.optimizers import AdamW
from bertzoo.training.keyed_randomness import key_of
from bertzoo.training.objectives import Pretraining
from bertzoo.training.pretraining import PretrainRecipe
from bertzoo.training.pretraining_data import hold_packed_rows
from bertzoo.training.replaced_tokens import ReplacedTokenDetection
from bertzoo.training.sources import ArraySource
from bertzoo.training.step import TrainStep
from bertzoo.training.strategy import StrategyConfig, make_replicas
from tests.training import toy_run

# Lengths of the texts of each packed row, and how many texts a row has at most.
ROWS, MOST, LENGTH = ((5, 4, 6), (16,), (3, 3, 9), (7, 8)), 3, 16
EACH = 2  # predictions of a text


def batches():
    """Return the same texts as packed rows and as one row each."""
    rng = np.random.default_rng(3)
    num_texts = sum(map(len, ROWS))
    shapes = {"token_ids": LENGTH, "padding_mask": LENGTH, "segment_ids": LENGTH,
              "mask_positions": EACH, "mask_labels": EACH, "mask_weights": EACH}  # fmt: skip
    alone = {name: np.zeros((num_texts, size), "int32") for name, size in shapes.items()}
    packed = {
        name: np.zeros((len(ROWS), size if size == LENGTH else MOST * EACH), "int32")
        for name, size in shapes.items()
    }
    alone["next_sentence_labels"] = rng.integers(0, 2, num_texts).astype("int32")
    packed["next_sentence_labels"] = np.full((len(ROWS), MOST), -1, "int32")  # -1: no such text
    text = 0
    for row, lengths in enumerate(ROWS):
        start = 0
        for number, size in enumerate(lengths):
            made = {
                "token_ids": rng.integers(5, toy_run.VOCABULARY, size),
                "segment_ids": np.arange(size) >= size // 2,
                "mask_positions": rng.choice(size, EACH, replace=False),
                "mask_labels": rng.integers(5, toy_run.VOCABULARY, EACH),
                "mask_weights": np.array([1, rng.integers(0, 2)]),
            }
            made["padding_mask"] = np.ones(size)
            for name, values in made.items():
                alone[name][text, : len(values)] = values
                place = start if shapes[name] == LENGTH else number * EACH
                offset = {"mask_positions": start, "padding_mask": number}.get(name, 0)
                packed[name][row, place : place + len(values)] = values + offset
            packed["next_sentence_labels"][row, number] = alone["next_sentence_labels"][text]
            start, text = start + size, text + 1
    return packed, alone


def pretraining(packed, kinds=("masked_lm", "next_sentence"), dropout=0.0):
    keras.utils.set_random_seed(11)
    shape = toy_run.config(dropout)
    network = PretrainingNetwork(Backbone(shape), [new_head(shape, kind) for kind in kinds])
    return Pretraining(network, packed, MOST if packed and "next_sentence" in kinds else None)


def replaced_tokens(packed):
    keras.utils.set_random_seed(11)
    small = toy_run.config(hidden_dim=8, num_heads=2, embedding_dim=20, pooler=False)
    large = toy_run.config(pooler=False)
    return ReplacedTokenDetection(
        PretrainingNetwork(Backbone(small), [new_head(small, "masked_lm")]),
        PretrainingNetwork(Backbone(large), [new_head(large, "discriminator")]),
        temperature=1.0e-5,  # so low that the noise, drawn by place, decides nothing
        packed=packed,
    )


@pytest.mark.parametrize("make", [pretraining, replaced_tokens])
def test_the_loss_of_packed_rows_is_that_of_the_texts_alone(make):
    found = []
    for is_packed, batch in zip((True, False), batches(), strict=True):
        objective = make(is_packed)
        batch = {name: tf.constant(array) for name, array in batch.items()}
        terms, metrics = objective.terms(batch, False, key_of(3, 0))
        for name, weight in objective.weights(batch).items():
            assert float(weight) == float(terms[name][1])
        found.append({**terms, **metrics})
    assert sorted(found[0]) == sorted(found[1])
    for name, (total, weight) in found[0].items():
        assert float(total) == pytest.approx(float(found[1][name][0]), rel=1e-6), name
        assert float(weight) == float(found[1][name][1]) > 1, name


@pytest.mark.slow
@pytest.mark.parametrize("jit", [False, True])
def test_steps_on_packed_rows_are_those_on_the_texts_alone(jit):
    rows = []
    for is_packed, batch in zip((True, False), batches(), strict=True):
        replicas = make_replicas(StrategyConfig(name="one_device"))
        objective = pretraining(is_packed, ("masked_lm",))
        jit = jit and is_packed
        step = TrainStep(objective, AdamW(0.01), replicas, clip_norm=1.0, jit=jit)
        size = len(batch["token_ids"])
        source = ArraySource(batch)
        batch = replicas.iterate(lambda mine, source=source, n=size: source.dataset(0, n, mine, 1))
        rows.append(step.run(batch, 0, 2, accumulation=2 if jit else 1))
    assert rows[0][0]["loss"] > rows[0][1]["loss"]
    for ours, theirs in zip(*rows, strict=True):
        for name in ("loss", "masked_lm", "gradient_norm"):
            assert ours[name] == pytest.approx(theirs[name], rel=2e-5), name


def test_pairs_of_packed_rows_need_their_number():
    shape = toy_run.config()
    network = PretrainingNetwork(Backbone(shape), [new_head(shape, "next_sentence")])
    with pytest.raises(ValueError, match="give num_texts"):
        Pretraining(network, packed=True)


TEXT = "\n\n".join(
    f"the {noun} was {word} ." for noun in ("cat", "dog", "city") for word in ("good", "bad")
)


def recipe(tmp_path, *records, objective="masked_lm"):
    return PretrainRecipe.from_dict({
        "output": str(tmp_path / "run"),
        "model": {"architecture": "bert_toy", "tokenizer": "bert_toy", "config": {
            "num_layers": 1, "hidden_dim": 20, "num_heads": 4, "intermediate_dim": 37,
            "max_sequence_length": 24, "pooler": objective == "next_sentence"}},
        "objective": {"name": objective},
        "phases": [{"records": list(records), "steps": 8, "batch_size": 2, "sequence_length": 24}],
        "optimizer": {"learning_rate": 3.0e-3},
        "evaluation": {"records": list(records[:1]), "batches": 2},
        "training": {"tensorboard": False, "steps_per_call": 4},
    })  # fmt: skip


@pytest.fixture(scope="module")
def records(tmp_path_factory):
    """A directory of packed rows."""
    folder = tmp_path_factory.mktemp("packed")
    (folder / "text.txt").write_text(TEXT)
    tokenizer = bz.MaskedLM.from_preset("bert_toy").preprocessor.tokenizer
    options = RecordOptions(mode="packed", sequence_length=24, num_shards=1)
    manifest = prepare_records(tokenizer, [str(folder / "text.txt")], str(folder / "r"), options, 1)
    assert 2 <= manifest.num_examples < 6  # several texts a row
    return str(folder / "r")


@pytest.mark.parametrize("phases", [("packed",), ("packed", "packed"), ("synthetic",)])
def test_the_manifest_says_whether_rows_are_packed(records, phases):
    phases = [records if place == "packed" else place for place in phases]
    assert hold_packed_rows(phases) == (records in phases)


def test_pairs_are_not_read_from_packed_records(tmp_path, records):
    made = recipe(tmp_path, records, objective="next_sentence")
    with pytest.raises(ValueError, match=r"needs records of the mode next_sentence; .* has packed"):
        made.run()


@pytest.mark.slow
def test_a_recipe_reads_packed_records(tmp_path, records):
    # Twice, as a mixture of two directories.
    tokenizer = bz.MaskedLM.from_preset("bert_toy").preprocessor.tokenizer
    made = recipe(tmp_path, records, records)
    objective, network = made._objective(tokenizer)
    assert objective.is_packed
    assert network.backbone.config.num_layers == 1
    result = made.run()
    assert np.isfinite(result["held_out_masked_lm"])
    fills = bz.MaskedLM.from_preset(result["preset"]).fill("the cat was [MASK] .", top_k=2)
    assert len(fills) == 2
