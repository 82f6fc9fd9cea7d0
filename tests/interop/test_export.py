"""What we export: transformers and sentence-transformers load it and compute what we do."""

import json
import os
import pathlib
import re

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np
import pytest
import sentence_transformers as st
import sentencepiece
import torch
import transformers

import bertzoo
from bertzoo import checkpoints
from bertzoo.models.networks import network_from_preset
from bertzoo.tokenizers.base import Tokenizer
from tests.checkpoints.test_round_trips import CASES
from tests.interop.test_hugging_face import CONFIGS, MASK_POSITIONS, TOLERANCE, their_model
from tests.reference import cases

DATA = pathlib.Path(__file__).parents[1] / "data"
# Every family and head that the round trips know, as transformers' class for it.
CLASSES = {
    (): "Model",
    ("masked_lm",): "ForMaskedLM",
    ("masked_lm", "next_sentence"): "ForPreTraining",
    ("next_sentence",): "ForNextSentencePrediction",
    ("text_classifier",): "ForSequenceClassification",
    ("token_classifier",): "ForTokenClassification",
    ("question_answerer",): "ForQuestionAnswering",
    ("discriminator",): "ForPreTraining",
}
NAMES = {
    "hf_bert": "Bert",
    "hf_distilbert": "DistilBert",
    "hf_albert": "Albert",
    "hf_roberta": "Roberta",
    "hf_electra": "Electra",
}
HUGGING_FACE = [case for case in CASES if case[0] in NAMES]
SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
WORDS = [*SPECIAL, "a", "cat", "##s", "sat", "on", "the", "mat", ".", "caf", "##e", "Cat", "é"]
TEXTS = ["the cats sat on the mat .", "Cats", "A café", "", "unknown [MASK] words", "日本 the cat"]


def write(directory, config, heads, **extra):
    """A preset of ours with values that no mistake leaves in place."""
    heads = {head.kind: head for head in heads}
    shapes = checkpoints.variable_shapes(config, heads.values())
    weights = cases.random_weights(shapes)
    values = {"tokenizer": None, "files": {}, "info": {}, **extra}
    return checkpoints.write_preset(
        directory, config=config, heads=heads, weights=weights.items(), **values
    )


def features_of(config):
    generator = np.random.default_rng(5)
    token_ids = generator.integers(5, config.vocabulary_size, (3, 7)).astype(np.int32)
    mask = np.ones((3, 7), np.int32)
    mask[1, 5:] = mask[2, 6:] = 0
    token_ids[mask == 0] = 1 if config.position_offset else 0
    segments = generator.integers(0, max(config.num_segments, 1), (3, 7)).astype(np.int32)
    features = {"token_ids": token_ids, "padding_mask": mask, "segment_ids": segments}
    return features if config.num_segments else {k: features[k] for k in list(features)[:2]}


def their_outputs(model, features):
    names = {
        "token_ids": "input_ids",
        "padding_mask": "attention_mask",
        "segment_ids": "token_type_ids",
    }
    with torch.no_grad():
        return model(**{names[k]: torch.tensor(v.astype(np.int64)) for k, v in features.items()})


def their_values(kind, outputs):
    if kind == "question_answerer":
        return {"start_logits": outputs.start_logits, "end_logits": outputs.end_logits}
    if kind == "next_sentence":
        keys = ("sop_logits", "seq_relationship_logits", "logits")
        return {"logits": next(outputs[key] for key in keys if key in outputs)}
    logits = outputs["logits"] if "logits" in outputs else outputs["prediction_logits"]
    if kind == "masked_lm":
        logits = logits[torch.arange(3)[:, None], torch.tensor(MASK_POSITIONS.astype(np.int64))]
    return {"logits": logits}


@pytest.mark.parametrize("case", HUGGING_FACE, ids=lambda c: "-".join([c[0], *map(str, c[2])])[:60])
def test_transformers_computes_on_our_export_what_we_do(case, tmp_path):
    format, config, heads = case
    source = write(tmp_path / "ours", config, heads)
    checkpoints.export_checkpoint(source, tmp_path / "theirs", format)
    name = NAMES[format] + CLASSES[tuple(head.kind for head in heads)]
    raw = json.loads((tmp_path / "theirs" / "config.json").read_text())
    assert raw["architectures"] == [name]
    model, report = getattr(transformers, name).from_pretrained(
        tmp_path / "theirs", output_loading_info=True
    )
    # transformers makes a pooler for some classes whose head does not read it.
    assert not [key for key in report["missing_keys"] if "pooler" not in key]
    features = features_of(config)
    outputs = their_outputs(model.eval(), features)
    if not heads:
        ours = bertzoo.Backbone.from_preset(source)(features)
        assert np.abs(ours["sequence_output"] - outputs.last_hidden_state.numpy()).max() < TOLERANCE
        assert np.abs(ours["pooled_output"] - outputs.pooler_output.numpy()).max() < TOLERANCE
    for head in heads:
        network, _ = network_from_preset(source, head.kind)
        extra = {"mask_positions": MASK_POSITIONS} if head.kind == "masked_lm" else {}
        ours = network({**features, **extra})
        ours = ours if isinstance(ours, dict) else {"logits": ours}
        for key, expected in their_values(head.kind, outputs).items():
            assert np.abs(np.asarray(ours[key]) - expected.numpy()).max() < TOLERANCE, head.kind


