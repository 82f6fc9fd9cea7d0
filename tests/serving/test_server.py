"""The local server: TensorFlow Serving's REST paths, and a 4xx for whatever is wrong."""

import base64
import http.client
import io
import json
import re
import shutil
import socket
import threading
import time
from wsgiref.validate import validator

import numpy as np
import pytest
import tensorflow as tf

from bertzoo import cli
from bertzoo.serving import models, rest, server


@pytest.fixture(scope="module")
def application(exported):
    return server.Application(models.ModelFolder(exported.parent), max_body=10_000)


def ask(application, path, body=None, method=None, host="localhost:8501", **environ):
    """Return status, headers and content of one request, by the rules of WSGI."""
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    content = b"" if body is None else content
    environ = {
        "REQUEST_METHOD": method or ("GET" if body is None else "POST"),
        "SCRIPT_NAME": "", "PATH_INFO": path, "SERVER_NAME": "x", "SERVER_PORT": "80",
        "SERVER_PROTOCOL": "HTTP/1.1", "HTTP_HOST": host, "CONTENT_LENGTH": str(len(content)),
        "CONTENT_TYPE": "application/json", "QUERY_STRING": "",
        "wsgi.version": (1, 0), "wsgi.url_scheme": "http", "wsgi.input": io.BytesIO(content),
        "wsgi.errors": io.StringIO(), "wsgi.multithread": True, "wsgi.multiprocess": False,
        "wsgi.run_once": False, **environ,
    }  # fmt: skip
    environ = {key: value for key, value in environ.items() if value is not None}
    answer = {}

    def start_response(status, headers, exc_info=None):
        answer.update(status=int(status.split()[0]), headers=dict(headers))

    parts = validator(application)(environ, start_response)
    answer["content"] = b"".join(parts)
    parts.close()
    return answer["status"], answer["headers"], answer["content"]


def ask_json(application, path, body=None, **options):
    status, headers, content = ask(application, path, body, **options)
    assert headers["Content-Type"] == "application/json; charset=utf-8"
    return status, json.loads(content)


PREDICT = "/v1/models/toy:predict"


def test_rows_are_answered_in_rows(application, signatures):
    texts = ["the cat sat", "", "naïve 中文"]
    status, reply = ask_json(application, PREDICT, {"instances": texts})
    expected = signatures["serving_default"](text=tf.constant(texts))
    assert status == 200
    assert len(reply["predictions"]) == 3
    for index, row in enumerate(reply["predictions"]):
        np.testing.assert_allclose(row["probabilities"], expected["probabilities"][index], 1e-6)
        assert row["label"].encode() == expected["label"][index].numpy()
    named = ask_json(application, PREDICT, {"instances": [{"text": text} for text in texts]})
    assert named == (status, reply)


def test_columns_are_answered_in_columns(application):
    body = {"signature_name": "fill", "inputs": {"text": ["the [MASK].", "no"]}}
    status, reply = ask_json(application, PREDICT, body)
    assert status == 200
    assert reply["outputs"]["fill_count"] == [1, 0]
    assert np.shape(reply["outputs"]["fill_token"]) == (2, 1, 5)
    body["inputs"] = body["inputs"]["text"]  # a single input needs no name
    assert ask_json(application, PREDICT, body) == (200, reply)


def test_ids_and_base64_are_read(application):
    body = {
        "signature_name": "serving_ids",
        "inputs": {"token_ids": [[2, 18, 3]], "segment_ids": [[0, 0, 0]]},
    }
    _, by_ids = ask_json(application, PREDICT, body)
    text = base64.b64encode(b"good").decode()
    _, by_bytes = ask_json(application, PREDICT, {"instances": [{"b64": text}]})
    np.testing.assert_allclose(
        by_ids["outputs"]["probabilities"][0], by_bytes["predictions"][0]["probabilities"], 1e-5
    )
    _, by_name = ask_json(application, PREDICT, {"instances": [{"text": {"b64": text}}]})
    assert by_name == by_bytes


