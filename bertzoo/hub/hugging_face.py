"""`hf://user/repo[@revision]` through the official client, huggingface_hub.

The client does the requests, the login, the resuming and the progress bars. Here is chosen which
files are asked for, all of one commit, and that they are what the hub says they are: it names the
SHA-256 of large files and git's SHA-1 of small ones.
"""

from __future__ import annotations

import hashlib
import json
import pathlib
import re
import shutil
import types
import typing

from bertzoo import durable
from bertzoo.hub import places, wanted_files
from bertzoo.hub.addresses import Address, without_secrets
from bertzoo.hub.cache import STORAGE_ERRORS, Origin

TIMEOUT = 30  # seconds, for the list of files


def download(address: Address, folder: pathlib.Path) -> Origin:
    """Put the files of a repository that a checkpoint needs into an empty folder."""
    client = import_client(address)
    endpoint = places.hugging_face_endpoint()
    try:
        listing = client.HfApi(endpoint=endpoint).model_info(
            address.name, revision=address.revision or None, files_metadata=True, timeout=TIMEOUT
        )
    except Exception as error:
        raise _reason(client, error, address) from None
    commit = listing.sha
    if not re.fullmatch("[0-9a-f]{40}", commit or ""):
        raise ValueError(f"the hub did not name the commit of {address}; check HF_ENDPOINT.")
    files = {file.rfilename: file for file in listing.siblings or ()}
    names = wanted_files.choose(files)
    if not names:
        raise ValueError(
            f"{address} has no files that bertzoo reads; expected config.json and the like, and "
            f"it has {', '.join(sorted(files)[:5]) or 'nothing'}."
        )
    _check_room(address, folder, sum(files[name].size or 0 for name in names))
    for name in names:
        try:
            client.hf_hub_download(
                address.name, name, revision=commit, local_dir=folder, endpoint=endpoint
            )
        except Exception as error:
            raise _reason(client, error, address, name) from None
        _check(address, folder / name, files[name])
    shutil.rmtree(folder / ".cache", ignore_errors=True)  # the client's notes
    return Origin(f"hf://{address.name}", commit)


def upload(
    address: Address,
    files: typing.Mapping[str, pathlib.Path | bytes],
    *,
    private: bool,
    message: str,
) -> str:
    """Make the repository if it is not there, commit files to it, and return hf://...@commit.

    Args:
        address: Without a revision.
        files: Name in the repository -> a file, or its content.
        private: For a new repository.
        message: Of the commit.
    """
    client = import_client(address)
    api = client.HfApi(endpoint=places.hugging_face_endpoint())
    operations = [
        client.CommitOperationAdd(name, str(file) if isinstance(file, pathlib.Path) else file)
        for name, file in files.items()
    ]
    try:
        api.create_repo(address.name, private=private, exist_ok=True)
        commit = api.create_commit(address.name, operations, commit_message=message)
    except Exception as error:
        raise _reason(client, error, address, doing="be written to") from None
    return f"hf://{address.name}@{commit.oid}"


def import_client(address: Address) -> types.ModuleType:
    """Import huggingface_hub, or say how to install it."""
    try:
        import huggingface_hub
    except ModuleNotFoundError as error:
        raise ValueError(
            f"{address} needs the Python package {error.name}: pip install 'bertzoo[hf]'."
        ) from None
    return huggingface_hub


def _check(address: Address, path: pathlib.Path, file) -> None:
    """Compare a downloaded file with the sizes and checksums in the hub's list."""
    size = path.stat().st_size
    if file.size is not None and size != file.size:
        raise ValueError(
            f"{path.name} of {address} arrived with {size:,} bytes of {file.size:,}; try again."
        )
    with open(path, "rb") as content:
        begin = content.read(512).lstrip().lower()
    if begin.startswith((b"<!doctype html", b"<html")):
        raise ValueError(
            f"{path.name} of {address} arrived as a web page; a proxy or a login page stands "
            "between this machine and the hub."
        )
    if file.lfs is not None:
        differs = durable.sha256(path) != file.lfs.sha256
    elif file.blob_id:
        differs = _git_sha1(path) != file.blob_id
    else:
        differs = False
    if differs:
        raise ValueError(
            f"{path.name} of {address} is not what the hub's checksum says; it was not kept, try "
            "again."
        )


def _git_sha1(path: pathlib.Path) -> str:
    content = path.read_bytes()
    return hashlib.sha1(b"blob %d\0" % len(content) + content, usedforsecurity=False).hexdigest()


def _check_room(address: Address, folder: pathlib.Path, needed: int) -> None:
    free = shutil.disk_usage(folder).free
    if needed > free:
        raise ValueError(
            f"{address} needs {needed:,} bytes, and {free:,} are free in {places.home()}."
        )


def _reason(client, error: Exception, address: Address, file: str = "", doing="") -> Exception:
    """Turn the client's error into one sentence without tokens; our own and the disk's pass."""
    errors = client.errors
    if isinstance(error, errors.LocalEntryNotFoundError):  # "not in the cache, and besides:"
        error = error.__cause__ if isinstance(error.__cause__, Exception) else error
    what = f"{file} of {address}" if file else str(address)
    status = getattr(getattr(error, "response", None), "status_code", None)
    if isinstance(error, OSError) and error.errno in STORAGE_ERRORS:
        return error
    if isinstance(error, errors.GatedRepoError):
        text = "asks you to accept its terms on its page, and then to log in with `hf auth login`"
    elif isinstance(error, errors.RevisionNotFoundError):
        text = f"does not exist: {address.name} has no revision {address.revision!r}"
    elif isinstance(error, errors.OfflineModeIsEnabled):
        text = "cannot be fetched, since HF_HUB_OFFLINE is set"
    elif isinstance(error, errors.RepositoryNotFoundError) or status == 401:
        text = (
            "does not exist, or is private: check the name, or log in with `hf auth login` "
            f"(status {status})"
        )
    elif status == 403:
        text = "may not be used with your login (status 403)"
    elif status == 404:
        text = "does not exist (status 404)"
    elif isinstance(error, json.JSONDecodeError):
        text = "got an answer that is not the hub's, perhaps a web page; check HF_ENDPOINT"
    elif status is not None:
        text = f"cannot {doing or 'be fetched'}: the hub answered with status {status}; try again"
    else:
        text = f"cannot {doing or 'be fetched'} ({_first_line(error)}); try again"
    return ValueError(f"{what} {text}.")


def _first_line(error: Exception) -> str:
    text = str(error).strip() or type(error).__name__
    return without_secrets(text.split("\n")[0]).rstrip(".")
