"""Hugging Face directories: `config.json` and the weights, in any of the forms of the years.

`model.safetensors` comes first, then PyTorch's `pytorch_model.bin`, both whole or in shards, then
TensorFlow's `tf_model.h5`.
"""

from __future__ import annotations

import dataclasses
import pathlib
import re
import typing

import numpy as np

from bertzoo.checkpoints import checkpoint, configs, heads, readers, tokenizer_files
from bertzoo.checkpoints.lookalikes import refuse_lookalikes
from bertzoo.checkpoints.tables import hf_albert, hf_bert, hf_distilbert, hf_electra, hf_roberta
from bertzoo.checkpoints.tensorflow_h5 import TensorFlowH5Reader
from bertzoo.checkpoints.torch_file import TorchReader

FAMILIES = {
    "bert": hf_bert,
    "distilbert": hf_distilbert,
    "albert": hf_albert,
    "roberta": hf_roberta,
    "electra": hf_electra,
}
FORMATS = {module.CONFIG.format: module for module in FAMILIES.values()}

# torch.nn.DataParallel and Lightning put these in front of a whole model's names.
WRAPPERS = ("module.", "model.")
# Characters of a README.md that are looked at; the front matter is its beginning.
LONGEST_FRONT_MATTER = 100_000
# Classes whose models transformers builds without a pooler, for directories without weights.
NO_POOLER = ("ForMaskedLM", "ForTokenClassification", "ForQuestionAnswering")


def open_hugging_face(
    directory: pathlib.Path,
    format: str | None = None,
    *,
    activation: str | None = None,
    expected_heads: typing.Collection[str] = (),
) -> checkpoint.Checkpoint:
    """Open a directory that transformers, or an older relative of it, wrote.

    Args:
        directory: With a `config.json`; for a directory without weights, only the
            configuration can be used.
        format: One of `FORMATS`; None to go by `model_type`.
        activation: Wins over `hidden_act`.
        expected_heads: Kinds that a preset says are there, for names that two heads share.

    Raises:
        ValueError: Another model type, an unknown key, sizes that contradict each other.
    """
    path = directory / "config.json"
    raw = readers.read_json(path)
    if format is None:
        model_type = configs.model_type_of(raw, str(path))
        if model_type not in FAMILIES:
            configs.refuse_family(model_type, str(path), FAMILIES)
        family = FAMILIES[model_type]
    else:
        family = FORMATS[format]
    tensors, why = _open_weights(directory, family.TABLE.prefixes)
    config = _read_config(family, raw, str(path), tensors, activation)
    tied = True
    if tensors is not None:
        checkpoint.check_config_against_tensors(config, family.TABLE, tensors, str(path))
        tied = _untangle_decoder(family, tensors)
    found, unread = heads.read_heads(family.HEADS, raw, config, tensors, str(path), expected_heads)
    if not tied and "masked_lm" in found:
        found["masked_lm"] = dataclasses.replace(found["masked_lm"], tie_embeddings=False)
    tokenizer, files = tokenizer_files.read_tokenizer(
        directory, family.CONFIG.model_type, config.max_sequence_length
    )
    info = read_card(directory)
    if raw.get("_name_or_path"):
        info["source"] = raw["_name_or_path"]
    return checkpoint.Checkpoint(
        name=str(directory),
        directory=directory,
        format=family.CONFIG.format,
        config=config,
        heads=found,
        tokenizer=tokenizer,
        files=files,
        info=info,
        unread_heads=unread,
        tensors=tensors,
        table=family.TABLE,
        why_no_weights=why,
    )


def normal_name(name: str, prefixes: tuple[str, ...]) -> str:
    """Return a tensor's name without wrappers and model prefix, in today's spelling.

    >>> normal_name("module.bert.embeddings.LayerNorm.gamma", ("bert.",))
    'embeddings.LayerNorm.weight'
    """
    for wrapper in WRAPPERS:
        name = name.removeprefix(wrapper)
    for prefix in prefixes:
        name = name.removeprefix(prefix)
    name = re.sub(r"LayerNorm\.gamma$", "LayerNorm.weight", name)
    return re.sub(r"LayerNorm\.beta$", "LayerNorm.bias", name)


