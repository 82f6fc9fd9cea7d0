"""NumPy arrays through `probe.py`: a SavedModel run in a process without Python's TensorFlow."""

import base64
import importlib.util
import json
import math
import os
import pathlib
import subprocess
import sys

import numpy as np

from bertzoo.serving import probe, server_ops

# TF_DataType of each NumPy type.
NUMBERS = {
    np.dtype(name): number
    for name, number in {
        "float32": 1, "float64": 2, "int32": 3, "uint8": 4, "int16": 5, "int8": 6, "int64": 9,
        "bool": 10, "uint16": 17, "float16": 19, "uint32": 22, "uint64": 23,
    }.items()
}  # fmt: skip
TYPES = {number: dtype for dtype, number in NUMBERS.items()}
# Of loading and running all signatures; a BERT-Base takes seconds.
TIMEOUT = 600


class ProbeError(RuntimeError):
    """The process ended without an answer: the text is what it said."""


def run(saved_model, runs, server="2.20", core=None):
    """Run signatures of a SavedModel with the op libraries that a server links.

    Args:
        saved_model: Its folder; None only lists ops.
        runs: A list of (inputs, outputs): arrays by tensor name, and tensor names.
        server: Version of TensorFlow Serving, which decides the op libraries.
        core: Folder that holds `tensorflow/libtensorflow_cc.so.2` and `tensorflow_text/`; None for
            the installed packages.

    Returns:
        The answer of `probe.py`, with arrays by tensor name in `results`, or the message of an
        error.
    """
    core = pathlib.Path(core) if core else packages()
    libraries = op_libraries(core, server)
    request = {
        "core": str(core / "tensorflow"),
        "libraries": libraries,
        "saved_model": None if saved_model is None else os.fspath(saved_model),
        "runs": [
            {"inputs": {name: encode(value) for name, value in inputs.items()}, "outputs": outputs}
            for inputs, outputs in runs
        ],
    }
    # Isolated: neither PYTHONPATH nor the user's packages; probe.py is a file that needs nothing.
    try:
        done = subprocess.run(
            [sys.executable, "-I", "-S", probe.__file__],
            input=json.dumps(request),
            capture_output=True,
            text=True,
            env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"},
            timeout=TIMEOUT,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise ProbeError(f"the C API process has not answered within {TIMEOUT} s") from None
    lines = done.stdout.strip().splitlines()
    if done.returncode or not lines:
        last = (done.stderr.strip().splitlines() or ["nothing"])[-1]
        raise ProbeError(f"the C API process ended with code {done.returncode} and said: {last}")
    answer = json.loads(lines[-1])
    for (_, outputs), result in zip(runs, answer["results"], strict=False):
        if "outputs" in result:
            result["outputs"] = dict(zip(outputs, map(decode, result["outputs"]), strict=True))
    return answer


def packages():
    """Return the folder in which tensorflow and tensorflow_text are installed."""
    found = importlib.util.find_spec("tensorflow")
    if found is None or found.origin is None:
        raise ModuleNotFoundError("tensorflow is not installed", name="tensorflow")
    return pathlib.Path(found.origin).parent.parent


def op_libraries(core, server):
    """Return the paths of tensorflow-text's op libraries that a server links."""
    found = sorted(str(path) for path in (core / "tensorflow_text").rglob("_*.so"))
    return server_ops.op_libraries([path for path in found if "/pybinds/" not in path], server)


def encode(value):
    """Return an array as `probe.py` takes it; strings are an object array of bytes.

    >>> encode(np.array([b"a"], dtype=object))
    {'dtype': 7, 'shape': [1], 'strings': ['YQ==']}
    """
    value = np.asarray(value)
    shape = list(value.shape)
    if value.dtype.kind in "OSU":
        strings = [item.encode() if isinstance(item, str) else item for item in value.ravel()]
        encoded = [base64.b64encode(item).decode() for item in strings]
        return {"dtype": probe.STRING, "shape": shape, "strings": encoded}
    data = base64.b64encode(np.ascontiguousarray(value).tobytes()).decode()
    return {"dtype": NUMBERS[value.dtype], "shape": shape, "data": data}


def decode(value):
    """Return the array of a value from `probe.py`."""
    if value["dtype"] == probe.STRING:
        strings = [base64.b64decode(item) for item in value["strings"]]
        array = np.empty(math.prod(value["shape"]), dtype=object)
        array[:] = strings
        return array.reshape(value["shape"])
    if value["dtype"] not in TYPES:
        raise ProbeError(f"an output has the type number {value['dtype']}, which NumPy lacks")
    data = np.frombuffer(base64.b64decode(value["data"]), TYPES[value["dtype"]])
    return data.reshape(value["shape"])
