"""Unpack `.zip`, `.tar.gz` and `.tar`: regular files inside the folder, and nothing else.

Neither zipfile's nor tarfile's `extractall` is used. Every name is checked before a byte is
written, an archive with one bad name is refused whole, files are made new (never opened through
what is there), without the modes, owners and times of the archive, and the bytes that come out
are counted against what went in.
"""

from __future__ import annotations

import contextlib
import errno
import functools
import gzip
import os
import pathlib
import re
import secrets
import shutil
import struct
import tarfile
import typing
import zipfile
import zlib

SUFFIXES = (".zip", ".tar.gz", ".tgz", ".tar")
# float32 weights shrink by a tenth, vocabularies to a third, optimizer slots that are still zero
# to nothing: whole archives stay far below this ratio of unpacked to packed bytes, bombs above.
MAX_RATIO = 100
ALWAYS_ALLOWED = 16 * 2**20  # small archives may shrink as they like
MAX_MEMBERS = 10_000  # the largest published checkpoints have some dozens
MAX_DEPTH = 8
CHUNK = 2**20
# Left by macOS's archiver beside the real files.
LITTER = ("__MACOSX", ".DS_Store")
# What zipfile, tarfile and gzip raise for bytes that make no sense to them.
DAMAGED = (
    zipfile.BadZipFile, tarfile.TarError, gzip.BadGzipFile, zlib.error, struct.error, EOFError,
    ValueError, OverflowError, RuntimeError, LookupError,
)  # fmt: skip


class Refused(ValueError):
    """An archive that is whole and does not deserve to be unpacked."""


def is_archive(path: str | os.PathLike) -> bool:
    """Whether a path is called like an archive; a `pytorch_model.bin` is a zip file too.

    >>> is_archive("uncased_L-12_H-768_A-12.zip"), is_archive("pytorch_model.bin")
    (True, False)
    """
    return os.fspath(path).lower().endswith(SUFFIXES)


def looks_like_archive(head: bytes) -> bool:
    """Whether the first 512 bytes of a file begin a zip, a gzip or a tar file."""
    return head[:4] in (b"PK\x03\x04", b"PK\x05\x06") or head[:2] == b"\x1f\x8b" or _is_tar(head)


def unpack(archive: pathlib.Path, folder: pathlib.Path) -> None:
    """Unpack an archive into an empty folder.

    A single folder at the archive's top gives its content to `folder`.

    Args:
        archive: `.zip`, `.tar.gz` or `.tar`; told by its first bytes.
        folder: Exists and is empty. What lies there after an error is for the caller to remove.

    Raises:
        ValueError: Not an archive, damaged, or with a member that has no place in a checkpoint.
    """
    with open(archive, "rb") as file:
        head = file.read(512)
    if not looks_like_archive(head):
        raise Refused(f"{archive.name} is not a .zip or .tar.gz archive.")
    try:
        with _open(archive, head) as members:
            _write(archive, members, folder)
    except Refused:
        raise
    except (*DAMAGED, OSError) as error:
        # A seek to before the file's begin; other errors of this kind are the disk's.
        if isinstance(error, OSError) and error.errno not in (None, errno.EINVAL):
            raise
        raise Refused(
            f"{archive.name} is damaged or not whole ({_first_line(error)}); download it again."
        ) from error
    _lift_single_folder(folder)


def received(name: str, folder: pathlib.Path) -> pathlib.Path:
    """Return where in `folder` to put an archive that is to be unpacked there.

    Args:
        name: Path or address that it comes from; messages name its last part.
        folder: Where its content goes.
    """
    place = folder / f".{secrets.token_hex(8)}"
    place.mkdir()
    last = re.sub(r"[^A-Za-z0-9_.\-]", "_", name.rstrip("/").rpartition("/")[2])
    return place / (last[-100:].lstrip(".") or "archive")


