"""`gs://bucket/path` and the other file systems that TensorFlow reaches: s3, hdfs, ram.

TensorFlow does the requests and the login, and is imported only here, when such an address comes.
What lies there changes while a training runs, so an entry is one state of the folder: its names,
sizes and times.
"""

from __future__ import annotations

import contextlib
import hashlib
import pathlib
import shutil
import typing

from bertzoo.hub import archives, cache, places, wanted_files
from bertzoo.hub.addresses import Address, without_secrets
from bertzoo.hub.cache import Origin

CHUNK = 8 * 2**20
MAX_FILES = 10_000


class Remote(typing.NamedTuple):
    """A file there: its name below the address, its size, and when it was written."""

    name: str
    size: int
    time: int


def current_entry(address: Address, entry: pathlib.Path) -> pathlib.Path:
    """Return the entry of the state that the folder is in; offline, of the state last fetched."""
    if places.offline(address.kind) is not None:
        states = [state for state in entry.parent.glob(f"{entry.name}@*") if cache.is_filled(state)]
        return max(states, key=lambda state: state.stat().st_mtime, default=entry)
    state = hashlib.sha256(repr(_list(address)).encode()).hexdigest()
    return entry.with_name(f"{entry.name}@{state[:16]}")


def download(address: Address, folder: pathlib.Path) -> Origin:
    """Copy the files that a checkpoint needs, or one archive to be unpacked, to an empty folder."""
    files = _list(address)
    needed, free = sum(file.size for file in files), shutil.disk_usage(folder).free
    if needed > free:
        raise ValueError(
            f"{address} needs {needed:,} bytes, and {free:,} are free in {places.home()}."
        )
    for file in files:
        target = folder / file.name if file.name else archives.received(address.name, folder)
        target.parent.mkdir(parents=True, exist_ok=True)
        with _explained(address):
            _copy(f"{address.name}/{file.name}" if file.name else address.name, target)
        if target.stat().st_size != file.size:
            raise ValueError(
                f"{file.name or address} changed while it was copied from {address}; try again."
            )
        if not file.name:
            archives.unpack_received(target, folder)
    state = hashlib.sha256(repr(files).encode()).hexdigest()
    return Origin(str(address), state[:16])


def _list(address: Address) -> list[Remote]:
    """Return the files to copy; for an archive, itself under the name ""."""
    import tensorflow as tf

    with _explained(address):
        if archives.is_archive(address.name):
            return [_remote(address, "")]
        tf.io.gfile.stat(address.name)  # walk takes what is not there for empty
        names: list[str] = []
        for folder, _, files in tf.io.gfile.walk(address.name):
            below = folder.removeprefix(address.name).strip("/")
            names += [f"{below}/{file}" if below else file for file in files]
            if len(names) > MAX_FILES:
                raise ValueError(f"{address} holds more than {MAX_FILES:,} files; give the folder "
                                 "of one checkpoint.")  # fmt: skip
        chosen = [_remote(address, name) for name in wanted_files.choose(names)]
    if not chosen:
        raise ValueError(
            f"{address} has no files that bertzoo reads; expected config.json and the like, and "
            f"it has {', '.join(sorted(names)[:5]) or 'nothing'}."
        )
    return chosen


def _remote(address: Address, name: str) -> Remote:
    import tensorflow as tf

    stat = tf.io.gfile.stat(f"{address.name}/{name}" if name else address.name)
    return Remote(name, int(stat.length), int(stat.mtime_nsec))


def _copy(source: str, target: pathlib.Path) -> None:
    import tensorflow as tf

    with tf.io.gfile.GFile(source, "rb") as there, open(target, "xb") as here:
        while chunk := there.read(CHUNK):
            here.write(chunk)


@contextlib.contextmanager
def _explained(address: Address) -> typing.Iterator[None]:
    """Turn TensorFlow's errors into one sentence."""
    import tensorflow as tf

    try:
        yield
    except tf.errors.OpError as error:
        if isinstance(error, tf.errors.NotFoundError):
            text = "does not exist"
        elif isinstance(error, tf.errors.PermissionDeniedError | tf.errors.UnauthenticatedError):
            text = "may not be read with the login of this machine"
        elif isinstance(error, tf.errors.UnimplementedError):
            text = "needs a file system that this TensorFlow does not have"
        else:
            line = without_secrets(str(error.message).split("\n")[0]).rstrip(".")
            text = f"cannot be read ({line}); try again"
        raise ValueError(f"{address} {text}.") from None
