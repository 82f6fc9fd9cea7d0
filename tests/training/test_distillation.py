"""Distillation as an objective: what trains, what does not, and that replicas change nothing."""

import functools
import json
import os
import pathlib
import subprocess
import sys

import keras
import numpy as np
import pytest
import tensorflow as tf

import bertzoo
from bertzoo.config import HeadConfig
from bertzoo.losses import losses_from
from bertzoo.training.distillation.objective import Distillation
from bertzoo.training.distillation.same_words import check_same_labels, check_same_words
from tests.training import distill_run

PROGRAM = pathlib.Path(distill_run.__file__)


@functools.cache
def of_two(*methods):
    """Return method -> the log of some steps on two devices."""
    # A process of its own: devices are split before anything else of TensorFlow.
    settings = {"strategy": {"name": "mirrored", "devices": 2}}
    command = [sys.executable, str(PROGRAM), ",".join(methods), json.dumps(settings)]
    top = str(PROGRAM.parents[2])
    environment = {**os.environ, "PYTHONPATH": top, "TF_CPP_MIN_LOG_LEVEL": "3"}
    done = subprocess.run(
        command, capture_output=True, text=True, env=environment, cwd=top, check=False
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout.splitlines()[-1])


STEPS = 10


@functools.cache
def of_one(method, accumulation=1):
    """Return the log of some steps on one device, and what became of the models."""
    step, replicas = distill_run.build(method, dropout=0.0)
    teacher = step.objective.teacher.network
    before = [weight.numpy() for weight in teacher.weights]
    source = distill_run.ArraySource(distill_run.arrays(), seed=2)
    batches = replicas.iterate(lambda mine: source.dataset(0, 8, mine, replicas.count))
    rows = step.run(batches, 0, STEPS, accumulation)
    return rows, step, before


def check_equal(rows, expected, tolerance):
    for row, other in zip(rows, expected, strict=True):
        for name, value in other.items():
            assert row[name] == pytest.approx(value, rel=tolerance, abs=1e-7), name


@pytest.mark.parametrize(
    ("methods", "method"),
    [
        pytest.param(("narrower",), "narrower", marks=pytest.mark.slow),
        # Texts are compared with those of both.
        pytest.param(("sentences",), "sentences", marks=pytest.mark.long),
        pytest.param(("distilbert",), "distilbert", marks=pytest.mark.slow),
    ],
)
def test_two_replicas_equal_one(methods, method):
    two = of_two(*methods)[method]
    one = of_one(method)[0]
    # The first step to the last bits; later ones hold what Adam makes of those.
    check_equal(two[:1], one[:1], 1e-6)
    check_equal(two, one[: len(two)], 1e-5)


@pytest.mark.slow
def test_accumulated_batches_equal_whole_ones():
    check_equal(of_one("narrower", accumulation=2)[0], of_one("narrower")[0], 1e-5)


@pytest.mark.parametrize("method", ["narrower", pytest.param("distilbert", marks=pytest.mark.slow)])
def test_a_student_comes_nearer_to_its_teacher_who_stands_still(method):
    rows, step, before = of_one(method)
    losses = [row["loss"] for row in rows]
    assert np.mean(losses[-3:]) < 0.97 * np.mean(losses[:3])
    teacher = step.objective.teacher.network
    for weight, old in zip(teacher.weights, before, strict=True):
        np.testing.assert_array_equal(weight.numpy(), old)
    of_teacher = {id(weight) for weight in teacher.weights}
    trained = step.objective.trainable_variables
    assert not of_teacher & {id(variable) for variable in trained}
    in_optimizer = sum(np.prod(v.shape) for v in step.optimizer.variables)
    assert in_optimizer < 2.1 * sum(np.prod(v.shape) for v in trained) + 10


def test_the_teacher_runs_in_inference_mode():
    student, _ = distill_run.models("distilbert")
    teacher = distill_run.network(distill_run.config(dropout=0.5))
    objective = Distillation(student, teacher, losses_from({"last_hidden_cosine": 1.0}))
    batch = {name: tf.constant(array[:4]) for name, array in distill_run.arrays().items()}
    values = {float(objective.terms(batch, True, None)[0]["last_hidden_cosine"][0]) for _ in "12"}
    assert len(values) == 1
    assert all(model.name != "projection" for model in objective.models)


