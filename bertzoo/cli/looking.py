"""`look`: what happens to one text inside an encoder, as a page."""

from __future__ import annotations

import pathlib

from bertzoo.cli.output import answer, remark
from bertzoo.cli.texts import read_texts


def look(options) -> None:
    """`bertzoo look`: attention maps and token similarity as one HTML file."""
    texts = read_texts(options)
    if len(texts) != 1:
        raise ValueError(f"look takes one text, and --pair for a second; got {len(texts)} texts.")
    if not pathlib.Path(options.output).absolute().parent.is_dir():
        raise ValueError(f"the folder of {options.output} does not exist.")
    from bertzoo.looking.internals import look
    from bertzoo.looking.page import save_page

    remark(f"loading {options.source} ...")
    internals = look(
        options.source,
        texts[0],
        options.pair,
        max_tokens=options.max_tokens,
        format=options.format,
    )
    save_page(internals, options.output)
    layers, heads, length, _ = internals.attention.shape
    if internals.num_tokens > length:
        remark(f"the text has {internals.num_tokens} tokens; the page shows the first {length}")
    structured = {
        "file": options.output,
        "layers": layers,
        "heads": heads,
        "tokens": list(internals.tokens),
        "num_tokens": internals.num_tokens,
    }
    size = pathlib.Path(options.output).stat().st_size / 1024
    answer(options, f"{options.output}: {layers} layers, {heads} heads, {size:.0f} KB", structured)
