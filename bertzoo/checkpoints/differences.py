"""What another library would compute otherwise: the reason for which an export is refused."""

from __future__ import annotations

import collections.abc
import dataclasses

from bertzoo.config import BackboneConfig, HeadConfig

# Only for drawing new weights, which an exported model does not do.
UNUSED = ("initializer_range",)


def config_differences(ours: BackboneConfig, theirs: BackboneConfig) -> list[str]:
    """Say which fields the other format would give back differently.

    >>> config_differences(BackboneConfig(), BackboneConfig(activation="relu"))
    ["activation would be 'relu', and is 'gelu'"]
    """
    return [
        f"{field.name} would be {there!r}, and is {here!r}"
        for field in dataclasses.fields(BackboneConfig)
        if (here := getattr(ours, field.name)) != (there := getattr(theirs, field.name))
        and field.name not in UNUSED
    ]


def head_differences(
    ours: collections.abc.Mapping[str, HeadConfig],
    theirs: collections.abc.Mapping[str, HeadConfig],
) -> list[str]:
    """Say which heads, or which of their fields, would not come back."""
    found = []
    for kind, head in ours.items():
        if kind not in theirs:
            found.append(f"it has no place for this {kind} head")
            continue
        for field in dataclasses.fields(HeadConfig):
            here, there = getattr(head, field.name), getattr(theirs[kind], field.name)
            if here != there and _matters(head, field.name):
                found.append(f"{kind}: {field.name} would be {there!r}, and is {here!r}")
    return found


def refuse(format: str, name: str, found: list[str], allow_inexact: bool) -> None:
    """Raise with the reasons, if there are any and nobody said that they do not matter."""
    if found and not allow_inexact:
        raise ValueError(
            f"{format} cannot express {name}: {'; '.join(found)}. Pass allow_inexact=True to "
            "write it all the same."
        )


def _matters(head: HeadConfig, field: str) -> bool:
    """Whether a field of a head changes what it computes or how it trains."""
    if field == "labels":
        return False  # KerasHub has no names of classes, transformers always has some
    if field == "null_threshold":
        return False  # elsewhere it is an argument of the decoding, and no part of a model
    if field == "layer_norm_epsilon":
        return head.kind == "masked_lm"
    if field == "input":
        return head.kind in ("text_classifier", "multiple_choice")
    if field == "dropout":
        # The other kinds are trained without dropout of their own, in bertzoo and elsewhere.
        return head.kind in ("text_classifier", "token_classifier", "multiple_choice")
    return True
