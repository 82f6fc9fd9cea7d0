"""BytePairTokenizer against Hugging Face's `tokenizers` and transformers, without a difference.

Real text of the data collection, code points, random Unicode, random bytes (as
`bytes.decode(errors="ignore")`); ids and offsets; GPT-2's and RoBERTa's vocabularies. `corpora.py`
says how much of it; run with `-s` to see it.
"""

from __future__ import annotations

import functools
import random

import numpy as np
import pytest
import tokenizers as hf_tokenizers
import transformers

from bertzoo.preprocessing.preprocessor import Preprocessor
from bertzoo.tokenizers.byte_pair import BytePairTokenizer
from tests.interop.corpora import DATA, STEP, batches, corpora, real_texts, scaled

pytestmark = pytest.mark.skipif(not DATA.is_dir(), reason="the data collection is not here")

ROLES = ("start", "end", "pad", "unknown", "mask")
MASK = transformers.AddedToken("<mask>", lstrip=True, special=True)
HOSTILE = [
    *"absmdt1²!…' \n\t\x00\x1c\x7f\x85", " ", "  ", "'s", "'ll", "'re", "'ve", "''", "re", "ll",
    "\xa0", "\u3000", "\u200b", "\u2028", "é", "\u0301", "中", "文", "ß", "ก", "😀", "\ufffd",
    " the", "Hello", " world", "<mask>", " <mask>", "</s>", "<s>",
]  # fmt: skip


@functools.cache
def both(name="roberta-base", special_tokens_in_text=False, add_prefix_space=False):
    """Our tokenizer and a function from texts to encodings without special tokens."""
    paths = [str(DATA / "vocab" / name / file) for file in ("vocab.json", "merges.txt")]
    settings = {"special_tokens_in_text": special_tokens_in_text,
                "add_prefix_space": add_prefix_space}  # fmt: skip
    if name == "gpt2":
        settings |= {f"{role}_token": "<|endoftext|>" for role in ROLES}
        theirs = transformers.GPT2TokenizerFast(*paths)._tokenizer
    else:
        theirs = transformers.RobertaTokenizerFast(
            *paths, mask_token=MASK, add_prefix_space=add_prefix_space
        )._tokenizer
    theirs.encode_special_tokens = not special_tokens_in_text
    return BytePairTokenizer(*paths, **settings), theirs


def same_ids(ours, theirs, texts) -> int:
    """Compare; return the number of tokens."""
    ids = ours(texts)
    expected = [e.ids for e in theirs.encode_batch_fast(texts, add_special_tokens=False)]
    splits = np.cumsum([0, *map(len, expected)])
    flat = np.concatenate([np.asarray(row, np.int32) for row in expected])
    if not (np.array_equal(splits, ids.row_splits) and np.array_equal(flat, ids.values)):
        for text, mine, other in zip(texts, ids.to_list(), expected, strict=True):
            assert mine == other, text[:300]
    return len(flat)


def same_offsets(ours, theirs, texts) -> int:
    """Compare ids and offsets; `trim_offsets` is done while special tokens are added."""
    encodings = theirs.encode_batch(texts, add_special_tokens=True)
    parts = (part.to_list() for part in ours.tokenize_with_offsets(texts))
    for text, encoding, ids, starts, ends in zip(texts, encodings, *parts, strict=True):
        assert ids == encoding.ids[1:-1], text[:300]
        assert list(zip(starts, ends, strict=True)) == encoding.offsets[1:-1], text[:300]
    return sum(len(encoding.ids) - 2 for encoding in encodings)


def hostile_texts(count, seed):
    generator = random.Random(seed)
    return ["".join(generator.choices(HOSTILE, k=generator.randrange(14))) for _ in range(count)]


def random_texts(count, seed):
    generator = random.Random(seed)
    ranges = ((0, 0x7F), (0, 0x2FF), (0, 0xD7FF), (0xE000, 0x10FFFF))
    return [
        "".join(
            chr(generator.randint(*generator.choice(ranges)))
            for _ in range(generator.randrange(20))
        )
        for _ in range(count)
    ]


@pytest.mark.parametrize("name", ["roberta-base", "gpt2"])
def test_ids_are_the_same_on_real_text(name):
    ours, theirs = both(name)
    tokens = sum(same_ids(ours, theirs, batch) for batch in batches(real_texts()))
    print(f"\n{name}: {len(real_texts())} texts, {tokens} tokens, no difference")
    assert tokens > scaled(10_000_000)


def test_offsets_are_the_same_on_real_text():
    ours, theirs = both()
    tokens = sum(same_offsets(ours, theirs, batch) for batch in batches(real_texts(5)))
    print(f"\noffsets: {tokens} tokens, no difference")
    assert tokens > scaled(1_000_000)


