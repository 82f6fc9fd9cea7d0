"""Would a stock TensorFlow Serving load this SavedModel and answer from it?

What can be read is read from the graph; then every signature and every warm-up request runs
through TensorFlow's C API, in a process without Python's TensorFlow, with the ops that the server
links. The rules are those of tensorflow/serving r2.20: classifier.cc, regressor.cc and
saved_model_warmup.cc of servables/tensorflow, and util/json_tensor.cc.
"""

import dataclasses
import pathlib
import re

import numpy as np

from bertzoo.serving import c_api, graph_file, server_ops, versions, warm_up

# Names that Keras and TensorFlow make up: a client cannot guess what they mean.
MADE_UP = re.compile(r"(output|args|input|inputs|keras_tensor)(_\d+)+|keras_tensor|unknown.*")
SAMPLE_TEXTS = (
    b"A good film, was it not? [MASK]",
    b"\xff\xfe \xc3\xa9t\xc3\xa9 \x00 \xe4\xb8\xad\xe6\x96\x87",
)
# As `signatures.INPUT_NAMES` has them.
SEGMENT_NAMES = ("segment_ids", "token_type_ids", "input_type_ids")


@dataclasses.dataclass(frozen=True)
class Report:
    """What a check found.

    Args:
        folder: Of the SavedModel.
        server: Version of TensorFlow Serving that it was checked for.
        problems: One sentence each; none means that this server takes it.
        signatures: Signature to (inputs, outputs), each a dict of name to `DT_FLOAT [?, 2]`.
        ops: Ops and how often each occurs in the graph.
        missing_ops: Server version to the ops that it lacks.
        tensorflow: Version that wrote the graph.
        load_seconds: How long the C API took to load it, or None.
        num_warm_up: Warm-up requests.
    """

    folder: str
    server: str
    problems: tuple[str, ...]
    signatures: dict[str, tuple[dict[str, str], dict[str, str]]]
    ops: dict[str, int]
    missing_ops: dict[str, tuple[str, ...]]
    tensorflow: str
    load_seconds: float | None
    num_warm_up: int


def check_servable(directory, server="2.13", core=None):
    """Check a SavedModel as a server of one version would, and run it with that server's ops.

    Args:
        directory: Folder of a SavedModel, or of a model: its largest version is then checked.
        server: Version of TensorFlow Serving, 2.13 to 2.20.
        core: Folder with another `tensorflow/libtensorflow_cc.so.2` and `tensorflow_text/` to run
            it with; None for the installed ones.

    Returns:
        A `Report`.

    Raises:
        ValueError: If there is no SavedModel, or no such server.

    Example:
    >>> spec = tf.TensorSpec([None], tf.float32, name="x")
    >>> double = tf.function(lambda x: {"y": 2 * x}, input_signature=[spec])
    >>> tf.saved_model.save(tf.Module(), "doubled", signatures={"serving_default": double})
    >>> check_servable("doubled", server="2.16").problems
    ()
    """
    return examine(directory, server, core)[0]


def examine(directory, server, core=None, more_runs=()):
    """Return the `Report` of `check_servable`, and what further runs in the same process gave.

    Args:
        directory: See `check_servable`.
        server: See `check_servable`.
        core: See `check_servable`.
        more_runs: As for `c_api.run`.
    """
    server_ops.number(server)
    folder = saved_model_folder(directory)
    graph = graph_file.read(folder)
    problems = [*_op_problems(graph, server), *_signature_problems(graph)]
    requests, warm_up_problems = _warm_up_requests(folder, graph)
    problems += warm_up_problems
    runs = [*_sample_runs(graph), *requests]
    tensors = [(feeds, list(outputs.values())) for _, feeds, outputs in runs]
    try:
        answer = c_api.run(folder, [*tensors, *more_runs], server, core)
    except c_api.ProbeError as error:
        answer = {"error": str(error), "ops": None, "results": [], "seconds": None}
    if answer["error"]:
        problems.append(f"it does not load with the ops of {server}: {answer['error']}")
    if answer["ops"] is not None:
        problems += [
            f"the op {op} is not one that a server of {server} registers"
            for op in sorted(set(graph.ops) - set(answer["ops"]))
            if server_ops.missing_since(op, server) is None and op not in server_ops.NEVER
        ]
    for (what, feeds, outputs), result in zip(runs, answer["results"], strict=False):
        problems += _run_problems(what, feeds, outputs, result)
    report = Report(
        folder=str(folder),
        server=server,
        problems=tuple(dict.fromkeys(problems)),
        signatures={name: _spelled(signature) for name, signature in graph.signatures.items()},
        ops=graph.ops,
        missing_ops={
            version: tuple(op for op in graph.ops if server_ops.missing_since(op, version))
            for version in server_ops.SERVERS
        },
        tensorflow=graph.tensorflow,
        load_seconds=answer["seconds"],
        num_warm_up=len(requests),
    )
    return report, answer["results"][len(runs) :]


