"""BytePairTokenizer: ids and offsets against the algorithm in plain Python, and its settings."""

import functools
import pathlib
import pickle
import random

import keras
import numpy as np
import pytest
import tensorflow as tf

import bertzoo
from bertzoo.config import TokenizerConfig
from bertzoo.tokenizers import unicode_14
from bertzoo.tokenizers.base import Tokenizer
from bertzoo.tokenizers.byte_pair import BytePairTokenizer
from bertzoo.tokenizers.byte_pair_vocabulary import BYTE_CHARACTERS, read_merges
from tests.tokenizers import byte_pair_reference as reference

FOLDER = pathlib.Path(__file__).parents[1] / "data" / "roberta-base-cut"
SPECIAL = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]
HOSTILE = [
    *"absmdt1²!…' \n\t\x00\x1c\x7f\x85", " ", "  ", "'s", "'ll", "'re", "'ve", "''", "re", "ll",
    "\xa0", "\u3000", "\u200b", "\u2028", "é", "\u0301", "中", "文", "ß", "ก", "😀", "\ufffd",
    " the", "Hello", " world", "<mask>", "</s>",
]  # fmt: skip


@pytest.fixture(scope="module")
def tokenizer():
    return load()


@functools.cache
def load(**settings):
    return BytePairTokenizer(FOLDER / "vocab.json", FOLDER / "merges.txt", **settings)


@functools.cache
def merges():
    return {rule: rank for rank, rule in enumerate(read_merges(FOLDER / "merges.txt"))}


def hostile_texts(count, seed, longest=14):
    generator = random.Random(seed)
    return [
        "".join(generator.choice(HOSTILE) for _ in range(generator.randrange(longest)))
        for _ in range(count)
    ]


def differences(tokenizer, texts):
    """Texts of which the tokens are not the algorithm's, with both lists."""
    found = []
    for text, ids in zip(texts, tokenizer(texts).to_list(), strict=True):
        got = [tokenizer.vocabulary[index] for index in ids]
        expected = reference.tokenize(text, merges())
        if got != expected:
            found.append((text, expected, got))
    return found


def test_a_text_worked_by_hand():
    rules = ["l o", "lo w", "Ġ low", "e r"]
    made = ["lo", "low", "Ġlow", "er"]
    tokenizer = BytePairTokenizer([*SPECIAL, *BYTE_CHARACTERS, *made], rules)
    tokens = tokenizer.ids_to_tokens(tokenizer("lower low 10")).numpy()
    assert [t.decode() for t in tokens] == ["low", "er", "Ġlow", "Ġ", "1", "0"]


def test_ids_equal_the_algorithm_on_hostile_texts(tokenizer):
    texts = [*hostile_texts(4000, seed=1), "it's 'tis ''s \n's don't'll", "a  \n b", "end'"]
    assert differences(tokenizer, texts) == []


def test_ids_equal_the_algorithm_for_every_character():
    # Of ideographs, Hangul and private use, which are alike, every eleventh.
    alike = [*range(0x3400, 0xA000), *range(0xAC00, 0xD7A4), *range(0xE000, 0xF900),
             *range(0x17000, 0x18D00), *range(0x20000, 0x110000)]  # fmt: skip
    asked = sorted(set(range(0x110000)).difference(alike).union(alike[::11]))
    characters = [chr(c) for c in asked if unicode_14.is_assigned(c)]
    assert len(characters) > 50_000
    # The words alone: cutting is where characters differ.
    texts = [f"a{c}b {c}. 1{c}'{c}'s{c}{c} {c}" for c in characters]
    got = load().split_words(texts)
    words = ["\x1f".join(reference.words(text)) for text in texts]
    joined = tf.strings.reduce_join(got, axis=-1, separator="\x1f").numpy()
    wrong = [t for t, w, g in zip(texts, words, joined, strict=True) if w.encode() != g]
    assert wrong == []


def test_invalid_utf8_is_skipped(tokenizer):
    generator = random.Random(5)
    texts = [bytes(generator.choices(range(256), k=generator.randrange(20))) for _ in range(2000)]
    texts += [b"a\xffb", b"\xed\xa0\x80x", b"\xf8\xff\xff", b"ab\xe4\xb8", "é".encode()[:1]]
    assert differences(tokenizer, texts) == []


def test_offsets_are_code_points_without_spaces_at_the_ends(tokenizer):
    texts = ["", *hostile_texts(2000, seed=2)]
    for text, *got in zip(texts, *(t.to_list() for t in tokenizer.tokenize_with_offsets(texts)),
                          strict=True):  # fmt: skip
        tokens = reference.tokenize(text, merges())
        assert [tokenizer.vocabulary[index] for index in got[0]] == tokens
        assert list(zip(got[1], got[2], strict=True)) == reference.spans(text, tokens), text


