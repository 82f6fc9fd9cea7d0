"""A code point table as a model of tensorflow-text's FastBertNormalize op.

The op replaces each code point by any string of up to 63 bytes and reports where each byte came
from. Its model is a flatbuffer (`fast_bert_normalizer_model.fbs` of tensorflow-text, the same
file from 2.12 to 2.20): a flag, a trie, the value of code point 0 and a pool of strings. The trie
is a double array in the format of darts-clone, where child `byte` of the node at index i is at
`i ^ offset ^ byte`. Neither the op nor the format says that the strings must be Google's, so one
pass of the op does all of BERT's cleaning, exactly.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import flatbuffers
import numpy as np

# A value is this bit, the place in the pool and the length (6 bits) of the replacement.
_IS_CHANGED = 1 << 30
_LENGTH_BITS = 6
_IS_VALUE = 1 << 31  # marks the unit that holds a value; also the filling of free units
_HAS_VALUE = 1 << 8


def build_model(table: Mapping[int, str]) -> np.ndarray:
    """Return the model that replaces the table's code points and deletes invalid UTF-8.

    Invalid bytes vanish as in `bytes.decode(errors="ignore")`: the op steps over an invalid
    sequence by its longest valid beginning, and every such beginning is a key of the trie.

    Args:
        table: Replacement by code point; a code point that is not in it stays.

    Returns:
        The flatbuffer, uint8 `[bytes]`.

    Raises:
        ValueError: if a replacement is longer than 63 bytes.
    """
    pool = bytearray()
    places: dict[bytes, int] = {b"": 0}
    keys: dict[bytes, int] = {}
    for code_point, replacement in table.items():
        text = replacement.encode()
        if len(text) >= 1 << _LENGTH_BITS:
            raise ValueError(
                f"the replacement of code point U+{code_point:04X} must be shorter than "
                f"{1 << _LENGTH_BITS} bytes; got {len(text)}."
            )
        if text not in places:
            places[text] = len(pool)
            pool += text
        keys[chr(code_point).encode()] = _IS_CHANGED | places[text] << _LENGTH_BITS | len(text)
    zero = keys.pop(b"\0", 0)  # the trie cannot hold code point 0: it has a field of its own
    for invalid in _invalid_beginnings():
        keys[invalid] = _IS_CHANGED
    return _flatbuffer(build_trie(keys), zero, bytes(pool))


def build_trie(keys: Mapping[bytes, int]) -> np.ndarray:
    """Return a darts-clone double array, uint32, of keys without zero bytes to 31-bit values."""
    nodes = _minimal_nodes(keys)
    bases = _place(nodes)
    size = max(base | 0xFF for base in bases) + 1
    # The op does not check bounds: `base ^ byte` stays inside because the array is filled up to a
    # multiple of 256, and free units have a label that no byte equals.
    units = np.full(size, _IS_VALUE, np.uint32)
    root = len(nodes) - 1
    units[0] = bases[root] << 10
    for node, (value, children) in enumerate(nodes):
        if value is not None:
            units[bases[node]] = value | _IS_VALUE
        for byte, child in children:
            index = bases[node] ^ byte
            offset = index ^ bases[child]
            assert offset < 1 << 21, "a table of code points never needs the format's long offsets"
            has_value = _HAS_VALUE if nodes[child][0] is not None else 0
            units[index] = byte | has_value | offset << 10
    return units


def _minimal_nodes(keys: Mapping[bytes, int]) -> list:
    # The nodes as (value or None, ((byte, node), ...)), children first, the root last. Nodes are
    # not told apart by their parents, so equal subtrees share one node (many do: a deleted
    # range has the same 64 last bytes as another).
    tree: dict = {}
    for key, value in keys.items():
        node = tree
        for byte in key:
            node = node.setdefault(byte, {})
        node[-1] = value  # -1: no byte
    nodes: list = []
    numbers: dict = {}

    def add(node: dict) -> int:
        children = tuple((byte, add(node[byte])) for byte in sorted(node) if byte >= 0)
        entry = (node.get(-1), children)
        if entry not in numbers:
            numbers[entry] = len(nodes)
            nodes.append(entry)
        return numbers[entry]

    add(tree)
    return nodes


def _place(nodes: list) -> list[int]:
    # First fit, largest nodes first: a base such that `base ^ label` is free for all labels. No
    # two nodes may have one base, as a child knows its label and not its parent.
    labels = [
        [0] * (value is not None) + [byte for byte, _ in children] for value, children in nodes
    ]
    used, bases, is_base = {0}, [0] * len(nodes), {0}
    starts: dict[int, int] = {}
    for node in sorted(range(len(nodes)), key=lambda node: (-len(labels[node]), node)):
        # A search goes on where the last one for this first label ended; only the smallest nodes
        # go back to fill the gaps.
        first, *others = labels[node]
        region = first if others else -1 - first
        slot = starts.get(region, 0)
        while (
            slot in used
            or slot ^ first in is_base
            or any(slot ^ first ^ label in used for label in others)
        ):
            slot += 1
        starts[region] = slot
        base = slot ^ first
        bases[node] = base
        is_base.add(base)
        used.update(base ^ label for label in labels[node])
    return bases


def _invalid_beginnings() -> Iterable[bytes]:
    # What U8_FWD_1 of ICU steps over in one go where a character is cut short: a byte that
    # begins nothing, or the longest part that could have begun a character (Unicode 3.9).
    yield from (bytes([byte]) for byte in range(0x80, 0x100))
    for first in range(0xE0, 0xF5):
        low = {0xE0: 0xA0, 0xF0: 0x90}.get(first, 0x80)
        high = {0xED: 0x9F, 0xF4: 0x8F}.get(first, 0xBF)
        for second in range(low, high + 1):
            yield bytes([first, second])
            if first >= 0xF0:
                yield from (bytes([first, second, third]) for third in range(0x80, 0xC0))


def _flatbuffer(trie: np.ndarray, zero: int, pool: bytes) -> np.ndarray:
    builder = flatbuffers.Builder(4 * len(trie) + len(pool) + 64)
    pool_vector = builder.CreateByteVector(pool)
    trie_vector = builder.CreateNumpyVector(trie)
    builder.StartObject(4)
    builder.PrependBoolSlot(0, True, False)
    builder.PrependUOffsetTRelativeSlot(1, trie_vector, 0)
    builder.PrependInt32Slot(2, zero, 0)
    builder.PrependUOffsetTRelativeSlot(3, pool_vector, 0)
    builder.Finish(builder.EndObject())
    return np.frombuffer(bytes(builder.Output()), np.uint8)
