"""Training a vocabulary: exact size, the same every time, from the same words as tokenizing."""

import collections
import random

import pytest
import tensorflow as tf

import bertzoo
from bertzoo.tokenizers import train
from bertzoo.tokenizers.train import train_tokenizer
from tests.tokenizers import reference

SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]


def texts(count=600):
    """Words made of a few stems and endings, some far more frequent than others."""
    generator = random.Random(2)
    stems = ["walk", "talk", "bind", "protein", "kinase", "sleep", "Über", "naïve", "inhibit"]
    endings = ["", "s", "ed", "ing", "er", "ation", "or"]
    return [
        " ".join(generator.choice(stems) + generator.choice(endings) for _ in range(7)) + "."
        for _ in range(count)
    ]


@pytest.mark.parametrize("size", [60, 97])
def test_the_vocabulary_has_the_size_asked_for(size):
    tokenizer = train_tokenizer(texts(), size, progress=False)
    assert tokenizer.vocabulary_size == size
    assert tokenizer.vocabulary[:5] == SPECIAL
    assert len(set(tokenizer.vocabulary)) == size


def test_little_text_gives_fewer_tokens():
    tokenizer = train_tokenizer(["ab ab"], 100, progress=False)
    assert tokenizer.vocabulary == [*SPECIAL, "a", "b", "##a", "##b", "ab"]


def test_the_same_texts_give_the_same_vocabulary_in_any_order():
    first = train_tokenizer(texts(), 80, progress=False)
    shuffled = texts()
    random.Random(1).shuffle(shuffled)
    again = train_tokenizer(iter(shuffled), 80, progress=False)
    assert again.files() == first.files()


def test_frequent_words_are_one_token_and_all_text_can_be_spelled():
    tokenizer = train_tokenizer(texts(), 97, progress=False)
    ids = tokenizer(texts())
    assert not tf.reduce_any(ids.values == tokenizer.unknown_id)
    assert ids.values.shape[0] < 2.2 * 600 * 8
    assert "protein" in tokenizer.vocabulary
    # A word that was never seen is spelled by known parts.
    assert tokenizer.id_to_token(tokenizer("kinasesor")[0]).startswith("kinase")
    assert tokenizer.detokenize(tokenizer("kinasesor")).numpy() == b"kinasesor"


def test_words_are_those_of_the_algorithm():
    odd = [
        *texts(20),
        "ΟΔΟΣ, don't 中文! \u200bx\u0301 a\U00011f43b",
        b"caf\xc3\xa9\xff",
        "y" * 300,
    ]
    for lowercase in (True, False):
        splitter = bertzoo.WordPieceTokenizer(SPECIAL, lowercase)
        counted = train._count_words(odd, splitter, train._Report(False))
        expected = collections.Counter()
        for text in odd:
            text = text.decode("utf-8", "ignore") if isinstance(text, bytes) else text
            expected.update(reference.words(text, lowercase))
        assert counted == expected


def test_case_and_accents_are_as_asked():
    vocabulary = train_tokenizer(texts(), 90, lowercase=False, progress=False).vocabulary
    assert any("Ü" in token for token in vocabulary)
    vocabulary = train_tokenizer(texts(), 90, strip_accents=False, progress=False).vocabulary
    assert any("ü" in token for token in vocabulary)
    assert not any("Ü" in token for token in vocabulary)


def test_ideographs_and_punctuation_do_not_continue_words():
    tokenizer = train_tokenizer(["東京 is, well, 東京!"] * 5, 60, progress=False)
    assert {"東", "京", ",", "!"} <= set(tokenizer.vocabulary)
    assert not {"##東", "##京", "##,", "##!"} & set(tokenizer.vocabulary)
    assert tokenizer.unknown_id not in tokenizer("東京, well!").numpy()


def test_rare_characters_do_not_take_the_room_of_words():
    rare = "".join(chr(c) for c in range(0xA000, 0xA400))
    tokenizer = train_tokenizer([*texts(), *rare], 200, progress=False)
    single = [token for token in tokenizer.vocabulary[5:] if len(token.removeprefix("##")) == 1]
    assert len(single) <= 130
    assert "protein" in tokenizer.vocabulary


def test_files_and_datasets_are_read(tmp_path):
    path = tmp_path / "texts.txt"
    path.write_text("\r\n".join(texts()) + "\n", "utf-8")
    expected = train_tokenizer(texts(), 70, progress=False).files()
    assert train_tokenizer(path, 70, progress=False).files() == expected
    assert train_tokenizer([path], 70, progress=False).files() == expected
    dataset = tf.data.Dataset.from_tensor_slices(texts())
    assert train_tokenizer(dataset, 70, progress=False).files() == expected
    assert train_tokenizer(dataset.batch(7), 70, progress=False).files() == expected


def test_special_tokens_may_have_other_names():
    tokenizer = train_tokenizer(texts(), 70, progress=False, mask_token="<mask>", pad_token="<p>")
    assert tokenizer.vocabulary[:5] == ["<p>", "[UNK]", "[CLS]", "[SEP]", "<mask>"]
    assert tokenizer.config.mask_token == "<mask>"


def test_progress_is_reported_on_standard_error(capsys):
    train_tokenizer(texts(), 70)
    captured = capsys.readouterr()
    assert "600 texts read" in captured.err
    assert "threshold" in captured.err
    assert captured.out == ""
    train_tokenizer(texts(), 70, progress=False)
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((["a b"], 7), "vocabulary_size must be at least 8"),
        (([], 50), r"hold no words \(0 texts read\)"),
        ((["", " \0"], 50), r"hold no words \(2 texts read\)"),
        (("a text", 50), "got one string"),
        ((["a", 3], 50), "row 1 is 3"),
    ],
)
def test_mistakes_are_told(arguments, message):
    with pytest.raises(ValueError, match=message):
        train_tokenizer(*arguments, progress=False)
