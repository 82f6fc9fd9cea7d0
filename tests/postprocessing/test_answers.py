"""The decoding of answers beside the published loops, on random logits."""

import importlib.util
import pathlib

import numpy as np
import pytest
import tensorflow as tf

from bertzoo.postprocessing import answers
from bertzoo.preprocessing.preprocessor import Preprocessor
from bertzoo.preprocessing.windows import Windows
from bertzoo.tokenizers.wordpiece import WordPieceTokenizer

_PATH = pathlib.Path(__file__).with_name("squad_reference.py")
_SPEC = importlib.util.spec_from_file_location("squad_reference", _PATH)
squad_reference = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(squad_reference)

VOCABULARY = "[PAD] [UNK] [CLS] [SEP] [MASK] a b c d é 東 ##s . cat dog mat the on sat who ?"


@pytest.fixture(scope="module")
def preprocessor():
    tokenizer = WordPieceTokenizer(VOCABULARY.split(), strip_accents=False)
    return Preprocessor(tokenizer, sequence_length=44)


def texts_of(rng, sizes):
    words = np.array(["Cats", "dog", "é", "東", "the", "mat.", "a", "B", "sat", "on"])
    return [" ".join(rng.choice(words, size)) for size in sizes]


def rows_of(windows, start_logits, end_logits, text_index):
    """The windows of one text without their padding, as lists."""
    rows = []
    for row in np.flatnonzero(windows.text_index.numpy() == text_index):
        length = int(windows.features["padding_mask"][row].numpy().sum())
        row_of = {
            "start_logits": start_logits[row], "end_logits": end_logits[row],
            "in_text": windows.in_text[row].numpy(), "starts": windows.starts[row].numpy(),
            "max_context": windows.max_context[row].numpy(), "ends": windows.ends[row].numpy(),
        }  # fmt: skip
        rows.append({key: value[:length].tolist() for key, value in row_of.items()})
    return rows


@pytest.mark.parametrize("threshold", [None, 0.0, -3.0])
@pytest.mark.parametrize("kind", ["spread", "ties", "null first", "null last"])
def test_answers_are_those_of_the_published_loops(preprocessor, threshold, kind):
    rng = np.random.default_rng(5)
    texts = texts_of(rng, [1, 3, 30, 90, 0, 61])
    windows = preprocessor.windows(texts, ["who sat ?"] * len(texts), doc_stride=11)
    shape = windows.in_text.shape
    logits = rng.normal(0, 3, (2, *shape)).astype(np.float32)
    if kind == "ties":
        logits = np.round(logits)
    logits[:, :, 0] += {"null first": 30.0, "null last": -30.0}.get(kind, 3.0)
    got = answers.decode(*map(tf.constant, logits), windows, tf.constant(texts), threshold)
    got = {key: value.numpy() for key, value in got.items()}
    for index, text in enumerate(texts):
        rows = rows_of(windows, *logits, index)
        v2 = threshold is not None
        answer, probable, difference = squad_reference.published_answer(
            rows, text, v2, threshold or 0.0
        )
        assert got["answer"][index].decode() == answer
        assert text[got["start"][index] : got["end"][index]] == answer
        np.testing.assert_allclose(got["null_score"][index], difference, rtol=1e-6)
        expected = [(span, probability) for string, span, probability in probable if string]
        count = got["count"][index]
        spans = list(zip(got["starts"][index][:count], got["ends"][index][:count], strict=True))
        assert spans == [span for span, _ in expected]
        assert [string.decode() for string in got["answers"][index][:count]] == [
            text[start:end] for start, end in spans
        ]
        scores = got["scores"][index]
        np.testing.assert_allclose(scores[:count], [p for _, p in expected], rtol=1e-5, atol=1e-9)
        assert not scores[count:].any()
        assert not got["starts"][index][count:].any()
        null = [probability for string, _, probability in probable if not string]
        if null or not expected:
            np.testing.assert_allclose(
                got["no_answer_probability"][index], null[0] if null else 1.0, rtol=1e-5, atol=1e-9
            )
        chosen = got["score"][index]
        assert chosen == (scores[0] if answer else got["no_answer_probability"][index])


