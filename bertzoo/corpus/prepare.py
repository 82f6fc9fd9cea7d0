"""From text files to a directory of records: streaming, on all cores, taken up where it stopped.

Two steps. Every text file's documents are sorted by shard (`spill.py`); then every shard's
documents are tokenized and become a file of records (`shards.py`). A file gets its final name when
it is whole, so a run that was killed goes on with what is missing; the manifest is written last.
"""

from __future__ import annotations

import collections
import concurrent.futures
import dataclasses
import io
import json
import math
import multiprocessing
import os
from collections.abc import Callable, Sequence

import numpy as np
import tensorflow as tf

from bertzoo import __version__
from bertzoo.corpus import spill, storage
from bertzoo.corpus.documents import GZIP_MAGIC
from bertzoo.corpus.manifest import (
    NAME,
    TOKEN_COUNTS,
    Manifest,
    RecordOptions,
    Shard,
    tokenizer_identity,
)
from bertzoo.corpus.shards import write_shard
from bertzoo.tokenizers.base import tokenizer_class

WORK = ".work"
# What text shrinks to, about; decides the number of shards alone.
_GZIP_FACTOR = 3


def prepare_records(
    tokenizer,
    inputs: Sequence[str],
    directory: str,
    options: RecordOptions | None = None,
    workers: int | None = None,
    progress: Callable[[str, int, int], None] | None = None,
) -> Manifest:
    r"""Turn text files into a directory of records for pretraining.

    The same bytes come out for any number of workers. A second call with the same arguments goes
    on with what is missing, or finds that all is done; one with others is refused.

    Args:
        tokenizer: A `Tokenizer`.
        inputs: Paths or patterns of text files, of any filesystem that TensorFlow knows.
        directory: Where the records go, too.
        options: `RecordOptions`; None for BERT's.
        workers: Processes; None for one a core, and 1 works in this process. A script that asks
            for more needs `if __name__ == "__main__":`.
        progress: Called with the name of the step, what is done and how much there is.

    Returns:
        The `Manifest`, which is also in the directory.

    Raises:
        ValueError: for texts that cannot be read, or a directory of other records.

    Example:
    >>> import pathlib
    >>> _ = pathlib.Path("corpus.txt").write_text("The cat sat.\nIt was good.\n\nA dog.\n")
    >>> tokenizer = MaskedLM.from_preset("bert_toy").preprocessor.tokenizer
    >>> options = RecordOptions(sequence_length=16)
    >>> manifest = prepare_records(tokenizer, ["corpus.txt"], "records", options, workers=1)
    >>> manifest.counts["documents"]
    2
    """
    options = options or RecordOptions()
    paths = expand(inputs)
    sources = [{"path": path, "bytes": storage.size(path)} for path in paths]
    plan = make_plan(tokenizer, sources, options)
    work = storage.join(directory, WORK)
    if storage.size(storage.join(directory, NAME)) is not None:
        manifest = Manifest.read(directory)
        made = {"options": manifest.options.to_dict(), "tokenizer": manifest.tokenizer}
        _refuse_change(directory, {**made, "sources": list(manifest.sources)}, plan)
        _remove_leftovers(directory)
        return manifest
    tf.io.gfile.makedirs(work)
    plan_path = storage.join(work, "plan.json")
    if storage.size(plan_path) is not None:
        _refuse_change(directory, json.loads(storage.read(plan_path)), plan)
    storage.write(plan_path, json.dumps(plan).encode("utf-8"))
    num_shards = count_shards(sources, options)
    workers = min(workers or os.cpu_count() or 1, max(len(paths), num_shards))
    jobs = _Jobs(tokenizer, options, paths, num_shards, directory)
    report = progress or (lambda step, done, total: None)
    with _runner(workers, jobs) as run:
        counts: collections.Counter = collections.Counter()
        for done, found in enumerate(run(_spill_job, range(len(paths))), 1):
            counts.update(found)
            report("reading", done, len(paths))
        shards = []
        for done, shard in enumerate(run(_shard_job, range(num_shards)), 1):
            shards.append(Shard(**shard))
            report("writing", done, num_shards)
    manifest = finish(directory, tokenizer, options, sources, counts, shards)
    _remove_leftovers(directory)
    return manifest


def _remove_leftovers(directory):
    # The sorted documents, and halves of files that killed runs left.
    work = storage.join(directory, WORK)
    if tf.io.gfile.exists(work):
        tf.io.gfile.rmtree(work)
    for name in tf.io.gfile.listdir(directory):
        if name.startswith(".") and name.endswith(".partial"):
            tf.io.gfile.remove(storage.join(directory, name))


def finish(directory, tokenizer, options, sources, counts, shards) -> Manifest:
    """Write the token counts and the manifest; the last step of every driver."""
    total = np.zeros(tokenizer.vocabulary_size, np.int64)
    for number in range(len(shards)):
        path = storage.join(directory, WORK, f"counts-{number:05d}.npy")
        total += np.load(io.BytesIO(storage.read(path)), allow_pickle=False)
    counts = {
        **{name: int(counts.get(name, 0)) for name in ("documents", "lines", "bad_lines",
                                                       "empty_documents", "cut_documents")},
        "examples": sum(shard.examples for shard in shards),
        "tokens": sum(shard.tokens for shard in shards),
    }  # fmt: skip
    if not counts["examples"]:
        raise ValueError(
            f"the {len(sources)} text files have no text in {options.form} form: nothing to write."
        )
    manifest = Manifest(
        options, tokenizer_identity(tokenizer), tuple(sources), counts, tuple(shards), __version__
    )
    buffer = io.BytesIO()
    np.save(buffer, total, allow_pickle=False)
    storage.write(storage.join(directory, TOKEN_COUNTS), buffer.getvalue())
    storage.write(storage.join(directory, NAME), manifest.to_json())
    return manifest


