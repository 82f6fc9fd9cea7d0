"""The check of a SavedModel: what no server takes is found and named."""

import numpy as np
import pytest
import tensorflow as tf

from bertzoo import cli
from bertzoo.serving import check, graph_file, server_ops, warm_up


def save(folder, function, specs):
    """Save one function as `serving_default`, without the usual care."""
    module = tf.Module()
    run = tf.function(function, input_signature=specs)
    tf.saved_model.save(module, str(folder), signatures={"serving_default": run})
    return folder


def numbers(name="x"):
    return [tf.TensorSpec([None], tf.float32, name=name)]


def problems(folder, server="2.13"):
    return "\n".join(check.check_servable(folder, server).problems)


@pytest.mark.long
def test_the_export_has_no_problems_and_lists_what_it_has(exported):
    report = check.check_servable(exported.parent, "2.19")  # the largest version in it
    assert report.problems == ()
    assert report.folder == str(exported)
    assert report.signatures["serving_default"][0] == {"text": "DT_STRING [?]"}
    assert set(report.missing_ops) == set(server_ops.SERVERS)
    assert not any(report.missing_ops.values())
    assert report.num_warm_up > 10
    assert report.ops["FastWordpieceTokenizeWithOffsets"] > 0
    assert report.load_seconds > 0


def test_a_planted_op_that_old_servers_lack_fails_for_them_alone(tmp_path):
    import tensorflow_text

    def trim(text):
        rows = tf.strings.split(text)
        (trimmed,) = tensorflow_text.RoundRobinTrimmer(max_seq_length=3).trim([rows])
        return {"first_bytes": trimmed.to_tensor("", shape=[None, 3])}

    folder = save(tmp_path / "m", trim, [tf.TensorSpec([None], tf.string, name="text")])
    found = problems(folder, "2.19")
    assert "the op TFText>RoundRobinTrim is not registered in servers before 2.20" in found
    # The loader says so itself: the op library is not there.
    assert "does not load with the ops of 2.19: " in found
    assert "Op type not registered 'TFText>RoundRobinTrim'" in found
    report = check.check_servable(folder, "2.20")
    assert report.problems == ()
    lacking = [server for server, ops in report.missing_ops.items() if ops]
    assert lacking == ["2.13", "2.14", "2.15", "2.16", "2.17", "2.18", "2.19"]


def test_an_op_of_newer_tensorflow_is_named_with_its_version(tmp_path):
    def transform(x):
        waves = tf.raw_ops.FFTND(input=tf.cast(x, "complex64"), fft_length=[4], axes=[0])
        return {"y": tf.math.real(waves)}

    folder = save(tmp_path / "m", transform, numbers())
    assert "the op FFTND is not registered in servers before 2.15" in problems(folder, "2.14")
    assert "not registered in servers" not in problems(folder, "2.15")


def python_call(x):
    return {"y": tf.reshape(tf.py_function(lambda v: v * 2, [x], tf.float32), [-1])}


def compiled(x):
    return {"y": tf.function(lambda v: v * 2, jit_compile=True)(x)}


def strings():
    return [tf.TensorSpec([None], tf.string, name="text")]


# What is wrong -> a function, its inputs and its signature's name. One file has all of a table, as
# each file costs a process.
READ = {
    "no server runs the op EagerPyFunc: it calls Python": (python_call, numbers()),
    "must be compiled by XLA": (compiled, numbers()),
    "output y of signature small is DT_BFLOAT16": (
        lambda x: {"y": tf.cast(x, tf.bfloat16)}, numbers(), "small"),
    "output y of signature half is DT_HALF": (
        lambda x: {"y": tf.cast(x, tf.float16)}, numbers(), "half"),
    "output output_0 of signature unnamed has a made-up name": (
        lambda x: x * 2, numbers(), "unnamed"),
    "input keras_tensor of signature of_keras has a made-up name": (
        lambda x: {"y": x}, numbers("keras_tensor"), "of_keras"),
    "input args_0 of signature of_python has a made-up name": (
        lambda x: {"y": x}, numbers("args_0"), "of_python"),
    "input x of signature closed has the shape [2]": (
        lambda x: {"y": x}, [tf.TensorSpec([2], tf.float32, name="x")], "closed"),
}  # fmt: skip
RUN = {
    "signature scalar on a batch of 2 gives y of shape []: its first dimension is not the batch": (
        lambda x: {"y": tf.reduce_sum(x)}, numbers(), "scalar"),
    "signature longer on a batch of 2 gives y of shape [5]": (
        lambda x: {"y": tf.concat([x, tf.ones(3)], 0)}, numbers(), "longer"),
    "signature divided on a batch of 2 gives y with numbers that are not finite": (
        lambda x: {"y": x / 0.0}, numbers(), "divided"),
    "signature echo on a batch of 2 gives y with strings that are not UTF-8": (
        lambda text: {"y": text}, strings(), "echo"),
    "signature first on a batch of 0 fails": (lambda x: {"y": x + x[0]}, numbers(), "first"),
}  # fmt: skip
# Bytes may be anything where the name says so.
FINE = {"bytes": (lambda text: {"y_bytes": text}, strings(), "bytes"),
        "double": (lambda x: {"y": 2 * x}, numbers(), "double")}  # fmt: skip


def save_all(folder, table):
    signatures = {
        (name[0] if name else f"signature_{number}"): tf.function(run, input_signature=specs)
        for number, (run, specs, *name) in enumerate(table.values())
    }
    tf.saved_model.save(tf.Module(), str(folder), signatures=signatures)
    return folder