def saved_model_folder(directory):
    """Return the folder of a SavedModel: this one, or the largest version in it."""
    folder = pathlib.Path(directory)
    if (folder / "saved_model.pb").is_file():
        return folder
    found = versions.versions(folder)
    if not found:
        raise ValueError(f"{folder} has neither a saved_model.pb nor versions.")
    return folder / str(found[-1])


def _op_problems(graph, server):
    for op in graph.ops:
        if op in server_ops.NEVER:
            yield f"no server runs the op {op}: {server_ops.NEVER[op]}"
        since = server_ops.missing_since(op, server)
        if since:
            yield f"the op {op} is not registered in servers before {since}"
    for name in graph.compiled:
        yield f"{name} must be compiled by XLA (jit_compile=True), which stock servers refuse"


def _signature_problems(graph):
    if not graph.signatures:
        yield "it has no signature that a client could call"
    for name, signature in graph.signatures.items():
        for kind, tensors in (("input", signature.inputs), ("output", signature.outputs)):
            if not tensors:
                yield f"signature {name} has no {kind}"
            for key, info in tensors.items():
                yield from _tensor_problems(f"{kind} {key} of signature {name}", key, info)
        yield from _api_problems(name, signature)


def _tensor_problems(what, key, info):
    if MADE_UP.fullmatch(key):
        yield f"{what} has a made-up name: give it one that says what it is"
    if not info.tensor or info.dtype == "DT_VARIANT":
        yield f"{what} is ragged or sparse, which requests and answers cannot be"
    elif info.dtype not in graph_file.REST_TYPES:
        yield f"{what} is {info.dtype}, which JSON answers cannot hold: make it float32"
    if info.shape is None:
        yield f"{what} has no known rank"
    elif not info.shape or info.shape[0] is not None:
        yield f"{what} has the shape {list(info.shape)}: its first dimension must be the open batch"


def _api_problems(name, signature):
    if name not in ("classify", "regress"):
        return
    inputs, outputs = signature.inputs, signature.outputs
    if list(inputs) != ["inputs"] or inputs["inputs"].dtype != "DT_STRING":
        yield f"signature {name} must have one input, `inputs`, of serialized tf.Examples"
    types = {"classes": "DT_STRING", "scores": "DT_FLOAT"}
    types = types if name == "classify" else {"outputs": "DT_FLOAT"}
    if not outputs or any(types.get(key) != info.dtype for key, info in outputs.items()):
        wanted = ", ".join(f"{key} ({dtype})" for key, dtype in types.items())
        yield f"signature {name} may give {wanted} and nothing else; it gives {sorted(outputs)}"


def _sample_runs(graph):
    """Return (what, arrays by tensor, tensors by output) for batches of 2 and of 0."""
    runs = []
    for name, signature in graph.signatures.items():
        if not all(map(_is_readable, signature.inputs.values())):
            continue  # it is named already
        outputs = {k: info.tensor for k, info in signature.outputs.items() if _is_readable(info)}
        if not outputs:
            continue
        for batch in (2, 0):
            feeds = {
                info.tensor: _sample(key, info, batch) for key, info in signature.inputs.items()
            }
            runs.append((f"signature {name} on a batch of {batch}", feeds, outputs))
    return runs


def _is_readable(info):
    return bool(info.tensor) and info.dtype in graph_file.REST_TYPES


