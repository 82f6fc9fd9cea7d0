"""The loop: what it writes, what it refuses, where it goes on."""

import json
import pathlib

import numpy as np
import pytest
import tensorflow as tf

from bertzoo.config import BackboneConfig
from bertzoo.training import flops, run_log
from bertzoo.training.run_directory import differences
from bertzoo.training.run_log import read_log
from bertzoo.training.stopping import NotFinite
from tests.training import toy_run


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A run of 12 steps that is at its end; tests that change it copy it."""
    directory = tmp_path_factory.mktemp("run") / "run"
    return directory, toy_run.run(str(directory), steps=12, evaluate_every=5, tensorboard=True)


def copy(finished, tmp_path):
    import shutil

    shutil.copytree(finished[0], tmp_path / "run")
    return tmp_path / "run"


def test_what_a_run_leaves(finished):
    directory, result = finished
    names = {path.name for path in directory.iterdir()}
    assert {"run.json", "log.jsonl", "checkpoints", "tensorboard"} <= names
    assert sorted(path.name for path in (directory / "checkpoints").iterdir()) == [
        "step-00000008", "step-00000012",
    ]  # fmt: skip
    rows, held_out, events = read_log(str(directory / "log.jsonl"))
    assert [row["step"] for row in rows] == list(range(1, 13))
    assert [row["step"] for row in held_out] == [5, 10, 12]
    assert [event["step"] for event in events if event["event"] == "saved"] == [0, 4, 8, 12]
    last = held_out[-1]
    assert last["held_out_pseudo_perplexity"] == pytest.approx(np.exp(last["held_out_masked_lm"]))
    assert result["result"]["steps"] == 12
    assert list((directory / "tensorboard").glob("events*"))


def test_held_out_numbers_are_those_of_the_model(finished):
    directory, _ = finished
    loop = toy_run.loop(str(directory), steps=12)
    loop.checkpoints.restore()
    made, batch = loop.step.objective, toy_run.arrays()
    table, (kernel, bias) = made.table.get_weights()[0], made.dense.get_weights()
    logits = table[batch["token_ids"][:16]].mean(1) @ kernel + bias
    logits = logits - np.log(np.exp(logits).sum(-1, keepdims=True))
    weights = batch["mask_weights"][:16, 1]
    chosen = np.take_along_axis(logits, batch["mask_labels"][:16, 1:2], -1)[:, 0]
    expected = -(chosen * weights).sum() / weights.sum()
    _, held_out, _ = read_log(str(directory / "log.jsonl"))
    assert held_out[-1]["held_out_masked_lm"] == pytest.approx(expected, rel=1e-5)


def test_a_finished_run_is_not_done_again(finished, tmp_path, capsys):
    directory = copy(finished, tmp_path)
    again = toy_run.run(str(directory), steps=12, resume=True)
    assert again["weights"] == finished[1]["weights"]
    assert "going on from step 12 of 12" in capsys.readouterr().err


def test_another_recipe_is_refused_with_the_difference(finished, tmp_path):
    directory = copy(finished, tmp_path)
    with pytest.raises(ValueError, match=r"another recipe(.|\n)*batch_size: was 8, is 4\n"):
        toy_run.run(str(directory), steps=12, batch_size=4, recipe={"new": 1})
    with pytest.raises(ValueError, match=r"training.seed: was 3, is 5"):
        toy_run.run(str(directory), steps=12, seed=5)
    # What changes no number is free; and --force goes on with anything.
    toy_run.run(str(directory), steps=12, keep=5, log_every=3)
    toy_run.run(str(directory), steps=12, seed=5, force=True)
    assert json.loads((directory / "run.json").read_text())["config"]["training"]["seed"] == 5


def test_a_lost_state_never_starts_anew_in_silence(finished, tmp_path):
    directory = copy(finished, tmp_path)
    (directory / "run.json").unlink()
    with pytest.raises(ValueError, match=r"a checkpoint of step .* run.json is lost or damaged"):
        toy_run.run(str(directory), steps=12)
    (directory / "run.json").write_text("{")
    with pytest.raises(ValueError, match="lost or damaged"):
        toy_run.run(str(directory), steps=12)
    assert toy_run.run(str(directory), steps=12, force=True)["weights"] == finished[1]["weights"]


def test_lost_or_damaged_checkpoints_never_start_anew_in_silence(finished, tmp_path):
    directory = copy(finished, tmp_path)
    for path in (directory / "checkpoints").glob("*/state.index"):
        path.write_bytes(b"")
    with pytest.raises(ValueError, match=r"every checkpoint .* damaged: .*--force starts the run"):
        toy_run.run(str(directory), steps=12)
    for path in (directory / "checkpoints").glob("*/COMMIT.json"):
        path.unlink()
    with pytest.raises(ValueError, match="all its checkpoints are gone; --force starts it"):
        toy_run.run(str(directory), steps=12)
    again = toy_run.run(str(directory), steps=12, force=True)
    assert again["weights"] == finished[1]["weights"]


def test_a_damaged_newest_checkpoint_changes_nothing_in_the_end(finished, tmp_path):
    directory = copy(finished, tmp_path)
    path = directory / "checkpoints/step-00000012/state.data-00000-of-00001"
    content = bytearray(path.read_bytes())
    content[len(content) // 3] ^= 4
    path.write_bytes(bytes(content))
    with pytest.warns(UserWarning, match="DAMAGED CHECKPOINT"):
        again = toy_run.run(str(directory), steps=12)
    assert again["weights"] == finished[1]["weights"]


def test_resume_needs_a_run(tmp_path):
    with pytest.raises(ValueError, match="no run to resume"):
        toy_run.run(str(tmp_path / "new"), resume=True)


def test_a_run_may_live_in_an_object_store(finished):
    again = toy_run.run("ram://bucket/run", steps=12, evaluate_every=5, tensorboard=True)
    assert again["weights"] == finished[1]["weights"]
    assert tf.io.gfile.exists("ram://bucket/run/checkpoints/step-00000012/COMMIT.json")
    assert len(read_log("ram://bucket/run/log.jsonl")[0]) == 12


def poisoned(directory, **config):
    """A run whose tables hold an infinity, so that each step is no number."""
    loop = toy_run.loop(str(directory), steps=6, dropout=0.0, **config)
    table = loop.step.objective.table.embeddings
    table.assign(table + np.inf)
    return loop


def test_numbers_that_are_none_stop_the_run_and_name_the_examples(tmp_path):
    with pytest.raises(NotFinite, match="gradients of step 0 are no finite numbers"):
        poisoned(tmp_path / "run").run()
    row = json.loads((tmp_path / "run/nonfinite-step-00000000.json").read_text())
    source = toy_run.ArraySource(toy_run.arrays(), seed=2)
    batch = next(iter(source.dataset(0, 8, range(1), 1)))
    assert [one["example_index"] for one in row["examples"]] == (
        batch["example_index"].numpy().tolist()
    )


def test_some_steps_may_be_left_out(tmp_path):
    result = poisoned(tmp_path / "run", skip_nonfinite=6).run()
    assert result["steps"] == 6
    rows, _, events = read_log(str(tmp_path / "run/log.jsonl"))
    assert sum(row["skipped_steps"] for row in rows) == 6
    assert [step for e in events if e["event"] == "nonfinite" for step in e["steps"]] == [*range(6)]


def test_a_torn_log_is_read_and_gone_on_with(tmp_path):
    path = tmp_path / "log.jsonl"
    path.write_text('{"step": 1, "loss": 2.0}\n{"step": 2, "lo')
    log = run_log.RunLog(str(path), total=3)
    log.steps(1, [{"loss": 1.5, "learning_rate": 0.1, "finite": 1.0}], 10, 0.5)
    log.close()
    rows, _, _ = read_log(str(path))
    assert [(row["step"], row["loss"]) for row in rows] == [(1, 2.0), (2, 1.5)]
    assert rows[1]["tokens_per_second"] == pytest.approx(20.0)


def test_differences_name_keys_in_lists_and_what_is_new():
    before = {"phases": [{"steps": 1}, {"steps": 2}], "gone": 1}
    now = {"phases": [{"steps": 1}, {"steps": 3}], "new": {"x": None}}
    assert differences(before, now) == [
        "phases.1.steps: was 2, is 3",
        "gone: was 1, is not there",
        "new: was not there, is {'x': None}",
    ]


@pytest.mark.parametrize(("config", "length", "predictions", "expected"), [
    # The table of published figures: base and large at 128 and 512 tokens.
    (BackboneConfig(), 512, 76, 300.9e9),
    (BackboneConfig(num_layers=24, hidden_dim=1024, num_heads=16, intermediate_dim=4096),
     128, 20, 240.6e9),
])  # fmt: skip
def test_operations_of_a_step(config, length, predictions, expected):
    assert flops.training_flops(config, length, predictions) == pytest.approx(expected, rel=1e-3)


def test_a_missing_matplotlib_is_one_line(tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(__import__("sys").modules, "matplotlib", None)
    assert run_log.plot_log(str(pathlib.Path(tmp_path) / "log.jsonl"), "plot.png") is False
    assert "bertzoo[plot]" in capsys.readouterr().err
