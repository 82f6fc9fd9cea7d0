"""`tokenize`, `embed` and `fill`: what a preset or checkpoint does to texts."""

from __future__ import annotations

import contextlib
import pathlib
import sys
import time

from bertzoo.cli.output import answer, remark, table


def read_texts(options) -> list[str]:
    """Return the texts of the command: its words, or one per line of a file or standard input.

    An empty line is an empty text, so that answers and lines stay side by side. `-` in the place
    of the texts or of the file is standard input.
    """
    if options.texts and options.file:
        raise ValueError("give texts or --file, not both.")
    if options.texts and options.texts != ["-"]:
        return options.texts
    if options.file and options.file != "-":
        where, content = options.file, pathlib.Path(options.file).read_bytes()
    elif sys.stdin.isatty() and "-" not in (options.file, *options.texts):
        raise ValueError("no text: give texts, --file FILE, or lines on standard input.")
    else:
        where, content = "standard input", sys.stdin.buffer.read()
    try:
        # utf-8-sig: a byte order mark at the start of a file is not part of its first text.
        lines = content.decode("utf-8-sig").split("\n")
    except UnicodeDecodeError as error:
        raise ValueError(f"{where} is not UTF-8 (at byte {error.start}).") from None
    texts = [line.removesuffix("\r") for line in lines]
    if texts[-1] == "":  # behind the last line's end
        texts.pop()
    if not texts:
        raise ValueError(f"{where} has no line of text.")
    return texts


def tokenize(options) -> None:
    """`bertzoo tokenize`: the tokens and ids of each text, special tokens left out."""
    texts = read_texts(options)
    tokenizer = _tokenizer(options)
    ids, starts, ends = (part.to_list() for part in tokenizer.tokenize_with_offsets(texts))
    rows, structured = [], []
    for text, row, begin, end in zip(texts, ids, starts, ends, strict=True):
        tokens = [tokenizer.id_to_token(token_id) for token_id in row]
        entry = {"text": text, "tokens": tokens, "ids": row}
        if options.offsets:
            entry["offsets"] = [list(span) for span in zip(begin, end, strict=True)]
            rows.append(_offset_table(text, tokens, row, entry["offsets"]))
        else:
            rows.append(" ".join(tokens) + "\n" + " ".join(map(str, row)))
        structured.append(entry)
    answer(options, "\n\n".join(rows), structured)


def embed(options) -> None:
    """`bertzoo embed`: a vector for each text, printed or written to a file."""
    texts = read_texts(options)
    if options.output and pathlib.Path(options.output).suffix != ".npy":
        raise ValueError(f"--output must end in .npy; got {options.output}.")
    if options.output and not pathlib.Path(options.output).absolute().parent.is_dir():
        raise ValueError(f"the folder of {options.output} does not exist.")
    from bertzoo.tasks.text_embedder import TextEmbedder

    with working(options, len(texts)):
        task = TextEmbedder.from_preset(options.source, format=options.format)
        vectors = task.predict(texts)
    if options.projector:
        from bertzoo.looking.projector import save_projector

        save_projector(options.projector, vectors, texts)
        remark(f"to look at them: tensorboard --logdir {options.projector}")
    if options.output:
        import numpy as np

        np.save(options.output, vectors)
        structured = {"file": options.output, "shape": list(vectors.shape)}
        plain = f"{options.output}: {vectors.shape[0]} vectors of {vectors.shape[1]} numbers"
        answer(options, plain, structured)
        return
    if options.projector:
        structured = {"folder": options.projector, "shape": list(vectors.shape)}
        answer(options, f"{options.projector}: {len(vectors)} vectors", structured)
        return
    numbers = [[round(float(number), 6) for number in vector] for vector in vectors]
    plain = "\n".join(" ".join(f"{number:.6f}" for number in vector) for vector in numbers)
    pairs = zip(texts, numbers, strict=True)
    answer(options, plain, [{"text": text, "vector": vector} for text, vector in pairs])


