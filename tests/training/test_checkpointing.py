"""Checkpoints: whole or not there; damage is found and passed over; a full disk loses nothing."""

import json
import pathlib
import resource
import signal
import subprocess
import sys
import threading

import pytest
import tensorflow as tf

from bertzoo.training import checkpointing
from bertzoo.training.checkpointing import Checkpoints, LostCheckpoint
from bertzoo.training.strategy import Replicas, make_replicas

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
from bertzoo.training.strategy import Replicas, make_replicas
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


# === While training goes on ===


def test_what_changes_after_the_start_is_not_in_the_checkpoint(tmp_path, monkeypatch):
    begin, write = threading.Event(), checkpointing.write_checkpoint

    def late(*arguments):
        assert begin.wait(20)
        write(*arguments)

    monkeypatch.setattr(checkpointing, "write_checkpoint", late)
    made = {**variables(), "optimizer/moment": tf.Variable(tf.range(1000, dtype=tf.float32))}
    checkpoints = Checkpoints(tmp_path, made, REPLICAS)
    checkpoints.start(4, {"last": 4})
    # In place, as optimizers do it, and by a whole new value.
    made["optimizer/moment"].assign_add(tf.ones(1000))
    made["model/a_b"].assign([7.0, 8.0])
    assert checkpoints.steps() == []
    assert checkpoints.news() == []
    begin.set()
    checkpoints.finish()
    assert [(write.step, write.error) for write in checkpoints.news()] == [(4, None)]
    assert checkpoints.news() == []
    assert checkpoints.restore() == checkpointing.Restored(4, {"last": 4})
    assert made["optimizer/moment"].numpy().tolist() == list(range(1000))
    assert made["model/a_b"].numpy().tolist() == [1.0, 2.0]


def test_one_is_written_at_a_time(tmp_path, monkeypatch):
    writing, write = [], checkpointing.write_checkpoint

    def watched(folder, values, step, details):
        writing.append(step)
        assert len(writing) == 1
        write(folder, values, step, details)
        writing.remove(step)

    monkeypatch.setattr(checkpointing, "write_checkpoint", watched)
    made = variables()
    checkpoints = Checkpoints(tmp_path, made, REPLICAS, keep=2)
    for step in range(5):
        made["model/a/b"].assign(float(step))
        checkpoints.start(step)
    checkpoints.finish()
    assert [write.step for write in checkpoints.news()] == [0, 1, 2, 3, 4]
    assert sorted(checkpoints.steps()) == [3, 4]
    assert checkpoints.restore().step == 4
    assert float(made["model/a/b"]) == 4.0


def test_a_failed_write_is_raised_by_what_comes_next(tmp_path, monkeypatch):
    checkpoints, _ = saved(tmp_path, steps=(0,))

    def full(folder, values, step, details):
        (tmp_path / "step-00000004").mkdir()
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(checkpointing, "write_checkpoint", full)
    checkpoints.start(4)
    checkpoints.settle()
    assert checkpoints.has_failed
    with pytest.raises(OSError, match=r"step 4 could not be written.*No space.*step 0 is whole"):
        checkpoints.start(8)
    assert [path.name for path in tmp_path.iterdir()] == ["step-00000000"]
    assert not checkpoints.has_failed


# === Workers agree ===


class Meeting(Replicas):
    """A worker that adds numbers up with one other, which is a thread."""

    barrier, numbers = threading.Barrier(2, timeout=20), {}

    def __init__(self, worker):
        super().__init__(REPLICAS.strategy, worker)

    def sum_over_workers(self, number):
        self.numbers[self.worker] = number
        self.barrier.wait()  # who comes alone is told so by a BrokenBarrierError
        total = sum(self.numbers.values())
        self.barrier.wait()
        return total


def what_two_workers_say(folders, call):
    """Return for each of two workers what it returned, or the error that it raised."""
    said = {}

    def work(worker):
        checkpoints = Checkpoints(folders[worker], variables(), Meeting(worker))
        try:
            said[worker] = call(checkpoints)
        except Exception as error:
            said[worker] = error

    Meeting.barrier.reset()
    threads = [threading.Thread(target=work, args=(worker,)) for worker in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return said[0], said[1]


def test_workers_restore_what_the_first_one_chose(tmp_path):
    saved(tmp_path)
    damage(tmp_path / "step-00000012/state.index", "cut")
    with pytest.warns(UserWarning, match="DAMAGED CHECKPOINT"):
        first, second = what_two_workers_say([tmp_path] * 2, Checkpoints.restore)
    assert first.step == second.step == 8


def test_all_workers_hear_that_every_checkpoint_is_damaged(tmp_path):
    saved(tmp_path)
    for folder in tmp_path.iterdir():
        damage(folder / "state.index", "cut")
    first, second = what_two_workers_say([tmp_path] * 2, Checkpoints.restore)
    assert isinstance(first, LostCheckpoint)
    assert "was cut" in str(first)
    assert isinstance(second, LostCheckpoint)
    assert "the message of the first worker says how" in str(second)


def test_a_worker_with_another_directory_stops_all(tmp_path):
    saved(tmp_path / "shared")
    first, second = what_two_workers_say(
        [tmp_path / "shared", tmp_path / "its own"], Checkpoints.restore
    )
    assert "all workers need the same output directory" in str(first)
    assert "its own/step-00000012/COMMIT.json cannot be read" in str(second)


def test_all_workers_stop_where_the_first_could_not_write(tmp_path, monkeypatch):
    def full(*arguments):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(checkpointing, "write_checkpoint", full)
    first, second = what_two_workers_say([tmp_path] * 2, lambda one: one.save(4))
    assert "there is none before it" in str(first)
    assert "the first worker could not write" in str(second)