def unpack_received(archive: pathlib.Path, folder: pathlib.Path) -> None:
    """Unpack an archive that lies where `received` said into `folder`, and remove it."""
    unpacked = archive.parent / "unpacked.d"
    unpacked.mkdir()
    unpack(archive, unpacked)
    for item in unpacked.iterdir():
        item.rename(folder / item.name)
    shutil.rmtree(archive.parent)


class Member(typing.NamedTuple):
    """One file of an archive: its name, and how to open it."""

    name: str
    is_folder: bool
    size: int
    open: typing.Callable[[], typing.IO[bytes]]


def _write(archive: pathlib.Path, members: typing.Iterable[Member], folder: pathlib.Path) -> None:
    limit = max(MAX_RATIO * archive.stat().st_size, ALWAYS_ALLOWED)
    files: set[str] = set()
    folders: set[str] = set()
    written = 0
    for count, member in enumerate(members, start=1):
        if count > MAX_MEMBERS:
            raise Refused(f"{archive.name} has more than {MAX_MEMBERS:,} members; refused.")
        parts = _safe_parts(archive, member.name)
        if not parts or any(part in LITTER for part in parts):
            continue
        # macOS and Windows take `a` and `A` for one file.
        name = "/".join(parts).lower()
        above = {"/".join(parts[:depth]).lower() for depth in range(1, len(parts))}
        if member.is_folder:
            above.add(name)
        if files & above or (not member.is_folder and (name in files or name in folders)):
            raise Refused(f"{archive.name} has two members called `{member.name}`; refused.")
        folders |= above
        target = folder.joinpath(*parts)
        (target if member.is_folder else target.parent).mkdir(parents=True, exist_ok=True)
        if member.is_folder:
            continue
        files.add(name)
        if written + member.size > limit:
            raise _bomb(archive, limit)
        _check_room(archive, member, folder)
        with member.open() as source, open(target, "xb") as copy:
            while chunk := source.read(CHUNK):
                written += len(chunk)
                if written > limit:
                    raise _bomb(archive, limit)
                copy.write(chunk)
            if copy.tell() != member.size:
                raise EOFError(f"`{member.name}` has {copy.tell()} bytes of {member.size}")
    if not files:
        raise Refused(f"{archive.name} holds no files.")


def _safe_parts(archive: pathlib.Path, name: str) -> list[str]:
    parts = [part for part in name.split("/") if part not in ("", ".")]
    bad = (
        name.startswith("/")
        or ".." in parts
        # A backslash is a folder and a colon a drive or a second stream elsewhere.
        or re.search(r"[\\:\x00-\x1f\x7f]", name)
        or len(parts) > MAX_DEPTH
        or any(len(part.encode("utf-8", "surrogateescape")) > 255 for part in parts)
    )
    if bad:
        raise Refused(
            f"{archive.name} has a member called {name[:80]!r}, which does not belong inside a "
            "folder; refused, nothing was kept."
        )
    return parts


@contextlib.contextmanager
def _open(archive: pathlib.Path, head: bytes) -> typing.Iterator[typing.Iterator[Member]]:
    if head[:2] == b"PK":
        with zipfile.ZipFile(archive) as file:
            yield _zip_members(archive, file)
    else:
        with (
            _Bounded(archive, packed=head[:2] == b"\x1f\x8b") as stream,
            tarfile.open(fileobj=typing.cast(typing.Any, stream), mode="r:") as file,
        ):
            yield _tar_members(archive, file, stream)


def _zip_members(archive, file: zipfile.ZipFile) -> typing.Iterator[Member]:
    infos = file.infolist()
    for info in infos:  # all before the first is written
        _safe_parts(archive, info.orig_filename)
        kind = info.external_attr >> 16 & 0o170000
        if kind not in (0, 0o100000, 0o040000):
            raise _not_a_file(archive, info.filename)
        if info.flag_bits & 0x1:
            raise Refused(f"{archive.name} is encrypted; unpack it yourself.")
        if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise Refused(
                f"{archive.name} is packed by method {info.compress_type}, which bertzoo does "
                "not read; unpack it yourself."
            )
    for info in infos:
        opened = functools.partial(file.open, info)
        yield Member(info.filename, info.is_dir(), info.file_size, opened)


