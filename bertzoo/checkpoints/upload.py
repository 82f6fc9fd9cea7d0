"""Publish a preset directory on Hugging Face or Kaggle, with a model card, by their own clients."""

from __future__ import annotations

import collections.abc
import os
import pathlib
import typing

from bertzoo import hub
from bertzoo.checkpoints import checkpoint, model_card, preset_directory
from bertzoo.config import check_key
from bertzoo.hub import addresses, hugging_face, kaggle

FACTS = ("description", "metrics", *model_card.FACTS)


def upload_preset(
    directory: str | os.PathLike,
    address: str,
    *,
    facts: collections.abc.Mapping[str, typing.Any] | None = None,
    private: bool = False,
    message: str = "Upload a bertzoo preset",
) -> str:
    """Publish what `save_to_preset` wrote; the directory itself is not changed.

    You must be logged in: `hf auth login`, or `kagglehub.login()`. Only the preset's own files are
    sent, after their checksums were compared. A README.md that you wrote yourself is kept as the
    model card; otherwise one is generated.

    Args:
        directory: A preset directory.
        address: `hf://user/repo` or `kaggle://owner/model/framework/variation`; made if it is not
            there.
        facts: For the model card: `description`, `license`, `language`, `paper`, `source`,
            `training_data`, `note`, and `metrics`, a mapping of names to numbers. What is not
            given is taken from the preset, and what is in neither is said to be not known.
        private: Whether a new Hugging Face repository is private; a new Kaggle model always is.
        message: Of the commit, or notes of the version.

    Returns:
        The address that now loads the preset, with its commit on Hugging Face.

    Raises:
        ValueError: No preset, files that were changed, an address without such a place, or a hub
            that refuses.

    Example:
    ```python
    classifier.save_to_preset("my_bert")
    upload_preset("my_bert", "hf://me/my-bert", facts={"license": "MIT", "metrics": {"f1": 0.9}})
    ```
    """
    target = addresses.parse(address) if hub.is_address(address) else None
    if target is None or target.kind not in ("hugging_face", "kaggle"):
        raise ValueError(
            f"{address!r} is not a place to upload to; expected hf://user/repo or "
            f"{addresses.KAGGLE_FORM.partition(',')[0]}."
        )
    if target.revision:
        raise ValueError(f"{target} names a version, which an upload makes; leave it out.")
    for key in facts or ():
        check_key(key, FACTS, "the facts of a model card")
    path = pathlib.Path(directory).expanduser()
    if not (path / preset_directory.PRESET).is_file():
        raise ValueError(
            f"{path} is not a preset of bertzoo: it has no {preset_directory.PRESET}; write one "
            "with save_to_preset, or with `bertzoo convert SOURCE DIRECTORY --to bertzoo`."
        )
    opened = preset_directory.open_preset(path)
    if opened.tensors is None:
        raise ValueError(f"{opened.why_no_weights} Such a preset is not published.")
    info = {**opened.info, **(facts or {})}
    card = _card(opened, path, target, info)
    files: dict[str, pathlib.Path | bytes] = {
        preset_directory.PRESET: path / preset_directory.PRESET,
        preset_directory.WEIGHTS: path / preset_directory.WEIGHTS,
        **{file.name: file for file in opened.files.values()},
        preset_directory.CARD: card.encode("utf-8"),
    }
    if target.kind == "hugging_face":
        return hugging_face.upload(target, files, private=private, message=message)
    license_name = model_card.LICENSES.get(str(info.get("license")))
    return kaggle.upload(target, files, license_name=license_name, message=message)


def _card(
    opened: checkpoint.Checkpoint,
    path: pathlib.Path,
    target: addresses.Address,
    info: collections.abc.Mapping[str, typing.Any],
) -> str:
    """Return the card: the user's own, or a new one with the address and all facts."""
    front = model_card.front_matter(opened.heads, info) + "\n\n"
    parts = (opened.config, opened.heads, opened.tokenizer)
    own = path / preset_directory.CARD
    if own.is_file():
        text = own.read_text(encoding="utf-8")
        title = text.split("\n", 1)[0].removeprefix("# ")
        if text != model_card.write(title, *parts, opened.info):
            return text if text.startswith("---\n") else front + text
    name = target.name.split("/")[1 if target.kind == "hugging_face" else 3]
    return front + model_card.write(name, *parts, info, address=str(target))
