"""The versions of a model that are loaded, kept in step with its folder."""

import dataclasses
import logging
import pathlib
import threading

import numpy as np

from bertzoo.serving import graph_file, rest, versions

LOG = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class Version:
    """A loaded version.

    Args:
        number: Of the version.
        signatures: `graph_file.Signature` by name.
        functions: What TensorFlow loaded, by signature.
        keep: The loaded object; its functions do not keep their variables alive.
    """

    number: int
    signatures: dict
    functions: dict
    keep: object

    def run(self, name, arrays):
        """Return the outputs of a signature as arrays by name."""
        import tensorflow as tf

        inputs = {
            key: tf.constant(array, tf.dtypes.as_dtype(self.signatures[name].inputs[key].number))
            for key, array in arrays.items()
        }
        outputs = self.functions[name](**inputs)
        return {key: outputs[key].numpy() for key in sorted(outputs)}

    def signature(self, name):
        """Return a signature; one that is not there is the client's mistake."""
        if name not in self.signatures:
            raise rest.wrong(f"there is no signature {name!r}; there are {list(self.signatures)}")
        return self.signatures[name]

    def inputs(self, name):
        """Return name to (NumPy dtype, shape) of a signature's inputs."""
        return {
            key: (graph_file.REST_TYPES[info.dtype], info.shape)
            for key, info in self.signature(name).inputs.items()
        }


class ModelFolder:
    """A model and its versions: the newest, and those with a label.

    Args:
        directory: The folder of the model; it has versions.
        labels: Label to version.

    Raises:
        ValueError: If no version could be loaded.
    """

    def __init__(self, directory, labels=None):
        self.directory = pathlib.Path(directory)
        self.name = self.directory.resolve().name
        self.labels = dict(labels or {})
        self.loaded = {}
        self.failed = {}  # version to why
        self._stamps = {}  # failed version to what its folder was like
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._watcher = None
        for label, number in self.labels.items():
            if number not in versions.versions(self.directory):
                raise ValueError(f"the label {label!r} is of version {number}, which is not there.")
        self.refresh()
        if not self.loaded:
            reasons = "; ".join(f"{number}: {why}" for number, why in self.failed.items())
            raise ValueError(
                f"{self.directory} has no version that can be loaded ({reasons or 'none is there'})"
                "; `bertzoo export` writes one."
            )

    def refresh(self):
        """Load what is new, then let go of what is old; a version that fails changes nothing."""
        with self._lock:
            present = versions.versions(self.directory)
            wanted = {number for number in self.labels.values() if number in present}
            # One that has changed, as a copy that was not whole, gets another chance.
            self.failed = {
                n: w for n, w in self.failed.items() if self._stamps[n] == self._stamp(n)
            }
            fresh = [number for number in present if number not in self.failed]
            wanted |= set(fresh[-1:])
            for number in sorted(wanted - set(self.loaded)):
                stamp = self._stamp(number)
                try:
                    version = load_version(self.directory / str(number), number)
                except Exception as error:  # a SavedModel may raise anything
                    LOG.warning("version %d cannot be loaded: %s", number, error)
                    self._stamps[number] = stamp
                    why = str(error).splitlines()[0] if str(error) else repr(error)
                    self.failed = {**self.failed, number: why}
                else:
                    self.loaded = {**self.loaded, number: version}
            newest = max(set(self.loaded) & set(present), default=None)
            # The last one stays even if its folder is gone: requests go on.
            keep = (wanted | {newest}) if newest is not None else set(self.loaded)
            self.loaded = {number: v for number, v in self.loaded.items() if number in keep}

    def _stamp(self, number):
        """Return what changes while a version's folder is written."""
        files = (self.directory / str(number)).rglob("*")
        return sorted((str(file), *_size_and_time(file)) for file in files)

    def watch(self, seconds=1.0):
        """Refresh every `seconds` until `close`."""

        def run():
            while not self._stop.wait(seconds):
                try:
                    self.refresh()
                except OSError as error:  # the folder is being moved; the next look may succeed
                    LOG.warning("cannot look into %s: %s", self.directory, error)

        self._watcher = threading.Thread(target=run, daemon=True)
        self._watcher.start()

    def close(self):
        """Stop watching."""
        self._stop.set()
        if self._watcher is not None:
            self._watcher.join()

    def find(self, version=None, label=None):
        """Return a loaded `Version`: by number, by label, or the newest."""
        loaded = self.loaded
        if label is not None:
            if label not in self.labels:
                raise rest.RequestError(404, f"model {self.name} has no label {label!r}")
            version = self.labels[label]
        if version is None:
            return loaded[max(loaded)]
        if version not in loaded:
            raise rest.RequestError(
                404, f"version {version} of model {self.name} is not loaded; {sorted(loaded)} are"
            )
        return loaded[version]


def _size_and_time(file):
    try:
        found = file.stat()
    except FileNotFoundError:
        return (0, 0)
    return (found.st_size, found.st_mtime_ns)


def load_version(folder, number):
    """Return a `Version`, loaded by TensorFlow."""
    import tensorflow as tf
    import tensorflow_text  # noqa: F401  its ops

    graph = graph_file.read(folder)
    for name, signature in graph.signatures.items():
        for key, info in [*signature.inputs.items(), *signature.outputs.items()]:
            if info.dtype not in graph_file.REST_TYPES or info.shape is None:
                raise ValueError(f"{key} of signature {name} cannot be JSON: {info.dtype}")
    loaded = tf.saved_model.load(str(folder))
    return Version(number, graph.signatures, dict(loaded.signatures), loaded)


def example_column(rows):
    """Return tf.Examples, serialized, of dicts of feature lists: an object array of bytes."""
    from tensorflow.core.example import example_pb2

    column = np.empty(len(rows), dtype=object)
    for index, row in enumerate(rows):
        example = example_pb2.Example()
        for key, values in row.items():
            feature = example.features.feature[key]
            if values and isinstance(values[0], float):
                feature.float_list.value.extend(values)
            elif values and isinstance(values[0], int):
                feature.int64_list.value.extend(values)
            else:
                feature.bytes_list.value.extend(values)
        column[index] = example.SerializeToString()
    return column