def test_offsets_of_ascii_and_of_other_batches_agree(tokenizer):
    text = " The cat  sat.\n\nIt's 12"
    alone = tokenizer.tokenize_with_offsets([text])
    beside = tokenizer.tokenize_with_offsets(["é", text, "中"])
    for one, other in zip(alone, beside, strict=True):
        assert one.to_list()[0] == other.to_list()[1]


def test_detokenize_gives_the_text_back(tokenizer):
    texts = hostile_texts(500, seed=3)
    assert [t.decode() for t in tokenizer.detokenize(tokenizer(texts)).numpy()] == texts
    packed = [[tokenizer.start_id, *row, tokenizer.end_id, tokenizer.pad_id]
              for row in tokenizer(texts).to_list()]  # fmt: skip
    assert [t.decode() for t in tokenizer.detokenize(packed).numpy()] == texts
    masked = [*tokenizer("a").numpy(), tokenizer.mask_id, tokenizer.unknown_id]
    assert tokenizer.detokenize(masked).numpy() == b"a<mask><unk>"
    assert tokenizer.detokenize(tf.zeros([3, 0], tf.int32)).numpy().tolist() == [b""] * 3


def test_no_text_and_empty_texts(tokenizer):
    for ids in (tokenizer([]), *tokenizer.tokenize_with_offsets([])):
        assert ids.shape == [0, None]
        assert ids.dtype == tf.int32
    assert tokenizer(["", "", "a", ""]).to_list() == [[], [], [tokenizer.token_to_id("a")], []]
    assert tokenizer("").shape == [0]
    assert tokenizer(tf.constant(["a"])).to_list() == tokenizer(np.array(["a"], object)).to_list()


def test_nul_is_a_character_like_any_other(tokenizer):
    assert differences(tokenizer, ["a\0b", "\0", "\0\0\0 \0the", "Ā\0"]) == []


def test_a_word_of_100_kb_and_a_text_of_more_than_32767_tokens(tokenizer):
    letters = "".join(random.Random(4).choices("etaoinshrdlu", k=20_000))
    assert differences(tokenizer, [letters]) == []
    assert tokenizer.tokenize(["x" * 100_000]).shape[0] == 1
    many = tokenizer(["ab " * 40_000]).values
    assert many.shape[0] > 32_767
    assert tokenizer.detokenize(many).numpy() == b"ab " * 40_000


def test_words_are_the_same_in_graphs_pipelines_and_eagerly(tokenizer):
    texts = hostile_texts(50, seed=6)
    expected = tokenizer(texts).to_list()
    traced = tf.function(tokenizer.tokenize)
    assert traced(tf.constant(texts)).to_list() == expected
    dataset = tf.data.Dataset.from_tensor_slices(texts)
    assert [row.tolist() for row in dataset.map(tokenizer).as_numpy_iterator()] == expected
    batches = dataset.batch(7).map(tokenizer)
    assert [row for batch in batches for row in batch.to_list()] == expected


def test_setting_a_seed_does_not_unload_the_model(tokenizer):
    # TensorFlow then drops all eager kernels, and with them what is theirs.
    text = "unusual wordings"
    traced = tf.function(tokenizer.tokenize)
    expected = traced(tf.constant([text])).to_list()
    keras.utils.set_random_seed(3)
    assert tokenizer([text]).to_list() == traced(tf.constant([text])).to_list() == expected
    copy = pickle.loads(pickle.dumps(tokenizer))
    del copy  # equal models are one; it is still there
    tf.random.set_seed(4)
    assert tokenizer([text]).to_list() == expected


def test_special_tokens_are_ordinary_text_unless_asked_for(tokenizer):
    assert tokenizer.mask_id not in tokenizer("a <mask></s>").numpy()
    reading = load(special_tokens_in_text=True)
    ids, starts, ends = (
        t.numpy().tolist() for t in reading.tokenize_with_offsets("é \n<mask>a</s>")
    )
    first = tokenizer("é").numpy().tolist()
    assert ids == [*first, reading.mask_id, tokenizer.token_to_id("a"), reading.end_id]
    assert list(zip(starts, ends, strict=True))[-3:] == [(3, 9), (9, 10), (10, 14)]


def test_a_mask_takes_in_white_space_on_its_left_alone():
    reading = load(special_tokens_in_text=True)
    mask, start = reading.mask_id, reading.start_id
    a, space_a = (reading.token_to_id(token) for token in ("a", "Ġa"))
    cases = {
        "a <mask> a": [a, mask, space_a],
        "a\u3000\xa0 <mask>": [a, mask],
        " <mask>": [mask],
        "<mask> <mask>\n": [mask, mask, reading.token_to_id("Ċ")],
        "<s> <mask>": [start, mask],
        "a <s>": [a, reading.token_to_id("Ġ"), start],
        "": [],
    }
    assert reading(list(cases)).to_list() == list(cases.values())
    # And so where the mask is split off.
    bound = reading.bind_masks(tf.constant(list(cases))).numpy()
    assert [text.decode() for text in bound[:3]] == ["a<mask> a", "a<mask>", "<mask>"]


