"""Strings work whatever the Keras backend: the preprocessor stays TensorFlow's, the task does not.

The file runs itself once per backend, `python test_tasks_on_backends.py out.npz`, because Keras has
one backend per process.
"""

import os
import pathlib
import subprocess
import sys

import numpy as np
import pytest

TOP = pathlib.Path(__file__).resolve().parents[2]
TEXTS = ["The cat sat on the mat.", "", "Paris is the capital of France.", "good"] * 9


def run_one_backend(path):
    """Write what toy models of every kind say of `TEXTS`."""
    import keras

    import bertzoo

    assert keras.backend.backend() == os.environ["KERAS_BACKEND"]
    features = bertzoo.Preprocessor.from_config(
        bertzoo.TextEmbedder.from_preset("bert_toy").preprocessor.get_config()
    ).preprocess(TEXTS[:3])
    embedder = bertzoo.TextEmbedder.from_preset("bert_toy")
    classifier = bertzoo.TextClassifier.from_preset("bert_toy")
    masked_lm = bertzoo.MaskedLM.from_preset("bert_toy")
    fills = masked_lm.fill(["Paris is the [MASK].", "A [MASK] and a [MASK]."], top_k=3)
    results = {
        "token_ids": features["token_ids"].numpy(),
        "many": embedder.predict(TEXTS, verbose=0),
        "few": embedder.predict(TEXTS[:2], verbose=0),
        "pairs": classifier.predict([("a cat", "a dog"), ("good", "bad")], verbose=0),
        "loss": np.array(classifier.evaluate(TEXTS, ["negative", "positive"] * 18, verbose=0)),
        "scores": np.array([fill.score for fill in fills[0] + fills[1][0] + fills[1][1]]),
    }
    results |= spans()
    classifier.fit(TEXTS, ["negative", "positive"] * 18, verbose=0)
    assert all(np.isfinite(weight).all() for weight in classifier.get_weights())
    np.savez(path, **results)


def spans():
    """What a toy tagger and a toy answerer say; in few shapes, each of which JAX compiles anew."""
    import bertzoo

    tagger = bertzoo.TokenClassifier.from_preset("bert_toy", padding="fixed")
    answerer = bertzoo.QuestionAnswerer.from_preset("bert_toy", padding="fixed", null_threshold=0.0)
    words = [text.split() for text in TEXTS[:3]]
    tags = [["O"] * len(row) for row in words]
    passages = {"question": ["who?", "where?"], "context": [TEXTS[0] * 9, TEXTS[2]]}
    answers = answerer.predict(passages)
    learnt = {**passages, "answer": ["mat", None]}
    return {
        "tagged": np.concatenate(tagger.predict(words)),
        "tagger loss": np.array(tagger.evaluate(words, tags, verbose=0)),
        "answers loss": np.array(answerer.evaluate(learnt, verbose=0)),
        **{f"answers {key}": answers[key] for key in ("scores", "starts", "null_score")},
    }


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    """What each backend wrote."""
    found = {}
    for backend in ("tensorflow", "jax", "torch"):
        path = tmp_path_factory.mktemp(backend) / "results.npz"
        done = subprocess.run(
            [sys.executable, __file__, str(path)],
            env={**os.environ, "KERAS_BACKEND": backend, "PYTHONPATH": str(TOP)},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, f"{backend}: {done.stderr[-3000:]}"
        found[backend] = dict(np.load(path))
    return found


@pytest.mark.parametrize("backend", ["jax", "torch"])
def test_texts_give_the_same_as_on_tensorflow(results, backend):
    for name, expected in results["tensorflow"].items():
        np.testing.assert_allclose(results[backend][name], expected, atol=1e-5, err_msg=name)


if __name__ == "__main__":
    run_one_backend(sys.argv[1])
