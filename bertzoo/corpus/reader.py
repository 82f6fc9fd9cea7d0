"""Records to batches: an order that is a pure function of (seed, epoch), and a start anywhere.

An epoch is the shards in a drawn order, a few at a time in memory, and their records in a drawn
order. So a batch is known by its number alone: to resume is to begin there, not to replay.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import tensorflow as tf

from bertzoo.corpus import google_records, storage
from bertzoo.corpus.manifest import Manifest, Shard
from bertzoo.corpus.record_file import RecordLayout
from bertzoo.corpus.rows import PAIR_MODES

# B batch  T length  P predictions

VERIFY = ("sizes", "checksums")


class RecordReader:
    r"""Records as batches for training.

    Args:
        source: A directory that `prepare_records` has made; or masked records of Google's or the
            Model Garden's scripts: paths or patterns of files.
        vocabulary_size: Of the model that will read them: every id must be smaller.
        seed: Of the order.
        shuffle: Whether there is another order in every epoch; else that of the files.
        window: Shards in memory together, whose records are mixed.
        verify: What is compared with the manifest at the start: `sizes`, or `checksums`, which
            reads every file. Every record is checked again when it is read.

    Attributes:
        num_examples: How many records there are.
        sequence_length: T.
        manifest: The `Manifest`, or None for other files.

    Raises:
        ValueError: for files that are missing, cut off or others than the manifest says, and for a
            vocabulary that does not fit.

    Example:
    >>> import pathlib
    >>> from bertzoo.corpus.prepare import prepare_records
    >>> from bertzoo.corpus.manifest import RecordOptions
    >>> _ = pathlib.Path("text.txt").write_text("The cat sat.\nIt was good.\n\nA dog.\n")
    >>> tokenizer = MaskedLM.from_preset("bert_toy").preprocessor.tokenizer
    >>> options = RecordOptions(sequence_length=16)
    >>> _ = prepare_records(tokenizer, ["text.txt"], "to_read", options, workers=1)
    >>> reader = RecordReader("to_read", vocabulary_size=86)
    >>> batch = next(iter(reader.dataset(batch_size=1)))
    >>> batch["token_ids"].shape
    TensorShape([1, 16])
    >>> sorted(batch)[:3]
    ['epoch', 'example_index', 'next_sentence_labels']
    """

    def __init__(
        self,
        source,
        vocabulary_size: int | None = None,
        seed: int = 0,
        shuffle: bool = True,
        window: int = 8,
        verify: str = "sizes",
    ):
        if verify not in VERIFY:
            raise ValueError(f"verify must be one of {', '.join(VERIFY)}; got {verify!r}.")
        if window < 1:
            raise ValueError(f"window must be at least 1; got {window}.")
        self.seed, self.shuffle, self.window = seed, shuffle, window
        self.vocabulary_size = vocabulary_size
        self.manifest = None
        is_directory = isinstance(source, str) or hasattr(source, "__fspath__")
        if is_directory and tf.io.gfile.isdir(str(source)):
            self._open_directory(str(source), verify)
        else:
            self._open_files([source] if is_directory else source)
        self.num_examples = sum(self._counts)
        if not self.num_examples:
            raise ValueError(f"{source} has no records.")

    def _open_directory(self, directory, verify):
        self.manifest = Manifest.read(directory)
        known = self.manifest.tokenizer["vocabulary_size"]
        if self.vocabulary_size is not None and self.vocabulary_size < known:
            raise ValueError(
                f"{directory} was made with a vocabulary of {known} tokens, and the model has "
                f"{self.vocabulary_size}: prepare the records with the model's own tokenizer."
            )
        options = self.manifest.options
        self.sequence_length = options.sequence_length
        self._paths = [storage.join(directory, shard.file) for shard in self.manifest.shards]
        self._counts = [shard.examples for shard in self.manifest.shards]
        for path, shard in zip(self._paths, self.manifest.shards, strict=True):
            _verify(path, shard, verify)
        if options.masked:
            self._load = self._load_masked
        else:
            layout = RecordLayout(options.sequence_length, self.manifest.id_type)
            self._load = lambda number: self._load_rows(number, layout)

    def _open_files(self, patterns):
        from bertzoo.corpus.prepare import expand

        self._paths = expand(patterns)
        self._load = self._load_masked
        # Records of many sizes, perhaps compressed: only reading them tells how many there are.
        self._counts = []
        lengths = set()
        for path in self._paths:
            token_ids = google_records.read_masked(path)["token_ids"]
            self._counts.append(len(token_ids))
            lengths.add(token_ids.shape[1])
        if len(lengths) > 1:
            raise ValueError(
                f"the files have rows of different lengths, {sorted(lengths)}; read those of one "
                "length at a time."
            )
        self.sequence_length = lengths.pop()

    def order(self, epoch: int) -> Iterator[tuple[list[int], np.ndarray]]:
        """Yield the windows of an epoch: the shards' numbers, and the order of their records."""
        shards = np.arange(len(self._paths))
        if self.shuffle:
            shards = _permutation(self.seed, epoch, 0, len(shards))
        for number, start in enumerate(range(0, len(shards), self.window)):
            members = shards[start : start + self.window].tolist()
            size = sum(self._counts[shard] for shard in members)
            records = np.arange(size)
            if self.shuffle:
                records = _permutation(self.seed, epoch, 1 + number, size)
            yield members, records

    def identify(self, epoch: int, index: int) -> tuple[str, int]:
        """Return the file and the number in it of the record at a place of an epoch.

        Raises:
            ValueError: if the epoch has no such place.
        """
        place = index
        for members, records in self.order(epoch):
            if 0 <= place < len(records):
                record = int(records[place])
                for shard in members:
                    if record < self._counts[shard]:
                        return self._paths[shard], record
                    record -= self._counts[shard]
            place -= len(records)
        raise ValueError(f"an epoch has {self.num_examples} records; got the index {index}.")

    def position(self, step: int, batch_size: int) -> tuple[int, int]:
        """Return (epoch, index) of the first record of a batch."""
        return divmod(step * batch_size, self.num_examples)

    def batches(
        self,
        batch_size: int,
        step: int = 0,
        pipeline: int = 0,
        num_pipelines: int = 1,
        epochs: int | None = None,
    ) -> Iterator[dict[str, np.ndarray]]:
        """Yield batches as dicts of int32 NumPy arrays; see `dataset`."""
        if batch_size < 1 or batch_size % num_pipelines or not 0 <= pipeline < num_pipelines:
            raise ValueError(
                "batch_size must be a multiple of num_pipelines, and pipeline below that; got "
                f"{batch_size}, {num_pipelines} and {pipeline}."
            )
        cursor = self.cursor(step * batch_size, epochs)
        while (batch := cursor.take(batch_size)) is not None:
            share = -(-len(batch["token_ids"]) // num_pipelines)  # the last may be smaller
            mine = slice(pipeline * share, (pipeline + 1) * share)
            yield {name: value[mine] for name, value in batch.items()}

    def cursor(self, start: int = 0, epochs: int | None = None) -> Cursor:
        """Return a `Cursor` that begins at an example of the run, counted over all epochs."""
        return Cursor(self, *divmod(start, self.num_examples), epochs)

    def dataset(
        self,
        batch_size: int,
        step: int = 0,
        pipeline: int = 0,
        num_pipelines: int = 1,
        epochs: int | None = None,
    ) -> tf.data.Dataset:
        """Return a dataset of batches, from any step on.

        Batches go on over the end of an epoch, so that nothing is left out; a batch is a function
        of the seed and its number.

        Args:
            batch_size: Of all pipelines together, B.
            step: Number of the first batch.
            pipeline: Which part of each batch this process reads.
            num_pipelines: Into how many parts a batch is cut.
            epochs: How many to read, the last batch maybe smaller; None never ends.

        Returns:
            A `tf.data.Dataset` of dicts of int32: `token_ids`, `padding_mask`, `segment_ids`
            `[B, T]` (in packed rows the mask counts the texts), `next_sentence_labels` `[B]` where
            there are pairs, `epoch` and `example_index` `[B]`: the place in the order, for the
            masks; and `mask_positions`, `mask_labels`, `mask_weights` `[B, P]` of masked records.
        """
        size = batch_size // num_pipelines if epochs is None else None
        return batch_dataset(
            lambda: self.batches(batch_size, step, pipeline, num_pipelines, epochs),
            next(self.batches(1, epochs=1)),
            size,
        )

    def load_window(self, members: list[int]) -> dict[str, np.ndarray]:
        """Return the arrays of some shards, one behind the other."""
        loaded = [self._load(shard) for shard in members]
        return {name: np.concatenate([part[name] for part in loaded]) for name in loaded[0]}

    def features(self, token_ids: np.ndarray, row: np.ndarray) -> dict[str, np.ndarray]:
        """Return masks, segments and labels of rows of ids and their stored numbers."""
        length, first_length, label = row.T
        places = np.arange(self.sequence_length)
        mask = (places < length[:, None]).astype(np.int32)
        segments = mask - (places < first_length[:, None])
        mode = self.manifest.options.mode
        if mode == "packed":
            # Every text begins with the start token, which no text has inside.
            start_id = self.manifest.tokenizer["special_ids"][0]
            mask = np.cumsum(token_ids == start_id, axis=1, dtype=np.int32) * mask
        features = {"token_ids": token_ids, "padding_mask": mask, "segment_ids": segments}
        if mode in PAIR_MODES:
            features["next_sentence_labels"] = label
        return features

    def _load_rows(self, number, layout):
        path = self._paths[number]
        rows = layout.decode(storage.read(path), path)
        self._check(number, rows.token_ids)
        row = np.stack([rows.lengths, rows.first_lengths, rows.labels], axis=-1)
        return {"token_ids": rows.token_ids, "row": row}

    def _load_masked(self, number):
        arrays = google_records.read_masked(self._paths[number])
        self._check(number, arrays["token_ids"])
        self._check(number, arrays["mask_labels"])
        return arrays

    def _check(self, number, token_ids):
        path, expected = self._paths[number], self._counts[number]
        if len(token_ids) != expected:
            raise ValueError(
                f"{path} has {len(token_ids)} records, and {expected} were counted; prepare or "
                "copy it again."
            )
        limit = self.vocabulary_size
        if self.manifest is not None:
            limit = min(limit or 2**31, self.manifest.tokenizer["vocabulary_size"])
        if limit is None:
            return
        wrong = (token_ids.astype(np.int64) >= limit) | (token_ids.astype(np.int64) < 0)
        if wrong.any():
            row, place = np.argwhere(wrong)[0]
            raise ValueError(
                f"{path}, record {row} has the id {token_ids[row, place]} at place {place}, and "
                f"the vocabulary has {limit} tokens: these records belong to another tokenizer."
            )


class Cursor:
    """A place in the endless sequence of examples, from which some are taken at a time.

    Args:
        reader: A `RecordReader`.
        epoch: Of the first example.
        index: Of the first example, in the order of the epoch.
        epochs: Where the sequence ends; None for nowhere.
    """

    def __init__(self, reader: RecordReader, epoch: int, index: int, epochs: int | None = None):
        self.reader = reader
        self._stream = self._places(epoch, index, epochs)
        self._arrays: dict[str, np.ndarray] = {}
        self._waiting = np.zeros((0, 3), np.int64)

    def take(self, count: int) -> dict[str, np.ndarray] | None:
        """Return the next examples as int32 arrays; fewer at the end, and then None."""
        pieces = []
        while count:
            if not len(self._waiting):
                found = next(self._stream, None)
                if found is None:
                    break
                self._arrays, self._waiting = found
            chosen, self._waiting = self._waiting[:count], self._waiting[count:]
            count -= len(chosen)
            columns = {name: values[chosen[:, 2]] for name, values in self._arrays.items()}
            columns["epoch"], columns["example_index"] = chosen[:, 0], chosen[:, 1]
            pieces.append(columns)
        if not pieces:
            return None
        joined = {name: np.concatenate([piece[name] for piece in pieces]) for name in pieces[0]}
        if "row" in joined:
            row = joined.pop("row")
            joined = {**self.reader.features(joined.pop("token_ids"), row), **joined}
        return {name: value.astype(np.int32) for name, value in joined.items()}

    def _places(self, epoch, index, epochs):
        # Windows of arrays, and (epoch, index, record) of each place from the start on.
        while epochs is None or epoch < epochs:
            begin = 0
            for members, records in self.reader.order(epoch):
                end = begin + len(records)
                if end > index:
                    here = np.arange(max(index, begin), end)
                    columns = [np.full(len(here), epoch), here, records[here - begin]]
                    yield self.reader.load_window(members), np.stack(columns, axis=-1)
                begin = end
            epoch, index = epoch + 1, 0


def batch_dataset(batches, example, size) -> tf.data.Dataset:
    """Return a dataset of what `batches()` yields, with the shapes of an example of one row."""
    signature = {
        name: tf.TensorSpec((size, *value.shape[1:]), tf.int32) for name, value in example.items()
    }
    return tf.data.Dataset.from_generator(batches, output_signature=signature).prefetch(4)


def _verify(path: str, shard: Shard, verify: str) -> None:
    size = storage.size(path)
    if size is None:
        raise ValueError(f"{path} is missing; the manifest lists it: copy or prepare it again.")
    if size != shard.bytes:
        raise ValueError(
            f"{path} has {size:,} bytes, and the manifest says {shard.bytes:,}: it is cut off or "
            "another file; copy or prepare it again."
        )
    if verify == "checksums" and storage.sha256(path) != shard.sha256:
        raise ValueError(
            f"{path} has changed: its SHA-256 is not that of the manifest; copy or prepare it "
            "again."
        )


def _permutation(seed: int, epoch: int, part: int, size: int) -> np.ndarray:
    # By the raw words of Philox, which NumPy promises not to change, as it does not for
    # `permutation`.
    key = np.array([seed & 0xFFFFFFFFFFFFFFFF, epoch << 32 | part], np.uint64)
    return np.argsort(np.random.Philox(key=key).random_raw(size), kind="stable")
