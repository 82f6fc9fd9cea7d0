"""Data sets of Hugging Face's `datasets` and of tensorflow-datasets; neither is imported."""

from __future__ import annotations

from bertzoo.readers.examples import Examples, Row, from_rows


def read_dataset(dataset, *, labels=None, **columns) -> Examples:
    """Return `Examples` of a data set that another library has loaded.

    Args:
        dataset: A `datasets.Dataset` of Hugging Face; or what tensorflow-datasets loads, a
            `tf.data.Dataset` of dicts (or `tfds.as_numpy` of it); or any iterable of dicts.
        labels: Names of the numbered classes; None for those that the data set's features tell.
        **columns: `text`, and any of `text_pair`, `label`, `label_separator`, `score`; see
            `examples.from_rows`.

    Raises:
        ValueError: With row (from 1) and column of what is wrong.

    Example:
    >>> read_dataset([{"sentence": "fine", "label": 1}], labels=["bad", "good"],
    ...              text="sentence", label="label").label
    ['good']
    """
    if labels is None:
        labels = _names(getattr(dataset, "features", None), columns.get("label"))
    if hasattr(dataset, "as_numpy_iterator"):
        dataset = dataset.as_numpy_iterator()
    name = f"the {type(dataset).__name__}"
    rows = (Row(number, _plain(values, number)) for number, values in enumerate(dataset, 1))
    return from_rows(rows, name, labels=labels, **columns)


def _names(features, column):
    try:
        feature = features[column]
    except (KeyError, TypeError):
        return None
    return getattr(feature, "names", None) or getattr(
        getattr(feature, "feature", None), "names", None
    )


def _plain(values, number):
    if not hasattr(values, "items"):
        raise ValueError(
            f"row {number} should be a dict of columns; got {type(values).__name__}. Load "
            "tensorflow-datasets without as_supervised."
        )
    return {key: _value(value) for key, value in values.items()}


def _value(value):
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    return value.tolist() if hasattr(value, "tolist") else value
