"""What WordPieceTokenizer does with text, beyond the ids of single characters."""

import copy
import pathlib
import pickle
import time

import numpy as np
import pytest
import tensorflow as tf

import bertzoo
from bertzoo.config import TokenizerConfig
from bertzoo.tokenizers.base import Tokenizer
from bertzoo.tokenizers.wordpiece import WordPieceTokenizer
from tests.tokenizers import reference

BERT = pathlib.Path(__file__).parents[1] / "data" / "bert-base-uncased" / "vocab.txt"
SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
VOCABULARY = [*SPECIAL, "un", "##aff", "##able", "a", "##a", "deja", "vu", ",", "ก", "##ก", "mask"]


@pytest.fixture(scope="module")
def tokenizer():
    return WordPieceTokenizer(VOCABULARY)


@pytest.fixture(scope="module")
def bert():
    return WordPieceTokenizer(BERT)


def tokens(tokenizer, text):
    return [tokenizer.id_to_token(index) for index in tokenizer(text)]


def test_ids_by_hand(bert):
    # From the README and the examples of google-research/bert and Hugging Face.
    assert bert("Hello, world!").numpy().tolist() == [7592, 1010, 2088, 999]
    assert tokens(bert, "John Johanson's house") == ["john", "johan", "##son", "'", "s", "house"]
    assert (bert.pad_id, bert.unknown_id, bert.start_id, bert.end_id, bert.mask_id) == (
        0,
        100,
        101,
        102,
        103,
    )
    assert bert.vocabulary_size == 30522


def test_a_list_gives_ragged_int32_and_one_string_a_vector(tokenizer):
    batch = tokenizer(["Unaffable", "", "déjà vu"])
    assert isinstance(batch, tf.RaggedTensor)
    assert batch.dtype == tf.int32
    assert batch.to_list() == [[5, 6, 7], [], [10, 11]]
    one = tokenizer("déjà vu")
    assert one.dtype == tf.int32
    assert one.numpy().tolist() == [10, 11]


@pytest.mark.parametrize(
    "texts",
    [
        ("a", "un"),
        np.array(["a", "un"]),
        np.array(["a", "un"], object),
        [b"a", b"un"],
        tf.constant(["a", "un"]),
        [np.str_("a"), np.bytes_(b"un")],
    ],
    ids=["tuple", "array", "objects", "bytes", "tensor", "numpy strings"],
)
def test_texts_come_in_any_container(tokenizer, texts):
    assert tokenizer(texts).to_list() == [[8], [5]]


@pytest.mark.parametrize(
    ("texts", "message"),
    [
        (None, "must be a string or a list of strings; got None"),
        (3, "must be a string or a list of strings; got 3"),
        ({"a": 1}, "must be a string or a list of strings"),
        (["a", None], "row 1 is None"),
        (["a", "b", float("nan")], r"row 2 is nan \(float\)"),
        ([["a"], ["b"]], "row 0 is "),
        (tf.constant([["a"]]), r"shape \[batch\] or \[\]; got string of shape \(1, 1\)"),
        (tf.constant([1]), "must be a string tensor"),
    ],
)
def test_what_is_not_text_is_refused_with_its_row(tokenizer, texts, message):
    with pytest.raises(ValueError, match=message):
        tokenizer(texts)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", []),
        (" \t\n\r\u00a0\u3000\u2028 ", []),
        ("\0", []),
        ("\ufffd", []),
        ("\x01\x7f\x85\u200b\u00ad", []),
        ("\u0301", []),
        ("d\0ej\u200ba", ["deja"]),
        ("d\ufffdeja\tvu", ["deja", "vu"]),
        (b"\xff\xfe", []),
        (b"d\xffe\xe4\xb8ja", ["deja"]),
        (b"vu\xc3", ["vu"]),
        ("deja\ud800vu deja", ["[UNK]", "deja"]),  # a lone surrogate is deleted: "dejavu"
        ("deja\ud800 vu", ["deja", "vu"]),
    ],
)
def test_odd_texts_have_a_defined_answer(tokenizer, text, expected):
    assert tokens(tokenizer, text) == expected
    assert (
        tokens(tokenizer, text)
        == tokenizer.ids_to_tokens(tokenizer([text])[0]).numpy().astype(str).tolist()
    )


