"""Entries of the cache: whole or not there, with the checksums of what was first downloaded.

A download goes into a folder of its own beside its place, is flushed, gets a `bertzoo.lock` with
the SHA-256 of every file, and takes its place by one rename: a process that is killed leaves no
entry. Locks between processes only save a second download; on file systems where they do nothing,
two processes download into two folders, and the first rename wins.
"""

from __future__ import annotations

import collections.abc
import contextlib
import datetime
import errno
import functools
import glob
import json
import os
import pathlib
import shutil
import sys
import time
import typing

from bertzoo import durable
from bertzoo.hub import places

LOCK = "bertzoo.lock"
LOCK_VERSION = 1
# An unfinished download that nobody has written to for this long belongs to a dead process, even
# where locks between processes do nothing; the clients give up after 10 seconds without a byte.
STALE_SECONDS = 600
WAIT_SECONDS = 3600
STORAGE_ERRORS = {
    errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO,
    errno.ENOTDIR, errno.ENAMETOOLONG, errno.EEXIST, errno.ENOTEMPTY,
}  # fmt: skip


class Origin(typing.NamedTuple):
    """What a download was: an address, and which state of it."""

    source: str
    revision: str


def fill(
    entry: pathlib.Path,
    address: str,
    download: collections.abc.Callable[[pathlib.Path], Origin],
    expected: collections.abc.Mapping[str, str] | None = None,
) -> pathlib.Path:
    """Return an entry, downloaded if it is not there.

    Args:
        entry: Its place.
        address: For messages.
        download: Puts the files into the empty folder that it gets.
        expected: SHA-256 by file name, where known beforehand; names that are not there are
            not asked for.

    Raises:
        ValueError: What `download` raises, a wrong checksum, or a place that cannot be written.
            Nothing is left behind.
    """
    if is_filled(entry):
        return entry
    try:
        with _my_turn(entry):
            if not is_filled(entry):
                _remove_leftovers(entry)
                _fill(entry, address, download, expected or {})
    except OSError as error:
        if error.errno not in STORAGE_ERRORS:
            raise
        raise ValueError(
            f"{address} cannot be stored below {places.home()} ({error.strerror}); make room "
            "there, or set BERTZOO_HOME to a folder that can be written."
        ) from error
    return entry


def is_filled(entry: pathlib.Path) -> bool:
    """Whether an entry is there; it came by one rename, so then it is whole."""
    return (entry / LOCK).is_file()


def read_lock(entry: pathlib.Path) -> dict[str, typing.Any] | None:
    """Return what was recorded at the download; None for a folder that was filled by hand."""
    path = entry / LOCK
    if not path.is_file():
        return None
    try:
        lock = json.loads(path.read_text(encoding="utf-8"))
        if lock["version"] != LOCK_VERSION:
            raise ValueError(f"version {lock['version']!r}")
        {name: (item["sha256"], item["bytes"]) for name, item in lock["files"].items()}
        lock["source"], lock["revision"]
    except (UnicodeDecodeError, ValueError, LookupError, TypeError, AttributeError) as error:
        raise ValueError(
            f"{path} is not a whole record of a download ({error}); delete {entry} to download "
            "again."
        ) from None
    return lock


def verify(entry: pathlib.Path) -> None:
    """Raise unless every file is as it was downloaded; a folder filled by hand is not checked."""
    lock = read_lock(entry)
    for name, item in (lock or {"files": {}})["files"].items():
        path = entry / name
        if not path.is_file():
            wrong = "is missing"
        elif path.stat().st_size != item["bytes"]:
            wrong = f"has {path.stat().st_size:,} bytes instead of {item['bytes']:,}"
        elif _sha256(path, *_state(path)) != item["sha256"]:
            wrong = "has another SHA-256"
        else:
            continue
        raise ValueError(
            f"{path} {wrong}: it is not the file that came from {typing.cast(dict, lock)['source']}"
            f"; delete {entry} to download again."
        )


