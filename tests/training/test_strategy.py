"""Strategies by name, and TF_CONFIG's mistakes in one sentence each."""

import json

import numpy as np
import pytest

from bertzoo.training.strategy import Replicas, StrategyConfig, make_replicas, read_tf_config

WORKERS = {"cluster": {"worker": ["a:1", "b:2"]}}


def config(**changes):
    return {"TF_CONFIG": json.dumps({**WORKERS, "task": {"type": "worker", "index": 1}, **changes})}


def test_a_good_tf_config():
    assert read_tf_config(config())["task"]["index"] == 1


@pytest.mark.parametrize(("environment", "message"), [
    ({}, "needs the environment variable TF_CONFIG"),
    ({"TF_CONFIG": "{"}, "is not JSON"),
    ({"TF_CONFIG": "[]"}, "lists no workers"),
    (config(cluster={"worker": []}), "lists no workers"),
    (config(cluster={"worker": ["a"]}), "lists the worker 'a'; it should be host:port"),
    (config(task=None), "has no `task`"),
    (config(task={"type": "ps", "index": 0}), "the task 'ps'; all must be `worker`"),
    (config(task={"type": "worker", "index": 2}), "task index 2; the 2 workers have the numbers 0"),
    (config(task={"type": "worker", "index": "1"}), "task index '1'"),
])  # fmt: skip
def test_mistakes_of_tf_config(environment, message):
    with pytest.raises(ValueError, match=message) as caught:
        read_tf_config(environment)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(("values", "message"), [
    ({"name": "mirored"}, "did you mean `mirrored`"),
    ({"name": "mirrored", "devices": 0}, "at least 1"),
])  # fmt: skip
def test_mistakes_of_a_strategy(values, message):
    with pytest.raises(ValueError, match=message):
        StrategyConfig.from_dict(values, "x.yaml, strategy")


def test_mirrored_without_a_gpu_asks_for_a_number():
    with pytest.raises(ValueError, match=r"no GPU.*strategy\.devices"):
        make_replicas(StrategyConfig("mirrored"))


def test_no_tpu_is_said_in_a_sentence():
    with pytest.raises(ValueError, match="no TPU was found at nowhere"):
        make_replicas(StrategyConfig("tpu", tpu="nowhere"))


def test_a_batch_must_split_evenly():
    replicas = make_replicas()
    assert isinstance(replicas, Replicas)
    assert replicas.split(12, 4) == 12
    with pytest.raises(ValueError, match=r"a batch of 10 .* multiple of 4"):
        replicas.split(10, 4)


def test_one_device_iterates_over_its_own_batches():
    from bertzoo.training.sources import ArraySource

    source = ArraySource({"n": np.arange(10)}, seed=3)
    replicas = make_replicas()
    batches = replicas.iterate(lambda mine: source.dataset(6, 4, mine, 1))
    seen = [next(batches)["n"].numpy().tolist() for _ in range(3)]
    flat = np.concatenate(seen)
    # Places 6 to 17: the end of epoch 0, and eight of the ten of epoch 1.
    whole = iter(source.dataset(0, 10, range(1), 1))
    order = np.concatenate([next(whole)["n"].numpy() for _ in range(2)])
    np.testing.assert_array_equal(flat, order[6:18])
    assert sorted(order[:10]) == sorted(order[10:]) == list(range(10))
    assert order[:10].tolist() != order[10:].tolist()
    names = source.identity(6, 12)
    assert [row["epoch"] for row in names] == [0] * 4 + [1] * 8
    assert [row["example_index"] for row in names] == flat.tolist()