def test_a_batch_of_none_gives_none(tokenizer):
    assert tokenizer([]).shape.as_list() == [0, None]
    assert [part.shape[0] for part in tokenizer.tokenize_with_offsets([])] == [0, 0, 0]
    assert tokenizer.detokenize(tokenizer([])).shape == (0,)


@pytest.mark.parametrize("letter", ["a", "ก"], ids=["one byte", "three bytes"])
@pytest.mark.parametrize("length", [66, 67, 100, 199, 200, 201, 267, 800, 801, 10_000])
def test_words_of_up_to_200_characters_are_spelled(tokenizer, letter, length):
    text = f"vu {letter * length} vu,{letter * length}"
    word = [letter] + ["##" + letter] * (length - 1) if length <= 200 else ["[UNK]"]
    assert tokens(tokenizer, text) == ["vu", *word, "vu", ",", *word]
    assert tokens(tokenizer, text) == reference.tokenize(text, set(VOCABULARY), True)


def test_long_words_are_spelled_in_the_middle_of_a_batch(tokenizer):
    texts = ["", "vu", "ก" * 150, "", "ก" * 250 + " vu " + "ก" * 101 + "x", "ก" * 200, "a"]
    expected = [reference.tokenize(text, set(VOCABULARY), True) for text in texts]
    batch = tokenizer(texts)
    assert tokenizer.ids_to_tokens(batch).to_list() == [
        [token.encode() for token in row] for row in expected
    ]
    graph = tf.function(tokenizer.tokenize)(tf.constant(texts))
    assert graph.to_list() == batch.to_list()


def test_a_word_of_one_megabyte_and_a_million_words_are_quick(bert):
    bert("warm up")
    start = time.perf_counter()
    assert bert("a" * 1_000_000).numpy().tolist() == [bert.unknown_id]
    assert bert("of " * 1_000_000).shape == (1_000_000,)
    # 0.15 s on two cores; the margin is for a busy machine.
    assert time.perf_counter() - start < 10


def test_special_tokens_in_text_are_ordinary_text(tokenizer):
    assert tokens(tokenizer, "a [MASK] vu") == ["a", "[UNK]", "mask", "[UNK]", "vu"]
    assert not set(tokenizer("[CLS][SEP][PAD][MASK]").numpy()) & {0, 2, 3, 4}


def test_special_tokens_in_text_are_recognised_when_asked_for():
    tokenizer = WordPieceTokenizer(VOCABULARY, special_tokens_in_text=True)
    text = "Déjà[MASK] vu\ufdd0 a[SEP]\x02[CLS]\x80[mask]"
    assert tokens(tokenizer, text) == [
        "deja",
        "[MASK]",
        "[UNK]",
        "a",
        "[SEP]",
        "[CLS]",
        "[UNK]",
        "mask",
        "[UNK]",
    ]
    _, starts, ends = tokenizer.tokenize_with_offsets(text)
    cut = [text[start:end] for start, end in zip(starts, ends, strict=True)]
    assert cut == ["Déjà", "[MASK]", "vu\ufdd0", "a", "[SEP]", "[CLS]", "[", "mask", "]"]


