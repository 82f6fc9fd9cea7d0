"""One step: the same for any split of the batch, by the optimizer's own formula, under XLA."""

import json
import os
import pathlib
import subprocess
import sys

import keras
import numpy as np
import pytest
import tensorflow as tf

from bertzoo.training import keyed_randomness
from bertzoo.training.objectives import Objective
from bertzoo.training.replaced_tokens import put
from bertzoo.training.step import TrainStep
from bertzoo.training.strategy import make_replicas
from tests.training import toy_run

PROGRAM = pathlib.Path(__file__).parent / "toy_run.py"
ROOT = PROGRAM.parent.parent.parent


def train_elsewhere(**settings):
    done = subprocess.run(
        [sys.executable, str(PROGRAM), "train", json.dumps(settings)],
        env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout.splitlines()[-1])


@pytest.fixture(scope="module")
def one():
    return toy_run.train()


def assert_same_run(ours, theirs, relative=1e-6):
    for one, other in zip(ours["rows"], theirs["rows"], strict=True):
        for name in ("loss", "masked_lm", "next_sentence", "gradient_norm", "learning_rate"):
            assert one[name] == pytest.approx(other[name], rel=relative), name
    for path, values in ours["weights"].items():
        # Without bias correction the first steps divide noise by noise: 1e-4 of a step of 0.01.
        np.testing.assert_allclose(values, theirs["weights"][path], atol=1e-4)


def test_the_first_steps_are_those_of_a_plain_keras_loop(one):
    keras.utils.set_random_seed(11)
    network = toy_run.objective().network
    schedule = [0.0, 0.005, 0.01 * 38 / 40, 0.01 * 37 / 40, 0.01 * 36 / 40]
    variables = network.trainable_variables
    moments = [[np.zeros(v.shape), np.zeros(v.shape)] for v in variables]
    source = toy_run.ArraySource(toy_run.arrays(), seed=2)
    batches = iter(source.dataset(0, 8, range(1), 1))
    for row, rate in zip(one["rows"], schedule, strict=True):
        batch = next(batches)
        weights = tf.cast(batch["mask_weights"], tf.float32)
        with tf.GradientTape() as tape:
            outputs = network(batch, training=False)
            words = tf.nn.sparse_softmax_cross_entropy_with_logits(
                batch["mask_labels"], outputs["masked_lm"]
            )
            pairs = tf.nn.sparse_softmax_cross_entropy_with_logits(
                batch["next_sentence_labels"], outputs["next_sentence"]
            )
            loss = tf.reduce_sum(words * weights) / tf.reduce_sum(weights) + tf.reduce_mean(pairs)
        gradients = tape.gradient(loss, [v.value for v in variables])
        gradients = [tf.convert_to_tensor(gradient).numpy() for gradient in gradients]
        norm = np.sqrt(sum((gradient.astype("float64") ** 2).sum() for gradient in gradients))
        assert row["loss"] == pytest.approx(float(loss), rel=1e-4)
        assert row["gradient_norm"] == pytest.approx(norm, rel=1e-3)
        assert row["learning_rate"] == pytest.approx(rate, rel=1e-5)
        for variable, gradient, moment in zip(variables, gradients, moments, strict=True):
            gradient = gradient * min(1.0, 1.0 / norm)
            moment[0] = 0.9 * moment[0] + 0.1 * gradient
            moment[1] = 0.999 * moment[1] + 0.001 * gradient**2
            decay = 0.1 if variable.path.endswith(("kernel", "embeddings")) else 0.0
            update = moment[0] / (np.sqrt(moment[1]) + 1e-6) + decay * variable.numpy()
            variable.assign(variable.numpy() - rate * update)


def test_accumulated_parts_are_the_whole_batch(one):
    assert_same_run(toy_run.train(accumulation=4), one)


def test_two_replicas_are_one(one):
    assert_same_run(train_elsewhere(strategy={"name": "mirrored", "devices": 2}), one)


@pytest.mark.slow
def test_two_replicas_with_accumulation_are_one(one):
    two = train_elsewhere(strategy={"name": "mirrored", "devices": 2}, accumulation=2)
    assert_same_run(two, one)


@pytest.mark.slow
def test_two_processes_are_one(one):
    from tests.training.kills import workers

    processes = [
        subprocess.Popen(
            [sys.executable, str(PROGRAM), "train", '{"strategy": {"name": "multi_worker"}}'],
            env={**os.environ, **environment, "PYTHONPATH": str(ROOT)},
            stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
        )
        for environment in workers(2)
    ]  # fmt: skip
    for process in processes:
        output, _ = process.communicate(timeout=300)
        assert process.returncode == 0
        assert_same_run(json.loads(output.splitlines()[-1]), one)


@pytest.mark.slow
def test_two_replicas_under_xla_are_one(one):
    two = train_elsewhere(strategy={"name": "mirrored", "devices": 2}, jit=True)
    assert_same_run(two, one, relative=1e-5)


def test_a_replica_is_one_program_without_dynamic_shapes_or_host_calls():
    """What a TPU needs: forward, backward, clipping and update compile as a whole."""
    step, _ = toy_run.build(dropout=0.1)
    program = tf.function(lambda *arguments: step.replica_step(*arguments), jit_compile=True)
    batch = {name: tf.constant(array[:8]) for name, array in toy_run.arrays().items()}
    before = step.variables[0].numpy()
    text = program.experimental_get_compiler_ir(batch, tf.constant(3))(stage="hlo")
    assert "dot(" in text
    assert "<=" not in text  # a dynamic dimension is written f32[<=8]
    for call in ("outfeed", "infeed", "send(", "recv(", "host", "callback"):
        assert call not in text.lower(), call
    for number in range(2):  # the learning rate of the first is 0
        program(batch, tf.constant(number))
    assert not np.array_equal(step.variables[0].numpy(), before)


