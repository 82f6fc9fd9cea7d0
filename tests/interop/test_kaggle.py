"""`kaggle://` with the real kagglehub against a server on this machine that speaks its paths.

Only the client's table of addresses is changed; requests, login, files and versions are its own.
"""

import http.server
import json
import pathlib
import threading

import kagglehub
import pytest
from kagglesdk import kaggle_env

import bertzoo as bz
from bertzoo import checkpoints
from bertzoo.hub import fetch

ADDRESS = "kaggle://me/bert/keras/toy"
PAGE = b"<html><body>Please log in.</body></html>"


class Kaggle:
    def __init__(self):
        self.versions = {}  # variation -> [{file: content}, ...]
        self.blobs = {}
        self.models = {"bert"}
        self.requests = []
        self.faults = {}  # method -> status or content
        self.bodies = []


class Handler(http.server.BaseHTTPRequestHandler):
    def log_message(self, *arguments):
        pass

    def answer(self, status, content, kind="application/json"):
        content = json.dumps(content).encode() if isinstance(content, dict) else content
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def fail(self, status):
        self.answer(status, {"code": status, "message": "no"})

    def do_POST(self):
        there = self.server.there
        method = self.path.rpartition("/")[2]
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])) or b"{}")
        there.requests.append((method, self.headers["Authorization"]))
        there.bodies.append((method, body))
        if isinstance(there.faults.get(method), int):
            return self.fail(there.faults[method])
        return getattr(self, method)(there, body)

    def do_PUT(self):
        there = self.server.there
        there.blobs[self.path[1:]] = self.rfile.read(int(self.headers["Content-Length"]))
        self.answer(200, {})

    def GetModel(self, there, body):
        if body["modelSlug"] not in there.models:
            return self.fail(404)
        return self.answer(200, {"id": 1})

    def GetModelInstance(self, there, body):
        versions = there.versions.get(body["instanceSlug"])
        if not versions:
            return self.fail(404)
        return self.answer(200, {"id": 1, "versionNumber": len(versions)})

    def ListModelInstanceVersionFiles(self, there, body):
        files = there.versions[body["instanceSlug"]][body["versionNumber"] - 1]
        self.answer(200, {"files": [{"name": n, "size": len(c)} for n, c in files.items()]})

    def DownloadModelInstanceVersion(self, there, body):
        files = there.versions[body["instanceSlug"]][body["versionNumber"] - 1]
        content = there.faults.get(body["path"], files[body["path"]])
        self.answer(200, content, "application/octet-stream")

    def StartBlobUpload(self, there, body):
        token = f"blob{len(there.blobs)}-{body['name']}"
        url = f"http://{self.headers['Host']}/{token}"
        self.answer(200, {"token": token, "createUrl": url})

    def CreateModel(self, there, body):
        there.models.add(body["slug"])
        self.answer(200, {"id": 2})

    def CreateModelInstance(self, there, body):
        if body["body"]["instanceSlug"] in there.versions:
            return self.answer(200, {"error": "exists", "errorCode": 409})
        return self.take(there, body["body"]["instanceSlug"], body["body"]["files"])

    def CreateModelInstanceVersion(self, there, body):
        self.take(there, body["instanceSlug"], body["body"]["files"])

    def take(self, there, variation, files):
        content = {file["token"].partition("-")[2]: there.blobs[file["token"]] for file in files}
        there.versions.setdefault(variation, []).append(content)
        self.answer(200, {"id": 3})


@pytest.fixture
def kaggle(tmp_path, monkeypatch):
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.there = Kaggle()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    monkeypatch.setitem(kaggle_env._env_to_endpoint, kaggle_env.KaggleEnv.PROD,
                        f"http://127.0.0.1:{server.server_port}/api")  # fmt: skip
    monkeypatch.setenv("BERTZOO_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("KAGGLEHUB_CACHE", str(tmp_path / "kagglehub"))
    monkeypatch.setenv("KAGGLE_API_TOKEN", "KGAT_secret")
    monkeypatch.delenv("BERTZOO_OFFLINE", raising=False)
    yield server.there
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture
def preset(tmp_path):
    return checkpoints.import_checkpoint("bert_toy").save_to_preset(tmp_path / "my_preset")


@pytest.fixture
def toy(kaggle, preset):
    files = {path.name: path.read_bytes() for path in preset.iterdir()}
    kaggle.versions["toy"] = [files, {**files, "run.py": b"import os"}]
    return kaggle


def weights_of(source):
    return dict(checkpoints.open_source(source).all_weights())


def assert_is_the_toy(source):
    found, expected = weights_of(source), weights_of("bert_toy")
    assert found.keys() == expected.keys()
    assert all((found[path] == expected[path]).all() for path in expected)


def left_behind(tmp_path):
    return [path for path in (tmp_path / "home").rglob("*") if path.is_file()]


def test_the_client_is_the_real_one():
    assert kagglehub.__version__ >= "1.0.2"


def test_a_model_loads_and_is_asked_for_once(toy):
    assert_is_the_toy(ADDRESS)
    asked = len(toy.requests)
    assert_is_the_toy(ADDRESS)
    assert len(toy.requests) == asked


def test_only_what_a_checkpoint_needs_is_kept(toy):
    names = {path.name for path in fetch(ADDRESS).iterdir()}
    assert names == {"preset.json", "weights.safetensors", "vocabulary.txt", "bertzoo.lock"}


def test_a_version_is_the_one_that_arrives(toy, preset):
    (preset / "preset.json").write_text("{}")
    toy.versions["toy"].append({"preset.json": b"{}"})
    assert_is_the_toy(f"{ADDRESS}/1")
    assert (fetch(ADDRESS) / "preset.json").read_bytes() == b"{}"


@pytest.mark.parametrize(
    ("faults", "message"),
    [
        ({"GetModelInstance": 404}, "kaggle://me/bert/keras/toy does not exist .status 404"),
        ({"GetModelInstance": 401}, "may not be used with your login .status 401"),
        ({"DownloadModelInstanceVersion": 403}, "accept the model's terms on its page"),
        ({"ListModelInstanceVersionFiles": 500}, "cannot be fetched"),
        ({"preset.json": PAGE}, "preset.json of kaggle://.* arrived as a web page"),
    ],
)
def test_what_goes_wrong_is_one_sentence_and_leaves_nothing(toy, tmp_path, faults, message, capfd):
    toy.faults = faults
    with pytest.raises(ValueError, match=message) as caught:
        fetch(ADDRESS)
    assert "\n" not in str(caught.value)
    assert left_behind(tmp_path) == []
    output = capfd.readouterr()
    assert "secret" not in output.out + output.err + str(caught.value)


def test_the_client_prints_nothing_where_answers_are_printed(toy, capfd):
    fetch(ADDRESS)
    assert capfd.readouterr().out == ""


def test_what_was_uploaded_loads_again_and_a_second_time_is_a_version(kaggle, preset):
    address = "kaggle://me/bert-new/keras/my-toy"
    assert bz.upload_preset(preset, address, facts={"license": "MIT"}) == address
    assert "bert-new" in kaggle.models
    assert_is_the_toy(f"{address}/1")
    bz.upload_preset(preset, address, message="again")
    sent = kaggle.versions["my-toy"]
    assert len(sent) == 2
    assert set(sent[0]) == {"preset.json", "weights.safetensors", "vocabulary.txt", "README.md"}
    assert b"- License: MIT" in sent[0]["README.md"]
    created = next(body for method, body in kaggle.bodies if method == "CreateModelInstance")
    assert created["body"]["licenseName"] == "MIT"
    assert pathlib.Path(preset, "weights.safetensors").is_file()