def fill(options) -> None:
    """`bertzoo fill`: the likeliest words for each mask of each text."""
    if options.top_k < 1:
        raise ValueError(f"--top-k must be at least 1; got {options.top_k}.")
    if options.interactive:
        return _fill_typed(options)
    texts = read_texts(options)
    from bertzoo.tasks.masked_lm import MaskedLM

    with working(options, len(texts)):
        task = MaskedLM.from_preset(options.source, format=options.format)
        fills = task.fill(texts, top_k=options.top_k)
    structured: list[dict] = [
        {"text": text, "masks": _masks_of(masks)} for text, masks in zip(texts, fills, strict=True)
    ]
    answer(options, "\n\n".join(map(_spell_masks, structured)), structured)
    return None


def _fill_typed(options) -> None:
    """Answer one text after the other, as they are typed; a mistake ends nothing."""
    if options.texts or options.file:
        raise ValueError("--interactive reads texts as they are typed; give none.")
    from bertzoo.cli.predicting import lines_typed
    from bertzoo.tasks.masked_lm import MaskedLM

    remark(f"loading {options.source} ...")
    task = MaskedLM.from_preset(options.source, format=options.format)
    for text in lines_typed("text> "):
        try:
            masks = _masks_of(task.fill([text], top_k=options.top_k)[0])
        except ValueError as error:  # a text without a mask
            remark(str(error))
            continue
        entry = {"text": text, "masks": masks}
        answer(options, _spell_masks(entry), entry)


def _spell_masks(entry) -> str:
    blocks = []
    for number, mask in enumerate(entry["masks"], start=1):
        place = f" (mask {number})" if len(entry["masks"]) > 1 else ""
        rows = [[one["token"], f"{one['score']:.4f}"] for one in mask]
        blocks.append(f"{entry['text']}{place}\n{_indent(table(rows))}")
    return "\n\n".join(blocks)


def _tokenizer(options):
    """Load the tokenizer alone: no weight is read."""
    from bertzoo import checkpoints
    from bertzoo.preprocessing.preprocessor import preprocessor_of_checkpoint
    from bertzoo.tokenizers.base import TOKENIZERS

    checkpoint = checkpoints.open_source(options.source, format=options.format)
    if checkpoint.tokenizer is not None and checkpoint.tokenizer.kind not in TOKENIZERS:
        raise ValueError(
            f"{checkpoint.name} has a {checkpoint.tokenizer.kind} tokenizer, which comes with a "
            "later release; until then its encoder takes ids."
        )
    if "vocabulary" not in checkpoint.files and checkpoint.directory is None:
        raise ValueError(checkpoint.why_no_weights)
    preprocessor, missing = preprocessor_of_checkpoint(checkpoint)
    if preprocessor is None:
        raise ValueError(f"{checkpoint.name} cannot read strings: {missing}.")
    return preprocessor.tokenizer


@contextlib.contextmanager
def working(options, num_texts: int | None):
    """Say what is being done; Keras's progress bar goes where remarks go, not to the answer."""
    began = time.monotonic()
    remark(f"loading {options.source} ...")
    with contextlib.redirect_stdout(sys.stderr):
        yield
    texts = "done" if num_texts is None else "1 text" if num_texts == 1 else f"{num_texts} texts"
    remark(f"{texts} in {time.monotonic() - began:.1f} s, loading included")


def _offset_table(text, tokens, ids, spans) -> str:
    rows = [["token", "id", "start", "end", "text"]]
    for token, token_id, (start, end) in zip(tokens, ids, spans, strict=True):
        rows.append([token, str(token_id), str(start), str(end), text[start:end]])
    return table(rows, right=[1, 2, 3])


def _masks_of(fills) -> list[list[dict]]:
    """Return one list a mask: a text with a single mask comes without the outer list."""
    masks = [fills] if hasattr(fills[0], "token") else fills
    return [
        [{"token": fill.token, "score": round(fill.score, 6), "text": fill.text} for fill in mask]
        for mask in masks
    ]


def _indent(text: str) -> str:
    return "\n".join("  " + line for line in text.splitlines())