def test_classify_gives_label_and_score_pairs(application):
    body = {"signature_name": "classify", "examples": [{"text": "good"}, {"text": "bad film"}]}
    status, reply = ask_json(application, "/v1/models/toy:classify", body)
    assert status == 200
    _, predicted = ask_json(application, PREDICT, {"instances": ["good", "bad film"]})
    for pairs, row in zip(reply["results"], predicted["predictions"], strict=True):
        assert [pair[0] for pair in pairs] == ["bad", "good"]
        np.testing.assert_allclose([pair[1] for pair in pairs], row["probabilities"], 1e-5)
    body = {"signature_name": "classify", "context": {"text": "good"}, "examples": [{}]}
    _, shared = ask_json(application, "/v1/models/toy:classify", body)
    np.testing.assert_allclose(shared["results"][0][1][1], reply["results"][0][1][1], 1e-6)


def test_a_regression_gives_a_number_an_example(tmp_path):
    features = {"text": tf.io.FixedLenFeature([], tf.string)}

    def length(inputs):
        texts = tf.io.parse_example(inputs, features)["text"]
        return {"outputs": tf.cast(tf.strings.length(texts), tf.float32)}

    run = tf.function(length, input_signature=[tf.TensorSpec([None], tf.string, name="inputs")])
    tf.saved_model.save(tf.Module(), str(tmp_path / "len" / "4"), signatures={"regress": run})
    application = server.Application(models.ModelFolder(tmp_path / "len"))
    body = {"signature_name": "regress", "examples": [{"text": "abc"}, {"text": ""}]}
    assert ask_json(application, "/v1/models/len:regress", body) == (200, {"results": [3.0, 0.0]})
    status, reply = ask_json(application, "/v1/models/len:classify", body)
    assert (status, "no classes and scores" in reply["error"]) == (400, True)


def test_status_and_metadata(application):
    state = {"version": "1", "state": "AVAILABLE",
             "status": {"error_code": "OK", "error_message": ""}}  # fmt: skip
    for path in ("/v1/models/toy", "/v1/models/toy/versions/1"):
        assert ask_json(application, path) == (200, {"model_version_status": [state]})
    status, reply = ask_json(application, "/v1/models/toy/metadata")
    assert status == 200
    assert reply["model_spec"] == {"name": "toy", "signature_name": "", "version": "1"}
    default = reply["metadata"]["signature_def"]["signature_def"]["serving_default"]
    text = default["inputs"]["text"]
    assert text["dtype"] == "DT_STRING"
    assert text["tensor_shape"] == {"dim": [{"size": "-1", "name": ""}], "unknown_rank": False}
    assert ask_json(application, "/v1/models") == (200, {"models": ["toy"]})


def test_the_page_needs_nothing_from_elsewhere(application):
    status, headers, content = ask(application, "/")
    page = content.decode()
    assert status == 200
    assert headers["Content-Type"] == "text/html; charset=utf-8"
    assert not re.findall(r"(?:src|href)=|https?://|@import|url\(", page)
    policy = headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert "innerHTML" not in page  # what a model says is text, never markup


def rows(*values, **more):
    return {"instances": list(values), **more}


def ids(token_ids, segment_ids):
    return {
        "signature_name": "serving_ids",
        "inputs": {"token_ids": token_ids, "segment_ids": segment_ids},
    }