def test_special_tokens_in_text_beside_invalid_bytes_and_in_other_scripts():
    names = dict(mask_token="［ＭＡＳＫ］", start_token="<s>")
    vocabulary = ["[PAD]", "[UNK]", "<s>", "[SEP]", "［ＭＡＳＫ］", "a"]
    tokenizer = WordPieceTokenizer(vocabulary, special_tokens_in_text=True, **names)
    text = b"a\xff<s>\xe4\xb8" + "\x80\x02a［ＭＡＳＫ］a[UNK]é".encode()
    ids, starts, ends = tokenizer.tokenize_with_offsets(text)
    assert ids.numpy().tolist() == [5, 2, 5, 4, 5, 1, 1]
    string = text.decode("utf-8", "ignore")
    cut = [string[start:end] for start, end in zip(starts, ends, strict=True)]
    assert cut == ["a", "<s>", "a", "［ＭＡＳＫ］", "a", "[UNK]", "é"]


def test_special_tokens_of_two_bytes_cannot_be_marked_in_text():
    vocabulary = ["#P", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "a"]
    assert WordPieceTokenizer(vocabulary, pad_token="#P").pad_id == 0
    with pytest.raises(ValueError, match="at least three bytes; got '#P'"):
        WordPieceTokenizer(vocabulary, pad_token="#P", special_tokens_in_text=True)


def test_case_and_accents_are_kept_where_asked():
    vocabulary = [*SPECIAL, "é", "É", "e", "E"]
    for lowercase, strip_accents, expected in [
        (True, None, "e"),
        (False, None, "É"),
        (True, False, "é"),
        (False, True, "E"),
        (True, True, "e"),
        (False, False, "É"),
    ]:
        tokenizer = WordPieceTokenizer(vocabulary, lowercase, strip_accents)
        assert tokens(tokenizer, "É") == [expected]


def test_other_names_of_special_tokens():
    vocabulary = ["<pad>", "<unk>", "<s>", "</s>", "<mask>", "a"]
    names = dict(
        pad_token="<pad>",
        unknown_token="<unk>",
        start_token="<s>",
        end_token="</s>",
        mask_token="<mask>",
    )
    for in_text in (False, True):
        tokenizer = WordPieceTokenizer(vocabulary, special_tokens_in_text=in_text, **names)
        assert tokenizer("a zebra").numpy().tolist() == [5, 1]
        assert (4 in tokenizer("a<mask>").numpy()) is in_text


def test_tokens_that_no_text_can_yield_do_no_harm():
    vocabulary = [
        *SPECIAL,
        "a",
        "##",
        "a b",
        "x.y",
        "[unused1]",
        "\u2028",
        "##\u200b",
        "\x01",
        "[6]",
        "##.",
    ]
    tokenizer = WordPieceTokenizer(vocabulary)
    text = "a ## a b x.y [unused1] \u2028 a\u200b \x01"
    assert tokens(tokenizer, text) == reference.tokenize(text, set(vocabulary), True)


def test_characters_of_later_unicode_versions_in_a_vocabulary():
    # U+11F43 is punctuation since Unicode 15.0, which the op's ICU knows and BERT's rule does not.
    vocabulary = [*SPECIAL, "a\U00011f43b", "\U00011f43", "\U000e0020"]
    tokenizer = WordPieceTokenizer(vocabulary)
    assert tokens(tokenizer, "a\U00011f43b \U00011f43 \U000e0020") == vocabulary[5:7]


def test_ids_become_tokens_and_text_again(bert):
    ids = bert(["Unaffable déjà-vu, the Embeddings!", "", "of"])
    assert bert.detokenize(ids).numpy().tolist() == [
        b"unaffable deja - vu , the embeddings !",
        b"",
        b"of",
    ]
    packed = [[101, 7592, 102, 2088, 102, 0], [101, 103, 100, 102, 0, 0]]
    assert bert.detokenize(packed).numpy().tolist() == [b"hello world", b"[MASK] [UNK]"]
    assert bert.detokenize([7592, 2088]).numpy() == b"hello world"
    assert bert.ids_to_tokens([[7592, 0]]).numpy().tolist() == [[b"hello", b"[PAD]"]]
    assert bert.token_to_id("hello") == 7592
    assert bert.id_to_token(7592) == "hello"


