"""Losses between sentence embeddings (Reimers & Gurevych 2020; sentence-transformers)."""

from keras import ops

from bertzoo.losses.positions import check_same, row_weights
from bertzoo.losses.table import loss

# B batch  G all rows of the batch, over all replicas  D width


@loss(reads=("embedding",), counts=row_weights)
def sentence_mse(student, teacher, batch):
    """Squared difference of two vectors, mean over the width (sentence-transformers `MSELoss`)."""
    one, other = (ops.cast(x["embedding"], "float32") for x in (student, teacher))
    check_same("sentence_mse", one, other, -1, "numbers of a vector")
    return ops.mean(ops.square(one - other), axis=-1)


@loss(reads=("embedding",), counts=row_weights, compares_rows=True)
def sentence_similarity(student, teacher, batch):
    """Squared difference of the cosines between the texts of a batch; widths may differ.

    Every text with every other one, mean over these. Where student and teacher also have
    `all_embedding` `[G, D]` (and the batch `all_row_weights` `[G]`), the other texts are those of
    all replicas, and the result does not depend on how many there are.
    """
    cosines = []
    for model in (student, teacher):
        own, all_rows = model["embedding"], model.get("all_embedding", model["embedding"])
        cosines.append(ops.matmul(_normalized(own), ops.transpose(_normalized(all_rows))))
    others = _other_rows(batch)
    squares = ops.sum(ops.square(cosines[0] - cosines[1]) * others[None, :], axis=1)  # (B,)
    # A text's cosine with itself is 1 for both, and is no pair.
    return squares / ops.maximum(ops.sum(others) - 1.0, 1.0)


def _other_rows(batch):
    if "all_row_weights" in batch:
        return ops.cast(batch["all_row_weights"], "float32")
    return row_weights(batch)


def _normalized(vectors):
    vectors = ops.cast(vectors, "float32")
    return vectors / ops.sqrt(ops.sum(ops.square(vectors), axis=-1, keepdims=True) + 1.0e-12)
