"""One shard: documents in, one file of records out. The same function everywhere.

The local driver, its worker processes and Beam call `write_shard`; that is why they write the same
bytes.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

import numpy as np

from bertzoo.corpus import google_records, storage
from bertzoo.corpus.manifest import RecordOptions, Shard, id_type
from bertzoo.corpus.record_file import RecordLayout
from bertzoo.corpus.rows import PAIR_MODES, Rows, make_rows
from bertzoo.corpus.sentences import make_splitter
from bertzoo.corpus.tokenized import tokenize_documents
from bertzoo.preprocessing.packing import PackingForm


def shard_name(number: int, num_shards: int) -> str:
    """Return the name of a shard's file.

    >>> shard_name(3, 12)
    'records-00003-of-00012.tfrecord'
    """
    return f"records-{number:05d}-of-{num_shards:05d}.tfrecord"


def shard_seed(seed: int, number: int) -> int:
    """Return the seed of a shard's own generator, 63 bits that no other shard shares."""
    digest = hashlib.blake2b(f"{seed} {number}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "little") >> 1


def rows_of_documents(
    documents: Iterable[list[bytes]], tokenizer, options: RecordOptions, number: int
) -> Rows:
    """Turn the documents of a shard into its rows."""
    split = make_splitter(options.splitter, options.language)
    form = PackingForm(tokenizer.start_id, tokenizer.end_id, tokenizer.pad_id)
    return make_rows(
        tokenize_documents(map(split, documents), tokenizer),
        options.mode,
        shard_seed(options.seed, number),
        options.sequence_length,
        form,
        options.short_probability,
        options.passes,
    )


def write_shard(
    documents: Iterable[list[bytes]],
    tokenizer,
    options: RecordOptions,
    number: int,
    num_shards: int,
    directory: str,
) -> tuple[Shard, np.ndarray]:
    """Write the records of a shard under their final name.

    Returns:
        The `Shard`, and how often each token occurs, int64 `[V]`.
    """
    rows = rows_of_documents(documents, tokenizer, options, number)
    path = storage.join(directory, shard_name(number, num_shards))
    if options.masked:
        seed = shard_seed(options.seed, number)
        google_records.write_masked(
            path, rows, tokenizer, options, seed, options.mode in PAIR_MODES
        )
    else:
        layout = RecordLayout(options.sequence_length, id_type(tokenizer.vocabulary_size))
        storage.write(path, layout.encode(rows).tobytes())
    inside = np.arange(options.sequence_length) < rows.lengths[:, None]
    counts = np.bincount(rows.token_ids[inside], minlength=tokenizer.vocabulary_size)
    shard = Shard(
        file=shard_name(number, num_shards),
        examples=len(rows.lengths),
        tokens=int(rows.lengths.sum()),
        bytes=storage.size(path),
        sha256=storage.sha256(path),
    )
    return shard, counts.astype(np.int64)
