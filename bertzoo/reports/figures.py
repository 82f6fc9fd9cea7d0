"""Figures without a screen: matplotlib (extra `plot`) is imported when one is drawn."""

import importlib.util
import io
import pathlib

from bertzoo import durable


def can_plot():
    """Return whether matplotlib is installed."""
    return importlib.util.find_spec("matplotlib") is not None


def new_figure(width=6.4, height=4.8):
    """Return an empty matplotlib figure that no window and no global state knows of.

    Args:
        width: In inches.
        height: In inches.

    Raises:
        ModuleNotFoundError: Without matplotlib, with what to install.
    """
    try:
        from matplotlib.figure import Figure
    except ModuleNotFoundError:
        raise ModuleNotFoundError(
            "plots need matplotlib: pip install 'bertzoo[plot]'.", name="matplotlib"
        ) from None
    return Figure(figsize=(min(width, 60), min(height, 60)), layout="constrained")


def save_figure(figure, path):
    """Write a figure to a file, whole or not at all; the name's ending says the format."""
    path = pathlib.Path(path)
    kind = path.suffix.removeprefix(".").lower()
    known = figure.canvas.get_supported_filetypes()
    if kind not in known:
        raise ValueError(
            f"the name of a picture must end in one of {', '.join(sorted(known))}; got {path.name}."
        )
    content = io.BytesIO()
    # Without a date: the same data give the same file.
    dated = {"pdf": "CreationDate", "svg": "Date"}.get(kind)
    figure.savefig(content, format=kind, metadata=dated and {dated: None})
    durable.replace_file(path, content.getvalue())