def test_the_cases_reach_what_they_are_for(preprocessor):
    # Several windows a text, more than 20 spans, repeated strings: else the loops agree for free.
    rng = np.random.default_rng(5)
    texts = texts_of(rng, [90])
    windows = preprocessor.windows(texts, ["who sat ?"], doc_stride=11)
    logits = rng.normal(0, 3, (2, *windows.in_text.shape)).astype(np.float32)
    assert len(windows.text_index) > 3
    _, probable, _ = squad_reference.published_answer(
        rows_of(windows, *logits, 0), texts[0], v2=False, n_best=60
    )
    assert len(probable) == 60
    assert len({texts[0][s:e] for _, (s, e), _ in probable}) == 60


def one_window(starts, ends):
    length = len(starts)
    ones, none = np.ones((1, length), np.int32), np.zeros((1, length), np.int32)
    in_text = np.array([[0, *[1] * (length - 2), 0]], np.int32)
    return Windows(
        features={"padding_mask": tf.constant(ones)},
        text_index=tf.constant([0]),
        in_text=tf.constant(in_text),
        starts=tf.constant([[0, *starts[1:-1], 0]]),
        ends=tf.constant([[0, *ends[1:-1], 0]]),
        max_context=tf.constant(in_text),
        word_index=tf.constant(none),
    )


def test_an_answer_by_hand():
    windows = one_window([0, 0, 4, 8, 0], [0, 3, 7, 11, 0])
    start = [[1.0, 0.0, 5.0, 0.0, 0.0]]
    end = [[1.0, 0.0, 0.0, 4.0, 9.0]]  # the end token is no end
    got = answers.decode(
        tf.constant(start), tf.constant(end), windows, tf.constant(["one two six"])
    )
    assert got["answer"].numpy().tolist() == [b"two six"]
    assert (int(got["start"][0]), int(got["end"][0])) == (4, 11)
    assert float(got["null_score"][0]) == 2.0 - 9.0
    sums = [9.0, 5.0, 4.0, 4.0, 0.0, 0.0]  # two six; two; one two six; six; one; one two
    np.testing.assert_allclose(got["score"][0], np.exp(9.0) / np.exp(sums).sum(), rtol=1e-6)


def test_the_threshold_decides_between_answer_and_none():
    windows = one_window([0, 0, 4, 0], [0, 3, 7, 0])
    start, end = tf.constant([[3.0, 0.0, 1.0, 0.0]]), tf.constant([[2.0, 0.0, 2.0, 0.0]])
    for threshold, expected in ((1.9, b""), (2.1, b"two")):
        got = answers.decode(start, end, windows, tf.constant(["one two"]), threshold)
        assert float(got["null_score"][0]) == 2.0
        assert got["answer"].numpy().tolist() == [expected]


def test_padding_is_none_of_the_best(preprocessor):
    texts = ["the cat sat on the mat", "dog"]
    windows = preprocessor.windows(texts, ["who ?"] * 2)
    mask = windows.features["padding_mask"].numpy()
    logits = np.where(mask > 0, np.arange(mask.shape[1], dtype=np.float32), 99.0)
    got = answers.decode(tf.constant(logits), tf.constant(logits), windows, tf.constant(texts))
    assert got["answer"].numpy().tolist() == [b"mat", b"dog"]


def test_no_texts_give_no_answers(preprocessor):
    empty = tf.constant([], "string")
    windows = preprocessor.windows(empty, empty)
    logits = tf.zeros(tf.shape(windows.in_text))
    got = answers.decode(logits, logits, windows, empty, 0.0)
    assert got["answers"].shape == (0, 20)
    assert got["answer"].shape == (0,)
