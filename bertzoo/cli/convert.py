"""`convert`: a checkpoint in one format to a directory in another."""

from __future__ import annotations

import pathlib

from bertzoo.cli.output import answer, remark


def convert(options) -> None:
    """`bertzoo convert`: read any known format, write the one that was asked for."""
    directory = pathlib.Path(options.directory)
    if directory.exists() and (not directory.is_dir() or any(directory.iterdir())):
        raise ValueError(f"{directory} exists already; give a new directory.")
    from bertzoo import checkpoints

    checkpoint = checkpoints.open_source(options.source, format=options.format)
    remark(f"{options.source} is {checkpoint.format}; writing {options.to} ...")
    heads = options.heads.split(",") if options.heads else None
    checkpoints.export_checkpoint(
        checkpoint, directory, options.to, heads=heads, allow_inexact=options.allow_inexact
    )
    files = sorted(path.name for path in directory.iterdir())
    structured = {
        "source": str(options.source),
        "from": checkpoint.format,
        "to": options.to,
        "directory": str(directory),
        "files": files,
    }
    answer(options, f"{directory}: {', '.join(files)}", structured)
