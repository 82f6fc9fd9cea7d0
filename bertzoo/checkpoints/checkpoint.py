"""`Checkpoint`: what a directory holds, checked against a network before one array is given."""

from __future__ import annotations

import collections.abc
import dataclasses
import os
import pathlib
import typing

import numpy as np

from bertzoo.checkpoints import readers, shapes
from bertzoo.checkpoints.table import Row, Table, names_in_order
from bertzoo.config import BackboneConfig, HeadConfig, TokenizerConfig


@dataclasses.dataclass(frozen=True)
class Checkpoint:
    """An opened checkpoint of any format; arrays stay in their files until they are asked for.

    Args:
        name: The preset name or directory that it was opened by.
        directory: Where its files are; None for a preset whose files are not on this machine.
        format: One of `FORMATS`.
        config: The encoder.
        heads: The heads that it carries, by kind.
        tokenizer: How text becomes ids; None where the files do not say.
        files: Vocabulary files by role: `vocabulary`, `merges`.
        info: What is known of its origin: description, license, language, paper.
        unread_heads: Heads that are there but cannot be read: kind -> reason.
        tensors: The stored arrays, under the names of the format's table.
        table: The format's rows, ignored names and foreign heads.
        why_no_weights: What to say when weights are asked for and there are none.

    Example:
    >>> checkpoint = import_checkpoint("bert_toy")
    >>> path, array = next(checkpoint.all_weights())
    >>> path, array.shape, array.dtype
    ('embeddings/token/embeddings', (86, 20), dtype('float32'))
    """

    name: str
    directory: pathlib.Path | None
    format: str
    config: BackboneConfig
    heads: dict[str, HeadConfig]
    tokenizer: TokenizerConfig | None
    files: dict[str, pathlib.Path]
    info: dict[str, typing.Any]
    unread_heads: dict[str, str] = dataclasses.field(default_factory=dict)
    tensors: readers.Tensors | None = dataclasses.field(default=None, repr=False)
    table: Table | None = dataclasses.field(default=None, repr=False)
    why_no_weights: str = ""

    def weights(
        self,
        wanted: collections.abc.Mapping[str, tuple[int, ...]],
        parts: collections.abc.Collection[str] | None = None,
    ) -> collections.abc.Iterator[tuple[str, np.ndarray]]:
        """Return an iterator over (path, float32 array), one for each wanted variable.

        Everything is checked before this returns; each array is read when its turn comes.

        Args:
            wanted: Variable path -> shape, of the network to fill.
            parts: Parts to fill, as `backbone`, `pooler`, `masked_lm`; None for all.

        Raises:
            ValueError: A variable that no tensor fills, a tensor that nothing uses, or a shape
                that differs; the message lists them all.
        """
        self._stored()
        if parts is not None:
            wanted = {path: s for path, s in wanted.items() if shapes.part_of(path) in parts}
        return self._read(self._plan(wanted))

    def _stored(self) -> tuple[readers.Tensors, Table]:
        if self.tensors is None or self.table is None:
            raise ValueError(self.why_no_weights or f"{self.name} has no weights.")
        return self.tensors, self.table

    def _plan(self, wanted) -> list[tuple[str, Row]]:
        tensors, table = self._stored()
        rows = table.expand(self.config)
        carried = {"backbone", "pooler", *self.heads}
        active = [row for row in rows if row.part in carried and row.theirs in tensors]
        by_path = {row.ours: row for row in active}
        missing = [path for path in wanted if path not in by_path]
        wrong = []
        for path, shape in wanted.items():
            if path in by_path:
                row = by_path[path]
                expected = row.transform.their_shape(tuple(shape), self.config)
                if tuple(tensors[row.theirs]) != expected:
                    wrong.append(
                        f"{tensors.stored_name(row.theirs)} is "
                        f"{tuple(tensors[row.theirs])}, but {path} needs {expected}"
                    )
        unused = self._unused(rows, carried, wanted)
        if missing or unused or wrong:
            raise ValueError(self._complaint(missing, unused, wrong, rows))
        return [(path, by_path[path]) for path in wanted]

    def _unused(self, rows, carried, wanted) -> list[str]:
        """Return the tensors that nothing uses, apart from those of parts that nobody wants."""
        tensors, table = self._stored()
        wanted_parts = {shapes.part_of(path) for path in wanted}
        rows_of: dict[str, list[Row]] = {}
        for row in rows:
            rows_of.setdefault(row.theirs, []).append(row)
        unused = []
        for name in tensors:
            if table.ignores(name) or table.foreign_head(name):
                continue
            candidates = rows_of.get(name)
            if candidates is None:
                unused.append(tensors.stored_name(name))
                continue
            live = [row for row in candidates if row.part in carried]
            if any(row.part in wanted_parts and row.ours not in wanted for row in live):
                unused.append(tensors.stored_name(name))
        return unused

    def _complaint(self, missing, unused, wrong, rows) -> str:
        lines = [f"{self.name} ({self.format}) does not fit the network; nothing was loaded."]
        if missing:
            theirs = {row.ours: row.theirs for row in rows}
            spelled = [
                f"{path} (expected as {theirs[path]})" if path in theirs else path
                for path in missing
            ]
            lines.append(f"Variables that no tensor fills: {names_in_order(spelled)}.")
        if unused:
            lines.append(f"Tensors that nothing uses: {names_in_order(unused)}.")
        if wrong:
            lines.append(f"Shapes that differ: {names_in_order(wrong)}.")
        for kind in {shapes.part_of(path) for path in missing}:
            if kind in self.unread_heads:
                lines.append(f"The {kind} head: {self.unread_heads[kind]}.")
        return "\n".join(lines)

    def _read(self, plan) -> collections.abc.Iterator[tuple[str, np.ndarray]]:
        tensors, _ = self._stored()
        for path, row in plan:
            array = row.transform.load(tensors.read(row.theirs), self.config)
            yield path, np.ascontiguousarray(array)

    def read(self, path: str) -> np.ndarray:
        """Return one variable that the checkpoint carries."""
        row = next(row for row in self._stored()[1].expand(self.config) if row.ours == path)
        return next(self._read([(path, row)]))[1]

    def all_weights(self) -> collections.abc.Iterator[tuple[str, np.ndarray]]:
        """Return an iterator over everything it carries: the backbone and every head."""
        return self.weights(shapes.variable_shapes(self.config, self.heads.values()))

    def save_to_preset(self, directory: str | os.PathLike) -> pathlib.Path:
        """Write all that it carries as a preset directory of bertzoo, atomically.

        >>> path = import_checkpoint("bert_toy").save_to_preset("my_bert")
        >>> import_checkpoint("my_bert").format
        'bertzoo'
        """
        from bertzoo.checkpoints import export  # which reads and writes every format

        return export.export_checkpoint(self, directory, "bertzoo")


def check_config_against_tensors(
    config: BackboneConfig, rows: Table, tensors: readers.Tensors, where: str
) -> None:
    """Raise where a configuration and the stored shapes contradict each other.

    Called before anything is allocated, so that a damaged size costs a message, not memory.
    """
    if config.num_distinct_layers > len(tensors):
        raise ValueError(
            f"{where} asks for {config.num_distinct_layers} layers, but the weights hold only "
            f"{len(tensors)} tensors."
        )
    expected = shapes.variable_shapes(config)
    wrong = []
    for row in rows.expand(config):
        if row.theirs in tensors and row.ours in expected:
            shape = row.transform.their_shape(expected[row.ours], config)
            if tuple(tensors[row.theirs]) != shape:
                wrong.append(f"{tensors.stored_name(row.theirs)} is {tuple(tensors[row.theirs])}, "
                             f"not {shape}")  # fmt: skip
    if wrong:
        raise ValueError(
            f"{where} contradicts the weights beside it: {names_in_order(wrong, limit=4)}."
        )