CLASSIFY = "/v1/models/toy:classify"
DEEP = b"[" * 5_000
# (path, body, status, part of the message, other settings)
MALFORMED = [
    (PREDICT, b"", 400, "no JSON", {"method": "POST"}),
    (PREDICT, b"{", 400, "no JSON", {}),
    (PREDICT, b"\xff\xfe", 400, "not UTF-8", {}),
    (PREDICT, b"\x00", 400, "no JSON", {}),
    (PREDICT, b"'text'", 400, "no JSON", {}),
    (PREDICT, b'{"instances": ["a"],}', 400, "no JSON", {}),
    (PREDICT, b'{"instances": ["a"]} x', 400, "no JSON", {}),
    (PREDICT, b'{"instances": [NaN]}', 400, "NaN", {}),
    (PREDICT, b'{"instances": [-Infinity]}', 400, "Infinity", {}),
    (PREDICT, b'{"instances": ["a"], "instances": ["b"]}', 400, "given twice", {}),
    (PREDICT, DEEP, 400, "", {}),
    (PREDICT, b'{"instances": ' + DEEP, 400, "", {}),
    (PREDICT, b'{"instances": [' + b"9" * 5_000 + b"]}", 400, "", {}),
    (PREDICT, [], 400, "must be a JSON object; got a list", {}),
    (PREDICT, "text", 400, "got a string", {}),
    (PREDICT, b"null", 400, "got null", {}),
    (PREDICT, 3, 400, "got a number", {}),
    (PREDICT, {}, 400, "either `instances`", {}),
    (PREDICT, {"instances": ["a"], "inputs": ["a"]}, 400, "either `instances`", {}),
    (PREDICT, {"instance": ["a"]}, 400, "unknown key 'instance'", {}),
    (PREDICT, rows(), 400, "`instances` is empty", {}),
    (PREDICT, {"instances": "a"}, 400, "must be a list; got a string", {}),
    (PREDICT, {"instances": {"text": "a"}}, 400, "must be a list; got an object", {}),
    (PREDICT, rows(1), 400, "text[0] must be a string; got a number", {}),
    (PREDICT, rows("a", None), 400, "text[1] must be a string; got null", {}),
    (PREDICT, rows("a", True), 400, "got a boolean", {}),
    (PREDICT, rows(["a"]), 400, "text[0] must be a string; got a list", {}),
    (PREDICT, rows({"txt": "a"}), 400, "instances[0] must have text; got txt", {}),
    (PREDICT, rows({"text": "a", "x": 1}), 400, "must have text", {}),
    (PREDICT, rows({"text": "a"}, "b"), 400, "instances[1] must be an object", {}),
    (PREDICT, rows({"text": "a"}, {}), 400, "got nothing", {}),
    (PREDICT, rows({"b64": "%%%"}), 400, "no base64", {}),
    (PREDICT, rows({"b64": 1}), 400, "must be a string", {}),
    (PREDICT, b'{"instances": ["\\ud800"]}', 400, "lone surrogate", {}),
    (PREDICT, {"inputs": "a"}, 400, "text must be a list, one entry a row", {}),
    (PREDICT, {"inputs": {"txt": ["a"]}}, 400, "`inputs` must have text; got txt", {}),
    (PREDICT, {"inputs": {"text": None}}, 400, "got null", {}),
    (PREDICT, rows("a", signature_name="nope"), 400, "there is no signature 'nope'", {}),
    (PREDICT, rows("a", signature_name=7), 400, "signature_name must be a string", {}),
    (PREDICT, ids([[2, 3]], [[0]]), 400, "segment_ids needs the shape of the ids", {}),
    (PREDICT, ids([[2, 3]], [[0, 0], [0, 0]]), 400, "same number of rows", {}),
    (PREDICT, ids([[2, 3], [2]], [[0, 0], [0, 0]]), 400, "not rectangular", {}),
    (PREDICT, ids([2, 3], [0, 0]), 400, "must have 2 dimensions", {}),
    (PREDICT, ids([[[2]]], [[0]]), 400, "must be a whole number; got a list", {}),
    (PREDICT, ids([[2.5]], [[0]]), 400, "must be a whole number; got a number", {}),
    (PREDICT, ids([["2"]], [[0]]), 400, "must be a whole number; got a string", {}),
    (PREDICT, ids([[2**31]], [[0]]), 400, "is beyond int32", {}),
    (PREDICT, ids([[2] * 25], [[0] * 25]), 400, "at most 24 tokens", {}),
    (PREDICT, ids([[2, 31]], [[0, 0]]), 400, "token_ids are 0 to 30", {}),
    (PREDICT, ids([[2, -1]], [[0, 0]]), 400, "token_ids are 0 to 30", {}),
    (PREDICT, ids([[2, 3]], [[0, 2]]), 400, "segment_ids are 0 to 1", {}),
    (CLASSIFY, {"examples": [{"text": "a"}]}, 400, "does not take examples", {}),
    (CLASSIFY, {"instances": ["a"]}, 400, "unknown key 'instances'", {}),
    (CLASSIFY, {"signature_name": "classify"}, 400, "`examples` must be a list", {}),
    (CLASSIFY, {"signature_name": "classify", "examples": ["a"]}, 400, "must be an object", {}),
    (CLASSIFY, {"signature_name": "classify", "examples": [{}]}, 400, "", {}),
    (CLASSIFY, {"signature_name": "classify", "examples": [{"text": 1}]}, 400, "", {}),
    (CLASSIFY, {"signature_name": "classify", "examples": [{"text": None}]}, 400, "string", {}),
    (CLASSIFY, {"signature_name": "classify", "examples": [{}], "context": 1}, 400, "object", {}),
    (CLASSIFY, {"signature_name": "classify", "examples": [{"n": 2**63}]}, 400, "int64", {}),
    (CLASSIFY, {"signature_name": "classify", "examples": [{"n": 1e39}]}, 400, "float32", {}),
    ("/v1/models/toy:regress", {"signature_name": "classify", "examples": [{"text": "a"}]}, 400,
     "gives no regression", {}),
    ("/v1/models/other:predict", rows("a"), 404, "no model 'other'", {}),
    ("/v1/models/toy:explain", rows("a"), 404, "the verb must be", {}),
    ("/v1/models/toy:", rows("a"), 404, "the verb must be", {}),
    ("/v1/models/toy/versions/2:predict", rows("a"), 404, "version 2 of model toy", {}),
    ("/v1/models/toy/versions/x:predict", rows("a"), 400, "a version is a number", {}),
    ("/v1/models/toy/versions/-1", None, 400, "a version is a number", {}),
    ("/v1/models/toy/versions/" + "9" * 400, None, 400, "a version is a number", {}),
    ("/v1/models/toy/versions/٣", None, 400, "a version is a number", {}),
    ("/v1/models/toy/labels/stable:predict", rows("a"), 404, "no label 'stable'", {}),
    ("/v1/models/toy/versions/1/metadata/x", None, 404, "nothing at this path", {}),
    ("/v1/models/", None, 404, "nothing at this path", {}),
    ("/v2/models/toy", None, 404, "nothing at this path", {}),
    ("/../../etc/passwd", None, 404, "nothing at this path", {}),
    ("", None, 404, "nothing at this path", {}),
    (PREDICT, None, 405, "GET is not answered here", {}),
    (PREDICT, rows("a"), 405, "PUT is not answered here", {"method": "PUT"}),
    ("/v1/models/toy", rows("a"), 405, "POST is not answered here", {}),
    ("/", rows("a"), 405, "POST is not answered here", {}),
    (PREDICT, b"x" * 10_001, 413, "may have 10000 bytes", {}),
    (PREDICT, rows("a"), 411, "needs its length", {"CONTENT_LENGTH": None}),
    (PREDICT, rows("a"), 411, "needs its length", {"CONTENT_LENGTH": "-5"}),
    (PREDICT, rows("a"), 400, "shorter than its length", {"CONTENT_LENGTH": "900"}),
    (PREDICT, rows("a"), 403, "loopback", {"host": "evil.example:8501"}),
]  # fmt: skip