class Constant(Objective):
    """A loss whose gradient is what the batch says."""

    def __init__(self):
        model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(2, use_bias=False)])
        super().__init__([model])

    def weights(self, batch):
        return {"all": tf.reduce_sum(tf.ones_like(batch["x"]))}

    def terms(self, batch, training, key):
        total = tf.reduce_sum(self.models[0](batch["x"], training=training))
        return {"all": (total, self.weights(batch)["all"])}, {}


@pytest.mark.parametrize("dtype", ["float32", "mixed_float16", "mixed_bfloat16"])
def test_a_step_whose_gradients_are_no_numbers_changes_nothing(dtype):
    keras.utils.set_random_seed(1)
    keras.config.set_dtype_policy(dtype)
    try:
        objective = Constant()
    finally:
        keras.config.set_dtype_policy("float32")
    step = TrainStep(objective, toy_run.AdamW(0.1), make_replicas(), clip_norm=1.0)
    values = np.array([[0.1], [0.2], [np.inf], [0.1], [0.3], [0.1]], "float32")
    batches = iter(tf.data.Dataset.from_tensor_slices({"x": values}).batch(1))
    rows = step.run(batches, 0, 2)
    state = {name: variable.numpy() for name, variable in step.state().items()}
    (bad,) = step.run(batches, 2, 1)
    assert bad["finite"] == 0.0
    changed = {
        name.split("/")[0]
        for name, variable in step.state().items()
        if not np.array_equal(variable.numpy(), state[name])
    }
    assert changed == ({"loss_scale"} if dtype == "mixed_float16" else set())
    rows += step.run(batches, 3, 3)
    assert all(row["finite"] == 1.0 for row in rows)
    assert int(step.optimizer.iterations) == 5


def test_the_loss_scale_is_divided_out_and_follows_overflow():
    keras.utils.set_random_seed(1)
    keras.config.set_dtype_policy("mixed_float16")
    try:
        objective = Constant()
    finally:
        keras.config.set_dtype_policy("float32")
    step = TrainStep(objective, toy_run.AdamW(0.1), make_replicas())
    step.loss_scale.growth_steps = 2
    values = np.array([[0.25], [0.25], [np.inf], [0.25]], "float32")
    batches = iter(tf.data.Dataset.from_tensor_slices({"x": values}).batch(1))
    rows = step.run(batches, 0, 2)
    assert rows[0]["gradient_norm"] == pytest.approx(0.25 * np.sqrt(2), rel=1e-3)
    assert float(step.loss_scale.scale) == 2.0**16
    step.run(batches, 2, 1)
    assert float(step.loss_scale.scale) == 2.0**15


def test_replicas_and_steps_drop_other_units_and_a_repeated_step_the_same():
    objective = toy_run.objective(dropout=0.5)
    batch = {name: array[:4] for name, array in toy_run.arrays().items()}

    def outputs(*numbers):
        with objective.scope(keyed_randomness.key_of(7, *numbers)):
            return objective.network(batch, training=True)["masked_lm"].numpy()

    first = outputs(1, 0)
    np.testing.assert_array_equal(first, outputs(1, 0))
    for other in (outputs(1, 1), outputs(2, 0)):  # another replica, another step
        assert not np.allclose(first, other)
    states = keyed_randomness.seeds_of(objective.models)
    assert len(states) >= 3
    assert [int(state.numpy()[1]) for state in states] == [0] * len(states)  # none moved on


def test_electra_shares_tables_and_trains_them_once():
    objective = toy_run.objective("electra")
    paths = [variable.path for variable in objective.trainable_variables]
    assert paths.count("embeddings/token/embeddings") == 1
    assert paths.count("layer_0/output/kernel") == 2
    step, _ = toy_run.build(kind="electra")
    state = step.state()
    assert len({id(variable) for variable in state.values()}) == len(state)
    assert len(state) == 3 * len(step.variables) + 1  # weights, two moments, iterations
    rows = toy_run.train(steps=12, kind="electra", dropout=0.1)["rows"]
    assert rows[0]["discriminator"] == pytest.approx(np.log(2), abs=0.05)
    for row in rows:
        assert row["loss"] == pytest.approx(row["masked_lm"] + 50 * row["discriminator"], rel=1e-5)
        assert 0.0 < row["replaced"] < 0.35  # at most 2 of 5 to 7 tokens
    assert rows[-1]["loss"] < rows[0]["loss"]


def test_electra_fills_gaps_by_the_generators_probabilities():
    objective = toy_run.objective("electra")
    logits = np.log(np.full((2000, 1, 31), 1e-9, "float32"))
    logits[:, :, 7], logits[:, :, 9] = np.log(0.75), np.log(0.25)
    batch = {
        "token_ids": np.full((2000, 3), 4, "int32"), "mask_positions": np.ones((2000, 1), "int32"),
        "mask_labels": np.full((2000, 1), 5, "int32"), "mask_weights": np.ones((2000, 1), "int32"),
    }  # fmt: skip
    filled, originals = objective._fill(batch, tf.constant(logits), tf.constant([3, 4]))
    share = np.mean(filled.numpy()[:, 1] == 7)
    assert share == pytest.approx(0.75, abs=0.04)  # 4 standard deviations
    assert set(filled.numpy()[:, 1].tolist()) == {7, 9}
    assert (originals.numpy() == [4, 5, 4]).all()


def test_put_leaves_what_has_no_weight():
    ids = put(np.array([[1, 2, 3]]), np.array([[0, 2, 0]]), np.array([[8, 9, 7]]),
              np.array([[1, 1, 0]]))  # fmt: skip
    assert ids.numpy().tolist() == [[8, 2, 9]]
