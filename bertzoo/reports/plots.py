"""Curves of a run and confusion matrices as pictures (matplotlib, extra `plot`)."""

import numpy as np

from bertzoo.reports.figures import new_figure, save_figure

# With more classes the numbers in the cells cannot be read.
MOST_NUMBERED = 20


def plot_curves(history, path, *, title=""):
    """Draw the curves of a run: a panel for each quantity, training and validation together.

    Args:
        history: Name -> a value an epoch, as in the `history` of what `fit` returns; `val_loss`
            goes into the panel of `loss`.
        path: Of the picture (`.png`, `.svg`, `.pdf`).
        title: Above the panels.

    Raises:
        ModuleNotFoundError: Without matplotlib.
        ValueError: For a history without a curve.
    """
    panels = {}
    for name, values in history.items():
        panels.setdefault(name.removeprefix("val_"), {})[name] = values
    if not panels:
        raise ValueError("the history has no curve to draw.")
    figure = new_figure(width=4.2 * len(panels), height=3.4)
    for axis, (name, curves) in zip(
        figure.subplots(1, len(panels), squeeze=False)[0], panels.items(), strict=True
    ):
        for label, values in curves.items():
            is_validation = label.startswith("val_")
            axis.plot(
                np.arange(1, len(values) + 1),
                np.asarray(values, float),
                marker="o",
                linestyle="--" if is_validation else "-",
                label="validation" if is_validation else "training",
            )
        axis.set_title(name)
        axis.set_xlabel("epoch")
        axis.legend()
    if title:
        figure.suptitle(title)
    save_figure(figure, path)


def plot_confusion(matrix, labels, path, *, title=""):
    """Draw a confusion matrix: the colour is the share of the row, the number the count.

    Args:
        matrix: Counts `[C, C]`: rows are what was expected, columns what was predicted.
        labels: C names.
        path: Of the picture (`.png`, `.svg`, `.pdf`).
        title: Above the picture.

    Raises:
        ModuleNotFoundError: Without matplotlib.
        ValueError: If the matrix is not square, or has another number of labels.
    """
    matrix, labels = np.asarray(matrix), [str(label).replace("$", r"\$") for label in labels]
    if matrix.shape != (len(labels), len(labels)):
        raise ValueError(
            f"expected a matrix of {len(labels)} by {len(labels)}, one row a label; "
            f"got the shape {list(matrix.shape)}."
        )
    shares = matrix / np.maximum(matrix.sum(axis=1, keepdims=True), 1)
    side = 2.0 + 0.45 * len(labels)
    figure = new_figure(width=side + 1.0, height=side)
    axis = figure.subplots()
    image = axis.imshow(shares, vmin=0.0, vmax=1.0, cmap="Blues")
    figure.colorbar(image, label="share of the row", fraction=0.046)
    small = {"fontsize": 8 if len(labels) <= MOST_NUMBERED else 5}
    axis.set_xticks(range(len(labels)), labels, rotation=90, **small)
    axis.set_yticks(range(len(labels)), labels, **small)
    axis.set_xlabel("predicted")
    axis.set_ylabel("expected")
    axis.set_title(title)
    if len(labels) <= MOST_NUMBERED:
        for row, column in np.ndindex(matrix.shape):
            colour = "white" if shares[row, column] > 0.5 else "black"
            text = str(int(matrix[row, column]))
            axis.text(column, row, text, ha="center", va="center", color=colour, **small)
    save_figure(figure, path)
