"""Checkpoints: whole or not there; damage is found and passed over; a full disk loses nothing."""

import json
import pathlib
import resource
import signal
import subprocess
import sys

import pytest
import tensorflow as tf

from bertzoo.training import checkpointing
from bertzoo.training.checkpointing import Checkpoints, LostCheckpoint
from bertzoo.training.strategy import make_replicas

REPLICAS = make_replicas()


def variables():
    return {"model/a_b": tf.Variable([1.0, 2.0]), "model/a/b": tf.Variable(3.0)}


def saved(directory, steps=(0, 4, 8, 12), keep=3):
    made = variables()
    checkpoints = Checkpoints(directory, made, REPLICAS, keep)
    for step in steps:
        made["model/a_b"].assign([float(step), 0.0])
        checkpoints.save(step, {"last": step})
    return checkpoints, made


@pytest.mark.parametrize("place", ["disk", "ram"])
def test_the_newest_is_restored_and_the_oldest_removed(tmp_path, place):
    directory = tmp_path / "c" if place == "disk" else "ram://newest/c"
    checkpoints, made = saved(directory)
    assert sorted(checkpoints.steps()) == [4, 8, 12]
    for variable in made.values():
        variable.assign(tf.zeros_like(variable))
    assert checkpoints.restore() == checkpointing.Restored(12, {"last": 12})
    assert made["model/a_b"].numpy().tolist() == [12.0, 0.0]
    assert float(made["model/a/b"]) == 3.0


def damage(path, how):
    content = path.read_bytes()
    if how == "cut":
        path.write_bytes(content[: len(content) // 2])
    elif how == "flip":
        middle = len(content) // 2
        path.write_bytes(content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :])
    elif how == "empty":
        path.write_bytes(b"")
    else:
        path.unlink()


@pytest.mark.parametrize("name", ["state.index", "state.data-00000-of-00001"])
@pytest.mark.parametrize("how", ["cut", "flip", "empty", "gone"])
def test_a_damaged_newest_one_is_passed_over_with_a_warning(tmp_path, name, how):
    checkpoints, made = saved(tmp_path)
    damage(tmp_path / "step-00000012" / name, how)
    with pytest.warns(UserWarning, match=f"DAMAGED CHECKPOINT: .*{name}.* step 8"):
        restored = checkpoints.restore()
    assert restored.step == 8
    assert restored.details == {"last": 8}
    assert made["model/a_b"].numpy().tolist() == [8.0, 0.0]


@pytest.mark.parametrize("how", ["cut", "flip", "empty"])
def test_a_damaged_commit_is_found(tmp_path, how):
    checkpoints, _ = saved(tmp_path)
    commit = tmp_path / "step-00000012/COMMIT.json"
    if how == "flip":  # a digit of a checksum
        row = json.loads(commit.read_text())
        row["files"]["state.index"]["sha256"] = "0" * 64
        commit.write_text(json.dumps(row))
    else:
        damage(commit, how)
    with pytest.warns(UserWarning, match="DAMAGED CHECKPOINT"):
        assert checkpoints.restore().step == 8


def test_without_commit_it_is_none_and_is_written_over(tmp_path):
    checkpoints, _ = saved(tmp_path)
    (tmp_path / "step-00000012/COMMIT.json").unlink()
    assert checkpoints.restore().step == 8
    checkpoints.save(12)
    assert checkpoints.restore().step == 12


def test_all_damaged_is_an_error_and_none_is_none(tmp_path):
    checkpoints, _ = saved(tmp_path)
    for folder in tmp_path.iterdir():
        damage(folder / "state.index", "cut")
    with pytest.raises(LostCheckpoint, match=r"every checkpoint below .* is damaged: .*was cut"):
        checkpoints.restore()
    assert Checkpoints(tmp_path / "other", variables(), REPLICAS).restore() is None


def test_other_variables_are_refused(tmp_path):
    saved(tmp_path)
    other = {**variables(), "model/new": tf.Variable(1.0)}
    with pytest.raises(ValueError, match="holds other variables than this model"):
        Checkpoints(tmp_path, other, REPLICAS).restore()
    other = {**variables(), "model/a_b": tf.Variable([1.0, 2.0, 3.0])}
    with pytest.raises(ValueError, match="holds other variables than this model"):
        Checkpoints(tmp_path, other, REPLICAS).restore()


FULL = """
import resource, signal, sys
import tensorflow as tf
from bertzoo.training.checkpointing import Checkpoints
from bertzoo.training.strategy import make_replicas
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
big = tf.Variable(tf.random.normal([50_000]))
checkpoints = Checkpoints(sys.argv[1], {"big": big}, make_replicas(), keep=1)
checkpoints.save(5)
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
try:
    checkpoints.save(10)
except OSError as error:
    print(error)
print(checkpoints.steps(), checkpoints.restore().step)
"""


def test_a_full_disk_leaves_the_last_good_one(tmp_path):
    """The limit on a file's size stands for a disk that is full in the middle of a write."""
    assert resource.RLIMIT_FSIZE is not None
    assert signal.SIGXFSZ
    done = subprocess.run(
        [sys.executable, "-c", FULL, str(tmp_path / "c")], capture_output=True, text=True,
        cwd=pathlib.Path(__file__).parent.parent.parent, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    message, end = done.stdout.strip().splitlines()
    assert "the checkpoint of step 10 could not be written" in message
    assert "that of step 5 is whole" in message
    assert end == "[5] 5"
    assert sorted(path.name for path in (tmp_path / "c").iterdir()) == ["step-00000005"]


def test_a_directory_that_tensorflow_reads_as_a_pattern_is_refused():
    with pytest.raises(ValueError, match="as a pattern"):
        Checkpoints("run[1]", variables(), REPLICAS)


def test_keep_must_be_a_number_of_checkpoints(tmp_path):
    with pytest.raises(ValueError, match="at least 1"):
        Checkpoints(tmp_path, variables(), REPLICAS, keep=0)
