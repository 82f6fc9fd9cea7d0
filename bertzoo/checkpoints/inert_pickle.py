"""Read a pickle as data: containers, numbers, strings and what an allow-list names; run nothing.

Python's own Unpickler imports modules and calls what a file tells it to, and can be made to
allocate far more than the file holds. This is a stack machine for the opcodes that `torch.save`
writes. A global is looked up in a table of functions of ours and refused by name if it is not
there, so that no name in a file can reach Python. Opcodes are decoded by `pickletools`, which
only parses.
"""

from __future__ import annotations

import collections.abc
import io
import pickletools
import typing

# The pickle of a state dict has some 200 bytes for each tensor; the arrays lie outside of it.
MOST_BYTES = 2**25
ATOMS = frozenset(
    ["BININT", "BININT1", "BININT2", "LONG1", "BINFLOAT", "BINUNICODE", "SHORT_BINUNICODE",
     "BINUNICODE8", "BINSTRING", "SHORT_BINSTRING", "BINBYTES", "SHORT_BINBYTES"]
)  # fmt: skip
CONSTANTS = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False}
TUPLES = {"TUPLE1": 1, "TUPLE2": 2, "TUPLE3": 3}
_MARK = object()


class Callable:
    """A global of the allow-list: REDUCE calls `function`, which is ours."""

    def __init__(self, name: str, function: collections.abc.Callable[..., typing.Any]):
        self.name, self.function = name, function


class RecordClass:
    """An allow-listed class: its objects become a `Record`."""

    def __init__(self, name: str):
        self.name = name


class Record:
    """An object of an allow-listed class, as its name and fields; it has no behaviour."""

    def __init__(self, name: str):
        self.name = name
        self.fields: dict[str, typing.Any] = {}


class Dict(dict):
    """A dict that refuses to hold one key twice."""

    def put(self, key, value) -> None:
        """Set an item that is not there yet."""
        if not isinstance(key, str | int | float | bool | None):
            raise ValueError(f"a {type(key).__name__} stands as the key of a dict")
        if key in self:
            raise ValueError(f"a dict holds the key {str(key)[:100]!r} twice")
        self[key] = value


def read_pickle(
    data: bytes,
    allowed: collections.abc.Mapping[str, typing.Any],
    persistent: collections.abc.Callable[[typing.Any], typing.Any] | None = None,
) -> tuple[typing.Any, int]:
    """Return the object of the first pickle in `data`, and where that pickle ends.

    Args:
        data: Begins with a pickle of protocol 2 to 5.
        allowed: "module.name" -> what stands for that global: a `Callable`, a `RecordClass`, or
            any value.
        persistent: Makes an object of a persistent id; None where there are none.

    Raises:
        ValueError: A global that is not allowed, an opcode that no tensor needs, or damage. The
            message has no file name.

    Example:
    >>> import pickle
    >>> read_pickle(pickle.dumps({"a": [1, 2.5]}, protocol=2), {})[0]
    {'a': [1, 2.5]}
    """
    if len(data) > MOST_BYTES:
        data = data[:MOST_BYTES]
    machine = _Machine(allowed, persistent)
    file = io.BytesIO(data)
    try:
        for opcode, argument, _ in pickletools.genops(file):
            if opcode.name == "STOP":
                return machine.result(), file.tell()
            machine.step(opcode.name, argument)
    except ValueError:
        raise
    except (IndexError, KeyError, TypeError, AttributeError, OverflowError) as error:
        raise ValueError(f"its pickle is damaged ({type(error).__name__})") from error
    raise ValueError("its pickle has no end")


