"""Runs in processes of their own that are killed from here, and what they are compared with."""

import json
import os
import pathlib
import random
import signal
import socket
import subprocess
import sys
import time

from bertzoo.training.run_log import read_log

PROGRAM = pathlib.Path(__file__).parent / "toy_run.py"
ROOT = pathlib.Path(__file__).parent.parent.parent
STEPS = 48


class Server:
    """A process that has imported TensorFlow and forks runs."""

    def __enter__(self):
        environment = {**os.environ, "PYTHONPATH": str(ROOT), "TF_CPP_MIN_LOG_LEVEL": "3"}
        self.process = subprocess.Popen(
            [sys.executable, str(PROGRAM), "serve"], env=environment, text=True,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        )  # fmt: skip
        return self

    def __exit__(self, *error):
        self.process.stdin.close()
        self.process.wait()

    def _ask(self, **order):
        self.process.stdin.write(json.dumps(order) + "\n")
        self.process.stdin.flush()
        return int(self.process.stdout.readline())

    def start(self, result, settings, environment=None, call="tests.training.toy_run:run"):
        """Start a run, or another function of the tests; return its process id."""
        return self._ask(
            result=str(result), settings=settings, environment=environment or {}, call=call
        )

    def wait(self, process):
        """Return the exit code, or minus the signal."""
        return self._ask(wait=process)


def workers(count):
    """Return the TF_CONFIG of each worker, on ports that are free now."""
    sockets = [socket.create_server(("localhost", 0)) for _ in range(count)]
    cluster = {"worker": [f"localhost:{one.getsockname()[1]}" for one in sockets]}
    for one in sockets:
        one.close()
    return [
        {"TF_CONFIG": json.dumps({"cluster": cluster, "task": {"type": "worker", "index": number}})}
        for number in range(count)
    ]


def start(server, folder, strategy, steps=STEPS, **settings):
    """Start one run, in as many processes as the strategy has workers; return their ids."""
    environments = workers(2) if strategy["name"] == "multi_worker" else [{}]
    settings = {
        "directory": str(folder / "run"), "strategy": strategy, "steps": steps, "dropout": 0.2,
        **settings,
    }  # fmt: skip
    return [
        server.start(folder / f"result-{number}", settings, environment)
        for number, environment in enumerate(environments)
    ]


def finish(server, folder, processes):
    """Wait for a run that is to end well; return its result."""
    codes = [server.wait(process) for process in processes]
    errors = [path.read_text()[-3000:] for path in sorted(folder.glob("result-*.err"))]
    assert codes == [0] * len(processes), "\n".join(errors)
    return json.loads((folder / "result-0").read_text())


def losses(folder):
    """Return every loss that was ever logged, by step: a step that was done twice has two."""
    seen = {}
    for line in (folder / "run/log.jsonl").read_text().splitlines():
        try:
            row = json.loads(line)
        except json.JSONDecodeError:
            continue  # torn by a kill
        if "loss" in row:
            seen.setdefault(row["step"], []).append(row["loss"])
    return seen


def kill_once(server, folder, processes, luck, last):
    """Kill a run at a random step, or inside the writing of a checkpoint; say which.

    One process is killed, at random; the others then cannot go on and are killed as well.
    """
    checkpoints = folder / "run/checkpoints"
    done = max(losses(folder), default=0) if (folder / "run/log.jsonl").exists() else 0
    in_write = luck.random() < 0.5
    at_step = luck.randint(done + 1, max(done + 1, min(done + 12, last - 6)))
    where = "step"
    while True:
        if all_ended(processes):
            return None
        if in_write and any(is_half(path) for path in folders(checkpoints, done)):
            where = "write"
            break
        if (
            not in_write
            and (folder / "run/log.jsonl").exists()
            and max(losses(folder), default=0) >= at_step
        ):
            break
        time.sleep(0.0005)
    order = processes[:]
    luck.shuffle(order)
    for process in order:
        os.kill(process, signal.SIGKILL)
    codes = [server.wait(process) for process in processes]
    assert set(codes) == {-signal.SIGKILL}, codes
    return where


def folders(checkpoints, after):
    """Return the folders of checkpoints of later steps."""
    if not checkpoints.exists():
        return []
    return [p for p in checkpoints.glob("step-*") if int(p.name.removeprefix("step-")) > after]


def is_half(path):
    """Return whether a checkpoint is being written."""
    return not (path / "COMMIT.json").exists() and any(path.glob("state*"))


def all_ended(processes):
    """Return whether no process runs any more."""
    return all(_state(process) in ("Z", None) for process in processes)


def _state(process):
    try:
        return pathlib.Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return None


def killed_run_is_the_same(server, folder, strategy, kills, seed, **settings):
    """Kill a run `kills` times and let it end; compare with one that nobody killed.

    Returns:
        Where each kill came: in a step or in the writing of a checkpoint.
    """
    quiet, killed = folder / "quiet", folder / "killed"
    quiet.mkdir()
    killed.mkdir()
    expected = finish(server, quiet, start(server, quiet, strategy, **settings))
    luck, places = random.Random(seed), []
    while len(places) < kills:
        place = kill_once(server, killed, start(server, killed, strategy, **settings), luck, STEPS)
        if place is None:  # it ended before its time had come: once more from the begin
            (killed / "run").rename(killed / f"ended-{len(places)}-{luck.random()}")
            continue
        places.append(place)
    result = finish(server, killed, start(server, killed, strategy, **settings))
    assert result == expected
    truth = {step: values[0] for step, values in losses(quiet).items()}
    assert sorted(truth) == list(range(1, STEPS + 1))
    again = losses(killed)
    assert sorted(again) == sorted(truth)
    assert {(s, v) for s, values in again.items() for v in values} == set(truth.items())
    rows, _, events = read_log(str(killed / "run/log.jsonl"))
    assert [row["loss"] for row in rows] == list(truth.values())
    assert sum(event["event"] == "resumed" for event in events) >= 1
    return places