def _sample(key, info, batch):
    shape = [batch, *(4 if dim is None else dim for dim in (info.shape or (None,))[1:])]
    if info.dtype != "DT_STRING":
        return sample_numbers(key, shape, graph_file.REST_TYPES[info.dtype])
    array = np.empty(shape, dtype=object)
    rows = [example(text) if key == "inputs" else text for text in SAMPLE_TEXTS]
    for row in range(batch):
        array[row] = rows[row]
    return array


def sample_numbers(key, shape, dtype=np.int32):
    """Return ones, which are in every vocabulary; zeros for segments, where one may be all.

    >>> sample_numbers("token_ids", (1, 2)), sample_numbers("segment_ids", (1, 2))
    (array([[1, 1]], dtype=int32), array([[0, 0]], dtype=int32))
    """
    return np.full(shape, 0 if key in SEGMENT_NAMES else 1, dtype)


def example(text):
    """Return a serialized tf.Example with this text as `text` and as `text_pair`."""
    from tensorflow.core.example import example_pb2

    message = example_pb2.Example()
    for key in ("text", "text_pair"):
        message.features.feature[key].bytes_list.value.append(text)
    return message.SerializeToString()


def _warm_up_requests(folder, graph):
    runs, problems = [], []
    try:
        requests = warm_up.read(folder)
    except ValueError as error:
        return [], [str(error)]
    if len(requests) > warm_up.MOST:
        problems.append(f"{len(requests)} warm-up requests; a server takes {warm_up.MOST}")
    for index, request in enumerate(requests):
        what = f"warm-up request {index}"
        signature = graph.signatures.get(request.signature)
        if signature is None:
            problems.append(f"{what} names the signature {request.signature!r}, which is not there")
            continue
        if set(request.inputs) != set(signature.inputs):
            problems.append(f"{what} has the inputs {sorted(request.inputs)}, and signature "
                            f"{request.signature} takes {sorted(signature.inputs)}")  # fmt: skip
            continue
        wrong = [
            f"{what}: {key} is {value.dtype} {list(value.shape)}, and the signature takes "
            f"{_spell(signature.inputs[key])}"
            for key, value in request.inputs.items()
            if not _fits(value, signature.inputs[key])
        ]
        problems += wrong
        if not wrong:
            feeds = {signature.inputs[key].tensor: value for key, value in request.inputs.items()}
            outputs = {
                key: info.tensor for key, info in signature.outputs.items() if _is_readable(info)
            }
            runs.append((what, feeds, outputs))
    return runs, problems


def _fits(value, info):
    if value.dtype != np.dtype(graph_file.REST_TYPES.get(info.dtype, np.void)):
        return False
    if info.shape is None:
        return True
    return len(info.shape) == value.ndim and all(
        wanted in (None, size) for wanted, size in zip(info.shape, value.shape, strict=True)
    )


def _run_problems(what, feeds, outputs, result):
    if "error" in result:
        yield f"{what} fails: {result['error']}"
        return
    batch = {value.shape[0] for value in feeds.values()}
    for key, tensor in outputs.items():
        value = result["outputs"][tensor]
        if value.ndim == 0 or {value.shape[0]} != batch:
            yield (f"{what} gives {key} of shape {list(value.shape)}: its first dimension is not "
                   "the batch")  # fmt: skip
        elif value.dtype.kind == "f" and not np.isfinite(value).all():
            yield f"{what} gives {key} with numbers that are not finite, which JSON cannot hold"
        elif value.dtype == object and not _is_json(key, value):
            yield f"{what} gives {key} with strings that are not UTF-8, which JSON cannot hold"


def _is_json(key, strings):
    if key.endswith("_bytes"):  # these a server writes as base64
        return True
    try:
        b"\0".join(strings.ravel()).decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True


def _spelled(signature):
    return (
        {key: _spell(info) for key, info in signature.inputs.items()},
        {key: _spell(info) for key, info in signature.outputs.items()},
    )


def _spell(info):
    if info.shape is None:
        return f"{info.dtype} of any rank"
    return f"{info.dtype} [{', '.join('?' if dim is None else str(dim) for dim in info.shape)}]"
