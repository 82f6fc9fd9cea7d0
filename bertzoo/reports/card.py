"""What a model card says of the run that made a model, as a passage of Markdown."""

import numbers


def training_passage(base, data, settings, metrics, seeds=()):
    """Return the passage: what was trained on what, how, and how good it became.

    Args:
        base: Name of the model that was fine-tuned.
        data: What it was trained and measured on, in words or file names: part -> text.
        settings: Hyperparameters: name -> value.
        metrics: Name -> number, or (mean, standard deviation) over the seeds.
        seeds: The seeds of the runs; with more than one, metrics are given as mean and spread.

    Example:
    >>> print(training_passage("bert_toy", {"dev": "dev.tsv, 9 rows"}, {"epochs": 2},
    ...                        {"f1": (0.5, 0.01)}, seeds=[1, 2]))
    Fine-tuned from `bert_toy`.
    <BLANKLINE>
    - dev: dev.tsv, 9 rows
    - epochs: 2
    - seeds: 1, 2
    <BLANKLINE>
    | metric | mean | standard deviation |
    |---|---|---|
    | f1 | 0.5000 | 0.0100 |
    """
    lines = [f"Fine-tuned from `{base}`.", ""]
    lines += [f"- {key}: {_line(value)}" for key, value in {**data, **settings}.items()]
    if seeds:
        lines.append(f"- seeds: {', '.join(map(str, seeds))}")
    if not metrics:
        return "\n".join(lines)
    spread = any(isinstance(value, tuple) for value in metrics.values())
    head = ["metric", "mean", "standard deviation"] if spread else ["metric", "value"]
    lines += ["", _row(head), "|---" * len(head) + "|"]
    for name, value in metrics.items():
        cells = value if isinstance(value, tuple) else (value,)
        padding = [""] * (len(head) - 1 - len(cells))
        lines.append(_row([name, *(_number(cell) for cell in cells), *padding]))
    return "\n".join(lines)


def _number(value):
    is_whole = isinstance(value, numbers.Integral)
    return str(value) if is_whole or not isinstance(value, numbers.Real) else f"{value:.4f}"


def _line(value):
    return " ".join(str(value).split())


def _row(cells):
    # A bar in a name would begin another column.
    return "| " + " | ".join(_line(cell).replace("|", "\\|") for cell in cells) + " |"
