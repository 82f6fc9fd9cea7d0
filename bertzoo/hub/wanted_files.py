"""Which files of a published repository a checkpoint needs; everything else stays where it is.

An allow-list: code, pickles of optimizers, logs and other frameworks' weights are never fetched.
"""

from __future__ import annotations

import collections.abc
import fnmatch
import posixpath
import re

CONFIGS = (
    "config.json", "bert_config.json", "albert_config.json", "electra_config.json", "params.yaml",
)  # fmt: skip
TOKENIZERS = (
    "vocab.txt", "vocab_chinese.txt", "vocabulary.txt", "vocab.json", "merges.txt",
    "vocabulary.json", "vocabulary.spm", "spiece.model", "30k-clean.model", "tokenizer.model",
    "sentencepiece.bpe.model", "tokenizer.json", "tokenizer_config.json",
    "special_tokens_map.json", "added_tokens.json",
)  # fmt: skip
SENTENCE_TRANSFORMERS = (
    "modules.json",
    "config_sentence_transformers.json",
    "sentence_*_config.json",
)
KERAS_HUB = ("metadata.json", "task.json", "preprocessor.json", "model.weights.json")
BERTZOO = ("preset.json", "weights.safetensors")
FAIRSEQ = ("dict.txt", "encoder.json", "vocab.bpe")
# Of Hugging Face: its front matter says the licence and the language.
CARD = "README.md"
# The first kind of weights that is there is taken, in each folder by itself.
WEIGHTS = (
    ("model.safetensors",),
    ("model.safetensors.index.json", "model-*-of-*.safetensors"),
    ("*.weights.h5",),
    ("pytorch_model.bin",),
    ("pytorch_model.bin.index.json", "pytorch_model-*-of-*.bin"),
    ("tf_model.h5",),
    ("*.index",),  # TensorFlow 1; its *.data files are found by the name before .index
    ("model.pt",),  # fairseq
)
RELEASED = ("bert_model.ckpt.index", "model.ckpt-best.index")
SMALL = (*CONFIGS, *TOKENIZERS, *SENTENCE_TRANSFORMERS, *KERAS_HUB, *BERTZOO, *FAIRSEQ)
# Folders below the top whose files belong to the checkpoint: sentence-transformers' modules,
# KerasHub's tokenizer, and what TF-Hub and the Model Garden have.
FOLDERS = r"|[0-9]+_[A-Za-z0-9]+|assets|assets/[a-z_]+|variables"


def choose(names: collections.abc.Iterable[str]) -> list[str]:
    """Return the files that opening the checkpoint needs, sorted.

    Args:
        names: Every file of the repository, with `/` between folders.

    Example:
    >>> choose(["config.json", "model.safetensors", "pytorch_model.bin", "run.py", "vocab.txt"])
    ['config.json', 'model.safetensors', 'vocab.txt']
    """
    folders: dict[str, list[str]] = {}
    for name in names:
        folder, file = posixpath.split(name)
        if re.fullmatch(FOLDERS, folder):
            folders.setdefault(folder, []).append(file)
    chosen = []
    for folder, files in folders.items():
        for file in files:
            if _is_one_of(file, SMALL) or file in _weights(files):
                chosen.append(posixpath.join(folder, file))
    if "config.json" in chosen and CARD in folders[""]:
        chosen.append(CARD)
    return sorted(chosen)


def _weights(files: list[str]) -> list[str]:
    if "preset.json" in files:
        return []  # bertzoo's own, named in BERTZOO
    for patterns in WEIGHTS:
        found = [file for file in files if _is_one_of(file, patterns)]
        if patterns == ("*.index",) and found:
            return _tensorflow_1(found, files)
        if any(_is_one_of(file, patterns[:1]) for file in found):  # shards without a list are none
            return found
    return []


def _tensorflow_1(indices: list[str], files: list[str]) -> list[str]:
    """Return one checkpoint of a training's many: the released one, or that of the last step."""
    released = [index for index in indices if index in RELEASED]
    chosen = released[0] if released else max(indices, key=_step)
    prefix = chosen.removesuffix(".index")
    return [chosen, *(file for file in files if file.startswith(f"{prefix}.data-"))]


def _step(index: str) -> int:
    match = re.search(r"-([0-9]+)\.index$", index)
    return int(match[1]) if match else -1


def _is_one_of(file: str, patterns: collections.abc.Iterable[str]) -> bool:
    return any(fnmatch.fnmatchcase(file, pattern) for pattern in patterns)