@pytest.mark.parametrize("case", range(len(MALFORMED)))
def test_what_is_wrong_with_a_request_is_said_in_a_sentence(application, case):
    path, body, status, message, settings = MALFORMED[case]
    bare = server.Application.__call__
    if settings.get("CONTENT_LENGTH") == "-5" or path == "":
        # What the standard's validator would not let through.
        environ = {"REQUEST_METHOD": "POST" if body else "GET", "PATH_INFO": path,
                   "CONTENT_LENGTH": "-5", "wsgi.input": io.BytesIO(b"")}  # fmt: skip
        found = []
        content = bare(application, environ, lambda line, headers: found.append(line))
        assert int(found[0].split()[0]) == status
        reply = json.loads(content[0])
    else:
        got, reply = ask_json(application, path, body, **settings)
        assert got == status, reply
    assert list(reply) == ["error"]
    assert message in reply["error"]
    assert "Traceback" not in reply["error"]
    assert "\n" not in reply["error"]
    assert len(reply["error"]) < 500
    assert ask_json(application, PREDICT, rows("good"))[0] == 200  # it goes on


def test_there_are_at_least_fifty_malformed_requests():
    assert len({(path, repr(body), repr(more)) for path, body, _, _, more in MALFORMED}) >= 50


def test_an_unforeseen_error_is_not_shown_to_the_client(application, monkeypatch, caplog):
    def fail(*_):
        raise RuntimeError("secret of the house")

    monkeypatch.setattr(models.Version, "run", fail)
    status, reply = ask_json(application, PREDICT, rows("a"))
    assert status == 500
    assert "secret" not in reply["error"]
    assert "secret of the house" in caplog.text


