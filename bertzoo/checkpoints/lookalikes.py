"""Models that share BERT's names but not its network, told by a tensor that only they have."""

from __future__ import annotations

import collections.abc
import re

from bertzoo.checkpoints.foreign_keys import OTHER_FAMILIES

# (expression for a whole stored name, the model type or what else it means)
EVIDENCE = (
    (r"(.*\.)?relative_attention_bias\.weight", "mpnet"),
    (r"(.*\.)?rel_embeddings\.weight", "deberta"),
    (r"(.*\.)?attention\.self\.(in_proj\.weight|pos_(key_|q_)?proj\.weight)", "deberta"),
    (r"(.*[./])?(embedding_transformation|bottleneck)[./].*", "mobilebert"),
    (r"(.*\.)?layers\.\d+\.(mlp\.Wi|attn\.Wqkv)\.weight", "modernbert"),
    (r"(.*\.)?layers?\.\d+\.(attn|mixer)\.Wqkv\.(weight|bias)", "nomic_bert"),
    (r"(.*\.)?attention\.self\.distance_embedding\.weight", "its positions are relative"),
    (r"(.*\.)?crossattention\..*", "it is a decoder"),
    (r"(.*\.)?lora_[AB]\..*", "it is an adapter for a model, not the model"),
)


def refuse_lookalikes(names: collections.abc.Iterable[str], where: str) -> None:
    """Raise, with the reason, for a tensor that no encoder of bertzoo has.

    >>> refuse_lookalikes(["encoder.relative_attention_bias.weight"], "model.safetensors")
    Traceback (most recent call last):
    ValueError: model.safetensors is not a BERT: MPNet adds relative attention biases \
(`encoder.relative_attention_bias.weight`).
    """
    for name in names:
        for pattern, meaning in EVIDENCE:
            if re.fullmatch(pattern, name):
                reason = OTHER_FAMILIES.get(meaning, meaning)
                raise ValueError(f"{where} is not a BERT: {reason} (`{name}`).")
