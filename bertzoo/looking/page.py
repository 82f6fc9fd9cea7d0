"""Internals as one HTML file: pictures inside, no script, nothing loaded from anywhere."""

import html
import pathlib

import numpy as np

from bertzoo import durable
from bertzoo.looking import pixels

CELL = 15  # pixels of a token's row or column in a large map
SHOWN = 3  # tokens named for each token of a large map

STYLE = f"""
body {{ font: 15px/1.45 system-ui, sans-serif; margin: 2em auto; max-width: 75em;
        padding: 0 1em; color: #222; background: #fff; }}
.tokens span {{ display: inline-block; margin: 1px; padding: 0 4px; background: #eef;
                border-radius: 3px; white-space: pre; }}
.grid {{ display: grid; gap: 3px; }}
.map {{ background-size: 100% 100%; image-rendering: pixelated; display: block; }}
.grid a.map {{ aspect-ratio: 1; min-width: 24px; max-width: 110px; }}
.grid b {{ font-weight: normal; color: #666; font-size: 12px; align-self: center; }}
.large {{ display: none; }}
.large:target {{ display: block; }}
.labelled {{ display: grid; grid-template-columns: max-content max-content; overflow-x: auto; }}
.rows span {{ display: block; height: {CELL}px; font: 11px/{CELL}px monospace;
              text-align: right; padding-right: 4px; white-space: pre; }}
.columns {{ display: flex; }}
.columns span {{ width: {CELL}px; font: 11px/{CELL}px monospace; writing-mode: vertical-rl;
                 white-space: pre; }}
td, th {{ font: 12px monospace; text-align: left; padding: 0 1em 0 0; white-space: pre; }}
.scale {{ width: 200px; height: 12px; display: inline-block; }}
"""


def page(internals):
    """Return the page as a string of HTML.

    All attention maps (a row a layer, a column a head) and all similarity maps (one a layer); a
    click enlarges one, with its tokens and, for each, those that it attends to most. All text is
    escaped, and the page's own policy forbids scripts and every address.

    Args:
        internals: From `look`.

    Example:
    >>> from bertzoo.looking import look
    >>> "<script" in page(look("bert_toy", "<script>"))
    False
    """
    style, body = [STYLE, _scale()], []
    body += ["<h2>Attention</h2>", "<p>Row: the token that attends. Column: whom it attends to."]
    body += ['Click on a map to enlarge it. 0 <i class="map scale"></i> 1</p>']
    body.append(_attention_grid(internals, style))
    body += ["<h2>Similarity of the tokens, layer by layer</h2>"]
    body += ["<p>Cosines between the hidden states of the tokens, from the embeddings on."]
    body += ['-1 <i class="map scale"></i> 1</p>', _similarity_grid(internals, style)]
    body += _large_maps(internals)
    title = html.escape(_clean(f"{internals.name}: inside"))
    lines = [
        "<!DOCTYPE html>",
        '<html lang="en"><head><meta charset="utf-8">',
        '<meta http-equiv="Content-Security-Policy" '
        "content=\"default-src 'none'; style-src 'unsafe-inline'; img-src data:\">",
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        f"<title>{title}</title>",
        f"<style>{''.join(style)}</style></head><body>",
        *_head(internals),
        *body,
        "</body></html>\n",
    ]
    return "\n".join(lines)


def save_page(internals, path):
    """Write the page to a file, whole or not at all.

    Args:
        internals: From `look`.
        path: Of the file, usually `.html`.
    """
    # Half of a surrogate pair, as a command line may hold, cannot be written as UTF-8.
    content = page(internals).encode("utf-8", "backslashreplace")
    durable.replace_file(pathlib.Path(path), content)


def _head(internals):
    layers, heads = internals.attention.shape[:2]
    lines = [f"<h1>{html.escape(_clean(internals.name))}</h1>"]
    lines.append(f"<p>{layers} layers, {heads} heads, {len(internals.tokens)} tokens")
    if internals.num_tokens > len(internals.tokens):
        lines.append(f"(the text has {internals.num_tokens} and was cut)")
    lines.append('</p><p class="tokens">')
    lines.append("".join(f"<span>{_label(token)}</span>" for token in internals.tokens))
    return [*lines, "</p>"]


def _attention_grid(internals, style):
    layers, heads = internals.attention.shape[:2]
    cells = ["<b></b>"] + [f"<b>head {head}</b>" for head in range(heads)]
    for layer in range(layers):
        cells.append(f"<b>layer {layer}</b>")
        for head in range(heads):
            name = f"a-{layer}-{head}"
            picture = pixels.levels(internals.attention[layer, head], 0.0, 1.0)
            style.append(_rule(name, picture))
            cells.append(f'<a class="map {name}" href="#{name}" title="{name}"></a>')
    columns = f"grid-template-columns: 4em repeat({heads}, 1fr)"
    return f'<div class="grid" style="{columns}">{"".join(cells)}</div>'


def _similarity_grid(internals, style):
    cells = []
    for layer, matrix in enumerate(internals.similarity):
        name = f"s-{layer}"
        style.append(_rule(name, pixels.levels(matrix, -1.0, 1.0)))
        cells.append(f'<a class="map {name}" href="#{name}" title="{_depth(layer)}"></a>')
    columns = f"grid-template-columns: repeat({len(cells)}, 1fr)"
    return f'<div class="grid" style="{columns}">{"".join(cells)}</div>'


def _large_maps(internals):
    layers, heads = internals.attention.shape[:2]
    maps = []
    for layer in range(layers):
        for head in range(heads):
            title = f"Attention, layer {layer}, head {head}"
            matrix = internals.attention[layer, head]
            maps.append(_large(f"a-{layer}-{head}", title, internals.tokens, matrix))
    for layer, matrix in enumerate(internals.similarity):
        # A token is most like itself, which says nothing.
        others = matrix - 3 * np.eye(len(matrix))
        title = f"Similarity, {_depth(layer)}"
        maps.append(_large(f"s-{layer}", title, internals.tokens, matrix, others))
    return maps


def _large(name, title, tokens, matrix, ranked=None):
    labels = "".join(f"<span>{_label(token)}</span>" for token in tokens)
    side = CELL * len(tokens)
    rows = []
    for token, row, order in zip(tokens, matrix, matrix if ranked is None else ranked, strict=True):
        best = np.argsort(-order, kind="stable")[: min(SHOWN, len(tokens))]
        named = "".join(f"<td>{_label(tokens[i])} {row[i]:.2f}</td>" for i in best)
        rows.append(f"<tr><th>{_label(token)}</th>{named}</tr>")
    picture = f'<i class="map {name}" style="width:{side}px;height:{side}px"></i>'
    return (
        f'<section class="large" id="{name}"><h3>{title}</h3><div class="labelled">'
        f'<div></div><div class="columns">{labels}</div><div class="rows">{labels}</div>'
        f"{picture}</div><table>{''.join(rows)}</table></section>"
    )


def _depth(index):
    return "embeddings" if index == 0 else f"after layer {index - 1}"


def _rule(name, picture):
    return f".{name} {{ background-image: url({pixels.data_address(picture)}); }}\n"


def _scale():
    return _rule("scale", np.arange(256, dtype=np.uint8)[None])


def _label(token):
    return html.escape(_clean(token))


def _clean(text):
    return text.replace("\0", "\N{REPLACEMENT CHARACTER}")
