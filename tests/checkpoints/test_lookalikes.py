"""Models that look like a BERT and are not: each is refused with its reason."""

import json

import numpy as np
import pytest
import safetensors.numpy

from bertzoo import checkpoints
from tests.checkpoints import agreement, spelled

# (model_type or None, architectures, a tensor of theirs or None, the reason)
OTHERS = [
    ("mpnet", ["MPNetModel"], None, "MPNet adds relative attention biases"),
    (None, ["MPNetForMaskedLM"], None, "MPNet adds relative attention biases"),
    ("bert", None, "encoder.relative_attention_bias.weight", "MPNet adds relative attention"),
    ("deberta", None, None, "attention is disentangled"),
    ("deberta-v2", None, None, "attention is disentangled"),
    (None, ["DebertaV2Model"], None, "attention is disentangled"),
    ("bert", None, "deberta.encoder.rel_embeddings.weight", "attention is disentangled"),
    ("modernbert", None, None, "rotary positions and gated layers"),
    ("bert", None, "model.layers.0.mlp.Wi.weight", "rotary positions and gated layers"),
    ("mobilebert", None, None, "bottleneck layers"),
    (None, ["MobileBertForPreTraining"], None, "bottleneck layers"),
    ("bert", None, "embeddings.embedding_transformation.weight", "bottleneck layers"),
    ("xlm-roberta", None, None, "SentencePiece tokenizer"),
    (None, ["CamembertModel"], None, "SentencePiece tokenizer"),
    ("nomic_bert", None, None, "rotary positions"),
    ("bert-generation", None, None, "it is a decoder"),
    ("bert", None, "encoder.layer.0.crossattention.self.query.weight", "it is a decoder"),
    ("bert", None, "encoder.layer.0.attention.self.distance_embedding.weight", "are relative"),
    ("bert", None, "encoder.layer.0.attention.self.query.lora_A.default.weight", "adapter"),
    ("gpt2", None, None, "not one that bertzoo knows"),
]


@pytest.mark.parametrize(("model_type", "architectures", "tensor", "reason"), OTHERS)
def test_a_lookalike_is_refused_with_its_reason(
    model_type, architectures, tensor, reason, tmp_path
):
    raw = {**spelled.HF_CONFIGS["bert"], "model_type": model_type, "architectures": architectures}
    (tmp_path / "config.json").write_text(json.dumps(raw))
    _, _, weights = agreement.weights_of("bert")
    tensors = {k: np.ascontiguousarray(v) for k, v in spelled.torch("bert", weights).items()}
    if tensor is not None:
        tensors[tensor] = np.ones((2, 2), "float32")
    safetensors.numpy.save_file(tensors, tmp_path / "model.safetensors")
    with pytest.raises(ValueError, match=reason):
        checkpoints.open_checkpoint(tmp_path)


@pytest.mark.parametrize(
    "key", [{"position_embedding_type": "relative_key"}, {"is_decoder": True}, {"rotary": 1}]
)
def test_a_setting_that_changes_the_network_is_refused(key, tmp_path):
    (tmp_path / "config.json").write_text(json.dumps({**spelled.HF_CONFIGS["bert"], **key}))
    with pytest.raises(ValueError, match=next(iter(key))):
        checkpoints.open_checkpoint(tmp_path)
