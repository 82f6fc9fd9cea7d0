"""Where batches come from: an endless sequence of examples in which any place can be gone to.

The order is a pure function of the seed: example number n of a run is number n % N of epoch n // N.
So the place of a run is one number, a resumed run seeks and replays nothing, and batches are the
same however they are split over replicas.
"""

import numpy as np
import tensorflow as tf


class ArraySource:
    """Examples in memory, shuffled anew in each epoch.

    Args:
        arrays: Dict of `[N, ...]` arrays.
        seed: Of the order; None for the order that they are in.
        transform: Maps a dict of a batch of rows, with `epoch` and `example_index`, to what the
            objective takes, in the graph; as a `TokenMasker` does.

    Example:
    >>> source = ArraySource({"n": np.arange(5)}, seed=None)
    >>> batches = iter(source.dataset(start=4, batch_size=2, replicas=range(1), num_replicas=1))
    >>> next(batches)["n"].numpy().tolist(), next(batches)["n"].numpy().tolist()
    ([4, 0], [1, 2])
    """

    def __init__(self, arrays, seed=0, transform=None):
        self.arrays = {name: np.asarray(array) for name, array in arrays.items()}
        sizes = {len(array) for array in self.arrays.values()}
        if len(sizes) != 1 or not min(sizes):
            raise ValueError(f"arrays must have the same number of rows, above 0; got {sizes}.")
        self.num_examples = sizes.pop()
        self.seed = seed
        self.transform = transform
        self._orders = {}

    def dataset(self, start, batch_size, replicas, num_replicas):
        """Return batches of some replicas: for each step, those of the first, second, ...

        Args:
            start: Number of the example that the first batch begins with.
            batch_size: Rows of all replicas together.
            replicas: Numbers of the replicas whose batches are wanted.
            num_replicas: Of all.
        """
        rows = batch_size // num_replicas

        def numbers():
            first = start
            while True:
                for replica in replicas:
                    place = first + replica * rows
                    yield np.arange(place, place + rows, dtype=np.int64)
                first += batch_size

        def examples():
            for places in numbers():
                epochs, indexes = np.divmod(places, self.num_examples)
                chosen = np.array([self._order(e)[i] for e, i in zip(epochs, indexes, strict=True)])
                batch = {name: array[chosen] for name, array in self.arrays.items()}
                yield {**batch, "epoch": epochs.astype("int32"),
                       "example_index": chosen.astype("int32")}  # fmt: skip

        signature = {
            name: tf.TensorSpec((rows, *array.shape[1:]), array.dtype)
            for name, array in self.arrays.items()
        }
        for name in ("epoch", "example_index"):
            signature[name] = tf.TensorSpec((rows,), tf.int32)
        dataset = tf.data.Dataset.from_generator(examples, output_signature=signature)
        if self.transform is not None:
            dataset = dataset.map(self.transform)
        return dataset.prefetch(2)

    def identity(self, start, count):
        """Return which examples `count` places from `start` are: their epochs and numbers."""
        places = [divmod(place, self.num_examples) for place in range(start, start + count)]
        return [{"epoch": e, "example_index": int(self._order(e)[i])} for e, i in places]

    def _order(self, epoch):
        if epoch not in self._orders:
            order = np.arange(self.num_examples)
            if self.seed is not None:
                order = np.random.default_rng([self.seed, int(epoch)]).permutation(order)
            self._orders = {**dict(list(self._orders.items())[-1:]), epoch: order}
        return self._orders[epoch]


class RecordSource:
    """Records that `bertzoo prepare` wrote, or masked records of Google's scripts.

    Args:
        source: A directory, several for a mixture, or patterns of files; see `RecordReader`.
        vocabulary_size: Of the model: every id must be smaller.
        seed: Of the order.
        shuffle: Whether there is another order in every epoch.
        transform: As for `ArraySource`.
        exponent: Of a mixture, see `RecordMixture`.
    """

    def __init__(self, source, vocabulary_size, seed=0, shuffle=True, transform=None, exponent=1.0):
        from bertzoo.corpus.mixture import RecordMixture
        from bertzoo.corpus.reader import RecordReader

        if not isinstance(source, str) and all(map(tf.io.gfile.isdir, source)):
            self.reader = RecordMixture(
                source, exponent, vocabulary_size=vocabulary_size, seed=seed, shuffle=shuffle
            )
        else:
            self.reader = RecordReader(source, vocabulary_size, seed, shuffle)
        self.num_examples = self.reader.num_examples
        self.transform = transform

    def dataset(self, start, batch_size, replicas, num_replicas):
        """Return batches of some replicas; as `ArraySource.dataset`, from a whole batch on."""
        if start % batch_size:
            raise ValueError(f"records are read from a whole batch of {batch_size}; got {start}.")
        here, rows = len(replicas), batch_size // num_replicas
        dataset = self.reader.dataset(
            batch_size, start // batch_size, replicas.start // here, num_replicas // here
        )

        def parts(batch):
            split = {
                name: tf.reshape(value, [here, rows, *value.shape[1:]])
                for name, value in batch.items()
            }
            return tf.data.Dataset.from_tensor_slices(split)

        if here > 1:
            dataset = dataset.flat_map(parts)
        if self.transform is not None:
            dataset = dataset.map(self.transform, num_parallel_calls=2, deterministic=True)
        return dataset.prefetch(4)

    def identity(self, start, count):
        """Return which records `count` places from `start` are: file, number, epoch, index."""
        rows = []
        for place in range(start, start + count):
            epoch, index = divmod(place, self.num_examples)
            file, record = self.reader.identify(epoch, index)
            rows.append({"file": file, "record": record, "epoch": epoch, "index": index})
        return rows