def _tar_members(archive, file: tarfile.TarFile, stream: _Bounded) -> typing.Iterator[Member]:
    for info in file:
        _safe_parts(archive, info.name)
        # A sparse file says gigabytes and holds nothing.
        if not (info.isfile() or info.isdir()) or info.issparse():
            raise _not_a_file(archive, info.name)
        opened = typing.cast(
            typing.Callable[[], typing.IO[bytes]], functools.partial(file.extractfile, info)
        )
        yield Member(info.name, info.isdir(), info.size, opened)
    # tarfile takes a damaged header for the end. The end is blocks of zeros; reading them all
    # also lets gzip compare its checksum.
    stream.seek(file.offset)
    rest = stream.read(tarfile.BLOCKSIZE)
    if len(rest) < tarfile.BLOCKSIZE or any(rest):
        raise EOFError("the end of the archive is missing")
    while stream.read(CHUNK):
        stream.seek(stream.tell())  # compares with the limit


class _Bounded:
    """The bytes of a tar file, in reads of at most one chunk.

    tarfile reads long names and extended headers in one piece of whatever size the header says:
    some kilobytes of gzip would become gigabytes of memory.
    """

    def __init__(self, archive: pathlib.Path, packed: bool):
        self._archive = archive
        self._file = gzip.open(archive, "rb") if packed else open(archive, "rb")  # noqa: SIM115
        self._limit = max(MAX_RATIO * archive.stat().st_size, ALWAYS_ALLOWED) + CHUNK
        self._furthest = 0

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self._file.close()

    def read(self, size: int = -1) -> bytes:
        """Return the next bytes; a larger read than tar needs raises."""
        if not 0 <= size <= CHUNK:
            raise Refused(f"{self._archive.name} has a header of {size:,} bytes; refused.")
        return self._file.read(size)

    def seek(self, offset: int) -> int:
        """Go to a place; what lies between is unpacked to be passed over.

        tarfile goes back by a byte to see whether a member was whole, and we to its last block. A
        negative size leads further back, to the same member again and again (CVE-2025-8194).
        """
        if offset > self._limit:
            raise _bomb(self._archive, self._limit)
        self._furthest = max(self._furthest, self._file.tell())
        if offset < self._furthest - tarfile.BLOCKSIZE:
            raise Refused(f"{self._archive.name} has a member that leads back; refused.")
        return self._file.seek(offset)

    def tell(self) -> int:
        """Return the place in the unpacked bytes."""
        return self._file.tell()


def _lift_single_folder(folder: pathlib.Path) -> None:
    """Put the content of the only folder in its place; archives mostly hold one folder."""
    items = list(folder.iterdir())
    if len(items) != 1 or not items[0].is_dir():
        return
    # Renamed first: the folder may hold a member of its own name.
    inner = items[0].rename(folder / f".{secrets.token_hex(8)}")
    for item in inner.iterdir():
        item.rename(folder / item.name)
    inner.rmdir()


def _check_room(archive: pathlib.Path, member: Member, folder: pathlib.Path) -> None:
    free = shutil.disk_usage(folder).free
    if member.size > free:
        raise Refused(
            f"{archive.name} needs {member.size:,} bytes for {member.name}, and {free:,} are free."
        )


def _bomb(archive: pathlib.Path, limit: int) -> Refused:
    return Refused(
        f"{archive.name} unpacks to more than {limit:,} bytes, which no checkpoint of its size "
        "does; refused."
    )


def _not_a_file(archive: pathlib.Path, name: str) -> Refused:
    return Refused(
        f"{archive.name} has a member `{name[:80]}` that is a link, a device or the like; "
        "refused, nothing was kept."
    )


def _is_tar(head: bytes) -> bool:
    return head[257:262] == b"ustar"


def _first_line(error: Exception) -> str:
    text = str(error).strip() or type(error).__name__
    return text.split("\n")[0].rstrip(".")
