"""The main job on real weights: embed, search, fine-tune, save, reload. `make quickstart`."""

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import collections
import csv
import gzip
import pathlib
import time

import keras
import numpy as np

import bertzoo

HERE = pathlib.Path(__file__).parent
PRESET = "all_minilm_l6_v2_en"
SAVED = pathlib.Path("quickstart_model")
QUERIES = [
    "keeping food cold",
    "a robot that helps surgeons",
    "unlock a phone with your face",
]


def read_patents(name):
    """Return sections, titles, and titles with abstracts, of one of the two files."""
    with gzip.open(HERE / f"patents_{name}.tsv.gz", "rt", encoding="utf8", newline="") as file:
        rows = list(csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE))
    sections = [row["section"] for row in rows]
    titles = [row["title"] for row in rows]
    return sections, titles, [f"{row['title']}. {row['abstract']}" for row in rows]


def search(titles):
    """Embed the titles and print the three nearest to each query."""
    embedder = bertzoo.TextEmbedder.from_preset(PRESET)
    started = time.perf_counter()
    vectors = embedder.predict(titles, verbose=1)
    seconds = time.perf_counter() - started
    print(f"{len(titles)} titles to vectors of {vectors.shape[1]} numbers in {seconds:.1f} s")
    # The vectors have length 1, so their product is the cosine.
    scores = embedder.predict(QUERIES) @ vectors.T
    for query, row in zip(QUERIES, scores, strict=True):
        print(f"\n  {query}?")
        for index in np.argsort(-row)[:3]:
            print(f"    {row[index]:.2f}  {titles[index]}")


def learn(train, heldout):
    """Fine-tune the whole encoder on patent sections; save, reload, compare."""
    (train_labels, _, train_texts), (labels, _, texts) = train, heldout
    classifier = bertzoo.TextClassifier.from_preset(
        PRESET, labels=sorted(set(train_labels)), sequence_length=48
    )
    classifier.compile(optimizer=keras.optimizers.AdamW(3.0e-4))
    classifier.fit(train_texts, train_labels, batch_size=32)
    accuracy = classifier.evaluate(texts, labels, verbose=0, return_dict=True)["accuracy"]
    majority = collections.Counter(train_labels).most_common(1)[0][0]
    baseline = sum(label == majority for label in labels) / len(labels)
    print(f"\naccuracy on {len(labels)} held-out patents: {accuracy:.1%}")
    print(f"always answering the most frequent section ({majority}): {baseline:.1%}")

    classifier.save_to_preset(SAVED)
    reloaded = bertzoo.TextClassifier.from_preset(SAVED)
    same = np.array_equal(*(model.predict(texts, verbose=0) for model in (classifier, reloaded)))
    print(f"saved to {SAVED}/ and loaded again: predictions {'equal' if same else 'DIFFER'}")
    print(f"try it: .venv/bin/bertzoo predict {SAVED} 'a bicycle with an electric motor'")
    return accuracy > baseline and same


if __name__ == "__main__":
    keras.utils.set_random_seed(1)
    began = time.perf_counter()
    train, heldout = read_patents("train"), read_patents("heldout")
    print(f"1. Search by meaning: {PRESET}, a BERT of 6 layers\n")
    search(heldout[1])
    print(f"\n2. Learn: the section (A to H) of {len(train[0])} patents from title and abstract\n")
    good = learn(train, heldout)
    print(f"done in {time.perf_counter() - began:.0f} s")
    raise SystemExit(0 if good else 1)