def test_an_answer_that_takes_too_long_is_given_up(exported, monkeypatch):
    application = server.Application(models.ModelFolder(exported.parent), timeout=0.05)
    go_on = threading.Event()
    monkeypatch.setattr(models.Version, "run", lambda *_: go_on.wait(20))
    status, reply = ask_json(application, PREDICT, rows("a"))
    go_on.set()
    assert (status, "no answer within 0.05 seconds" in reply["error"]) == (504, True)


def test_another_address_than_loopback_answers_to_any_name(exported):
    application = server.Application(models.ModelFolder(exported.parent), host="0.0.0.0")
    assert ask_json(application, "/v1/models", host="box.example:8501")[0] == 200


# === Versions that come and go ===


def save_constant(folder, number):
    """Write a version that answers its own number, in one rename as an export does."""
    spec = tf.TensorSpec([None], tf.float32, name="x")
    run = tf.function(lambda x: {"version": x * 0 + number}, input_signature=[spec])
    staging = folder.parent / f"staging-{number}"
    tf.saved_model.save(tf.Module(), str(staging), signatures={"serving_default": run})
    folder.mkdir(exist_ok=True)
    staging.rename(folder / str(number))


def version_of(application, path="/v1/models/m:predict"):
    status, reply = ask_json(application, path, rows(1.5))
    return reply["predictions"][0] if status == 200 else status


def test_a_new_version_takes_over_and_a_broken_one_does_not(tmp_path):
    save_constant(tmp_path / "m", 3)
    model = models.ModelFolder(tmp_path / "m")
    application = server.Application(model)
    assert version_of(application) == 3.0
    save_constant(tmp_path / "m", 10)  # larger as a number, smaller as a word
    model.refresh()
    assert version_of(application) == 10.0
    assert version_of(application, "/v1/models/m/versions/3:predict") == 404
    broken = tmp_path / "m" / "11"
    broken.mkdir()
    (broken / "saved_model.pb").write_bytes(b"\xff")
    model.refresh()
    assert version_of(application) == 10.0
    states = ask_json(application, "/v1/models/m")[1]["model_version_status"]
    assert [(s["version"], s["state"]) for s in states] == [("11", "END"), ("10", "AVAILABLE")]
    model.refresh()  # nothing has changed: it is not tried again
    assert model.failed
    shutil.rmtree(tmp_path / "m")
    model.refresh()
    assert version_of(application) == 10.0  # its folder is gone, requests go on


def test_a_version_that_was_copied_bit_by_bit_is_loaded_when_it_is_whole(tmp_path):
    save_constant(tmp_path / "m", 1)
    model = models.ModelFolder(tmp_path / "m")
    application = server.Application(model)
    save_constant(tmp_path / "elsewhere", 2)
    whole = (tmp_path / "elsewhere" / "2" / "saved_model.pb").read_bytes()
    (tmp_path / "m" / "2").mkdir()
    (tmp_path / "m" / "2" / "saved_model.pb").write_bytes(whole[:100])
    model.refresh()
    assert version_of(application) == 1.0
    shutil.copytree(tmp_path / "elsewhere" / "2", tmp_path / "m" / "2", dirs_exist_ok=True)
    model.refresh()
    assert version_of(application) == 2.0