@pytest.mark.parametrize(
    "settings", [{}, {"special_tokens_in_text": True}, {"add_prefix_space": True}], ids=str
)
def test_hostile_and_random_unicode_is_the_same(settings):
    ours, theirs = both(**settings)
    for made in (hostile_texts(scaled(80_000), 1), random_texts(scaled(80_000), 2)):
        assert same_offsets(ours, theirs, made) > scaled(200_000)


def test_random_bytes_are_the_same_as_their_valid_part():
    ours, theirs = both()
    generator = random.Random(3)
    texts = [generator.randbytes(generator.randrange(30)) for _ in range(scaled(80_000))]
    expected = theirs.encode_batch_fast(
        [text.decode("utf-8", "ignore") for text in texts], add_special_tokens=False
    )
    assert ours(texts).to_list() == [encoding.ids for encoding in expected]


def test_code_points_cut_words_the_same_way():
    """All below U+3400; of the rest, where long blocks are of one kind, as many as of real text."""
    ours, theirs = both()
    above = [c for c in range(0x3400, 0x110000, STEP) if not 0xD800 <= c < 0xE000]
    characters = [chr(c) for c in (*range(0x3400), *above)]
    for start in range(0, len(characters), 20_000):
        texts = [f"a{c}b {c}. 1{c}'{c}'s{c}{c} {c}" for c in characters[start : start + 20_000]]
        same_ids(ours, theirs, texts)


def test_pairs_are_packed_and_cut_the_same_way():
    ours, _ = both()
    folder = DATA / "vocab" / "roberta-base"
    theirs = transformers.RobertaTokenizerFast(
        str(folder / "vocab.json"), str(folder / "merges.txt")
    )
    generator = random.Random(4)
    words = ["a", "sea", "of", "troubles,", "it's", "not", "the", "end"]
    pairs = [
        tuple(" ".join(generator.choices(words, k=generator.randrange(12))) for _ in range(2))
        for _ in range(500)
    ]
    for length in (5, 6, 9, 12, 15, 40):
        features = Preprocessor(ours, sequence_length=length, padding="fixed", num_segments=1)(
            pairs
        )
        expected = theirs(
            [a for a, _ in pairs], [b for _, b in pairs], truncation="longest_first",
            max_length=length, padding="max_length",
        )  # fmt: skip
        assert features["token_ids"].numpy().tolist() == expected["input_ids"]
        assert features["padding_mask"].numpy().tolist() == expected["attention_mask"]
        singles = Preprocessor(ours, sequence_length=length, padding="fixed")([a for a, _ in pairs])
        expected = theirs([a for a, _ in pairs], truncation=True, max_length=length,
                          padding="max_length")  # fmt: skip
        assert singles["token_ids"].numpy().tolist() == expected["input_ids"]


def test_an_exported_tokenizer_is_the_same_in_transformers(tmp_path):
    import keras

    import bertzoo

    ours, _ = both()
    keras.utils.set_random_seed(0)
    config = bertzoo.BackboneConfig(
        vocabulary_size=50265, num_layers=1, hidden_dim=8, num_heads=2, intermediate_dim=8,
        max_sequence_length=32, position_offset=2, num_segments=1, pooler=False,
        layer_norm_epsilon=1e-5,
    )  # fmt: skip
    task = bertzoo.MaskedLM.from_backbone(
        bertzoo.Backbone(config), Preprocessor(ours, sequence_length=32, num_segments=1)
    )
    task.save_to_preset(tmp_path / "ours")
    bertzoo.export_checkpoint(tmp_path / "ours", tmp_path / "theirs", format="hf_roberta")
    theirs = transformers.AutoTokenizer.from_pretrained(tmp_path / "theirs")
    text = "The sea\u3000 is <mask>, it's wide."
    features = task.preprocessor.preprocess_masked([text])
    mask = features["padding_mask"][0].numpy().astype(bool)
    assert features["token_ids"][0].numpy()[mask].tolist() == theirs(text)["input_ids"]
    # And the other way: transformers 5 writes tokenizer.json alone.
    theirs.save_pretrained(tmp_path / "again")
    for name in ("config.json", "model.safetensors"):
        (tmp_path / "again" / name).write_bytes((tmp_path / "theirs" / name).read_bytes())
    again = bertzoo.MaskedLM.from_preset(tmp_path / "again")
    assert again.tokenizer.vocabulary == ours.vocabulary
    assert again.tokenizer.merges == ours.merges


def test_training_learns_the_same_rules():
    import bertzoo

    texts = corpora()[::50]
    theirs = hf_tokenizers.ByteLevelBPETokenizer()
    theirs.train_from_iterator(
        texts, 3000, min_frequency=2, show_progress=False,
        special_tokens=["<s>", "<pad>", "</s>", "<unk>", "<mask>"],
    )  # fmt: skip
    ours = bertzoo.train_tokenizer(texts, 3000, kind="byte_pair", progress=False)
    assert {token: i for i, token in enumerate(ours.vocabulary)} == theirs.get_vocab()
    assert ours(texts[:500]).to_list() == [theirs.encode(text).ids for text in texts[:500]]
