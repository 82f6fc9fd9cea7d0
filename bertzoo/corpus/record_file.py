"""Rows as TFRecords of one size: readable by any TensorFlow, and by place without an index.

Each record is a `tf.train.Example` with two features, both bytes: `token_ids` (little-endian
uint16, or int32 for vocabularies of more than 65,536) and `row` (int32: length, tokens of segment
0, label). All records of a file have the same keys and sizes, so all their bytes but the numbers
are alike: a file is an array, written and read at once, and record i begins at i * record size.
"""

from __future__ import annotations

import functools

import numpy as np

from bertzoo.corpus.rows import Rows

# N rows  T length  L bytes of a record's content


class RecordLayout:
    """Where the numbers of a record lie.

    Args:
        sequence_length: T.
        id_type: `uint16` or `int32`.

    >>> RecordLayout(128, "uint16").record_size
    323
    """

    def __init__(self, sequence_length: int, id_type: str):
        self.sequence_length = sequence_length
        self.id_type = np.dtype(id_type).newbyteorder("<")
        sizes = {"row": 12, "token_ids": sequence_length * self.id_type.itemsize}
        # In the order of the keys, as TensorFlow's own writers have it.
        heads = _feature_heads(sizes)
        self.content = np.dtype(
            [
                ("head_row", f"V{len(heads['row'])}"),
                ("row", "<i4", 3),
                ("head_token_ids", f"V{len(heads['token_ids'])}"),
                ("token_ids", self.id_type, sequence_length),
            ]
        )
        self._heads = heads
        # A record of the TFRecord format: length, its checksum, content, its checksum.
        self.record = np.dtype(
            [("length", "<u8"), ("length_crc", "<u4"), ("content", self.content), ("crc", "<u4")]
        )
        self.record_size = self.record.itemsize

    def encode(self, rows: Rows) -> np.ndarray:
        """Return the records of rows, a structured array whose bytes are a file."""
        records = np.zeros(len(rows.token_ids), self.record)
        content = records["content"]
        for name, head in self._heads.items():
            content[f"head_{name}"] = np.void(head)
        content["token_ids"] = rows.token_ids
        content["row"] = np.stack([rows.lengths, rows.first_lengths, rows.labels], axis=-1)
        records["length"] = self.content.itemsize
        lengths = records["length"][:1].view(np.uint8).reshape(-1, 8)
        records["length_crc"] = masked_crcs(lengths) if len(records) else 0
        records["crc"] = masked_crcs(_bytes_of(records, "content"))
        return records

    def decode(self, data: bytes, where: str) -> Rows:
        """Return the rows of a file's bytes, every record checked.

        Raises:
            ValueError: for what is not whole or has changed; the message names the record.
        """
        rest = len(data) % self.record_size
        if rest:
            raise ValueError(
                f"{where} is cut off: record {len(data) // self.record_size} has {rest} of "
                f"{self.record_size} bytes; prepare or copy it again."
            )
        records = np.frombuffer(data, self.record)
        like = self.encode(
            Rows(*(np.zeros((1, *s), int) for s in ((self.sequence_length,), (), (), ())))
        )
        content = records["content"]
        wrong = records["length"] != like["length"]
        wrong |= records["length_crc"] != like["length_crc"]
        for name in self._heads:
            wrong |= content[f"head_{name}"] != like["content"][f"head_{name}"]
        wrong |= records["crc"] != masked_crcs(_bytes_of(records, "content"))
        if wrong.any():
            raise ValueError(
                f"{where}, record {int(wrong.argmax())}: its bytes are not those that were written "
                f"({int(wrong.sum())} of {len(records)} records); prepare or copy the file again."
            )
        lengths, first_lengths, labels = content["row"].T.astype(np.int32)
        return Rows(content["token_ids"], lengths, first_lengths, labels)


def masked_crcs(contents: np.ndarray) -> np.ndarray:
    """Return the masked CRC-32C of each row of bytes `[N, L]`, as TFRecords store them.

    >>> [hex(crc) for crc in masked_crcs(np.frombuffer(b"123456789", np.uint8)[None])]
    ['0xc78ab0e5']
    """
    one, two = _crc_tables()
    register = np.full(len(contents), 0xFFFFFFFF, np.uint32)
    columns = np.ascontiguousarray(contents.T).astype(np.uint32)  # (L, N)
    for place in range(0, len(columns) - 1, 2):
        pair = columns[place] | columns[place + 1] << np.uint32(8)
        register = two[(register ^ pair) & 0xFFFF] ^ register >> np.uint32(16)
    if len(columns) % 2:
        register = one[(register ^ columns[-1]) & 0xFF] ^ register >> np.uint32(8)
    crc = ~register
    return (crc >> np.uint32(15) | crc << np.uint32(17)) + np.uint32(0xA282EAD8)


@functools.cache
def _crc_tables():
    # What one and two bytes do to the register: Castagnoli's polynomial, reflected.
    one = np.arange(256, dtype=np.uint32)
    for _ in range(8):
        one = np.where(one & 1, one >> 1 ^ np.uint32(0x82F63B78), one >> 1)
    both = np.arange(65536)
    first = one[both & 0xFF]
    two = one[(first ^ both >> 8) & 0xFF] ^ first >> np.uint32(8)
    return one, two.astype(np.uint32)


def _bytes_of(records, field):
    data = records.view(np.uint8).reshape(len(records), records.dtype.itemsize)
    dtype, offset = records.dtype.fields[field][:2]
    return data[:, offset : offset + dtype.itemsize]


def _feature_heads(sizes):
    # Protocol buffers: Example{1: Features{1: entry{1: key, 2: Feature{1: BytesList{1: bytes}}}}}.
    entries = {}
    for key, size in sizes.items():
        value = b""
        length = size
        for _ in range(3):  # bytes, BytesList, Feature
            value = b"\x0a" + varint(length) + value
            length = size + len(value)
        value = b"\x12" + value[1:]  # the Feature is field 2 of the entry
        name = b"\x0a" + varint(len(key)) + key.encode("ascii")
        entry = name + value
        entries[key] = b"\x0a" + varint(len(entry) + size) + entry
    total = sum(len(head) + sizes[key] for key, head in entries.items())
    first = next(iter(entries))
    entries[first] = b"\x0a" + varint(total) + entries[first]
    return entries


@functools.lru_cache(2**12)  # lengths, of which a file has few different ones
def varint(number: int) -> bytes:
    r"""Return a number in seven bits a byte, the lowest first.

    >>> varint(300).hex()
    'ac02'
    """
    result = bytearray()
    while number > 127:
        result.append(number & 127 | 128)
        number >>= 7
    result.append(number)
    return bytes(result)
