"""Writing that survives: flushed to the disk, put in place by one rename, told by a checksum."""

from __future__ import annotations

import hashlib
import os
import pathlib
import tempfile


def sha256(path: pathlib.Path) -> str:
    """Return the SHA-256 of a file as 64 hexadecimal digits."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def write_bytes(path: pathlib.Path, content: bytes) -> None:
    """Write a file and flush it to the disk."""
    with open(path, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def replace_file(path: pathlib.Path, content: bytes) -> None:
    """Write a file under another name and put it in place: a reader sees the old one or the new."""
    temporary = temporary_beside(path, "write")
    try:
        write_bytes(temporary / path.name, content)
        os.replace(temporary / path.name, path)
        sync(path.parent)
    finally:
        (temporary / path.name).unlink(missing_ok=True)
        temporary.rmdir()


def sync(path: pathlib.Path) -> None:
    """Flush a file or directory that was written already."""
    if path.is_dir() and os.name != "posix":  # Windows has no handle to a directory
        return
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def temporary_beside(target: pathlib.Path, purpose: str) -> pathlib.Path:
    """Make `.NAME.purpose-xxxx` in the folder of `target`: no two processes get the same."""
    target.parent.mkdir(parents=True, exist_ok=True)
    made = pathlib.Path(tempfile.mkdtemp(prefix=f".{target.name}.{purpose}-", dir=target.parent))
    # mkdtemp makes it private; what comes of it is as readable as any other new directory.
    made.chmod(0o777 & ~_umask())
    return made


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
