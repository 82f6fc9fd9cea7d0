"""all-MiniLM-L6-v2 on real sentences: the vectors and the similarities of sentence-transformers."""

import csv
import os
import pathlib

import numpy as np
import pytest
import sentence_transformers
from scipy import stats

from bertzoo import hub, presets
from bertzoo.tasks.text_embedder import TextEmbedder

TOP = pathlib.Path(__file__).resolve().parents[2]
DATA = pathlib.Path(os.environ.get("BERTZOO_DATA", TOP.parent / "shared" / "data"))
PRESET = "all_minilm_l6_v2_en"


@pytest.fixture(scope="module")
def models():
    directory = hub.locate(presets.find_preset(PRESET))
    if directory is None:
        pytest.skip("all-MiniLM-L6-v2 is not installed (dependency group `weights`)")
    theirs = sentence_transformers.SentenceTransformer(str(directory), device="cpu")
    return TextEmbedder.from_preset(PRESET), theirs


def test_vectors_of_240_sentences_agree_to_1e_5(models):
    ours, theirs = models
    path = TOP / "tests" / "data" / "wikigold" / "sentences.txt"
    texts = path.read_text(encoding="utf-8").splitlines()
    assert len(texts) >= 200
    # And what sentences are not: nothing, one character, more than the longest row.
    texts += ["", " ", ".", "Zażółć", "word " * 400]
    difference = np.abs(ours.predict(texts, verbose=0) - theirs.encode(texts))
    assert difference.max() < 1e-5


def test_similarity_on_sts_b_dev_has_the_same_spearman(models):
    path = DATA / "glue" / "STS-B" / "sts-dev.csv"
    if not path.exists():
        pytest.skip("STS-B is not here: set BERTZOO_DATA to the folder that holds glue/STS-B")
    with path.open(encoding="utf-8", newline="") as file:
        rows = list(csv.reader(file, delimiter="\t", quoting=csv.QUOTE_NONE))
    assert len(rows) == 1500
    scores = [float(row[4]) for row in rows]
    texts = sorted({text for row in rows for text in row[5:7]})
    ours, theirs = models
    vectors = {
        "ours": ours.predict(texts, verbose=0),
        "theirs": theirs.encode(texts, batch_size=64),
    }
    assert np.abs(vectors["ours"] - vectors["theirs"]).max() < 1e-5
    place = {text: index for index, text in enumerate(texts)}
    first, second = ([place[row[column]] for row in rows] for column in (5, 6))
    spearman = {
        name: stats.spearmanr((v[first] * v[second]).sum(axis=1), scores).statistic
        for name, v in vectors.items()
    }
    print(f"STS-B dev Spearman: {spearman}")
    assert round(spearman["ours"], 4) == round(spearman["theirs"], 4)
    assert spearman["ours"] > 0.85  # both wrong alike would be far below
