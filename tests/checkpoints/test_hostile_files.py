"""Hostile files: nothing runs, nothing is left behind, no more memory than the file is worth."""

import tracemalloc

import pytest

from bertzoo import checkpoints
from tests.checkpoints import hostile_arrays, hostile_torch

CASES = hostile_torch.CASES + hostile_arrays.CASES
# What opening a small file may take: Python objects, a read buffer, the tables of a checksum, and
# in the first test of a process the imports. What these files ask for is gigabytes.
MOST_BYTES = 2**25


@pytest.mark.parametrize(
    ("write", "expected"),
    [(write, expected) for _, write, expected in CASES],
    ids=[name for name, _, _ in CASES],
)
def test_a_hostile_file_is_refused_in_one_sentence(write, expected, tmp_path, monkeypatch):
    directory = tmp_path / "model"
    directory.mkdir()
    write(directory)
    before = sorted(directory.rglob("*"))
    size = sum(path.stat().st_size for path in before)
    monkeypatch.chdir(directory)
    tracemalloc.start()
    try:
        with pytest.raises(ValueError, match=f"(?s){expected}") as caught:
            dict(checkpoints.open_checkpoint(directory).all_weights())
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < MOST_BYTES + 4 * size
    assert sorted(directory.rglob("*")) == before
    assert list(tmp_path.iterdir()) == [directory]
    # One message for one fault; those of whole tables have a heading and a line for each side.
    message = str(caught.value)
    assert len(message) < 1500
    assert message.endswith(".")


def test_there_are_at_least_a_hundred_and_all_differ():
    names = [name for name, _, _ in CASES]
    assert len(names) == len(set(names)) >= 100