def test_a_projection_is_learnt_where_widths_differ():
    objective = Distillation(
        *distill_run.models("narrower"), losses_from(distill_run.METHODS["narrower"])
    )
    (projection,) = objective.models[1:]
    kernel, bias = projection.weights
    assert (kernel.shape, bias.shape) == ((12, 20), (20,))
    assert {id(kernel), id(bias)} < {id(v) for v in objective.trainable_variables}
    batch = {name: tf.constant(array[:4]) for name, array in distill_run.arrays().items()}
    total, weight = objective.terms(batch, False, None)[0]["embedding_layer_mse"]
    mine = objective.student.network.tap("hidden_states")
    theirs = objective.teacher.network.tap("hidden_states")
    features = {k: v for k, v in batch.items() if k in mine.input}
    one = np.asarray(mine(features)["hidden_states"][0]) @ np.asarray(kernel) + np.asarray(bias)
    other = np.asarray(theirs(features)["hidden_states"][0])
    real = np.asarray(batch["padding_mask"]) > 0
    expected = np.mean((one - other) ** 2, axis=-1)[real]
    assert float(total) == pytest.approx(expected.sum(), rel=1e-5)
    assert float(weight) == real.sum()


def test_stored_outputs_take_the_place_of_a_teacher():
    shape = distill_run.config(num_layers=1)
    student = distill_run.network(shape, "text_classifier", num_outputs=3, input="first_token")
    teacher = distill_run.network(shape, "text_classifier", 5, num_outputs=3, input="first_token")
    losses = losses_from({"soft_labels": 1.0, "single_label": 0.5})
    batch = {name: tf.constant(array[:5]) for name, array in distill_run.arrays().items()}
    ids = {name: batch[name] for name in ("token_ids", "padding_mask", "segment_ids")}
    stored = {**batch, "teacher_logits": teacher(ids)}
    live = Distillation(student, teacher, losses).terms(batch, False, None)
    from_store = Distillation(student, "stored", losses).terms(stored, False, None)
    for name, pair in live[0].items():
        np.testing.assert_allclose(from_store[0][name], pair, rtol=1e-6)
    labelled = np.asarray(batch["labels"]) >= 0
    assert float(live[0]["single_label"][1]) == labelled.sum() < 5
    assert float(live[1]["single_label_accuracy"][1]) == labelled.sum()


def test_any_keras_model_can_be_a_student():
    ids = keras.Input((None,), dtype="int32", name="token_ids")
    hidden = keras.layers.Embedding(distill_run.VOCABULARY, 6)(ids)
    logits = keras.layers.Dense(3)(keras.layers.GlobalMaxPooling1D()(hidden))
    student = keras.Model({"token_ids": ids}, {"logits": logits}, name="small")
    teacher = distill_run.network(
        distill_run.config(), "text_classifier", num_outputs=3, input="first_token"
    )
    objective = Distillation(student, teacher, losses_from({"logits_mse": 1.0}))
    batch = {name: tf.constant(array) for name, array in distill_run.arrays().items()}
    assert float(objective.terms(batch, True, None)[0]["logits_mse"][1]) == distill_run.ROWS
    with pytest.raises(ValueError, match="reads `hidden_states`, and small gives logits"):
        Distillation(student, teacher, losses_from({"last_hidden_cosine": 1.0}))


def test_a_loss_without_the_teacher_that_it_needs_raises():
    student, _ = distill_run.models("distilbert")
    with pytest.raises(ValueError, match="`soft_targets` needs a teacher"):
        Distillation(student, None, losses_from({"soft_targets": 1.0}))
    Distillation(student, None, losses_from({"masked_lm": 1.0}))


WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "a", "b", "c"]


@pytest.mark.parametrize(
    ("other", "settings", "message"),
    [
        ([*WORDS[:-2], "c", "b"], {}, "token 6 of the student is 'b', of the teacher 'c'"),
        ([*WORDS, "d"], {}, "the student has 8 tokens, the teacher 9"),
        (WORDS, {"lowercase": False}, "lowercase of the student is True, of the teacher False"),
        (WORDS, {"pad_token": "a"}, "pad_token of the student is '.PAD.', of the teacher 'a'"),
    ],
)
def test_other_words_are_refused_even_if_there_are_equally_many(other, settings, message):
    student = bertzoo.WordPieceTokenizer(WORDS)
    with pytest.raises(ValueError, match=message):
        check_same_words(student, bertzoo.WordPieceTokenizer(other, **settings))


@pytest.mark.parametrize(
    ("teacher", "message"),
    [
        ({"labels": ("good", "bad")}, "the student are bad, good, of the teacher good, bad"),
        ({"num_outputs": 3}, "the student has 2, the teacher 3"),
    ],
)
def test_other_labels_are_refused(teacher, message):
    student = HeadConfig("text_classifier", labels=("bad", "good"))
    with pytest.raises(ValueError, match=message):
        check_same_labels(student, HeadConfig("text_classifier", **teacher))
    check_same_labels(student, HeadConfig("text_classifier", num_outputs=2))


def test_the_same_words_pass_and_none_do_not():
    student = bertzoo.WordPieceTokenizer(WORDS)
    check_same_words(student, bertzoo.WordPieceTokenizer(WORDS, sequence_length=7))
    with pytest.raises(ValueError, match="the teacher has no tokenizer"):
        check_same_words(student, None)