def test_a_label_keeps_its_version(tmp_path):
    save_constant(tmp_path / "m", 1)
    model = models.ModelFolder(tmp_path / "m", labels={"stable": 1})
    application = server.Application(model)
    save_constant(tmp_path / "m", 2)
    model.refresh()
    assert version_of(application) == 2.0
    assert version_of(application, "/v1/models/m/labels/stable:predict") == 1.0
    assert version_of(application, "/v1/models/m/versions/1:predict") == 1.0


def test_a_folder_without_a_version_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"none is there.*bertzoo export"):
        models.ModelFolder(tmp_path)
    save_constant(tmp_path / "m", 1)
    with pytest.raises(ValueError, match="of version 7, which is not there"):
        models.ModelFolder(tmp_path / "m", labels={"stable": 7})


# === Over the wire ===


@pytest.fixture
def running(tmp_path):
    """A server on a free port and its folder; it ends with the process."""
    pytest.importorskip("waitress", reason="the extra `serve` is not installed")
    save_constant(tmp_path / "m", 1)
    lines = []
    thread = threading.Thread(
        target=server.serve, args=(tmp_path / "m",), daemon=True,
        kwargs={"port": 0, "announce": lines.append, "max_body": 10_000},
    )  # fmt: skip
    thread.start()
    while not lines:
        time.sleep(0.02)
    return tmp_path / "m", int(re.search(r":(\d+)/", lines[0]).group(1))


def test_requests_over_http_and_a_version_published_meanwhile(running):
    folder, port = running
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)

    def predict():
        connection.request("POST", "/v1/models/m:predict", json.dumps(rows(1.0)))
        reply = connection.getresponse()
        return reply.status, json.loads(reply.read())

    assert predict() == (200, {"predictions": [1.0]})
    save_constant(folder, 2)
    seen = set()
    deadline = time.monotonic() + 60
    while 2.0 not in seen and time.monotonic() < deadline:
        status, reply = predict()
        assert status == 200
        seen.add(reply["predictions"][0])
    assert seen == {1.0, 2.0}


def test_bytes_that_are_no_request_are_refused_and_the_server_goes_on(running):
    _, port = running
    long_header = b"GET / HTTP/1.1\r\nHost: localhost\r\nX: " + b"a" * 100_000 + b"\r\n\r\n"
    large = (
        b"POST /v1/models/m:predict HTTP/1.1\r\nHost: localhost\r\nContent-Length: 99999999\r\n\r\n"
    )
    for content in (b"\x00\x01\x02\r\n\r\n", b"GET\r\n\r\n", long_header, large):
        with socket.create_connection(("127.0.0.1", port), timeout=30) as client:
            client.sendall(content)
            first = client.recv(4096)
        assert re.match(rb"HTTP/1\.[01] 4\d\d", first), (content[:40], first)
        assert b"Traceback" not in first
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    connection.request("GET", "/v1/models/m")
    assert connection.getresponse().status == 200


def test_the_command_refuses_what_it_cannot_serve(tmp_path, capsys):
    pytest.importorskip("waitress", reason="the extra `serve` is not installed")
    assert cli.main(["serve", str(tmp_path)]) == 2
    assert "has no version that can be loaded" in capsys.readouterr().err
    assert cli.main(["serve", str(tmp_path), "--label", "stable"]) == 2
    assert "--label takes NAME=VERSION" in capsys.readouterr().err


# === The functions behind it ===


def test_an_output_named_bytes_is_base64():
    array = np.array([b"\xff", b""], dtype=object)
    assert rest.to_json("picture_bytes", array) == [{"b64": "/w=="}, {"b64": ""}]
    assert rest.to_json("word", np.array([["é".encode()]], dtype=object)) == [["é"]]


def test_features_take_their_type_from_their_values():
    found = rest.examples({"examples": [{"a": [1, 2], "b": 0.5, "c": ["x", "y"], "d": []}]})
    assert found == [{"a": [1, 2], "b": [0.5], "c": [b"x", b"y"], "d": []}]
    example = tf.train.Example.FromString(models.example_column(found)[0])
    assert list(example.features.feature["a"].int64_list.value) == [1, 2]
    assert list(example.features.feature["b"].float_list.value) == [0.5]
    assert list(example.features.feature["c"].bytes_list.value) == [b"x", b"y"]
