"""Version directories of TensorFlow Serving, put in place whole or not at all.

The server polls the folder of a model about every second and loads the largest number that it sees
at once (file_system_storage_path_source.cc). So a version is written under a name that is not a
number, flushed to the disk, and renamed.
"""

from __future__ import annotations

import contextlib
import errno
import os
import pathlib
import shutil
from collections.abc import Iterator

from bertzoo import durable


def versions(directory: str | os.PathLike) -> list[int]:
    """Return the version numbers in the folder of a model, ascending.

    >>> versions("no_such_folder")
    []
    """
    folder = pathlib.Path(directory)
    if not folder.is_dir():
        return []
    names = (entry.name for entry in folder.iterdir() if entry.is_dir())
    return sorted(int(name) for name in names if name.isascii() and name.isdigit())


def next_version(directory: str | os.PathLike) -> int:
    """Return one more than the largest version; 1 where there is none."""
    return max(versions(directory), default=0) + 1


@contextlib.contextmanager
def new_version(
    directory: str | os.PathLike, version: int | None = None
) -> Iterator[tuple[pathlib.Path, list[pathlib.Path]]]:
    """Give a folder to write in; at the end it becomes a version.

    Whatever happens before the last step, the folder of the model has no new number. Where two
    processes take the next number at once, the second gets the one after.

    Args:
        directory: The folder of the model; made where it is missing.
        version: Its number; None for the next one.

    Yields:
        The folder to write in, and a list to which the version's path is added at the end.

    Raises:
        ValueError: If that version exists; it is never replaced.
    """
    base = _local(directory)
    if version is not None:
        # A signed 64-bit number in the server.
        if isinstance(version, bool) or not isinstance(version, int) or not 0 < version < 2**63:
            raise ValueError(f"a version is a number from 1 on; got {version!r}.")
        if version in versions(base):
            raise ValueError(
                f"{base} has a version {version}, and versions are never replaced; leave `version` "
                f"out for the next one, {next_version(base)}."
            )
    temporary = durable.temporary_beside(base / str(version or next_version(base)), "export")
    try:
        placed: list[pathlib.Path] = []
        yield temporary, placed
        if not any(temporary.iterdir()):
            raise ValueError("a version cannot be empty.")
        sync_tree(temporary)
        placed.append(_place(temporary, base, version))
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def sync_tree(folder: pathlib.Path) -> None:
    """Flush every file and folder below a folder to the disk, and the folder itself."""
    for parent, _, names in os.walk(folder, topdown=False):
        for name in names:
            durable.sync(pathlib.Path(parent, name))
        durable.sync(pathlib.Path(parent))


def _place(temporary, base, version):
    while True:
        target = base / str(version or next_version(base))
        try:
            if target.exists():  # also an empty folder, which a rename would replace
                raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(target))
            temporary.rename(target)
        except OSError as error:
            if error.errno not in (errno.EEXIST, errno.ENOTEMPTY):
                raise
            if version is not None:
                raise ValueError(
                    f"{target} has been made meanwhile, and versions are never replaced."
                ) from None
            if not target.is_dir():
                raise ValueError(f"{target} is in the way: it is no folder.") from None
            continue
        durable.sync(base)
        return target


def _local(directory):
    if "://" in os.fspath(directory):
        raise ValueError(
            f"a version is put in place by a rename, which object stores lack; got {directory}. "
            "Export to a local folder and copy the finished version."
        )
    base = pathlib.Path(directory)
    if base.exists() and not base.is_dir():
        raise ValueError(f"{base} is a file; give the folder of the model.")
    if base.name.isdigit():
        raise ValueError(
            f"{base} looks like a version; give the folder of the model, as serving/sentiment: "
            "the version becomes a folder in it."
        )
    return base
