"""Files of labels: names in output order, hierarchies, and rows of 0 and 1 (hedwig's DocBERT)."""

from __future__ import annotations

import pathlib
import typing

from bertzoo.readers.examples import Examples
from bertzoo.readers.tables import tsv_rows


class LabelSet(typing.NamedTuple):
    """Labels, and where they stand in a hierarchy.

    Args:
        labels: Names in output order.
        parents: {child: parent}; empty without a hierarchy.
    """

    labels: tuple[str, ...]
    parents: dict[str, str]

    def with_parents(self, labels) -> list[str]:
        """Return labels of a text with all that they imply, in output order.

        >>> LabelSet(("A", "A01", "A01B"), {"A01": "A", "A01B": "A01"}).with_parents(["A01B"])
        ['A', 'A01', 'A01B']
        """
        found = set()
        for label in labels:
            if label not in self.labels:
                raise ValueError(f"the label {label!r} is not among the {len(self.labels)} labels.")
            while label is not None:
                found.add(label)
                label = self.parents.get(label)
        return [label for label in self.labels if label in found]


def read_labels(path) -> LabelSet:
    r"""Read labels, one a line in output order; behind a tab, the label's parent.

    Args:
        path: A text file; empty lines and what follows `#` at the start of a line are passed over.

    Raises:
        ValueError: With file and line: a label that comes twice, a parent that is no label, a
            label that is its own ancestor; and for a file without labels.

    Example:
    >>> with open("labels.txt", "w") as file:
    ...     written = file.write("science\nphysics\tscience\n")
    >>> read_labels("labels.txt")
    LabelSet(labels=('science', 'physics'), parents={'physics': 'science'})
    """
    path = pathlib.Path(path).expanduser()
    if not path.is_file():
        raise ValueError(f"{path} is not a file.")
    lines, parents = {}, {}
    for number, text in enumerate(path.read_text(encoding="utf-8-sig").split("\n"), 1):
        text = text.removesuffix("\r")
        if not text.strip() or text.startswith("#"):
            continue
        label, _, parent = (part.strip() for part in text.partition("\t"))
        if label in lines:
            raise ValueError(
                f"{path}, line {number}: the label {label!r} stands in line {lines[label]} too."
            )
        lines[label] = number
        if parent:
            parents[label] = parent
    if not lines:
        raise ValueError(f"{path} has no labels.")
    for label, parent in parents.items():
        where = f"{path}, line {lines[label]}"
        if parent not in lines:
            raise ValueError(f"{where}: the parent {parent!r} of {label!r} is not a label.")
        seen, above = {label}, parent
        while above is not None:
            if above in seen:
                raise ValueError(f"{where}: the label {label!r} is its own ancestor.")
            seen.add(above)
            above = parents.get(above)
    return LabelSet(tuple(lines), parents)


def cpc_hierarchy(codes) -> LabelSet:
    """Return patent codes with the classes and sections above them, as A01B under A01 under A.

    Args:
        codes: Subclasses of the CPC or IPC, of four characters, in output order.

    Returns:
        The sections, the classes, then the subclasses.

    Example:
    >>> cpc_hierarchy(["A01B", "H04L"]).labels
    ('A', 'H', 'A01', 'H04', 'A01B', 'H04L')
    """
    for index, code in enumerate(codes):
        is_code = len(code) == 4 and code[0].isalpha() and code[1:3].isdigit() and code[3].isalpha()
        if not is_code:
            raise ValueError(f"code {index} should be a subclass such as A01B; got {code!r}.")
    sections = sorted({code[:1] for code in codes})
    classes = sorted({code[:3] for code in codes})
    parents = {name: name[:1] for name in classes} | {code: code[:3] for code in codes}
    return LabelSet((*sections, *classes, *codes), parents)


def read_hedwig(path, labels=None) -> Examples:
    r"""Read a file of DocBERT's code (castorini/hedwig): a row of 0 and 1, a tab, the text.

    Args:
        path: A TSV.
        labels: Names of the labels in the order of the digits; None for their numbers.

    Returns:
        `Examples` with a list of labels a text.

    Example:
    >>> with open("dev.tsv", "w") as file:
    ...     written = file.write("101\tprices rose\n")
    >>> read_hedwig("dev.tsv", ["trade", "ship", "grain"]).label
    [['trade', 'grain']]
    """
    path = pathlib.Path(path).expanduser()
    texts, found, lines, count = [], [], [], len(labels) if labels else None
    for line, values in tsv_rows(path, header=False):
        digits = values[0]
        count = count or len(digits)
        if len(values) != 2 or len(digits) != count or set(digits) - {"0", "1"}:
            raise ValueError(
                f"{path}, line {line}: expected {count} digits of 0 and 1, a tab and a text; got "
                f"{len(values)} columns and {digits[:40]!r}."
            )
        texts.append(values[1])
        hot = [index for index, digit in enumerate(digits) if digit == "1"]
        found.append([labels[index] for index in hot] if labels else hot)
        lines.append(line)
    return Examples(texts, None, found, str(path), lines)