def expand(inputs: Sequence[str]) -> list[str]:
    """Return the files of paths and patterns, in the order given, each pattern's sorted.

    Raises:
        ValueError: if one gives no file.
    """
    if isinstance(inputs, str | os.PathLike):
        inputs = [inputs]
    paths: list[str] = []
    for pattern in map(str, inputs):
        found = [path for path in sorted(tf.io.gfile.glob(pattern)) if not tf.io.gfile.isdir(path)]
        if not found:
            raise ValueError(f"no text file is found at {pattern}; give files, or a pattern.")
        paths += found
    if not paths:
        raise ValueError("no text files: give paths or patterns.")
    return paths


def count_shards(sources: Sequence[dict], options: RecordOptions) -> int:
    """Return the number of shards, from the sizes of the files alone."""
    if options.num_shards is not None:
        return options.num_shards
    size = sum(source["bytes"] * (_GZIP_FACTOR if _is_gzip(source) else 1) for source in sources)
    return max(1, math.ceil(size / options.shard_bytes))


def make_plan(tokenizer, sources, options) -> dict:
    """Return what decides every byte of the records."""
    identity = tokenizer_identity(tokenizer)
    return {"options": options.to_dict(), "tokenizer": identity, "sources": list(sources)}


def _is_gzip(source):
    with tf.io.gfile.GFile(source["path"], "rb") as file:
        return file.read(2) == GZIP_MAGIC


def _refuse_change(directory, old, new):
    old, new = (json.loads(json.dumps(plan)) for plan in (old, new))
    changes = []
    for part in ("options", "tokenizer"):
        for key in sorted(set(old[part]) | set(new[part])):
            if old[part].get(key) != new[part].get(key):
                changes.append(f"{key} was {old[part].get(key)!r} and is {new[part].get(key)!r}")
    if old["sources"] != new["sources"]:
        changes.append("the text files are others, or have other sizes")
    if changes:
        raise ValueError(
            f"{directory} holds records that were begun otherwise: {'; '.join(changes)}. Choose "
            "another directory, or delete this one."
        )


@dataclasses.dataclass
class _Jobs:
    tokenizer: object
    options: RecordOptions
    paths: list[str]
    num_shards: int
    directory: str

    def spill_path(self, source):
        return storage.join(self.directory, WORK, f"documents-{source:05d}")

    def spill(self, source):
        target = self.spill_path(source)
        if storage.size(f"{target}.json") is not None:  # written last, so the file is whole
            return json.loads(storage.read(f"{target}.json"))["counts"]
        return spill.spill(self.paths[source], source, self.options, self.num_shards, target)

    def shard(self, number):
        done = storage.join(self.directory, WORK, f"shard-{number:05d}.json")
        if storage.size(done) is not None:
            shard = json.loads(storage.read(done))
            if storage.size(storage.join(self.directory, shard["file"])) == shard["bytes"]:
                return shard
        spills = [self.spill_path(source) for source in range(len(self.paths))]
        documents = spill.read_shard(spills, number)
        return make_shard(
            documents, self.tokenizer, self.options, number, self.num_shards, self.directory
        )


def make_shard(documents, tokenizer, options, number, num_shards, directory) -> dict:
    """Write a shard, its token counts and, last, what is known of it."""
    shard, counts = write_shard(documents, tokenizer, options, number, num_shards, directory)
    buffer = io.BytesIO()
    np.save(buffer, counts, allow_pickle=False)
    storage.write(storage.join(directory, WORK, f"counts-{number:05d}.npy"), buffer.getvalue())
    record = dataclasses.asdict(shard)
    done = storage.join(directory, WORK, f"shard-{number:05d}.json")
    storage.write(done, json.dumps(record).encode("utf-8"))
    return record


_JOBS: _Jobs | None = None  # of a worker process


def _spill_job(source):
    return _JOBS.spill(source)


def _shard_job(number):
    return _JOBS.shard(number)


def _start_worker(kind, arguments, rest):
    global _JOBS
    # One thread and no GPU for each: the processes share the cores.
    tf.config.threading.set_intra_op_parallelism_threads(1)
    tf.config.threading.set_inter_op_parallelism_threads(1)
    tf.config.set_visible_devices([], "GPU")
    _JOBS = _Jobs(tokenizer_class(kind).from_arguments(arguments), *rest)


class _runner:
    # Runs jobs in order, in this process or in several.
    def __init__(self, workers, jobs):
        self.workers, self.jobs, self.pool = workers, jobs, None

    def __enter__(self):
        if self.workers > 1:
            tokenizer = self.jobs.tokenizer
            rest = [getattr(self.jobs, f.name) for f in dataclasses.fields(self.jobs)][1:]
            self.pool = concurrent.futures.ProcessPoolExecutor(
                self.workers,
                multiprocessing.get_context("spawn"),
                _start_worker,
                (tokenizer.config.kind, tokenizer.arguments(), rest),
            )
        return self._run

    def _run(self, job, numbers):
        if self.pool is not None:
            return self.pool.map(job, numbers)
        return (getattr(self.jobs, job.__name__.split("_")[1])(number) for number in numbers)

    def __exit__(self, kind, *_):
        if self.pool is not None:
            self.pool.shutdown(cancel_futures=kind is not None)
