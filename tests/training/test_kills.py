"""A run that is killed, at any moment, goes on bit by bit as one that was not."""

import os
import signal
import time

import pytest

from tests.training import kills

MIRRORED = {"name": "mirrored", "devices": 2}
MULTI_WORKER = {"name": "multi_worker"}


@pytest.fixture(scope="module")
def server():
    with kills.Server() as server:
        yield server


def test_three_kills_on_two_devices_change_nothing(server, tmp_path):
    places = kills.killed_run_is_the_same(server, tmp_path, MIRRORED, kills=3, seed=4)
    assert len(places) == 3


def test_a_signal_saves_and_says_so_and_the_run_goes_on(server, tmp_path):
    one = {"name": "one_device"}
    (process,) = kills.start(server, tmp_path, one, steps=1_000_000, checkpoint_every=10**7)
    log = tmp_path / "run/log.jsonl"
    while not (log.exists() and kills.losses(tmp_path)):
        assert not kills.all_ended([process]), (tmp_path / "result-0.err").read_text()
        time.sleep(0.01)
    os.kill(process, signal.SIGTERM)
    assert server.wait(process) == 75
    said = (tmp_path / "result-0.err").read_text()
    assert "SIGTERM arrived; saved at step" in said
    step = max(kills.losses(tmp_path))
    assert (tmp_path / f"run/checkpoints/step-{step:08d}/COMMIT.json").exists()


@pytest.mark.slow
@pytest.mark.parametrize(("strategy", "count"), [(MIRRORED, 12), (MULTI_WORKER, 8)])
def test_twenty_kills_change_nothing(server, tmp_path, strategy, count):
    places = kills.killed_run_is_the_same(
        server, tmp_path, strategy, kills=count, seed=7, phases=2, kind="pretraining"
    )
    print(strategy["name"], places)
    assert {"step", "write"} == set(places)


@pytest.mark.slow
def test_two_workers_stop_where_every_checkpoint_is_damaged(server, tmp_path):
    kills.finish(server, tmp_path, kills.start(server, tmp_path, MULTI_WORKER, steps=6))
    for path in (tmp_path / "run/checkpoints").glob("*/state.index"):
        path.write_bytes(b"")
    processes = kills.start(server, tmp_path, MULTI_WORKER, steps=6)
    until = time.monotonic() + 120
    while not kills.all_ended(processes) and time.monotonic() < until:
        time.sleep(0.05)
    hang = not kills.all_ended(processes)
    for process in processes if hang else ():
        os.kill(process, signal.SIGKILL)
    assert [server.wait(process) for process in processes] == [1, 1]
    first, second = ((tmp_path / f"result-{number}.err").read_text() for number in range(2))
    assert "it was cut. --force starts the run" in first
    assert "is damaged: the message of the first worker says how." in second
