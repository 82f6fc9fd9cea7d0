"""A format is a table: rows of (their name, our variable path, transform), and what to ignore.

`{i}` in a row is the distinct layer; `{g}` and `{j}` are ALBERT's group and inner layer; `{_i}`
is KerasHub's suffix, empty for the first layer. `{i}` in our path is always the distinct layer.
"""

from __future__ import annotations

import collections.abc
import dataclasses
import re

from bertzoo.checkpoints import shapes, transforms
from bertzoo.config import BackboneConfig


@dataclasses.dataclass(frozen=True)
class Row:
    """One tensor of a foreign format.

    Args:
        theirs: Its name, after the model prefix was taken off.
        ours: The path of our variable.
        transform: How the values change.
    """

    theirs: str
    ours: str
    transform: transforms.Identity = transforms.IDENTITY

    @property
    def part(self) -> str:
        """Which part of the network it belongs to."""
        return shapes.part_of(self.ours)


@dataclasses.dataclass(frozen=True)
class Table:
    """The rows of one format and the names that mean nothing to us.

    Args:
        rows: With `{i}` templates.
        ignored: Regular expressions, matched against whole names: buffers, optimizer slots.
        prefixes: Model prefixes, of which one is taken off where it is present.
        foreign_heads: (expression, what it is): tensors of heads that bertzoo has no kind for;
            they may stay unused.
    """

    rows: tuple[Row, ...]
    ignored: tuple[str, ...] = ()
    prefixes: tuple[str, ...] = ()
    foreign_heads: tuple[tuple[str, str], ...] = ()

    def expand(self, config: BackboneConfig) -> list[Row]:
        """Return the rows with every layer written out."""
        rows = []
        for row in self.rows:
            if "{" not in row.ours + row.theirs:
                rows.append(row)
                continue
            for layer in range(config.num_distinct_layers):
                group, inner = divmod(layer, config.num_inner_layers)
                names = {"i": layer, "g": group, "j": inner, "_i": f"_{layer}" if layer else ""}
                rows.append(
                    dataclasses.replace(
                        row,
                        theirs=row.theirs.format_map(names),
                        ours=row.ours.format_map(names),
                    )
                )
        return rows

    def ignores(self, name: str) -> bool:
        """Whether a tensor of this name means nothing to us."""
        return any(re.fullmatch(pattern, name) for pattern in self.ignored)

    def foreign_head(self, name: str) -> str | None:
        """Return what a tensor belongs to, where bertzoo has no such head."""
        for pattern, meaning in self.foreign_heads:
            if re.fullmatch(pattern, name):
                return meaning
        return None


def dense(theirs: str, ours: str, kernel=transforms.TRANSPOSE, names=("weight", "bias"), dot="."):
    """Return the two rows of a dense layer."""
    return (
        Row(f"{theirs}{dot}{names[0]}", f"{ours}/kernel", kernel),
        Row(f"{theirs}{dot}{names[1]}", f"{ours}/bias"),
    )


def norm(theirs: str, ours: str, names=("weight", "bias"), dot="."):
    """Return the two rows of a layer normalization."""
    return (
        Row(f"{theirs}{dot}{names[0]}", f"{ours}/gamma"),
        Row(f"{theirs}{dot}{names[1]}", f"{ours}/beta"),
    )


def names_in_order(names: collections.abc.Iterable[str], limit: int = 8) -> str:
    """Return a readable list of names, shortened where it is long."""
    ordered = sorted(names)
    shown = ", ".join(ordered[:limit])
    return shown + (f" and {len(ordered) - limit} more" if len(ordered) > limit else "")
