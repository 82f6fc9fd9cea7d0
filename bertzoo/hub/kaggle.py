"""`kaggle://owner/model/framework/variation[/version]` through the official client, kagglehub.

The client does the requests, the login and the progress bars.
"""

from __future__ import annotations

import contextlib
import pathlib
import re
import shutil
import sys
import tempfile
import types
import typing

from bertzoo import durable
from bertzoo.hub import wanted_files
from bertzoo.hub.addresses import Address, without_secrets
from bertzoo.hub.cache import STORAGE_ERRORS, Origin


def download(address: Address, folder: pathlib.Path) -> Origin:
    """Put the files of a model that a checkpoint needs into an empty folder."""
    client = import_client(address)
    handle = f"{address.name}/{address.revision}" if address.revision else address.name
    received = folder / ".received"
    try:
        with _talking_aside():
            found = pathlib.Path(client.model_download(handle, output_dir=str(received)))
    except Exception as error:
        raise _reason(error, address) from None
    files = {path.relative_to(found).as_posix() for path in found.rglob("*") if path.is_file()}
    names = wanted_files.choose(files)
    if not names:
        raise ValueError(
            f"{address} has no files that bertzoo reads; expected config.json and the like, and "
            f"it has {', '.join(sorted(files)[:5]) or 'nothing'}."
        )
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        if found == received:
            (found / name).rename(folder / name)
        else:  # on Kaggle's own machines the files are mounted somewhere
            shutil.copyfile(found / name, folder / name)
        _check(address, folder / name)
    shutil.rmtree(received, ignore_errors=True)
    return Origin(f"kaggle://{address.name}", address.revision)


def upload(
    address: Address,
    files: typing.Mapping[str, pathlib.Path | bytes],
    *,
    license_name: str | None,
    message: str,
) -> str:
    """Write a new variation, or a new version of it; return its handle.

    Args:
        address: Without a version; the client makes the model, private, if it is not there.
        files: Name -> a file, or its content.
        license_name: As Kaggle spells it; None for what the model has.
        message: Notes of the version.
    """
    client = import_client(address)
    with tempfile.TemporaryDirectory(prefix="bertzoo-upload-") as folder:
        for name, file in files.items():
            target = pathlib.Path(folder, name)
            if isinstance(file, bytes):
                durable.write_bytes(target, file)
            else:
                target.symlink_to(file.resolve())
        try:
            with _talking_aside():
                client.model_upload(address.name, folder, license_name, version_notes=message)
        except Exception as error:
            raise _reason(error, address, "be written to") from None
    return str(address)


def import_client(address: Address) -> types.ModuleType:
    """Import kagglehub, or say how to install it."""
    try:
        with _talking_aside():  # it keeps the standard output of the moment of its import
            import kagglehub
    except ModuleNotFoundError as error:
        raise ValueError(
            f"{address} needs the Python package {error.name}: pip install 'bertzoo[kaggle]'."
        ) from None
    return kagglehub


def _talking_aside() -> typing.ContextManager:
    """Let the client talk on standard error: answers are printed on standard output."""
    return contextlib.redirect_stdout(sys.stderr)


def _check(address: Address, path: pathlib.Path) -> None:
    with open(path, "rb") as content:
        begin = content.read(512).lstrip().lower()
    if begin.startswith((b"<!doctype html", b"<html")):
        raise ValueError(f"{path.name} of {address} arrived as a web page; it was not kept.")


def _reason(error: Exception, address: Address, doing: str = "be fetched") -> Exception:
    """Turn the client's error into one sentence without tokens; the disk's errors pass."""
    status = getattr(getattr(error, "response", None), "status_code", None)
    if isinstance(error, OSError) and error.errno in STORAGE_ERRORS:
        return error
    if status in (401, 403):
        text = (
            f"may not be used with your login (status {status}): accept the model's terms on its "
            "page, and log in with kagglehub.login()"
        )
    elif status == 404:
        text = "does not exist (status 404)"
    else:
        line = re.split(r"\n", without_secrets(str(error).strip() or type(error).__name__))[0]
        text = f"cannot {doing} ({line.rstrip('.')}); try again"
    return ValueError(f"{address} {text}.")
