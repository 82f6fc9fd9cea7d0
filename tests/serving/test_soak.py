"""The server under load while new versions appear: no failed request, memory steady."""

import http.client
import json
import pathlib
import re
import shutil
import subprocess
import sys
import threading
import time

import pytest

pytestmark = pytest.mark.slow
SECONDS = 180
# A second process that asks without a pause, and says how often and what went wrong.
CLIENT = """
import http.client, json, sys, time
port, seconds = int(sys.argv[1]), float(sys.argv[2])
connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
end, done, failures, worst = time.monotonic() + seconds, 0, [], 0.0
texts = ["the cat sat", "", "a good film " * 30, "caf\\u00e9 \\u4e2d\\u6587"]
while time.monotonic() < end:
    body = {"instances": [texts[done % 4], texts[(done + 1) % 4]]}
    start = time.monotonic()
    connection.request("POST", "/v1/models/toy:predict", json.dumps(body))
    reply = connection.getresponse()
    content = json.loads(reply.read())
    worst = max(worst, time.monotonic() - start)
    if reply.status != 200 or len(content["predictions"]) != 2:
        failures.append([reply.status, content])
    done += 1
print(json.dumps({"done": done, "failures": failures[:5], "worst": worst}))
"""


def resident_mb(process):
    status = pathlib.Path(f"/proc/{process.pid}/status").read_text()
    return int(re.search(r"VmRSS:\s+(\d+)", status).group(1)) / 1024


def test_no_request_fails_while_versions_are_published(exported, tmp_path):
    pytest.importorskip("waitress")
    directory = tmp_path / "toy"
    directory.mkdir()
    shutil.copytree(exported, directory / "1")
    server = subprocess.Popen(
        [sys.executable, "-m", "bertzoo", "serve", str(directory), "--port", "0"],
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        for line in server.stderr:
            if found := re.search(r"http://[0-9.]+:(\d+)/", line):
                break
        port = found.group(1)
        threading.Thread(target=server.stderr.read, daemon=True).start()
        clients = [
            subprocess.Popen(
                [sys.executable, "-c", CLIENT, port, str(SECONDS)],
                stdout=subprocess.PIPE,
                text=True,
            )
            for _ in range(2)
        ]
        memory, version, end = [], 1, time.monotonic() + SECONDS
        while time.monotonic() < end:
            time.sleep(8)
            version += 1
            shutil.copytree(exported, tmp_path / "staging")
            (tmp_path / "staging").rename(directory / str(version))
            memory.append(resident_mb(server))
        answers = [json.loads(client.communicate()[0]) for client in clients]
        connection = http.client.HTTPConnection("127.0.0.1", int(port), timeout=60)
        deadline = time.monotonic() + 60
        states = []
        while time.monotonic() < deadline and states != [str(version)]:
            connection.request("GET", "/v1/models/toy")
            found = json.loads(connection.getresponse().read())["model_version_status"]
            states = [state["version"] for state in found if state["state"] == "AVAILABLE"]
        assert states == [str(version)], "the last version has taken over"
    finally:
        server.terminate()
        server.wait()
    print(f"{answers}, versions 1 to {version}, resident MB: {[round(mb) for mb in memory]}")
    assert [answer["failures"] for answer in answers] == [[], []]
    assert min(answer["done"] for answer in answers) > 100
    # After the first versions the process does not grow with each one that it lets go.
    half = len(memory) // 2
    assert memory[-1] < memory[half] * 1.15, memory
