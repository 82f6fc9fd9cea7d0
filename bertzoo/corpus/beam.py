"""The same records by Apache Beam, for corpora that need more than one machine.

Documents are read, grouped by shard and written by the functions of the local way, in the same
order, so the files are the same, byte for byte. Any runner will do: DirectRunner, Dataflow, Flink,
Spark. The extra `beam` installs Beam.
"""

from __future__ import annotations

import collections
from collections.abc import Sequence

import tensorflow as tf

from bertzoo.corpus import prepare, spill, storage
from bertzoo.corpus.manifest import NAME, Manifest, RecordOptions, Shard
from bertzoo.tokenizers.base import tokenizer_class


def prepare_records_with_beam(
    tokenizer,
    inputs: Sequence[str],
    directory: str,
    options: RecordOptions | None = None,
    beam_options: Sequence[str] = (),
) -> Manifest:
    """Do what `prepare_records` does, as a Beam pipeline.

    Args:
        tokenizer: A `Tokenizer`; every worker builds it again from its arguments.
        inputs: Paths or patterns of text files that every worker can read.
        directory: Where the records go; every worker must be able to write there.
        options: `RecordOptions`.
        beam_options: Arguments of Beam, such as `["--runner=DataflowRunner", "--project=..."]`.

    Returns:
        The `Manifest`.

    Raises:
        ValueError: as `prepare_records`; a directory that holds records already is refused.
    """
    import apache_beam
    from apache_beam.options.pipeline_options import PipelineOptions

    options = options or RecordOptions()
    if storage.size(storage.join(directory, NAME)) is not None:
        raise ValueError(f"{directory} holds records already; choose another directory.")
    paths = prepare.expand(inputs)
    sources = [{"path": path, "bytes": storage.size(path)} for path in paths]
    num_shards = prepare.count_shards(sources, options)
    work = storage.join(directory, prepare.WORK)
    tf.io.gfile.makedirs(work)
    read = _Read(options.to_dict(), num_shards, work)
    write = _Write(
        (tokenizer.config.kind, tokenizer.arguments()), options.to_dict(), num_shards, directory
    )
    with apache_beam.Pipeline(options=PipelineOptions(list(beam_options))) as pipeline:
        documents = (
            pipeline
            | "Files" >> apache_beam.Create(list(enumerate(paths)))
            | "Spread" >> apache_beam.Reshuffle()
            | "Documents" >> apache_beam.FlatMap(read)
        )
        # A shard without documents is a file, too.
        empty = (
            pipeline
            | "Shards" >> apache_beam.Create(range(num_shards))
            | "Empty" >> apache_beam.Map(_empty_shard)
        )
        _ = (
            (documents, empty)
            | apache_beam.Flatten()
            | "By shard" >> apache_beam.GroupByKey()
            | "Records" >> apache_beam.Map(write)
        )
    counts: collections.Counter = collections.Counter()
    for source in range(len(paths)):
        counts.update(_read_json(work, f"source-{source:05d}.json"))
    shards = [Shard(**_read_json(work, f"shard-{number:05d}.json")) for number in range(num_shards)]
    manifest = prepare.finish(directory, tokenizer, options, sources, counts, shards)
    tf.io.gfile.rmtree(work)
    return manifest


def _empty_shard(number):
    return number, None


def _read_json(work, name):
    import json

    return json.loads(storage.read(storage.join(work, name)))


class _Read:
    """From (number of the file, path) to (shard, (file, document, text)) of each document."""

    def __init__(self, options, num_shards, work):
        self.options, self.num_shards, self.work = options, num_shards, work

    def __call__(self, file):
        import json

        source, path = file
        options = RecordOptions.from_dict(self.options)
        counts: collections.Counter = collections.Counter()
        for number, document in enumerate(spill.documents_of(path, options, counts)):
            shard = spill.shard_of(options.seed, source, number, self.num_shards)
            yield shard, (source, number, b"\n".join(document))
        name = storage.join(self.work, f"source-{source:05d}.json")
        storage.write(name, json.dumps(counts).encode("utf-8"))


class _Write:
    """From (shard, documents) to a file of records."""

    def __init__(self, tokenizer, options, num_shards, directory):
        self.tokenizer, self.options = tokenizer, options
        self.num_shards, self.directory = num_shards, directory
        self._built = None

    def __getstate__(self):
        return {**self.__dict__, "_built": None}  # TensorFlow's objects do not travel

    def __call__(self, group):
        number, documents = group
        if self._built is None:
            kind, arguments = self.tokenizer
            self._built = tokenizer_class(kind).from_arguments(arguments)
        # Beam gives no order; the local way has that of the files.
        found = sorted(document for document in documents if document is not None)
        texts = (text.split(b"\n") for _, _, text in found)
        return prepare.make_shard(
            texts,
            self._built,
            RecordOptions.from_dict(self.options),
            number,
            self.num_shards,
            self.directory,
        )