@pytest.fixture(scope="module")
def read_problems(tmp_path_factory):
    return problems(save_all(tmp_path_factory.mktemp("read"), READ | FINE))


@pytest.fixture(scope="module")
def run_problems(tmp_path_factory):
    return problems(save_all(tmp_path_factory.mktemp("run"), RUN | FINE))


@pytest.mark.parametrize("expected", READ)
def test_what_no_server_takes_is_read_from_the_graph(read_problems, expected):
    assert expected in read_problems


@pytest.mark.parametrize("expected", RUN)
def test_what_no_server_answers_is_found_by_running_it(run_problems, expected):
    assert expected in run_problems


def test_what_is_fine_is_not_named(read_problems, run_problems):
    assert not any(f"signature {name}" in read_problems + run_problems for name in FINE)
    # Nor is said twice what cannot be run: there is nothing left to ask for.
    assert "signature small on a batch" not in read_problems


def test_a_ragged_output_is_named(tmp_path):
    info = graph_file.TensorInfo(tensor="", dtype="DT_INVALID", shape=None, number=0)
    signature = graph_file.Signature({"x": info}, {"y": info})
    graph = graph_file.GraphFile(("serve",), {"s": signature}, {}, (), "2.20")
    found = list(check._signature_problems(graph))
    assert (
        "output y of signature s is ragged or sparse, which requests and answers cannot be" in found
    )


ONES = {"x": np.ones(1, "float32")}
WARM_UP = [
    ("other", ONES, "names the signature 'other', which is not there"),
    ("serving_default", {"z": np.ones(1, "float32")}, "has the inputs ['z']"),
    ("serving_default", {"x": np.ones(1, "int32")},
     ": x is int32 [1], and the signature takes DT_FLOAT [?]"),
    ("serving_default", {"x": np.ones((1, 1), "float32")}, ": x is float32 [1, 1]"),
    ("serving_default", {"x": -np.ones(1, "float32")}, "fails"),
]  # fmt: skip


def positive(x):
    tf.debugging.assert_non_negative(x)
    return {"y": x}


def test_warm_up_requests_that_would_fail_are_named(tmp_path):
    folder = save(tmp_path / "m", positive, numbers())
    fine = warm_up.Request("serving_default", {"x": np.ones(3, "float32")})
    requests = [warm_up.Request(signature, inputs) for signature, inputs, _ in WARM_UP]
    warm_up.write(folder, [*requests, fine])
    found = check.check_servable(folder).problems
    assert len(found) == len(WARM_UP), "the last one works"
    for number, (_, _, expected) in enumerate(WARM_UP):
        assert any(f"warm-up request {number}" in line and expected in line for line in found)


def test_too_many_warm_up_requests_are_not_written(tmp_path):
    request = warm_up.Request("serving_default", {"x": np.ones(1, "float32")})
    with pytest.raises(ValueError, match="takes 1000 warm-up requests; got 1001"):
        warm_up.write(tmp_path, [request] * 1001)


def test_warm_up_requests_come_back(tmp_path):
    texts = np.array([b"a", b"\xff\0"], dtype=object)
    warm_up.write(tmp_path, [warm_up.Request("s", {"text": texts, "n": np.array([[1], [2]])})])
    (request,) = warm_up.read(tmp_path)
    assert request.signature == "s"
    assert request.inputs["text"].tolist() == [b"a", b"\xff\0"]
    assert request.inputs["n"].tolist() == [[1], [2]]


def test_damaged_files_are_named(tmp_path):
    folder = save(tmp_path / "m", lambda x: {"y": x}, numbers())
    warm_up.write(folder, [warm_up.Request("serving_default", {"x": np.ones(1, "float32")})])
    path = folder / warm_up.FILE
    path.write_bytes(path.read_bytes()[:-3])
    assert "warm-up request 0 cannot be read" in problems(folder)
    (folder / "saved_model.pb").write_bytes(b"\xff" * 30)
    with pytest.raises(ValueError, match=r"saved_model\.pb is damaged"):
        check.check_servable(folder)
    with pytest.raises(ValueError, match=r"neither a saved_model\.pb nor versions"):
        check.check_servable(tmp_path / "none")


def test_weights_that_are_missing_are_seen(tmp_path):
    module = tf.Module()
    module.scale = tf.Variable(2.0)
    run = tf.function(lambda x: {"y": x * module.scale}, input_signature=numbers())
    folder = tmp_path / "m"
    tf.saved_model.save(module, str(folder), signatures={"serving_default": run})
    assert problems(folder) == ""
    (folder / "variables" / "variables.index").unlink()
    assert "fails" in problems(folder)


def test_the_command_says_what_is_wrong_and_fails(tmp_path, capsys):
    good = save(tmp_path / "good", lambda x: {"y": x}, numbers())
    assert cli.main(["check-servable", str(good), "--server", "2.16"]) == 0
    out = capsys.readouterr().out
    assert "TensorFlow Serving 2.16 takes it" in out
    assert "x DT_FLOAT [?]" in out
    bad = save(tmp_path / "m", lambda x: {"y": tf.cast(x, tf.bfloat16)}, numbers())
    assert cli.main(["check-servable", str(bad)]) == 2
    captured = capsys.readouterr()
    assert "problem: output y of signature serving_default is DT_BFLOAT16" in captured.out
    assert "TensorFlow Serving 2.13 does not take" in captured.err