def test_every_family_and_every_head_of_theirs_is_among_them():
    covered = {(case[0], head.kind) for case in HUGGING_FACE for head in case[2]}
    kinds = {"masked_lm", "text_classifier", "token_classifier", "question_answerer"}
    expected = {(format, kind) for format in NAMES for kind in kinds}
    expected |= {("hf_bert", "next_sentence"), ("hf_albert", "next_sentence")}
    assert covered == expected | {("hf_electra", "discriminator")}


@pytest.mark.parametrize("format", ["hf_bert", "hf_distilbert", "hf_electra"])
@pytest.mark.parametrize("settings", [{}, {"lowercase": False}, {"strip_accents": False}])
def test_their_tokenizer_makes_our_ids_from_a_wordpiece_export(format, settings, tmp_path):
    config = next(case[1] for case in CASES if case[0] == format)
    tokenizer = bertzoo.WordPieceTokenizer(WORDS, **settings, sequence_length=9)
    config = config.replace(vocabulary_size=len(WORDS))
    source = write(
        tmp_path / "ours", config, [], tokenizer=tokenizer.config, files=tokenizer.files()
    )
    checkpoints.export_checkpoint(source, tmp_path / "theirs", format)
    theirs = transformers.AutoTokenizer.from_pretrained(tmp_path / "theirs")
    assert theirs.model_max_length == 9
    assert (theirs.cls_token_id, theirs.pad_token_id) == (tokenizer.start_id, tokenizer.pad_id)
    texts = [text for text in TEXTS if "[MASK]" not in text]  # ours is plain text there
    assert tokenizer(texts).to_list() == theirs(texts, add_special_tokens=False)["input_ids"]


def test_their_tokenizer_reads_a_byte_pair_export(tmp_path):
    letters = ["<s>", "<pad>", "</s>", "<unk>", "a", "b", "c", "Ġ", "ab", "Ġc", "<mask>"]
    files = {
        "vocabulary.json": json.dumps({t: i for i, t in enumerate(letters)}).encode(),
        "merges.txt": "#version: 0.2\na b\nĠ c\n".encode(),
    }
    config = next(c[1] for c in CASES if c[0] == "hf_roberta").replace(vocabulary_size=11)
    names = {"start_token": "<s>", "end_token": "</s>", "pad_token": "<pad>"}
    names |= {"unknown_token": "<unk>", "mask_token": "<mask>"}
    settings = bertzoo.TokenizerConfig("byte_pair", lowercase=False, sequence_length=9, **names)
    source = write(tmp_path / "ours", config, [], tokenizer=settings, files=files)
    checkpoints.export_checkpoint(source, tmp_path / "theirs", "hf_roberta")
    assert (tmp_path / "theirs" / "vocab.json").read_bytes() == files["vocabulary.json"]
    theirs = transformers.AutoTokenizer.from_pretrained(tmp_path / "theirs")
    assert theirs("abc c<mask>")["input_ids"] == [0, 8, 6, 9, 10, 2]


def test_their_tokenizer_reads_a_sentence_piece_export(tmp_path):
    corpus = tmp_path / "corpus.txt"
    corpus.write_text("the cat sat on the mat\nthe dog sat on the log\na cat and a dog\n" * 50)
    sentencepiece.SentencePieceTrainer.train(
        input=str(corpus),
        model_prefix=str(tmp_path / "spiece"),
        vocab_size=40,
        pad_id=0,
        unk_id=1,
        bos_id=-1,
        eos_id=-1,
        control_symbols=["[CLS]", "[SEP]"],
        user_defined_symbols=["[MASK]"],
        hard_vocab_limit=False,
        minloglevel=2,
    )
    model = (tmp_path / "spiece.model").read_bytes()
    config = next(c[1] for c in CASES if c[0] == "hf_albert")
    names = {"pad_token": "<pad>", "unknown_token": "<unk>"}
    settings = bertzoo.TokenizerConfig("sentence_piece", sequence_length=9, **names)
    files = {"vocabulary.spm": model}
    source = write(tmp_path / "ours", config, [], tokenizer=settings, files=files)
    checkpoints.export_checkpoint(source, tmp_path / "theirs", "hf_albert")
    assert (tmp_path / "theirs" / "spiece.model").read_bytes() == model
    theirs = transformers.AutoTokenizer.from_pretrained(tmp_path / "theirs")
    processor = sentencepiece.SentencePieceProcessor(model_proto=model)
    ids = theirs("the cat sat", add_special_tokens=False)["input_ids"]
    assert ids == processor.encode("the cat sat")