def read_card(directory: pathlib.Path) -> dict[str, typing.Any]:
    """Return licence and language as the front matter of a README.md gives them, if it does."""
    import yaml

    path = directory / "README.md"
    text = ""
    if path.is_file():
        with open(path, encoding="utf-8", errors="replace") as file:
            text = file.read(LONGEST_FRONT_MATTER)
    match = re.match(r"---\n(.*?)\n---\n", text, re.DOTALL)
    try:
        card = yaml.safe_load(match[1]) if match else {}
    except (yaml.YAMLError, ValueError, RecursionError):  # ValueError: a day that does not exist
        return {}  # a note for people; the model does not depend on it
    card = card if isinstance(card, dict) else {}
    return {
        key: str(card[key]) for key in ("license", "language") if isinstance(card.get(key), str)
    }


def _open_weights(directory, prefixes) -> tuple[readers.Tensors | None, str]:
    found = open_weight_files(directory)
    if not found:
        if (directory / "flax_model.msgpack").is_file():
            return None, (
                f"{directory} has its weights only as flax_model.msgpack, which bertzoo does not "
                "read; save the model with transformers' save_pretrained, which writes "
                "model.safetensors, and open that."
            )
        return None, f"{directory} has no model.safetensors, so only its configuration can be used."
    tensors = readers.Tensors()
    for reader in found:
        refuse_lookalikes(reader.shapes, str(reader.path))
        for stored in reader.shapes:
            tensors.add(normal_name(stored, prefixes), reader, stored)
    return tensors, ""


def open_weight_files(directory: pathlib.Path) -> list:
    """Return readers of the weights of a directory; none where it has no weights."""
    for name in ("model.safetensors", "model.safetensors.index.json"):
        if (directory / name).is_file():
            return [readers.SafetensorsReader(directory / name)]
    if (directory / "pytorch_model.bin").is_file():
        return [TorchReader(directory / "pytorch_model.bin")]
    if (directory / "pytorch_model.bin.index.json").is_file():
        return [TorchReader(p) for p in readers.shards(directory / "pytorch_model.bin.index.json")]
    if (directory / "tf_model.h5").is_file():
        return [TensorFlowH5Reader(directory / "tf_model.h5")]
    return []


def _read_config(family, raw, where, tensors, activation):
    pooler, segments = _has_pooler(family, raw), None
    if tensors is not None:
        pooler = any(row.theirs in tensors for row in family.TABLE.rows if row.part == "pooler")
        segments = tensors.get("embeddings.token_type_embeddings.weight", (None,))[0]
    return family.CONFIG.read(
        raw, where, pooler=pooler, num_segments=segments, activation=activation
    )


def _has_pooler(family, raw) -> bool:
    names = [str(name) for name in raw.get("architectures") or ()]
    if family.CONFIG.model_type in ("bert", "albert"):
        return not any(name.endswith(NO_POOLER) for name in names)
    if family.CONFIG.model_type == "roberta":
        return any(name in ("RobertaModel", "RobertaForMultipleChoice") for name in names)
    return False


def _untangle_decoder(family, tensors: readers.Tensors) -> bool:
    """Bring the decoder's duplicates to one tensor each; return whether it is the token table.

    Files written before safetensors repeat the token table as the decoder and its bias under
    two names. Where the copies differ the model was fine-tuned untied: then the decoder's own
    matrix and bias are what transformers' forward pass uses.
    """
    bias, decoder = family.DECODER
    matrix, alias = f"{decoder}.weight", f"{decoder}.bias"
    tied = True
    if matrix in tensors:
        token_table = "embeddings.word_embeddings.weight"
        tied = _equal(tensors, matrix, token_table)
        if tied:
            tensors.drop(matrix)
    if alias in tensors and alias != bias:
        if bias not in tensors:
            tensors.rename(alias, bias)
        elif not tied:
            tensors.drop(bias)
            tensors.rename(alias, bias)
        elif _equal(tensors, alias, bias):
            tensors.drop(alias)
        else:
            raise ValueError(
                f"`{tensors.stored_name(alias)}` and `{tensors.stored_name(bias)}` must be equal "
                "where the decoder is the token table; they differ."
            )
    return tied


def _equal(tensors: readers.Tensors, one: str, other: str) -> bool:
    if other not in tensors or tensors[one] != tensors[other]:
        return False
    return np.array_equal(tensors.read(one), tensors.read(other))
