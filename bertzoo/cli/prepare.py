"""`prepare`: text files to records for pretraining."""

from __future__ import annotations

import itertools
import pathlib
import sys
import tempfile
import time

from bertzoo.cli.output import answer, remark, table

# Documents of `--smoke`: enough for some hundred rows.
SMOKE_DOCUMENTS = 200


def prepare(options) -> None:
    """`bertzoo prepare`: write a directory of records and say what is in it."""
    from bertzoo.corpus.manifest import RecordOptions
    from bertzoo.corpus.prepare import prepare_records
    from bertzoo.training.pretraining import load_tokenizer
    from bertzoo.training.recipe import parse_overrides

    changes = parse_overrides(options.set)
    settings = {
        key.removeprefix("tokenizer."): changes.pop(key)
        for key in list(changes)
        if key.startswith("tokenizer.")
    }
    records = RecordOptions.from_dict(changes, "--set")
    tokenizer = load_tokenizer(options.source, settings)
    began = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        texts = options.texts
        if options.smoke:
            texts, records = (
                _first_documents(texts, records, pathlib.Path(folder)),
                records.replace(form="sentences" if records.form == "sentences" else "paragraphs"),
            )
        remark(f"{records.mode} rows of {records.sequence_length} tokens from {', '.join(texts)}")
        manifest = prepare_records(
            tokenizer, texts, options.directory, records, options.workers, _progress
        )
    seconds = time.perf_counter() - began
    counts = dict(manifest.counts)
    result = {"directory": options.directory, "shards": len(manifest.shards), **counts}
    rows = [[key.replace("_", " "), f"{value:,}" if isinstance(value, int) else value]
            for key, value in result.items()]  # fmt: skip
    remark(f"{counts['tokens'] / max(seconds, 1.0e-9):,.0f} tokens a second, {seconds:.1f} s")
    answer(options, table(rows, right=[1]), {**result, "seconds": round(seconds, 3)})


def _progress(step: str, done: int, total: int) -> None:
    end = "\n" if done == total or not sys.stderr.isatty() else "\r"
    print(f"{step} {done} of {total} files", end=end, file=sys.stderr, flush=True)


def _first_documents(texts, records, folder: pathlib.Path) -> list[str]:
    import collections

    from bertzoo.corpus.prepare import expand
    from bertzoo.corpus.spill import documents_of

    documents = itertools.chain.from_iterable(
        documents_of(path, records, collections.Counter()) for path in expand(texts)
    )
    target = folder / "first-documents.txt"
    chosen = itertools.islice(documents, SMOKE_DOCUMENTS)
    target.write_bytes(b"\n\n".join(b"\n".join(document) for document in chosen))
    return [str(target)]
