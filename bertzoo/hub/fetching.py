"""From an address or a preset's row to a folder of files: the cache first, then the place itself.

What an address led to when it was first used is kept and used from then on, without asking the
network again: results do not change because somebody uploaded something. Object stores, where
one's own trainings write, are asked each time, and a folder that has changed is fetched again.
"""

from __future__ import annotations

import functools
import pathlib

from bertzoo import durable
from bertzoo.hub import (
    addresses,
    archives,
    cache,
    hugging_face,
    kaggle,
    object_store,
    places,
    web,
)
from bertzoo.hub.addresses import Address

CLIENTS = {"hugging_face": hugging_face, "kaggle": kaggle, "web": web, "object_store": object_store}
# The buckets of Google's own storage that hold archives of presets.
GOOGLE_BUCKETS = ("bert_models", "albert_models", "patents-public-data-github")
GOOGLE_STORAGE = "https://storage.googleapis.com"


def fetch(source: str) -> pathlib.Path:
    """Return the folder with the files of an address, downloaded on first use and then checked.

    Args:
        source: `hf://user/repo[@revision]`, `kaggle://owner/model/framework/variation[/version]`,
            `https://.../archive.zip[#sha256=...]` or `gs://bucket/path`.

    Raises:
        ValueError: Not an address, nothing there, not reachable, not allowed (offline), damaged.
            Nothing is left in the cache.
    """
    address = addresses.parse(source)
    client = CLIENTS[address.kind]
    entry = _entry(address)
    if address.kind == "object_store":
        entry = object_store.current_entry(address, entry)
    if not cache.is_filled(entry):
        _check_online(address)
        cache.fill(entry, str(address), functools.partial(client.download, address))
    cache.verify(entry)
    return entry


def download_preset(info) -> pathlib.Path:
    """Return the folder of a preset by its name, downloaded from the first source that has it.

    Args:
        info: A `PresetInfo`.

    Raises:
        ValueError: No source could be used; the message says why for each, and how to put the
            files there by hand.
    """
    reasons = []
    for source in info.sources:
        address = _address_of(source)
        if address is None:
            continue
        if places.offline(address.kind) is not None:
            continue  # where_to_get says so
        client = CLIENTS[address.kind]
        try:
            return cache.fill(
                places.home() / info.name,
                str(address),
                functools.partial(client.download, address),
                info.sha256,
            )
        except ValueError as error:
            reasons.append(str(error).rstrip("."))
    text = places.where_to_get(info)
    raise ValueError(f"{text} (Not downloaded: {'; '.join(reasons)}.)" if reasons else text)


def unpack(archive: pathlib.Path) -> pathlib.Path:
    """Return the folder of an archive on this machine, unpacked into the cache on first use."""
    digest = durable.sha256(archive)
    entry = places.downloads() / "archive" / f"{archive.name[-120:].lstrip('.')}-{digest[:12]}"

    def extract(folder: pathlib.Path) -> cache.Origin:
        archives.unpack(archive, folder)
        return cache.Origin(str(archive.resolve()), digest)

    cache.fill(entry, str(archive), extract)
    cache.verify(entry)
    return entry


def downloaded() -> list[pathlib.Path]:
    """Return the entries that were fetched by address, sorted."""
    return sorted(path.parent for path in places.downloads().glob(f"*/*/{cache.LOCK}"))


def origin(entry: pathlib.Path) -> str | None:
    """Return the address of a downloaded entry with the state that it had, for a model card."""
    lock = cache.read_lock(entry)
    if lock is None or "://" not in lock["source"]:
        return None
    return f"{lock['source']} ({lock['revision']})" if lock["revision"] else lock["source"]


def _entry(address: Address) -> pathlib.Path:
    return places.downloads() / address.kind / address.folder


def _check_online(address: Address) -> None:
    variable = places.offline(address.kind)
    if variable is not None:
        raise ValueError(
            f"{address} is not in {places.downloads()}, and {variable} forbids downloading; "
            "unset it, or copy that folder from a machine that has it."
        )


def _address_of(source) -> Address | None:
    """Return where a preset's source can be fetched from; None where only a person can."""
    if source.kind in ("hugging_face", "kaggle"):
        return Address(source.kind, source.location)
    if source.kind == "archive" and source.location.split("/")[0] in GOOGLE_BUCKETS:
        return Address("web", f"{GOOGLE_STORAGE}/{source.location}")
    return None
