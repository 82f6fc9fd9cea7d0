"""The object graph in a TensorFlow 2 checkpoint: which attribute of which object is which array.

`_CHECKPOINTABLE_OBJECT_GRAPH` is a TrackableObjectGraph (tensorflow/core/protobuf): nodes with
named children, and for variables the key under which the array is stored. A variable that two
objects share is one node that both lead to, so following names finds tied weights too.
"""

from __future__ import annotations

import collections.abc
import dataclasses

from bertzoo.checkpoints import protobuf_wire as wire
from bertzoo.checkpoints.tensor_bundle import TensorFlowReader

KEY = "_CHECKPOINTABLE_OBJECT_GRAPH"
VALUE = "/.ATTRIBUTES/VARIABLE_VALUE"
# Optimizer slots, and what SavedModels add to every layer: nothing of the model lies behind them.
ASIDE = ("optimizer", "_optimizer", "keras_api", "signatures", "_metrics")


@dataclasses.dataclass
class Node:
    """One object: its children by name, and the array of a variable."""

    children: dict[str, int] = dataclasses.field(default_factory=dict)
    key: str | None = None
    full_name: str = ""


class ObjectGraph:
    """The graph of one checkpoint; node 0 is the root.

    Args:
        reader: A checkpoint with the key `_CHECKPOINTABLE_OBJECT_GRAPH`.
    """

    def __init__(self, reader: TensorFlowReader):
        where = f"{reader.path}: its object graph"
        try:
            self.nodes = [
                _node(wire.message(content))
                for field, content in wire.fields(reader.read_string(KEY))
                if field == 1
            ]
        except (UnicodeDecodeError, ValueError) as error:
            raise ValueError(f"{where} is damaged: {error}.") from error
        if not self.nodes:
            raise ValueError(f"{where} is empty.")
        for node in self.nodes:
            if any(child >= len(self.nodes) for child in node.children.values()):
                raise ValueError(f"{where} is damaged: a child is missing.")
            if node.key is not None and node.key not in reader.shapes:
                raise ValueError(f"{where} names `{node.key}`, which is not stored.")

    def follow(self, node: int | None, path: str, separator: str = ".") -> int | None:
        """Return the node that a path of child names leads to, or None.

        The separator is not `/`, which occurs within names (`output_bias/bias`).
        """
        for name in path.split(separator):
            if node is None:
                return None
            node = self.nodes[node].children.get(name)
        return node

    def walk(self) -> collections.abc.Iterator[int]:
        """Yield every object of the model once, those near the root first."""
        seen, queue = {0}, [0]
        while queue:
            following = []
            for index in queue:
                yield index
                for name, child in self.nodes[index].children.items():
                    if name not in ASIDE and child not in seen:
                        seen.add(child)
                        following.append(child)
            queue = following

    def numbered(self, node: int | None, prefix: str = "") -> list[int]:
        """Return the children `prefix0`, `prefix1`, ..., as long as they go."""
        found: list[int] = []
        while node is not None:
            child = self.nodes[node].children.get(f"{prefix}{len(found)}")
            if child is None:
                break
            found.append(child)
        return found


def _node(data: bytes) -> Node:
    node = Node()
    for field, content in wire.fields(data):
        if field == 1:
            values = dict(wire.fields(wire.message(content)))
            name = wire.message(values.get(2, b"")).decode("utf-8")
            node.children[name] = wire.number(values.get(1, 0))
        elif field == 2:
            attribute = {
                f: wire.message(v).decode("utf-8")
                for f, v in wire.fields(wire.message(content))
                if f in (1, 2, 3)
            }
            # Other attributes are Python state, such as the configuration of a layer.
            if attribute.get(3, "").endswith(VALUE):
                node.key, node.full_name = attribute[3], attribute.get(2, "")
    return node
