"""Run a SavedModel through TensorFlow's C API: a program of its own, without Python's TensorFlow.

`libtensorflow_cc.so.2` of the TensorFlow wheel has the loader that a server has (`TF_LoadSession
FromSavedModel`), and each op library of tensorflow-text is one file: so the ops that a server knows
can be chosen. It reads a JSON request from standard input and writes a JSON answer; it imports
nothing beside the standard library.

Request: `core` (folder of libtensorflow_cc.so.2), `libraries` (op libraries to load),
`saved_model` (folder, or null to list ops only), `runs`: a list of `{"inputs": {tensor name:
value}, "outputs": [tensor names]}`. A value is `{"dtype": number, "shape": [...], "data": base64}`,
or has `strings` (a list of base64) in the place of `data`.

Answer: `version`, `core_ops`, `ops` (with the libraries), `error` (why it did not load, or null),
`seconds` (of loading), `results`: of each run `{"outputs": [values]}` or `{"error": why}`.
"""

import base64
import ctypes
import json
import math
import sys
import time

# TF_DataType of strings; sizes in bytes of the others that a servable may have.
STRING = 7
SIZES = {1: 4, 2: 8, 3: 4, 4: 1, 5: 2, 6: 1, 9: 8, 10: 1, 14: 2, 17: 2, 19: 2, 22: 4, 23: 8}
# sizeof(TF_TString), tensorflow/c/tf_tstring.h.
STRING_BYTES = 24


class Output(ctypes.Structure):
    """TF_Output: an operation and which of its outputs."""

    _fields_ = (("operation", ctypes.c_void_p), ("index", ctypes.c_int))


class Buffer(ctypes.Structure):
    """TF_Buffer."""

    _fields_ = (
        ("data", ctypes.c_void_p),
        ("length", ctypes.c_size_t),
        ("deallocator", ctypes.c_void_p),
    )


class TensorFlow:
    """The functions of the C API that are used here.

    Args:
        core: Folder with libtensorflow_framework.so.2 and libtensorflow_cc.so.2 (on macOS,
            `.2.dylib`).
    """

    POINTERS = ("TF_NewStatus", "TF_NewSessionOptions", "TF_NewGraph", "TF_NewBuffer",
                "TF_LoadLibrary", "TF_LoadSessionFromSavedModel", "TF_GraphOperationByName",
                "TF_AllocateTensor", "TF_TensorData", "TF_StringGetDataPointer")  # fmt: skip

    def __init__(self, core):
        ending = "2.dylib" if sys.platform == "darwin" else "so.2"
        ctypes.CDLL(f"{core}/libtensorflow_framework.{ending}", ctypes.RTLD_GLOBAL)
        self.c = ctypes.CDLL(f"{core}/libtensorflow_cc.{ending}", ctypes.RTLD_GLOBAL)
        for name in self.POINTERS:
            getattr(self.c, name).restype = ctypes.c_void_p
        for name in ("TF_Version", "TF_Message"):
            getattr(self.c, name).restype = ctypes.c_char_p
        for name in ("TF_TensorByteSize", "TF_StringGetSize"):
            getattr(self.c, name).restype = ctypes.c_size_t
        self.c.TF_Dim.restype = ctypes.c_int64
        self.c.TF_GetAllOpList.restype = ctypes.POINTER(Buffer)
        self.status = ctypes.c_void_p(self.c.TF_NewStatus())
        self.graph = ctypes.c_void_p(self.c.TF_NewGraph())
        self.session = None

    def check(self):
        """Raise what the last call has to say, if it failed."""
        if self.c.TF_GetCode(self.status):
            raise RuntimeError(self.c.TF_Message(self.status).decode("utf-8", "replace"))

    def ops(self):
        """Return the names of all ops that are registered (an OpList of OpDefs)."""
        buffer = self.c.TF_GetAllOpList().contents
        content = ctypes.string_at(buffer.data, buffer.length)
        definitions = (value for number, value in _fields(content) if number == 1)
        return sorted({dict(_fields(op))[1].decode() for op in definitions})

    def load_library(self, path):
        """Register the ops of a library."""
        self.c.TF_LoadLibrary(path.encode(), self.status)
        self.check()

    def load(self, folder):
        """Open the meta graph with the tag `serve`, and restore its variables."""
        tags = (ctypes.c_char_p * 1)(b"serve")
        options = ctypes.c_void_p(self.c.TF_NewSessionOptions())
        meta_graph = ctypes.c_void_p(self.c.TF_NewBuffer())
        self.session = ctypes.c_void_p(
            self.c.TF_LoadSessionFromSavedModel(
                options, None, folder.encode(), tags, 1, self.graph, meta_graph, self.status
            )
        )
        self.check()

    def run(self, inputs, outputs):
        """Return the values of tensors by name, given those of others."""
        feeds = (Output * len(inputs))(*map(self.output, inputs))
        values = (ctypes.c_void_p * len(inputs))(*map(self.tensor, inputs.values()))
        fetches = (Output * len(outputs))(*map(self.output, outputs))
        fetched = (ctypes.c_void_p * len(outputs))()
        self.c.TF_SessionRun(
            self.session, None, feeds, values, len(inputs), fetches, fetched, len(outputs),
            None, 0, None, self.status,
        )  # fmt: skip
        for value in values:
            self.c.TF_DeleteTensor(ctypes.c_void_p(value))
        self.check()
        return [self.value(ctypes.c_void_p(tensor)) for tensor in fetched]

    def output(self, name):
        """Return the TF_Output of a tensor name, as `serving_default_text:0`."""
        operation, _, index = name.partition(":")
        found = self.c.TF_GraphOperationByName(self.graph, operation.encode())
        if not found:
            raise RuntimeError(f"the graph has no operation {operation}")
        return Output(found, int(index or 0))

    def tensor(self, value):
        """Return a new TF_Tensor."""
        shape, is_string = value["shape"], value["dtype"] == STRING
        count = math.prod(shape)
        size = count * (STRING_BYTES if is_string else SIZES[value["dtype"]])
        dims = (ctypes.c_int64 * len(shape))(*shape)
        tensor = self.c.TF_AllocateTensor(value["dtype"], dims, len(shape), ctypes.c_size_t(size))
        data = self.c.TF_TensorData(ctypes.c_void_p(tensor))
        if not is_string:
            content = base64.b64decode(value["data"])
            if len(content) != size:
                raise RuntimeError(f"{len(content)} bytes for a tensor of {size}")
            ctypes.memmove(data, content, size)
            return tensor
        for index, encoded in enumerate(value["strings"]):
            content = base64.b64decode(encoded)
            place = ctypes.c_void_p(data + index * STRING_BYTES)
            self.c.TF_StringInit(place)
            self.c.TF_StringCopy(place, content, ctypes.c_size_t(len(content)))
        return tensor

    def value(self, tensor):
        """Return a TF_Tensor's dtype, shape and content, and free it."""
        dtype = self.c.TF_TensorType(tensor)
        shape = [self.c.TF_Dim(tensor, axis) for axis in range(self.c.TF_NumDims(tensor))]
        found = {"dtype": dtype, "shape": shape}
        data = self.c.TF_TensorData(tensor)
        if dtype == STRING:
            places = [
                ctypes.c_void_p(data + index * STRING_BYTES) for index in range(math.prod(shape))
            ]
            found["strings"] = [_encoded(self._string(place)) for place in places]
        else:
            content = ctypes.string_at(data, self.c.TF_TensorByteSize(tensor)) if data else b""
            found["data"] = _encoded(content)
        self.c.TF_DeleteTensor(tensor)
        return found

    def _string(self, place):
        size = self.c.TF_StringGetSize(place)
        return ctypes.string_at(self.c.TF_StringGetDataPointer(place), size) if size else b""


