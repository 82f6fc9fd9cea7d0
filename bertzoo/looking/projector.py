"""Vectors for TensorBoard's embedding projector: three text files, no TensorFlow needed."""

import pathlib

import numpy as np

from bertzoo import durable

# As TensorBoard's projector plugin looks for it in a log directory.
CONFIG = "projector_config.pbtxt"


def save_projector(directory, vectors, texts, columns=None):
    """Write vectors with what belongs to each, for `tensorboard --logdir DIRECTORY`.

    Args:
        directory: Log directory; it is made where it does not exist.
        vectors: Float `[N, D]`, as from `TextEmbedder.predict`.
        texts: N texts.
        columns: More facts of each text, such as labels: name -> N values.

    Raises:
        ValueError: If the numbers of rows differ, or a vector is not finite.

    Example:
    >>> save_projector("logs", [[0.0, 1.0], [1.0, 0.0]], ["a cat", "a dog"])
    >>> open("logs/metadata.tsv").read().splitlines()
    ['a cat', 'a dog']
    """
    vectors = np.asarray(vectors, np.float32)
    facts = {
        "text": list(texts),
        **{name: list(values) for name, values in (columns or {}).items()},
    }
    if vectors.ndim != 2 or len(vectors) == 0:
        raise ValueError(f"expected vectors [N, D]; got the shape {list(vectors.shape)}.")
    for name, values in facts.items():
        if len(values) != len(vectors):
            raise ValueError(
                f"expected as many values of `{name}` as vectors, {len(vectors)}; "
                f"got {len(values)}."
            )
    if not np.isfinite(vectors).all():
        row = int(np.argmin(np.isfinite(vectors).all(axis=1)))
        raise ValueError(f"vector {row} is not finite.")
    rows = list(zip(*facts.values(), strict=True))
    # The projector takes the first line for a header where there are several columns, only then.
    lines = [list(facts), *rows] if len(facts) > 1 else rows
    tensor = "".join("\t".join(f"{x:.6g}" for x in vector) + "\n" for vector in vectors)
    metadata = "".join("\t".join(map(_cell, line)) + "\n" for line in lines)
    config = 'embeddings {\n  tensor_path: "vectors.tsv"\n  metadata_path: "metadata.tsv"\n}\n'
    folder = pathlib.Path(directory)
    folder.mkdir(parents=True, exist_ok=True)
    # The configuration last: TensorBoard then finds all that it names.
    for name, content in (("vectors.tsv", tensor), ("metadata.tsv", metadata), (CONFIG, config)):
        durable.replace_file(folder / name, content.encode("utf-8", "backslashreplace"))


def _cell(value):
    # An empty line would be left out, and every later text would stand beside another's vector.
    return " ".join(str(value).split()) or "-"
