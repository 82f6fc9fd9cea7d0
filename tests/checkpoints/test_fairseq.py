"""fairseq's RoBERTa: model.pt with training arguments, dict.txt, and GPT-2's vocabulary."""

import json
import re

import numpy as np
import pytest

from bertzoo import checkpoints
from tests.checkpoints import agreement, torch_files

ARGUMENTS = {
    "arch": "roberta_base",
    "encoder_layers": 2,
    "encoder_embed_dim": 20,
    "encoder_ffn_embed_dim": 37,
    "encoder_attention_heads": 4,
    "max_positions": 11,
    "activation_fn": "gelu",
}
NAMES = {
    "embeddings/token": "embed_tokens",
    "embeddings/position": "embed_positions",
    "embeddings/norm": "emb_layer_norm",
    "layer_*/attention/query": "layers.*.self_attn.q_proj",
    "layer_*/attention/key": "layers.*.self_attn.k_proj",
    "layer_*/attention/value": "layers.*.self_attn.v_proj",
    "layer_*/attention/output": "layers.*.self_attn.out_proj",
    "layer_*/attention_norm": "layers.*.self_attn_layer_norm",
    "layer_*/intermediate": "layers.*.fc1",
    "layer_*/output": "layers.*.fc2",
    "layer_*/output_norm": "layers.*.final_layer_norm",
    "masked_lm/dense": "lm_head.dense",
    "masked_lm/norm": "lm_head.layer_norm",
    "masked_lm": "lm_head",
    "text_classifier/hidden": "classification_heads.mnli.dense",
    "text_classifier/logits": "classification_heads.mnli.out_proj",
}
TORCH = {"kernel": "weight", "embeddings": "weight", "gamma": "weight", "beta": "bias"}


def fairseq_row(row):
    """A row of `cases` without the segment table that Hugging Face adds."""
    config, head, weights = agreement.weights_of(row)
    segments = weights.pop("embeddings/segment/embeddings")
    # Hugging Face's one segment row is zero in fairseq's copies: our config has none at all.
    assert segments.shape[0] == 1
    return config.replace(num_segments=0), head, weights


def spell(weights, scope="decoder.sentence_encoder."):
    stored = {}
    for path, value in weights.items():
        where, last = path.rsplit("/", 1)
        number = re.match(r"layer_(\d+)", where)
        name = NAMES[re.sub(r"^layer_\d+", "layer_*", where)]
        name = name.replace("*", number[1]) if number else name
        outer = "" if "classification" in name else scope
        if "lm_head" in name:
            outer = scope.split(".")[0] + "."
        value = value.T if last == "kernel" else value
        stored[f"{outer}{name}.{TORCH.get(last, last)}"] = value
    return stored


def fuse(stored):
    """Put queries, keys and values into one matrix, as files before fairseq 0.9 have them."""
    fused = {k: v for k, v in stored.items() if not re.search(r"\.[qkv]_proj\.", k)}
    for name in stored:
        if ".q_proj." in name:
            parts = [stored[name.replace(".q_proj.", f".{part}_proj.")] for part in "qkv"]
            fused[name.replace(".q_proj.", ".in_proj_")] = np.concatenate(parts)
    return fused


def value(item):
    if isinstance(item, str):
        return torch_files.text(item)
    return torch_files.integer(item)


def namespace(fields):
    items = b"".join(torch_files.text(k) + value(v) for k, v in fields.items())
    return b"cargparse\nNamespace\n)\x81}(" + items + b"ub"


def write(directory, stored, arguments=ARGUMENTS, opcodes=None):
    directory.mkdir()
    args = namespace(arguments) if opcodes is None else opcodes

    def wrap(model):
        return b"}(" + torch_files.text("args") + args + torch_files.text("model") + model + b"u"

    torch_files.save(directory / "model.pt", stored, legacy=True, wrap=wrap)
    return directory


@pytest.mark.parametrize("row", ["roberta", "masked_lm_roberta", "classifier_roberta"])
@pytest.mark.parametrize("fused", [False, True], ids=["apart", "fused"])
def test_a_model_of_fairseq_computes_what_numpy_does(row, fused, tmp_path):
    config, head, weights = fairseq_row(row)
    stored = spell(weights)
    if head and head.kind == "masked_lm":
        table = weights["embeddings/token/embeddings"]
        stored["decoder.lm_head.weight"] = table
    directory = write(tmp_path / "roberta", fuse(stored) if fused else stored)
    opened = agreement.assert_same_weights(directory, weights)
    assert opened.format == "fairseq_roberta"
    agreement.assert_same_outputs(directory, config, head, weights)


def test_newer_names_are_read_too(tmp_path):
    _, _, weights = fairseq_row("masked_lm_roberta")
    stored = {
        name.replace("emb_layer_norm", "layernorm_embedding"): v
        for name, v in spell(weights, "encoder.sentence_encoder.").items()
    }
    agreement.assert_same_weights(write(tmp_path / "roberta", stored), weights)


def test_the_dictionary_maps_gpt2_ids_to_rows(tmp_path):
    _, _, weights = fairseq_row("roberta")
    directory = write(tmp_path / "roberta", spell(weights))
    spelled = {f"Ġw{i}": i for i in range(24)}
    order = [7, 3, 23, *(i for i in range(24) if i not in (7, 3, 23))]
    lines = [f"{i} {1000 - i}" for i in order] + ["madeupword0000 0", "madeupword0001 0"]
    (directory / "dict.txt").write_text("\n".join(lines) + "\n")
    (directory / "encoder.json").write_text(json.dumps(spelled))
    (directory / "vocab.bpe").write_text("#version: 0.2\nĠ w\n")
    opened = checkpoints.open_checkpoint(directory)
    ids = json.loads(opened.files["vocabulary"].read_text("utf-8"))
    expected = ["<s>", "<pad>", "</s>", "<unk>", "Ġw7", "Ġw3", "Ġw23"]
    assert sorted(ids, key=ids.get)[:7] == expected
    assert (ids["<mask>"], len(ids)) == (30, 31)
    assert opened.tokenizer.kind == "byte_pair"
    (directory / "dict.txt").write_text("\n".join(lines[:-1]) + "\n")
    with pytest.raises(ValueError, match="30 tokens, but the token table has 31 rows"):
        checkpoints.open_checkpoint(directory)


def test_another_model_of_fairseq_is_refused(tmp_path):
    stored = spell(fairseq_row("roberta")[2])
    directory = write(tmp_path / "bart", stored, {**ARGUMENTS, "arch": "bart_large"})
    with pytest.raises(ValueError, match="holds the model 'bart_large'"):
        checkpoints.open_checkpoint(directory)


def test_the_configuration_objects_of_newer_versions_are_refused_by_name(tmp_path):
    stored = spell(fairseq_row("roberta")[2])
    opcodes = b"comegaconf.dictconfig\nDictConfig\n)\x81"
    directory = write(tmp_path / "new", stored, opcodes=opcodes)
    with pytest.raises(ValueError, match=r"`omegaconf\.dictconfig\.DictConfig`.*nothing"):
        checkpoints.open_checkpoint(directory)


def test_layers_that_the_table_lacks_are_named(tmp_path):
    _, _, weights = fairseq_row("roberta")
    stored = spell(weights)
    stored["decoder.sentence_encoder.layer_norm.weight"] = np.ones(20, "float32")  # pre-norm
    opened = checkpoints.open_checkpoint(write(tmp_path / "roberta", stored))
    with pytest.raises(ValueError, match=r"nothing uses: decoder\.sentence_encoder\.layer_norm"):
        opened.all_weights()
