"""What a SavedModel's graph file says: signatures, ops, and nodes that no server takes."""

import dataclasses
import pathlib

import numpy as np

# The types of TensorFlow that requests and answers over REST can have (util/json_tensor.cc).
REST_TYPES = {
    "DT_FLOAT": np.float32, "DT_DOUBLE": np.float64, "DT_INT32": np.int32, "DT_INT64": np.int64,
    "DT_UINT8": np.uint8, "DT_INT8": np.int8, "DT_INT16": np.int16, "DT_UINT16": np.uint16,
    "DT_UINT32": np.uint32, "DT_UINT64": np.uint64, "DT_BOOL": np.bool_, "DT_STRING": np.object_,
}  # fmt: skip


@dataclasses.dataclass(frozen=True)
class TensorInfo:
    """One input or output of a signature.

    Args:
        tensor: Name in the graph, as `serving_default_text:0`; empty where it is no plain tensor.
        dtype: Name of its type, as `DT_FLOAT`.
        shape: Its dimensions, None where one is open; None where the rank is.
        number: Of its type in TensorFlow.
    """

    tensor: str
    dtype: str
    shape: tuple[int | None, ...] | None
    number: int


@dataclasses.dataclass(frozen=True)
class Signature:
    """What a client may call: inputs and outputs by name."""

    inputs: dict[str, TensorInfo]
    outputs: dict[str, TensorInfo]


@dataclasses.dataclass(frozen=True)
class GraphFile:
    """What matters of `saved_model.pb`.

    Args:
        tags: Of the meta graph.
        signatures: By name; the one that only initialises is left out.
        ops: Names of all ops, in functions too, and how often each occurs.
        compiled: Names of the nodes or functions that must be compiled by XLA.
        tensorflow: Version that wrote it.
    """

    tags: tuple[str, ...]
    signatures: dict[str, Signature]
    ops: dict[str, int]
    compiled: tuple[str, ...]
    tensorflow: str


def read(folder):
    """Return the `GraphFile` of a SavedModel's folder.

    Raises:
        ValueError: If there is none, or it is damaged.
    """
    from google.protobuf import message
    from tensorflow.core.protobuf import saved_model_pb2

    path = pathlib.Path(folder) / "saved_model.pb"
    if not path.is_file():
        raise ValueError(f"{folder} is no SavedModel: it has no saved_model.pb.")
    saved = saved_model_pb2.SavedModel()
    try:
        saved.ParseFromString(path.read_bytes())
    except message.DecodeError as error:
        raise ValueError(f"{path} is damaged: {error}.") from error
    graphs = [graph for graph in saved.meta_graphs if "serve" in graph.meta_info_def.tags]
    if not graphs:
        tags = [list(graph.meta_info_def.tags) for graph in saved.meta_graphs]
        raise ValueError(f"{path} has no graph with the tag `serve`; its tags are {tags}.")
    graph = graphs[0]
    functions = graph.graph_def.library.function
    nodes = [*graph.graph_def.node, *(node for function in functions for node in function.node_def)]
    defined = {function.signature.name for function in functions}
    ops = {}
    for node in nodes:
        if node.op not in defined:
            ops[node.op] = ops.get(node.op, 0) + 1
    compiled = [
        item.name if hasattr(item, "op") else item.signature.name
        for item in [*nodes, *functions]
        if item.attr["_XlaMustCompile"].b
    ]
    return GraphFile(
        tags=tuple(graph.meta_info_def.tags),
        signatures={
            name: Signature(_tensors(definition.inputs), _tensors(definition.outputs))
            for name, definition in sorted(graph.signature_def.items())
            if name != "__saved_model_init_op"
        },
        ops=dict(sorted(ops.items())),
        compiled=tuple(compiled),
        tensorflow=graph.meta_info_def.tensorflow_version,
    )


def _tensors(infos):
    from tensorflow.core.framework import types_pb2

    found = {}
    for name, info in sorted(infos.items()):
        shape = info.tensor_shape
        dims = tuple(None if dim.size < 0 else dim.size for dim in shape.dim)
        found[name] = TensorInfo(
            tensor=info.name,
            dtype=types_pb2.DataType.Name(info.dtype),
            shape=None if shape.unknown_rank else dims,
            number=info.dtype,
        )
    return found