def test_detokenized_text_gives_its_ids_again(bert):
    texts = ["Don't they're e-mail @ 3.14%?", "東京 is Tokyo's", "ΟΔΟΣ ΣΟΦΙΑΣ", "naïve café"]
    ids = bert(texts)
    assert bert(bert.detokenize(ids)).to_list() == ids.to_list()


def test_which_tokens_continue_a_word(bert):
    ids = bert(["embeddings are", ""])
    assert bert.ids_to_tokens(ids).to_list()[0] == [b"em", b"##bed", b"##ding", b"##s", b"are"]
    assert bert.continues_word(ids).to_list() == [[False, True, True, True, False], []]
    assert bert.continues_word([[101, 0]]).numpy().tolist() == [[False, False]]


def test_unknown_tokens_and_ids_are_refused(bert):
    with pytest.raises(ValueError, match=r"no token 'helo'; did you mean `hel.*`"):
        bert.token_to_id("helo")
    for index in (-1, 30522):
        with pytest.raises(ValueError, match=f"0 to 30521; got {index}"):
            bert.id_to_token(index)
    with pytest.raises(ValueError, match="must be integers; got float32"):
        bert.detokenize([[1.0]])


def test_eager_graph_and_dataset_agree(bert):
    texts = ["Hello wörld", "", "ΟΔΟΣ", "x" * 300, "ภาษาไทย" * 12, "[MASK]", "\0a"]
    eager = bert.tokenize_with_offsets(texts)
    for part, other in zip(eager, tf.function(bert.tokenize_with_offsets)(texts), strict=True):
        assert part.to_list() == other.to_list()
    dataset = tf.data.Dataset.from_tensor_slices(texts)
    batched = dataset.batch(3).map(bert, num_parallel_calls=2)
    assert [row for batch in batched for row in batch.to_list()] == eager[0].to_list()
    single = dataset.map(bert)
    assert [row.numpy().tolist() for row in single] == eager[0].to_list()


def test_a_tokenizer_built_inside_a_graph_works_outside():
    made = []

    @tf.function
    def build(text):
        made.append(WordPieceTokenizer(VOCABULARY))
        return made[0](text)

    assert build(tf.constant(["vu"])).to_list() == [[11]]
    assert made[0](["vu"]).to_list() == [[11]]


@pytest.mark.parametrize("clone", [copy.deepcopy, lambda t: pickle.loads(pickle.dumps(t))])
def test_copies_and_pickles_are_the_same_tokenizer(clone):
    tokenizer = WordPieceTokenizer(VOCABULARY, False, True, True, sequence_length=9)
    other = clone(tokenizer)
    assert other.config == tokenizer.config
    assert other.vocabulary == tokenizer.vocabulary
    assert other("É [MASK]a").numpy().tolist() == tokenizer("É [MASK]a").numpy().tolist()


def test_files_and_config_make_the_same_tokenizer(tmp_path):
    tokenizer = WordPieceTokenizer(VOCABULARY, lowercase=False, sequence_length=77)
    ((name, content),) = tokenizer.files().items()
    assert name == "vocabulary.txt"
    (tmp_path / name).write_bytes(content)
    files = {"vocabulary": tmp_path / name}
    again = Tokenizer.from_files(tokenizer.config, files, vocabulary_size=len(VOCABULARY))
    assert isinstance(again, WordPieceTokenizer)
    assert again.config == tokenizer.config
    assert again.files() == tokenizer.files()
    with pytest.raises(ValueError, match="has 16 tokens; the model has 17 rows"):
        Tokenizer.from_files(tokenizer.config, files, vocabulary_size=17)


def test_a_missing_vocabulary_file_says_so():
    with pytest.raises(ValueError, match="needs a vocabulary file"):
        Tokenizer.from_files(TokenizerConfig(), {})


def test_public_names():
    assert bertzoo.WordPieceTokenizer is WordPieceTokenizer
    assert bertzoo.Tokenizer is Tokenizer
