"""Windows against google-research/bert's loops, written out here in plain Python."""

import numpy as np
import pytest
import tensorflow as tf

from bertzoo.preprocessing import packing, windows
from bertzoo.preprocessing.preprocessor import Preprocessor
from bertzoo.tokenizers.byte_pair import BytePairTokenizer
from bertzoo.tokenizers.byte_pair_vocabulary import BYTE_CHARACTERS
from bertzoo.tokenizers.wordpiece import WordPieceTokenizer

WORDS = "[PAD] [UNK] [CLS] [SEP] [MASK] a b c d e f g ##s . cat dog mat the on sat paris u , '"


@pytest.fixture(scope="module")
def wordpiece():
    return WordPieceTokenizer(WORDS.split())


@pytest.fixture(scope="module")
def byte_pair():
    tokens = ["<s>", "<pad>", "</s>", "<unk>", "<mask>", *BYTE_CHARACTERS, "Ġc", "at", "Ġcat"]
    return BytePairTokenizer(tokens, ["Ġ c", "a t", "Ġc at"])


def published_spans(num_tokens, room, doc_stride):
    """`doc_spans` of run_squad.py."""
    spans, start = [], 0
    while start < num_tokens:
        length = min(num_tokens - start, room)
        spans.append((start, length))
        if start + length == num_tokens:
            break
        start += min(length, doc_stride)
    return spans or [(0, 0)]  # an empty text has one window here, and none there


def published_max_context(spans, current, position):
    """`_check_is_max_context` of run_squad.py."""
    best_score, best_index = None, None
    for index, (start, length) in enumerate(spans):
        end = start + length - 1
        if position < start or position > end:
            continue
        score = min(position - start, end - position) + 0.01 * length
        if best_score is None or score > best_score:
            best_score, best_index = score, index
    return current == best_index


@pytest.mark.parametrize("form", [(2, 3, 0, 1), (0, 2, 1, 2)], ids=["bert", "roberta"])
@pytest.mark.parametrize("doc_stride", [1, 3, 4, 50])
@pytest.mark.parametrize("is_pair", [False, True])
def test_windows_are_those_of_the_published_loops(form, doc_stride, is_pair):
    form = packing.PackingForm(*form)
    texts = [list(range(100, 100 + n)) for n in (0, 1, 7, 8, 9, 30, 31, 6)]
    questions = [[50, 51][:n] for n in (2, 0, 1, 2, 2, 1, 0, 2)]
    ragged = tf.ragged.constant(texts, dtype="int32")
    tokens = windows.TextTokens(ragged, ragged + 1000, ragged + 2000)
    question = tf.ragged.constant(questions, dtype="int32") if is_pair else None
    cut = windows.cut(tokens, question, form, 13, lambda n: tf.reduce_max(n), 2, doc_stride)

    row = 0
    for index, text in enumerate(texts):
        prefix = [form.start]
        if is_pair:
            prefix += questions[index] + [form.end] * form.num_separators
        spans = published_spans(len(text), 13 - len(prefix) - 1, doc_stride)
        for number, (start, length) in enumerate(spans):
            ids = [*prefix, *text[start : start + length], form.end]
            padding = [0] * (cut.features["token_ids"].shape[1] - len(ids))
            in_text = [0] * len(prefix) + [1] * length + [0] + padding
            second = len(ids) - len(prefix) + form.num_separators - 1 if is_pair else 0
            segments = [0] * (len(ids) - second) + [1] * second + padding
            best = [
                int(published_max_context(spans, number, start + place)) for place in range(length)
            ]
            got = {key: value[row].numpy().tolist() for key, value in cut.features.items()}
            assert got["token_ids"] == ids + [form.pad] * len(padding)
            assert got["padding_mask"] == [1] * len(ids) + padding
            assert got["segment_ids"] == segments
            assert cut.in_text[row].numpy().tolist() == in_text
            assert cut.max_context[row].numpy().tolist() == [0] * len(prefix) + best + [0] + padding
            places = np.array(text[start : start + length], int)
            kept = np.array(in_text, bool)
            np.testing.assert_array_equal(cut.starts[row].numpy()[kept], places + 1000)
            np.testing.assert_array_equal(cut.ends[row].numpy()[kept], places + 2000)
            assert not cut.starts[row].numpy()[~kept].any()
            assert int(cut.text_index[row]) == index
            row += 1
    assert row == len(cut.text_index)


def test_every_token_of_a_text_has_its_most_context_once(wordpiece):
    preprocessor = Preprocessor(wordpiece, sequence_length=16)
    texts = ["the cat sat on the mat . " * n for n in (0, 1, 5, 23)]
    cut = preprocessor.windows(texts)
    counts = np.zeros(4, int)
    np.add.at(counts, cut.text_index.numpy(), cut.max_context.numpy().sum(axis=1))
    assert counts.tolist() == [0, 7, 35, 161]


def test_the_published_stride_is_the_default_at_the_published_length(wordpiece):
    preprocessor = Preprocessor(wordpiece, sequence_length=384)
    cut = preprocessor.windows(["a " * 900], question=["the cat"])
    first_places = cut.starts.numpy()[:, 4] // 2  # [CLS] the cat [SEP] and then the text
    assert first_places.tolist() == [0, 128, 256, 384, 512, 640]  # 640 + 379 >= 900


def test_a_long_question_is_cut_to_64_tokens_and_leaves_room(wordpiece):
    for length, kept in ((200, 64), (19, 12)):
        preprocessor = Preprocessor(wordpiece, sequence_length=length, padding="longest")
        ids = preprocessor.windows(["a b"], question=["the " * 99]).features["token_ids"]
        assert ids.numpy().tolist() == [[2, *[17] * kept, 3, 5, 6, 3]]


