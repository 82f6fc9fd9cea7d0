"""Checkpoints that are not at hand: where they may be, fetching them, keeping them.

No TensorFlow and no Keras; the hubs' own clients are imported when an address asks for them.
"""

from bertzoo.hub.addresses import Address, is_address, parse
from bertzoo.hub.archives import is_archive
from bertzoo.hub.cache import describe, verify
from bertzoo.hub.fetching import download_preset, downloaded, fetch, origin, unpack
from bertzoo.hub.places import downloads, home, locate, offline, where_to_get

__all__ = [
    "Address",
    "describe",
    "download_preset",
    "downloaded",
    "downloads",
    "fetch",
    "home",
    "is_address",
    "is_archive",
    "locate",
    "offline",
    "origin",
    "parse",
    "unpack",
    "verify",
    "where_to_get",
]
