"""Files to the columns that a task learns from and is measured on."""

from __future__ import annotations

import dataclasses
import pathlib
import typing

import numpy as np

from bertzoo import presets

# In front of a directory: bertzoo's own recipes folder, which holds the toy data of smoke runs.
OWN = "bertzoo:"


@dataclasses.dataclass
class Examples:
    """Rows of one part of the data, as columns.

    Args:
        columns: Name -> a value a row; which names there are is the kind of task's business.
        source: The files, for messages and the model card.
    """

    columns: dict[str, list[typing.Any]]
    source: str

    def __len__(self):
        """Count the rows."""
        return len(next(iter(self.columns.values())))

    def __getitem__(self, name):
        """Return a column, or None where there is none."""
        return self.columns.get(name)

    def take(self, rows):
        """Return some rows, by number."""
        columns = {name: [column[i] for i in rows] for name, column in self.columns.items()}
        return Examples(columns, self.source)


def read_parts(kind):
    """Return part -> `Examples` for `train`, `dev`, `test` where there is one, and `also`.

    Args:
        kind: A `Kind`, which reads one file.

    Raises:
        ValueError: For a file that is missing, empty or wrong, with its line; for a training or
            dev file without labels.
    """
    data = kind.recipe.data
    files = (data.train,) if isinstance(data.train, str) else data.train
    parts = {"train": _joined([_read(kind, file, "train") for file in files])}
    if data.dev is not None:
        parts["dev"] = _read(kind, data.dev, "dev")
    else:
        groups = kind.groups(parts["train"])
        parts["train"], parts["dev"] = _split(parts["train"], data.dev_share, groups)
    parts["train"] = _first(parts["train"], data.train_limit)
    if data.test is not None:
        parts["test"] = _test_part(kind)
    for name in data.also:
        parts[pathlib.PurePath(name).name.partition(".")[0]] = _read(kind, name, "test")
    for name in ("train", "dev"):
        if not kind.has_labels(parts[name]):
            raise ValueError(f"{parts[name].source} has no labels, and the {name} part needs them.")
    return parts


def find_file(data, name):
    """Return the path of a file of the data.

    >>> from bertzoo.training.finetuning.recipe import Data
    >>> find_file(Data("csv", "train.csv", directory="my_data"), "train.csv")
    Traceback (most recent call last):
    ValueError: my_data/train.csv does not exist; say where ... --set data.directory=FOLDER.
    """
    if data.directory.startswith(OWN):
        path = presets.data_folder("recipes") / data.directory.removeprefix(OWN) / name
    else:
        path = pathlib.Path(data.directory).expanduser() / name
    if not path.is_file():
        raise ValueError(
            f"{path} does not exist; say where the data are with --set data.directory=FOLDER."
        )
    return path


def _read(kind, name, part):
    path = find_file(kind.recipe.data, name)
    examples = Examples(kind.read(path, part), str(path))
    if len(examples) == 0:
        raise ValueError(f"{path} holds no example.")
    return _first(examples, kind.recipe.data.limit)


def _first(examples, limit):
    return examples if limit is None else examples.take(range(min(limit, len(examples))))


def _test_part(kind):
    try:
        find_file(kind.recipe.data, kind.recipe.data.test)
    except ValueError as error:
        raise ValueError(f"{error} Where there is no test file: --set data.test=null.") from None
    return _read(kind, kind.recipe.data.test, "test")


def _joined(parts):
    names = [name for name in parts[0].columns if all(name in part.columns for part in parts)]
    columns = {name: [value for part in parts for value in part.columns[name]] for name in names}
    return Examples(columns, ", ".join(part.source for part in parts))


def _split(examples, share, groups=None):
    """Return the examples without a share of them, and that share: drawn once and for all.

    With `groups`, a value a row, the rows of one group stay together, and the share is the
    smallest of whole groups that is large enough.
    """
    if groups is None:
        groups = range(len(examples))
    members = {}
    for row, group in enumerate(groups):
        members.setdefault(group, []).append(row)
    members, wanted, taken = list(members.values()), max(1, round(share * len(examples))), []
    order = np.random.default_rng(0).permutation(len(members))
    count = 0
    while len(taken) < wanted:
        taken += members[order[count]]
        count += 1
    if count >= len(members):
        raise ValueError(f"{examples.source} has too few rows to take a dev part of {share} away.")
    dev = examples.take(sorted(taken))
    dev.source += f" ({share:.0%} of it)"
    return examples.take(sorted(row for i in order[count:] for row in members[i])), dev