def answer(request):
    """Return the answer to a request; see the top of this file."""
    tensorflow = TensorFlow(request["core"])
    found = {
        "version": tensorflow.c.TF_Version().decode(),
        "core_ops": tensorflow.ops(),
        "error": None,
        "seconds": None,
        "results": [],
    }
    for library in request["libraries"]:
        tensorflow.load_library(library)
    found["ops"] = tensorflow.ops()
    if request["saved_model"] is None:
        return found
    start = time.perf_counter()
    try:
        tensorflow.load(request["saved_model"])
    except RuntimeError as error:
        return {**found, "error": str(error)}
    found["seconds"] = time.perf_counter() - start
    for run in request["runs"]:
        try:
            found["results"].append({"outputs": tensorflow.run(run["inputs"], run["outputs"])})
        except RuntimeError as error:
            found["results"].append({"error": str(error)})
    return found


def _encoded(content):
    return base64.b64encode(content).decode()


def _fields(data):
    # The wire format of protocol buffers: lengths and bytes, and numbers.
    position = 0
    while position < len(data):
        key, position = _varint(data, position)
        if key & 7 == 2:
            size, position = _varint(data, position)
            yield key >> 3, data[position : position + size]
            position += size
        elif key & 7 == 0:
            value, position = _varint(data, position)
            yield key >> 3, value
        else:
            position += {1: 8, 5: 4}[key & 7]


def _varint(data, position):
    value = shift = 0
    while True:
        byte = data[position]
        value, shift, position = value | (byte & 127) << shift, shift + 7, position + 1
        if byte < 128:
            return value, position


if __name__ == "__main__":
    reply = json.dumps(answer(json.load(sys.stdin)))
    heavy = {"tensorflow", "tensorflow_text", "keras", "numpy", "bertzoo"} & set(sys.modules)
    assert not heavy, heavy
    sys.stdout.write("\n" + reply + "\n")
