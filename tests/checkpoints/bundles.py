"""TensorFlow checkpoint files written by hand, so that they can be wrong in one place."""

import struct

import numpy as np


def crc(data):
    """CRC-32C one bit at a time, masked as LevelDB stores it."""
    value = 0xFFFFFFFF
    for byte in data:
        value ^= byte
        for _ in range(8):
            value = (value >> 1) ^ (0x82F63B78 if value & 1 else 0)
    value ^= 0xFFFFFFFF
    return ((value >> 15 | value << 17) + 0xA282EAD8) & 0xFFFFFFFF


def varint(value):
    out = b""
    value &= 2**64 - 1
    while value >= 0x80:
        out += bytes([value & 0x7F | 0x80])
        value >>= 7
    return out + bytes([value])


def field(number, value):
    if isinstance(value, int):
        return varint(number << 3) + varint(value)
    return varint(number << 3 | 2) + varint(len(value)) + value


def fixed(number, value):
    return varint(number << 3 | 5) + struct.pack("<I", value)


def header(shards=1, endianness=0):
    return field(1, shards) + field(2, endianness)


def entry(dtype, shape, offset, size, checksum=0, shard=0, extra=b""):
    dims = b"".join(field(2, field(1, dim)) for dim in shape)
    return (field(1, dtype) + field(2, dims) + field(3, shard) + field(4, offset)
            + field(5, size) + fixed(6, checksum) + extra)  # fmt: skip


def block(pairs):
    body, last = b"", b""
    for key, value in pairs:
        body += varint(0) + varint(len(key)) + varint(len(value)) + key + value
        last = key
    assert last is not None
    return body + struct.pack("<II", 0, 1)


def index(pairs, compression=0, magic=0xDB4775248B80FB57):
    """The bytes of PREFIX.index with these (key, value) pairs."""
    data, handles = b"", []
    for content in (block(pairs), block([])):
        kind = bytes([compression])
        handles.append(varint(len(data)) + varint(len(content)))
        data += content + kind + struct.pack("<I", crc(content + kind))
    content = block([(b"\xff", handles[0])])
    handles.append(varint(len(data)) + varint(len(content)))
    data += content + b"\0" + struct.pack("<I", crc(content + b"\0"))
    footer = handles[1] + handles[2]
    return data + footer.ljust(40, b"\0") + struct.pack("<Q", magic)


def write(prefix, pairs, data=b"", **options):
    """Write an index with a header (unless a pair has the empty key) and one data file."""
    if all(key for key, _ in pairs):
        pairs = [(b"", header()), *pairs]
    prefix.with_name(prefix.name + ".index").write_bytes(index(pairs, **options))
    prefix.with_name(prefix.name + ".data-00000-of-00001").write_bytes(data)
    return prefix


def array(values):
    """(entry, bytes) of a float32 array at offset 0."""
    values = np.asarray(values, "float32")
    data = values.tobytes()
    return entry(1, values.shape, 0, len(data), crc(data)), data