def describe(entry: pathlib.Path) -> dict[str, typing.Any]:
    """Return address, revision, folder and size of a downloaded entry."""
    try:
        lock = read_lock(entry)
    except ValueError:
        lock = None
    lock = lock or {"source": "damaged record", "revision": "", "files": {}}
    size = sum(item["bytes"] for item in lock["files"].values())
    return {
        "source": lock["source"],
        "revision": lock["revision"],
        "folder": str(entry),
        "bytes": size,
    }


@functools.lru_cache(maxsize=1024)
def _sha256(path: pathlib.Path, size: int, changed: int, number: int) -> str:
    """Read a file once a process while it stays what it is; a task opens its preset twice."""
    return durable.sha256(path)


def _state(path: pathlib.Path) -> tuple[int, int, int]:
    stat = path.stat()
    return stat.st_size, stat.st_mtime_ns, stat.st_ino


def _fill(entry, address, download, expected) -> None:
    folder = durable.temporary_beside(entry, "downloading")
    try:
        say(f"downloading {address} to {entry}")
        origin = download(folder)
        _record(folder, origin, expected)
        _publish(folder, entry)
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise


def _record(folder: pathlib.Path, origin: Origin, expected) -> None:
    if (folder / LOCK).is_file():  # of whoever packed up an entry of a cache
        (folder / LOCK).unlink()
    files = {}
    for path in sorted(folder.rglob("*")):
        durable.sync(path)
        if path.is_file():
            name = path.relative_to(folder).as_posix()
            files[name] = {"sha256": durable.sha256(path), "bytes": path.stat().st_size}
            if expected.get(name, files[name]["sha256"]) != files[name]["sha256"]:
                raise ValueError(
                    f"{name} of {origin.source} has the SHA-256 {files[name]['sha256']}, but "
                    f"{expected[name]} is expected; it was not kept."
                )
    lock = {
        "version": LOCK_VERSION,
        "source": origin.source,
        "revision": origin.revision,
        "downloaded": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "files": files,
    }
    durable.write_bytes(folder / LOCK, json.dumps(lock, indent=2).encode("utf-8"))
    durable.sync(folder)


def _publish(folder: pathlib.Path, entry: pathlib.Path) -> None:
    try:
        os.rename(folder, entry)  # an empty folder may be there; rename takes its place
    except OSError:
        if not is_filled(entry):
            raise
        shutil.rmtree(folder)  # another process was faster, and its files are as good
    durable.sync(entry.parent)


def _remove_leftovers(entry: pathlib.Path) -> None:
    """Remove what killed downloads of this entry have left; called while it is our turn."""
    for left in entry.parent.glob(f".{glob.escape(entry.name)}.downloading-*"):
        with contextlib.suppress(OSError):
            newest = max(path.lstat().st_mtime for path in (left, *left.rglob("*")))
            if time.time() - newest >= STALE_SECONDS:
                shutil.rmtree(left)


@contextlib.contextmanager
def _my_turn(entry: pathlib.Path) -> typing.Iterator[None]:
    """Wait while another process downloads the same entry; its death ends the waiting too."""
    entry.parent.mkdir(parents=True, exist_ok=True)
    path = entry.parent / f".{entry.name}.turn"
    descriptor = _lock(path, entry)
    try:
        yield
    finally:
        if descriptor is not None:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(path)
            os.close(descriptor)


def _lock(path: pathlib.Path, entry: pathlib.Path) -> int | None:
    """Return the locked file, or None where locks do not exist or the wait was too long."""
    try:
        import fcntl
    except ImportError:  # Windows
        return None
    deadline = time.monotonic() + WAIT_SECONDS
    told = False
    while time.monotonic() < deadline:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            # Whoever had it before has removed the file: then what we hold is no longer the lock.
            if os.path.samestat(os.fstat(descriptor), os.stat(path)):
                return descriptor
        except BlockingIOError:
            if not told:
                say(f"another process is downloading {entry.name}; waiting for it")
                told = True
            time.sleep(0.2)
        except FileNotFoundError:
            pass
        except OSError:  # a file system without locks
            os.close(descriptor)
            return None
        os.close(descriptor)
    return None


def say(text: str) -> None:
    """Tell the user what takes time, where no reader of an answer trips over it."""
    print(f"bertzoo: {text}", file=sys.stderr, flush=True)
