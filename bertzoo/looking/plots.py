"""Internals as pictures for a paper or a talk (matplotlib, extra `plot`)."""

from bertzoo.reports.figures import new_figure, save_figure


def plot_attention(internals, path, layer=None):
    """Draw attention maps and write them to a file.

    Args:
        internals: From `look`.
        path: Of the picture; its ending says the format (`.png`, `.svg`, `.pdf`).
        layer: Only this layer's heads, with the tokens' names; None for all layers, a row each.

    Raises:
        ModuleNotFoundError: Without matplotlib.
        ValueError: For a layer that the model does not have.
    """
    layers, heads = internals.attention.shape[:2]
    if layer is not None and not 0 <= layer < layers:
        raise ValueError(f"layer must be from 0 to {layers - 1}; got {layer}.")
    if layer is None:
        figure = new_figure(width=1.1 * heads, height=1.1 * layers)
        axes = figure.subplots(layers, heads, squeeze=False)
        for row in range(layers):
            for head in range(heads):
                _draw(axes[row][head], internals.attention[row, head], None, 0.0)
            axes[row][0].set_ylabel(f"layer {row}", fontsize=7)
    else:
        side = 1.5 + 0.16 * len(internals.tokens)
        figure = new_figure(width=side * heads, height=side)
        for head, axis in enumerate(figure.subplots(1, heads, squeeze=False)[0]):
            _draw(axis, internals.attention[layer, head], internals.tokens, 0.0)
            axis.set_title(f"layer {layer}, head {head}", fontsize=8)
    save_figure(figure, path)


def plot_similarity(internals, path):
    """Draw the cosines between the tokens' hidden states, one map a layer, and write them.

    Args:
        internals: From `look`.
        path: Of the picture; its ending says the format (`.png`, `.svg`, `.pdf`).

    Raises:
        ModuleNotFoundError: Without matplotlib.
    """
    count = len(internals.similarity)
    side = 1.5 + 0.16 * len(internals.tokens)
    figure = new_figure(width=side * count, height=side)
    for layer, axis in enumerate(figure.subplots(1, count, squeeze=False)[0]):
        _draw(axis, internals.similarity[layer], internals.tokens, -1.0)
        axis.set_title("embeddings" if layer == 0 else f"after layer {layer - 1}", fontsize=8)
    save_figure(figure, path)


def _draw(axis, matrix, tokens, lowest):
    axis.imshow(matrix, vmin=lowest, vmax=1.0, cmap="viridis", interpolation="nearest")
    if tokens is None:
        axis.set_xticks([])
        axis.set_yticks([])
        return
    # `$` would begin a formula.
    names = [token.replace("$", r"\$") for token in tokens]
    axis.set_xticks(range(len(names)), names, rotation=90, fontsize=6)
    axis.set_yticks(range(len(names)), names, fontsize=6)
