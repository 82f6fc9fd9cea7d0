"""Adapt a pretrained model: new words, longer texts, smaller weights.

Functions take a task and return a new one, with an optimizer that has not trained (`quantize`
changes the one it is given); save the result with `save_to_preset`, train it with `fit`. LoRA
adapters are methods of every task: `enable_lora`, `save_lora_weights`,
`load_lora_weights`, `merge_lora`.
"""

from bertzoo.adapt.positions import extend_positions
from bertzoo.adapt.quantization import QuantizationReport, quantize
from bertzoo.adapt.vocabulary import add_tokens, replace_unused_tokens

__all__ = [
    "QuantizationReport",
    "add_tokens",
    "extend_positions",
    "quantize",
    "replace_unused_tokens",
]