@pytest.mark.parametrize("padding", ["bucketed", "longest", "fixed"])
def test_windows_are_padded_as_the_preprocessor_says(wordpiece, padding):
    preprocessor = Preprocessor(wordpiece, sequence_length=21, padding=padding)
    lengths = {"bucketed": 8, "longest": 5, "fixed": 21}
    cut = preprocessor.windows(["a b c"])
    assert all(value.shape == (1, lengths[padding]) for value in cut.features.values())


def test_offsets_are_code_points_of_the_original_text(wordpiece):
    text = "Le CAT  à Paris’ cats. " * 4
    cut = Preprocessor(wordpiece, sequence_length=12).windows([text])
    is_cat = cut.features["token_ids"].numpy() == WORDS.split().index("cat")
    found = [
        text[s:e] for s, e in zip(cut.starts.numpy()[is_cat], cut.ends.numpy()[is_cat], strict=True)
    ]
    assert set(found) == {"CAT", "cat"}


def test_windows_run_in_a_graph_with_open_shapes(wordpiece):
    preprocessor = Preprocessor(wordpiece, sequence_length=12)
    spec = tf.TensorSpec([None], "string")
    in_graph = tf.function(lambda text, question: preprocessor.windows(text, question), [spec] * 2)
    for texts in (["a cat " * 9, "dog", ""], ["the"], []):
        questions = ["who ?"] * len(texts)
        texts, questions = tf.constant(texts, "string"), tf.constant(questions, "string")
        eager = preprocessor.windows(texts, questions)
        tf.nest.map_structure(np.testing.assert_array_equal, in_graph(texts, questions), eager)
        assert all(value.shape.rank == 2 for value in in_graph(texts, questions).features.values())


def test_a_stride_of_nothing_is_refused(wordpiece):
    with pytest.raises(ValueError, match="doc_stride must be at least 1; got 0"):
        Preprocessor(wordpiece, sequence_length=12).windows(["a"], doc_stride=0)


# === Words ===


def spans_of(found, row):
    text = found.text[row].numpy().decode()
    ends = found.ends[row].numpy()
    return [text[s:e] for s, e in zip(found.starts[row].numpy(), ends, strict=True)]


def test_words_of_a_raw_text_are_berts(wordpiece):
    preprocessor = Preprocessor(wordpiece, sequence_length=30)
    _, found = preprocessor.word_windows(
        ["Don't go\tto U.S.A.,\u00a0it's 3€ $5 東京都 déjà", "", " . "]
    )
    expected = "Don ' t go to U . S . A . , it ' s 3€ $ 5 東 京 都 déjà"
    assert " ".join(spans_of(found, 0)) == expected
    assert spans_of(found, 1) == []
    assert spans_of(found, 2) == ["."]


@pytest.mark.parametrize("name", ["wordpiece", "byte_pair"])
def test_each_word_has_one_first_piece_at_its_beginning(name, request):
    preprocessor = Preprocessor(request.getfixturevalue(name), sequence_length=12)
    texts = ["cats, (cat) dogs. " * 5, "a", "", "cat's é東 x"]
    cut, found = preprocessor.word_windows(texts)
    best = (cut.max_context * cut.first_piece).numpy().astype(bool)
    rows = np.broadcast_to(cut.text_index.numpy()[:, None], best.shape)[best]
    got = sorted(zip(rows, cut.word_index.numpy()[best], cut.starts.numpy()[best], strict=True))
    places = found.starts.to_list()
    expected = [(r, w, s) for r, starts in enumerate(places) for w, s in enumerate(starts)]
    assert got == expected


def test_given_words_become_what_each_becomes_alone(wordpiece):
    preprocessor = Preprocessor(wordpiece, sequence_length=30)
    words = [["Cats", "", "cat's", "\u200b", "U.S."], [], ["the mat"]]
    cut, found = preprocessor.word_windows(tf.ragged.constant(words, ragged_rank=1))
    assert [text.decode() for text in found.text.numpy()] == [" ".join(row) for row in words]
    for index, row in enumerate(words):
        assert spans_of(found, index) == row
        alone = [(n, i) for n, word in enumerate(row) for i in wordpiece(word).numpy().tolist()]
        kept = cut.in_text[index].numpy().astype(bool)
        ids = cut.features["token_ids"][index].numpy()[kept].tolist()
        assert list(zip(cut.word_index[index].numpy()[kept], ids, strict=True)) == alone
    # `Cats` and `cat's` begin with `cat` and go on; the empty and the invisible word have nothing.
    assert cut.first_piece[0].numpy().tolist()[:12] == [0, 1, 0, 1, 0, 0, 1, 0, 0, 0, 0, 0]


def test_byte_pairs_take_a_given_word_as_one_inside_a_sentence(byte_pair):
    preprocessor = Preprocessor(byte_pair, sequence_length=30)
    cut, _ = preprocessor.word_windows(tf.ragged.constant([["cat", "é", "cat"]]))
    expected = byte_pair(" cat é cat").numpy().tolist()
    kept = cut.in_text[0].numpy().astype(bool)
    assert cut.features["token_ids"][0].numpy()[kept].tolist() == expected
    assert cut.starts[0].numpy()[kept].tolist() == [0, 4, 4, 4, 6]
    assert cut.ends[0].numpy()[kept].tolist() == [3, 4, 5, 5, 9]
    assert cut.word_index[0].numpy()[kept].tolist() == [0, 1, 1, 1, 2]