@pytest.mark.parametrize("format", ["hf_bert", "hf_distilbert", "hf_electra"])
def test_sentence_transformers_gives_our_vectors(format, tmp_path):
    config = next(case[1] for case in CASES if case[0] == format).replace(vocabulary_size=97)
    head = bertzoo.HeadConfig(
        "text_embedder",
        pooling=("cls", "max", "mean", "mean_sqrt"),
        normalize=True,
        projections=((7, "tanh", True), (5, None, False)),
    )
    words = WORDS + [f"w{index}" for index in range(97 - len(WORDS))]
    tokenizer = bertzoo.WordPieceTokenizer(words, sequence_length=9)
    source = write(
        tmp_path / "ours", config, [head], tokenizer=tokenizer.config, files=tokenizer.files()
    )
    checkpoints.export_checkpoint(source, tmp_path / "theirs", "sentence_transformers")
    model = st.SentenceTransformer(str(tmp_path / "theirs"), device="cpu")
    assert model.max_seq_length == 9
    texts = [text for text in TEXTS if "[MASK]" not in text] + ["the mat " * 20]
    ours = bertzoo.TextEmbedder.from_preset(source).predict(texts, verbose=0)
    assert np.abs(model.encode(texts) - ours).max() < TOLERANCE


REAL = {
    "hf_bert": ("wordpiece", "bert-base-uncased", {"vocabulary": "vocab.txt"}),
    "hf_roberta": (
        "byte_pair", "roberta-base-cut", {"vocabulary": "vocab.json", "merges": "merges.txt"}
    ),
    "hf_albert": ("sentence_piece", "albert-tiny", {"vocabulary": "spiece.model"}),
}  # fmt: skip


@pytest.mark.parametrize("format", REAL)
def test_real_sentences_have_our_ids_and_vectors_in_their_libraries(format, tmp_path):
    kind, folder, names = REAL[format]
    files = {role: DATA / folder / name for role, name in names.items()}
    tokenizer = Tokenizer.from_files(bertzoo.TokenizerConfig(kind, sequence_length=40), files)
    config = next(case[1] for case in CASES if case[0] == format).replace(
        vocabulary_size=tokenizer.vocabulary_size, max_sequence_length=40
    )
    head = bertzoo.HeadConfig("text_embedder", pooling=("mean",), normalize=True)
    source = write(
        tmp_path / "ours", config, [head], tokenizer=tokenizer.config, files=tokenizer.files()
    )
    checkpoints.export_checkpoint(source, tmp_path / "theirs", "sentence_transformers")
    texts = (DATA / "wikigold" / "sentences.txt").read_text("utf-8").splitlines()
    if kind == "sentence_piece":
        # They know neither ALBERT's rule on numbers nor symbols that are pieces of their own.
        texts = [re.sub(r'[().\-–"£€]', "", text) for text in texts if not re.search(r"\d", text)]
    theirs = transformers.AutoTokenizer.from_pretrained(tmp_path / "theirs")
    embedder = bertzoo.TextEmbedder.from_preset(source)
    ours = embedder.preprocessor(texts)
    expected = theirs(texts, truncation=True, max_length=40)["input_ids"]
    lengths = ours["padding_mask"].numpy().sum(axis=1)
    found = [row[:n].tolist() for row, n in zip(ours["token_ids"].numpy(), lengths, strict=True)]
    same = [mine == other for mine, other in zip(found, expected, strict=True)]
    # Newer sentencepiece libraries choose otherwise between spellings of equal score.
    assert sum(same) >= len(texts) - (3 if kind == "sentence_piece" else 0)
    assert max(lengths) == 40  # some are cut
    assert len(texts) >= 130
    model = st.SentenceTransformer(str(tmp_path / "theirs"), device="cpu")
    difference = np.abs(model.encode(texts) - embedder.predict(texts, verbose=0))
    assert difference[same].max() < TOLERANCE


def test_the_encoder_of_xlm_roberta_is_robertas(tmp_path):
    """ARCHITECTURE.md: on ids, by the format's name; its vocabulary is not read."""
    config = CONFIGS["roberta"]().to_dict()
    config = transformers.XLMRobertaConfig(**{**config, "model_type": "xlm-roberta"})
    model = their_model("XLMRobertaModel", config)
    model.save_pretrained(tmp_path)
    with pytest.raises(ValueError, match="SentencePiece tokenizer is not part"):
        checkpoints.open_checkpoint(tmp_path)
    backbone = bertzoo.Backbone.from_preset(tmp_path, format="hf_roberta")
    features = features_of(backbone.config)
    outputs = their_outputs(model, features)
    ours = backbone(features)["sequence_output"]
    assert np.abs(np.asarray(ours) - outputs.last_hidden_state.numpy()).max() < TOLERANCE
