"""Losses between hidden states: DistilBERT's cosine, TinyBERT's squared differences."""

from keras import ops

from bertzoo.losses.layer_maps import layer_map
from bertzoo.losses.positions import check_same, real_positions
from bertzoo.losses.table import loss

# B batch  T length  D hidden_dim  M student layers

# torch.nn.CosineEmbeddingLoss adds it to the squares.
EPSILON = 1.0e-12


@loss(reads=("hidden_states",), counts=real_positions)
def last_hidden_cosine(student, teacher, batch):
    """1 - cosine of the last hidden states at real positions (Sanh et al. 2019, L_cos)."""
    one, other = (ops.cast(x["hidden_states"][-1], "float32") for x in (student, teacher))
    check_same("last_hidden_cosine", one, other, -1, "hidden states")
    squares = [ops.sum(ops.square(x), axis=-1) + EPSILON for x in (one, other)]
    cosine = ops.sum(one * other, axis=-1) / ops.sqrt(squares[0] * squares[1])  # (B, T)
    return 1.0 - cosine


@loss(reads=("hidden_states",), counts=real_positions, project=True)
def embedding_layer_mse(student, teacher, batch):
    """MSE(E_S W, E_T): of what the embeddings give, mean over the width (Jiao et al. 2019, eq. 9).

    Padding does not count here; in the authors' code it does.
    """
    return _squared(student["hidden_states"][0], teacher["hidden_states"][0])


@loss(reads=("hidden_states",), counts=real_positions, project=True)
def hidden_states_mse(student, teacher, batch, layers="uniform"):
    """MSE(H_S W, H_T) for each layer under a layer map, added up (Jiao et al. 2019, eq. 8).

    `layers` is a layer map: `uniform`, `top`, `bottom` or a list of teacher layers from 1.
    Padding does not count here; in the authors' code it does.
    """
    one, other = student["hidden_states"], teacher["hidden_states"]  # M + 1 and L + 1
    chosen = layer_map(layers, len(one) - 1, len(other) - 1)
    return sum(_squared(one[m], other[layer]) for m, layer in enumerate(chosen, start=1))


def _squared(student, teacher):
    """Return the squared difference, mean over the width: `[B, T, D]` -> `[B, T]`."""
    check_same("hidden states, MSE", student, teacher, -1, "hidden states")
    difference = ops.cast(student, "float32") - ops.cast(teacher, "float32")
    return ops.mean(ops.square(difference), axis=-1)
