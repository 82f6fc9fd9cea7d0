"""PyTorch's two file forms written opcode by opcode, without PyTorch, whole or on purpose wrong."""

import io
import struct
import zipfile

import numpy as np

STORAGES = {"float32": "FloatStorage", "float16": "HalfStorage", "int64": "LongStorage"}
NO_HOOKS = b"ccollections\nOrderedDict\n)R"


def text(value):
    data = value.encode()
    return b"X" + struct.pack("<I", len(data)) + data


def integer(value):
    if -(2**31) <= value < 2**31:
        return b"J" + struct.pack("<i", value)
    data = value.to_bytes(9, "little", signed=True)
    return b"\x8a" + bytes([len(data)]) + data


def numbers(values):
    return b"(" + b"".join(map(integer, values)) + b"t"


def storage(key, dtype, numel, legacy=False):
    """A reference to a storage; the old form has a view after it, here none."""
    name = f"ctorch\n{dtype if dtype.endswith('Storage') else STORAGES[dtype]}\n".encode()
    parts = text("storage") + name + text(key) + text("cpu") + integer(numel)
    return b"(" + parts + (b"N" if legacy else b"") + b"tQ"


def tensor(reference, shape, strides=None, offset=0):
    """A call of torch._utils._rebuild_tensor_v2."""
    if strides is None:
        strides = [int(np.prod(shape[axis + 1 :])) for axis in range(len(shape))]
    arguments = reference + integer(offset) + numbers(shape) + numbers(strides) + b"\x89" + NO_HOOKS
    return b"ctorch._utils\n_rebuild_tensor_v2\n(" + arguments + b"tR"


def state_dict(items):
    """An OrderedDict of (name, opcodes of a value), with the _metadata that torch sets on it."""
    pairs = b"".join(text(name) + value for name, value in items)
    metadata = b"}" + text("_metadata") + NO_HOOKS + b"sb"
    return NO_HOOKS + b"(" + pairs + b"u" + metadata


def pickled(body):
    return b"\x80\x02" + body + b"."


def zip_file(path, body, storages, root="archive", extra=(), compression=zipfile.ZIP_STORED,
             byteorder="little"):  # fmt: skip
    """Write the form since PyTorch 1.6: `body` without protocol and end, {key: bytes}."""
    with zipfile.ZipFile(path, "w", compression) as archive:
        archive.writestr(f"{root}/data.pkl", pickled(body))
        archive.writestr(f"{root}/byteorder", byteorder)
        for key, data in storages.items():
            archive.writestr(f"{root}/data/{key}", data)
        for name, data in extra:
            archive.writestr(name, data)
        archive.writestr(f"{root}/version", "3\n")
    return path


def legacy_file(path, body, storages, keys=None, little_endian=True):
    """Write the form before PyTorch 1.6: {key: (number of elements, bytes)}."""
    system = b"}(" + text("little_endian") + (b"\x88" if little_endian else b"\x89") + b"u"
    file = io.BytesIO()
    file.write(pickled(b"\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19"))  # the magic number
    file.write(pickled(b"M\xe9\x03") + pickled(system) + pickled(body))
    listed = list(storages) if keys is None else keys
    file.write(pickled(b"](" + b"".join(map(text, listed)) + b"e"))
    for count, data in storages.values():
        file.write(struct.pack("<q", count) + data)
    path.write_bytes(file.getvalue())
    return path


def save(path, tensors, legacy=False, wrap=None):
    """Write {name: array}; `wrap` puts the opcodes of the dict into something larger."""
    items, storages = [], {}
    for index, (name, array) in enumerate(tensors.items()):
        array = np.asarray(array)
        reference = storage(str(index), str(array.dtype), array.size, legacy)
        items.append((name, tensor(reference, array.shape)))
        data = np.ascontiguousarray(array).tobytes()
        storages[str(index)] = (array.size, data) if legacy else data
    body = state_dict(items)
    write = legacy_file if legacy else zip_file
    return write(path, body if wrap is None else wrap(body), storages)
