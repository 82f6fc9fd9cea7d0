"""Several directories of records as one, with weights: multilingual pretraining.

google-research/bert, multilingual.md: languages are drawn in proportion to size ** 0.7. Every
draw is a function of the seed and its number, so a mixture, too, begins anywhere.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import tensorflow as tf

from bertzoo.corpus.reader import RecordReader, batch_dataset

_BLOCK = 2**16  # draws made at once


class RecordMixture:
    """A weighted mixture with the methods of a `RecordReader`.

    Args:
        directories: Of records with rows of one length, made with one tokenizer.
        exponent: Shares are in proportion to the number of records to this power: 1 mixes all as
            they are, 0 equally.
        shares: Shares of the directories instead, in any unit.
        vocabulary_size: See `RecordReader`.
        seed: Of the draws, and of the order in each directory.
        shuffle: Whether there is another order of each directory in every one of its epochs.
        window: See `RecordReader`.
        verify: See `RecordReader`.

    Attributes:
        num_examples: Draws that are called an epoch: as many as there are records. Records of a
            small directory come several times in it, not all of a large one.
        shares: How often each directory is drawn from; they add up to 1.
        readers: The `RecordReader`s.

    Raises:
        ValueError: for directories that do not go together.
    """

    def __init__(
        self,
        directories: Sequence[str],
        exponent: float = 0.7,
        shares: Sequence[float] | None = None,
        vocabulary_size: int | None = None,
        seed: int = 0,
        shuffle: bool = True,
        window: int = 8,
        verify: str = "sizes",
    ):
        self.seed = seed
        self.readers = [
            RecordReader(directory, vocabulary_size, seed, shuffle, window, verify)
            for directory in directories
        ]
        if not self.readers:
            raise ValueError("a mixture needs directories of records; got none.")
        for name in ("sequence_length", "mode", "tokenizer"):
            found = [_property(reader, name) for reader in self.readers]
            for directory, value in zip(directories, found, strict=True):
                if value != found[0]:
                    raise ValueError(
                        f"the records of a mixture must have the same {name}: {directories[0]} "
                        f"has {found[0]}, and {directory} {value}."
                    )
        counts = [reader.num_examples for reader in self.readers]
        self.num_examples = sum(counts)
        self.sequence_length = self.readers[0].sequence_length
        self.manifest = self.readers[0].manifest
        if shares is not None and (len(shares) != len(counts) or min(shares) <= 0):
            raise ValueError(
                f"shares must be {len(counts)} numbers above 0, one a directory; got {shares}."
            )
        weights = np.asarray(shares, np.float64) if shares is not None else None
        self.shares = mixture_shares(counts, exponent) if weights is None else weights
        self.shares = self.shares / self.shares.sum()

    def choices(self, start: int, count: int) -> np.ndarray:
        """Return from which directory each of some draws comes, int64 `[count]`."""
        first, last = start // _BLOCK, (start + count - 1) // _BLOCK
        drawn = np.concatenate([self._block(block) for block in range(first, last + 1)])
        return drawn[start - first * _BLOCK :][:count]

    def position(self, step: int, batch_size: int) -> tuple[int, int]:
        """Return (epoch, index) of the first draw of a batch."""
        return divmod(step * batch_size, self.num_examples)

    def identify(self, epoch: int, index: int) -> tuple[str, int]:
        """Return the file and the number in it of the record of a draw."""
        number = epoch * self.num_examples + index
        source = int(self.choices(number, 1)[0])
        reader = self.readers[source]
        return reader.identify(*divmod(int(self._drawn(number)[source]), reader.num_examples))

    def batches(
        self,
        batch_size: int,
        step: int = 0,
        pipeline: int = 0,
        num_pipelines: int = 1,
        epochs: int | None = None,
    ) -> Iterator[dict[str, np.ndarray]]:
        """Yield batches as dicts of int32 NumPy arrays; see `RecordReader.batches`."""
        if batch_size < 1 or batch_size % num_pipelines or not 0 <= pipeline < num_pipelines:
            raise ValueError(
                "batch_size must be a multiple of num_pipelines, and pipeline below that; got "
                f"{batch_size}, {num_pipelines} and {pipeline}."
            )
        number = step * batch_size
        end = None if epochs is None else epochs * self.num_examples
        drawn = self._drawn(number)
        cursors = [
            reader.cursor(int(start)) for reader, start in zip(self.readers, drawn, strict=True)
        ]
        while end is None or number < end:
            size = batch_size if end is None else min(batch_size, end - number)
            batch = self._take(cursors, number, size)
            share = -(-size // num_pipelines)
            mine = slice(pipeline * share, (pipeline + 1) * share)
            yield {name: value[mine] for name, value in batch.items()}
            number += size

    def dataset(
        self,
        batch_size: int,
        step: int = 0,
        pipeline: int = 0,
        num_pipelines: int = 1,
        epochs: int | None = None,
    ) -> tf.data.Dataset:
        """Return a dataset of batches, from any step on; see `RecordReader.dataset`."""
        size = batch_size // num_pipelines if epochs is None else None
        return batch_dataset(
            lambda: self.batches(batch_size, step, pipeline, num_pipelines, epochs),
            next(self.batches(1, epochs=1)),
            size,
        )

    def _take(self, cursors, number, size):
        choices = self.choices(number, size)
        result: dict[str, np.ndarray] = {}
        for source, cursor in enumerate(cursors):
            places = np.flatnonzero(choices == source)
            if not len(places):
                continue
            for name, values in cursor.take(len(places)).items():
                if name not in result:
                    result[name] = np.zeros((size, *values.shape[1:]), np.int32)
                result[name][places] = values
        epoch, index = np.divmod(np.arange(number, number + size), self.num_examples)
        # Of the mixture: a record that comes again in an epoch gets another mask.
        result["epoch"], result["example_index"] = epoch.astype(np.int32), index.astype(np.int32)
        return result

    def _block(self, block):
        key = np.array([self.seed & 0xFFFFFFFFFFFFFFFF, 2**63 | block], np.uint64)
        drawn = np.random.Philox(key=key).random_raw(_BLOCK) / 2.0**64
        bounds = np.cumsum(self.shares)[:-1]  # above the last bound it is the last one
        return np.searchsorted(bounds, drawn, side="right")

    def _drawn(self, number):
        # How often each directory was drawn from before a draw.
        counts = np.zeros(len(self.readers), np.int64)
        for block in range(number // _BLOCK):
            counts += np.bincount(self._block(block), minlength=len(counts))
        rest = self._block(number // _BLOCK)[: number % _BLOCK]
        return counts + np.bincount(rest, minlength=len(counts))


def mixture_shares(counts: Sequence[int], exponent: float = 0.7) -> np.ndarray:
    """Return how often each of several corpora is drawn from: in proportion to size ** exponent.

    0.7 is that of multilingual BERT (google-research/bert, multilingual.md): English is drawn a
    hundred times as often as Icelandic, not a thousand times.

    >>> mixture_shares([1000, 1]).round(3).tolist()
    [0.992, 0.008]
    """
    weights = np.asarray(counts, np.float64) ** exponent
    return weights / weights.sum()


def _property(reader, name):
    if name == "sequence_length" or reader.manifest is None:
        return getattr(reader, name, None)
    if name == "mode":
        return reader.manifest.options.mode
    return reader.manifest.tokenizer["sha256"][:12]