class _Machine:
    def __init__(self, allowed, persistent):
        self.allowed, self.persistent = allowed, persistent
        self.stack: list = []
        self.memo: dict[int, typing.Any] = {}

    def result(self):
        if len(self.stack) != 1 or self.stack[0] is _MARK:
            raise ValueError("its pickle is damaged")
        return self.stack[0]

    def step(self, name: str, argument) -> None:
        stack = self.stack
        if name in ATOMS:
            stack.append(argument)
        elif name in CONSTANTS:
            stack.append(CONSTANTS[name])
        elif name in ("PROTO", "FRAME"):
            pass
        elif name == "MARK":
            stack.append(_MARK)
        elif name in ("BINPUT", "LONG_BINPUT"):
            self.memo[argument] = self._top()
        elif name == "MEMOIZE":
            self.memo[len(self.memo)] = self._top()
        elif name in ("BINGET", "LONG_BINGET"):
            stack.append(self.memo[argument])
        elif name in ("EMPTY_TUPLE", "EMPTY_LIST", "EMPTY_DICT"):
            stack.append({"EMPTY_TUPLE": (), "EMPTY_LIST": [], "EMPTY_DICT": Dict()}[name])
        elif name in TUPLES:
            stack.append(tuple(reversed([self._pop() for _ in range(TUPLES[name])])))
        elif name == "TUPLE":
            stack.append(tuple(self._to_mark()))
        elif name in ("APPEND", "APPENDS"):
            items = [self._pop()] if name == "APPEND" else self._to_mark()
            self._append(items)
        elif name in ("SETITEM", "SETITEMS"):
            items = self._to_mark() if name == "SETITEMS" else [self._pop(), self._pop()][::-1]
            self._set_items(items)
        elif name == "GLOBAL":
            stack.append(self._find(argument.replace(" ", ".", 1)))
        elif name == "STACK_GLOBAL":
            attribute, module = self._pop(), self._pop()
            stack.append(self._find(f"{module}.{attribute}"))
        elif name in ("REDUCE", "NEWOBJ"):
            arguments, called = self._pop(), self._pop()
            stack.append(self._call(called, arguments))
        elif name == "BUILD":
            self._build(self._pop())
        elif name == "BINPERSID" and self.persistent is not None:
            stack.append(self.persistent(self._pop()))
        else:
            raise ValueError(f"its pickle has the opcode {name}, which no tensor needs")

    def _top(self):
        if not self.stack or self.stack[-1] is _MARK:
            raise ValueError("its pickle is damaged")
        return self.stack[-1]

    def _pop(self):
        self._top()
        return self.stack.pop()

    def _to_mark(self) -> list:
        items = []
        while self.stack and self.stack[-1] is not _MARK:
            items.append(self.stack.pop())
        if not self.stack:
            raise ValueError("its pickle is damaged")
        self.stack.pop()
        return items[::-1]

    def _append(self, items: list) -> None:
        target = self._top()
        if type(target) is not list:
            raise ValueError(f"its pickle appends to a {type(target).__name__}")
        target.extend(items)

    def _set_items(self, items: list) -> None:
        target = self._top()
        if not isinstance(target, Dict):
            raise ValueError(f"its pickle sets items of a {type(target).__name__}")
        if len(items) % 2:
            raise ValueError("a dict holds a key without a value")
        for key, value in zip(items[::2], items[1::2], strict=True):
            target.put(key, value)

    def _find(self, name: str):
        if name not in self.allowed:
            raise ValueError(
                f"its pickle names the Python object `{name[:100]}`, which has no place among "
                "weights; nothing of it was run"
            )
        return self.allowed[name]

    def _call(self, called, arguments):
        if not isinstance(arguments, tuple):
            raise ValueError("its pickle is damaged")
        if isinstance(called, RecordClass):
            if arguments:
                raise ValueError(f"its pickle makes a `{called.name}` from arguments")
            return Record(called.name)
        if not isinstance(called, Callable):
            raise ValueError(f"its pickle calls a {type(called).__name__}")
        return called.function(*arguments)

    def _build(self, state) -> None:
        target = self._top()
        if isinstance(target, Record) and isinstance(state, dict):
            target.fields.update(state)
        elif not (isinstance(target, Dict) and isinstance(state, dict)):
            # An OrderedDict has its `_metadata` set so: versions of modules, which we do not need.
            raise ValueError(f"its pickle changes the state of a {type(target).__name__}")
