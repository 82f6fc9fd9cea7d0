"""Losses of distillation, as small functions by name; `keras.ops` only.

`LOSSES` is the table; `losses_from` reads a recipe's mapping of names to weights and options.
"""

# Importing a file puts its losses into the table.
from bertzoo.losses import attention, hidden_states, labels, logits, sentences
from bertzoo.losses.layer_maps import LAYER_MAPS, layer_map
from bertzoo.losses.table import LOSSES, Loss, WeightedLoss, loss, losses_from

__all__ = [
    "LAYER_MAPS",
    "LOSSES",
    "Loss",
    "WeightedLoss",
    "attention",
    "hidden_states",
    "labels",
    "layer_map",
    "logits",
    "loss",
    "losses_from",
    "sentences",
]