def test_marks_of_special_tokens_cannot_come_from_bytes():
    reading = load(special_tokens_in_text=True)
    marks = [b"\xf8\xff\xff", b"\xf9", b"\xfc\xff\xff\xff\xff\xff"]
    assert reading(marks).to_list() == [[], [], []]


def test_a_prefix_space_is_added_where_there_is_none(tokenizer):
    prefixed = load(add_prefix_space=True)
    texts = ["the", " the", "  the", "\nthe", "", "é", "'s"]
    longer = [" the", " the", "  the", " \nthe", "", " é", " 's"]
    assert prefixed(texts).to_list() == tokenizer(longer).to_list()
    ids, starts, ends = prefixed.tokenize_with_offsets("the sea")
    assert ids[0] == prefixed.token_to_id("Ġthe")
    assert (starts[0], ends[0], starts[1]) == (0, 3, 4)
    with pytest.raises(ValueError, match="special_tokens_in_text and add_prefix_space"):
        load(add_prefix_space=True, special_tokens_in_text=True)


def test_a_token_takes_the_place_of_a_mask(tokenizer):
    the, letter = tokenizer.token_to_id("Ġthe"), tokenizer.token_to_id("a")
    assert tokenizer.join_token("of \u3000", the) == "of the"
    assert tokenizer.join_token("of ", letter) == "ofa"
    assert tokenizer.join_token("", tokenizer.token_to_id("Ã")) == "\ufffd"


def test_files_and_copies_give_the_same_tokenizer(tokenizer, tmp_path):
    for name, content in tokenizer.files().items():
        (tmp_path / name).write_bytes(content)
    files = {"vocabulary": tmp_path / "vocabulary.json", "merges": tmp_path / "merges.txt"}
    config = TokenizerConfig(kind="byte_pair", add_prefix_space=True, sequence_length=77)
    again = Tokenizer.from_files(config, files, vocabulary_size=tokenizer.vocabulary_size)
    assert again.config == config
    assert (again.vocabulary, again.merges) == (tokenizer.vocabulary, tokenizer.merges)
    copy = pickle.loads(pickle.dumps(again))
    assert copy.config == config
    assert copy("The sea").numpy().tolist() == tokenizer(" The sea").numpy().tolist()
    with pytest.raises(ValueError, match="needs a file of merges"):
        Tokenizer.from_files(config, {"vocabulary": files["vocabulary"]})
    with pytest.raises(ValueError, match="the model has 9 rows"):
        Tokenizer.from_files(config, files, vocabulary_size=9)


def test_vocabularies_come_as_paths_mappings_and_lists():
    tokens = [*SPECIAL, *BYTE_CHARACTERS, "ab"]
    mapping = {token: index for index, token in reversed(list(enumerate(tokens)))}
    for vocabulary, rules in ((tokens, ["a b"]), (mapping, [("a", "b")])):
        tokenizer = bertzoo.BytePairTokenizer(vocabulary, rules)
        assert tokenizer("ab").numpy().tolist() == [len(tokens) - 1]


def test_one_token_may_have_all_special_roles():
    # GPT-2's vocabulary has a single one.
    roles = {f"{role}_token": "<|end|>" for role in ("start", "end", "pad", "unknown", "mask")}
    tokenizer = BytePairTokenizer([*BYTE_CHARACTERS, "<|end|>"], [], **roles)
    assert tokenizer("<|end|>").numpy().tolist() == list(b"<|end|>")  # byte b has the id b
    assert tokenizer.special_ids == (256,) * 5


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"vocabulary": [*SPECIAL, *BYTE_CHARACTERS[1:]]}, "lacks 1 of the 256 bytes.*0x00"),
        ({"vocabulary": [*SPECIAL[1:], *BYTE_CHARACTERS]}, "lacks the special token '<s>'"),
        ({"vocabulary": {"a": 0, "b": 0}}, "must be 0 to 1, each once; the token 'b' has 0"),
        ({"merges": ["a b"]}, "needs the token 'ab', which the vocabulary lacks"),
        ({"merges": ["a b c"]}, "line 1: a rule is two tokens with one space between"),
        ({"merges": ["#version: 0.2", "", "a b"]}, "line 2: a rule is two tokens"),
        ({"unknown_token": "a"}, "unknown token 'a' is one that text becomes"),
        ({"vocabulary_size": 7}, "has 261 tokens; the model has 7 rows"),
    ],
)
def test_faults_are_named(change, message):
    arguments = {"vocabulary": [*SPECIAL, *BYTE_CHARACTERS], "merges": [], **change}
    with pytest.raises(ValueError, match=message):
        BytePairTokenizer(**arguments)


@pytest.mark.parametrize("texts", [3, [1], [["a"]], {"a": 1}, tf.constant([1]), None])
def test_what_is_no_text_is_refused(tokenizer, texts):
    with pytest.raises(ValueError, match="texts must be"):
        tokenizer(texts)
