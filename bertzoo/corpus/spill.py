"""Documents sorted by shard on disk, so that a corpus may be larger than memory.

Every document goes to a shard that its number and the seed decide: neighbours in a file part, and
any number of workers gives the same shards. A file of text becomes one file of documents, in
pieces of `PIECE` bytes, and an index that says where each shard's documents are.
"""

from __future__ import annotations

import collections
import hashlib
import json
import struct
from collections.abc import Iterable, Iterator

import tensorflow as tf

from bertzoo.corpus import storage
from bertzoo.corpus.documents import read_documents

# Text in memory before it is written: large, so that each shard's part of it is.
PIECE = 2**26
_HEAD = struct.Struct("<QI")  # number of the document in its file, bytes


def shard_of(seed: int, source: int, number: int, num_shards: int) -> int:
    """Return the shard of a document, by its number in its file.

    >>> shard_of(12345, 0, 0, 1)
    0
    """
    place = struct.pack("<qqq", seed, source, number)
    digest = hashlib.blake2b(place, digest_size=8).digest()
    return int.from_bytes(digest, "little") % num_shards


def documents_of(path: str, options, counts) -> Iterator[list[bytes]]:
    """Yield the documents of one file as the options say."""
    return read_documents(
        path,
        options.form,
        options.text_key,
        options.max_line_bytes,
        max_document_bytes=options.shard_bytes,
        skip_bad_lines=options.skip_bad_lines,
        counts=counts,
    )


def spill(path: str, source: int, options, num_shards: int, target: str) -> dict:
    """Sort the documents of one text file by shard; return what was counted.

    Args:
        path: The text file.
        source: Its number among the sources.
        options: `RecordOptions`.
        num_shards: How many shards there are.
        target: The file to write; its index gets the ending `.json` and is written last.
    """
    counts: collections.Counter = collections.Counter()
    index: dict[int, list[list[int]]] = collections.defaultdict(list)
    parts: dict[int, list[bytes]] = collections.defaultdict(list)
    temporary = storage.temporary_name(target)
    size = written = 0
    with tf.io.gfile.GFile(temporary, "wb") as file:
        file.write(b"")  # a file without documents is a file, too

        def flush():
            nonlocal written
            for shard in sorted(parts):
                data = b"".join(parts[shard])
                file.write(data)
                index[shard].append([written, len(data)])
                written += len(data)
            parts.clear()

        for number, document in enumerate(documents_of(path, options, counts)):
            text = b"\n".join(document)
            shard = shard_of(options.seed, source, number, num_shards)
            parts[shard] += [_HEAD.pack(number, len(text)), text]
            size += len(text)
            if size >= PIECE:
                flush()
                size = 0
        flush()
    storage.put_in_place(temporary, target)
    record = {"counts": dict(counts), "index": index}
    storage.write(f"{target}.json", json.dumps(record).encode("utf-8"))
    return dict(counts)


def read_shard(spills: Iterable[str], shard: int) -> Iterator[list[bytes]]:
    """Yield the documents of a shard, in the order of the sources and of each source."""
    for path in spills:
        pieces = json.loads(storage.read(f"{path}.json"))["index"].get(str(shard), [])
        if not pieces:
            continue
        with tf.io.gfile.GFile(path, "rb") as file:
            for offset, size in pieces:
                file.seek(offset)
                yield from _documents(file.read(size))


def _documents(data: bytes) -> Iterator[list[bytes]]:
    place = 0
    while place < len(data):
        _, size = _HEAD.unpack_from(data, place)
        place += _HEAD.size
        yield data[place : place + size].split(b"\n")
        place += size
