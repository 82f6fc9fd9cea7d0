"""Adapt a pretrained model: new words, longer texts, smaller weights, fewer parts.

Functions take a task and return a new one, with an optimizer that has not trained (`quantize`
changes the one it is given); save the result with `save_to_preset`, train it with `fit`. LoRA
adapters are methods of every task: `enable_lora`, `save_lora_weights`,
`load_lora_weights`, `merge_lora`.
"""

from bertzoo.adapt.positions import extend_positions
from bertzoo.adapt.pruning import Importance, importance, prune
from bertzoo.adapt.quantization import QuantizationReport, quantize
from bertzoo.adapt.students import drop_pooler, drop_segments, even_layers, select_layers
from bertzoo.adapt.trimming import trim_vocabulary
from bertzoo.adapt.vocabulary import add_tokens, replace_unused_tokens

__all__ = [
    "Importance",
    "QuantizationReport",
    "add_tokens",
    "drop_pooler",
    "drop_segments",
    "even_layers",
    "extend_positions",
    "importance",
    "prune",
    "quantize",
    "replace_unused_tokens",
    "select_layers",
    "trim_vocabulary",
]
