"""Presets: every file is right, the numbers are the published ones, and mistakes are named."""

import pathlib
import re

import pytest

from bertzoo import BackboneConfig, presets
from bertzoo.cli.zoo import zoo_page
from bertzoo.presets import PresetInfo, Source

ROOT = pathlib.Path(__file__).parent.parent
EVERY = presets.list_presets()

# From the papers, their repositories and model cards, by hand; not computed here.
PUBLISHED = {
    "bert_base_en_uncased": 109_482_240,
    "bert_base_en_cased": 108_310_272,
    "bert_large_en_uncased": 335_141_888,
    "bert_large_en_cased": 333_579_264,
    "bert_large_wwm_en_uncased": 335_141_888,
    "bert_large_wwm_en_cased": 333_579_264,
    "bert_base_multi_cased": 177_853_440,
    "bert_base_multi_uncased": 167_356_416,
    "bert_base_zh": 102_267_648,
    "distilbert_base_en_uncased": 66_362_880,
    "distilbert_base_en_cased": 65_190_912,
    "distilbert_base_multi_cased": 134_734_080,
    "albert_base_v1_en_uncased": 11_683_584,
    "albert_base_v2_en_uncased": 11_683_584,
    "albert_large_v1_en_uncased": 17_683_968,
    "albert_large_v2_en_uncased": 17_683_968,
    "albert_xlarge_v1_en_uncased": 58_724_864,
    "albert_xlarge_v2_en_uncased": 58_724_864,
    "albert_xxlarge_v1_en_uncased": 222_595_584,
    "albert_xxlarge_v2_en_uncased": 222_595_584,
    "roberta_base_en": 124_055_040,
    "roberta_large_en": 354_310_144,
    "distilroberta_base_en": 81_527_808,
    "electra_small_en_uncased": 13_483_008,
    "electra_base_en_uncased": 108_891_648,
    "electra_large_en_uncased": 334_092_288,
    "tinybert_l4_h312_en_uncased": 14_350_248,
    "tinybert_l6_h768_en_uncased": 66_955_008,
    "minilm_l12_h384_en_uncased": 33_360_000,
    "minilm_l6_h384_en_uncased": 22_713_216,
    "all_minilm_l6_v2_en": 22_713_216,
    "all_minilm_l12_v2_en": 33_360_000,
    # The 6-layer model less three layers of 1,774,464. KerasHub's list says 17,066,496, which no
    # encoder with this model's configuration has.
    "paraphrase_minilm_l3_v2_en": 22_713_216 - 3 * 1_774_464,
    "biobert_large_v1_1_en_cased": 364_299_264,
    "scibert_base_en_uncased": 109_918_464,
    "scibert_base_en_cased": 109_938_432,
    "bert_for_patents_en_uncased": 344_702_976,
    "legalbert_small_en_uncased": 35_068_416,
}

# Turc et al. 2019: layers -> millions at widths 128, 256, 512, 768, exact.
MINIATURES = {
    2: (4_385_920, 9_591_040, 22_458_880, 38_603_520),
    4: (4_782_464, 11_170_560, 28_763_648, 52_779_264),
    6: (5_179_008, 12_750_080, 35_068_416, 66_955_008),
    8: (5_575_552, 14_329_600, 41_373_184, 81_130_752),
    10: (5_972_096, 15_909_120, 47_677_952, 95_306_496),
    12: (6_368_640, 17_488_640, 53_982_720, 109_482_240),
}

# KerasHub's name -> (ours, our count from KerasHub's): its ELECTRA has a pooler (D*D + D), its
# RoBERTa folds the segment row and the two unused positions (3 rows of D).
KERAS_HUB = {
    "bert_tiny_en_uncased": ("bert_l2_h128_en_uncased", 4_385_920),
    "bert_small_en_uncased": ("bert_l4_h512_en_uncased", 28_763_648),
    "bert_medium_en_uncased": ("bert_l8_h512_en_uncased", 41_373_184),
    "bert_base_en_uncased": ("bert_base_en_uncased", 109_482_240),
    "bert_base_en": ("bert_base_en_cased", 108_310_272),
    "bert_base_zh": ("bert_base_zh", 102_267_648),
    "bert_base_multi": ("bert_base_multi_cased", 177_853_440),
    "bert_large_en_uncased": ("bert_large_en_uncased", 335_141_888),
    "bert_large_en": ("bert_large_en_cased", 333_579_264),
    "bert_tiny_en_uncased_sst2": ("bert_tiny_sst2_en_uncased", 4_385_920),
    "albert_base_en_uncased": ("albert_base_v2_en_uncased", 11_683_584),
    "albert_large_en_uncased": ("albert_large_v2_en_uncased", 17_683_968),
    "albert_extra_large_en_uncased": ("albert_xlarge_v2_en_uncased", 58_724_864),
    "albert_extra_extra_large_en_uncased": ("albert_xxlarge_v2_en_uncased", 222_595_584),
    "distil_bert_base_en_uncased": ("distilbert_base_en_uncased", 66_362_880),
    "distil_bert_base_en": ("distilbert_base_en_cased", 65_190_912),
    "distil_bert_base_multi": ("distilbert_base_multi_cased", 134_734_080),
    "roberta_base_en": ("roberta_base_en", 124_052_736 + 3 * 768),
    "roberta_large_en": ("roberta_large_en", 354_307_072 + 3 * 1024),
    "electra_small_discriminator_uncased_en": (
        "electra_small_en_uncased", 13_548_800 - 256 * 257),
    "electra_small_generator_uncased_en": (
        "electra_small_generator_en_uncased", 13_548_800 - 256 * 257),
    "electra_base_discriminator_uncased_en": (
        "electra_base_en_uncased", 109_482_240 - 768 * 769),
    "electra_base_generator_uncased_en": (
        "electra_base_generator_en_uncased", 33_576_960 - 256 * 257),
    "electra_large_discriminator_uncased_en": (
        "electra_large_en_uncased", 335_141_888 - 1024 * 1025),
    "electra_large_generator_uncased_en": (
        "electra_large_generator_en_uncased", 51_065_344 - 256 * 257),
    "all_minilm_l6_v2_en": ("all_minilm_l6_v2_en", 22_713_216),
    "all_minilm_l6_v1_en": ("all_minilm_l6_v1_en", 22_713_216),
    "all_minilm_l12_v2_en": ("all_minilm_l12_v2_en", 33_360_000),
    "paraphrase_minilm_l3_v2_en": ("paraphrase_minilm_l3_v2_en", 17_389_824),
    "paraphrase_minilm_l6_v2_en": ("paraphrase_minilm_l6_v2_en", 22_713_216),
    "paraphrase_minilm_l12_v2_en": ("paraphrase_minilm_l12_v2_en", 33_360_000),
    "multi_qa_minilm_l6_cos_v1_en": ("multi_qa_minilm_l6_cos_v1_en", 22_713_216),
    "multi_qa_minilm_l6_dot_v1_en": ("multi_qa_minilm_l6_dot_v1_en", 22_713_216),
    "msmarco_minilm_l6_cos_v5_en": ("msmarco_minilm_l6_cos_v5_en", 22_713_216),
    "msmarco_minilm_l12_cos_v5_en": ("msmarco_minilm_l12_cos_v5_en", 33_360_000),
}  # fmt: skip

ROW = {
    "description": "Two layers.",
    "architecture": "small",
    "vocabulary_size": 97,
    "parameters": 9_354,
    "tokenizer": {"lowercase": True},
    "language": "en",
    "license": "unknown",
    "paper": "unknown",
    "sources": [{"hugging_face": "someone/small"}],
    "sha256": "unknown",
}
ARCHITECTURES = {
    "small": {"num_layers": 2, "hidden_dim": 20, "num_heads": 4, "intermediate_dim": 37,
              "max_sequence_length": 16}
}  # fmt: skip
PATH = pathlib.Path("presets/bert/small_en_uncased.yaml")


def parse(**changes):
    row = {key: value for key, value in {**ROW, **changes}.items() if value is not None}
    return presets.parse_preset(row, ARCHITECTURES, PATH)


@pytest.mark.parametrize("name", sorted(EVERY))
def test_the_parameters_of_a_file_are_those_of_its_architecture(name):
    info = EVERY[name]
    assert info.parameters == info.config.parameter_count()
    assert info.parameters == BackboneConfig.from_preset(name).parameter_count()


@pytest.mark.parametrize("name", sorted(PUBLISHED))
def test_parameter_counts_are_the_published_ones(name):
    assert EVERY[name].parameters == PUBLISHED[name]


@pytest.mark.parametrize("num_layers", sorted(MINIATURES))
def test_all_24_miniatures_have_their_published_sizes(num_layers):
    names = [f"bert_l{num_layers}_h{width}_en_uncased" for width in (128, 256, 512, 768)]
    assert tuple(EVERY[name].parameters for name in names) == MINIATURES[num_layers]
    for name in names:  # heads of width 64, feed-forward of four times the width
        config = EVERY[name].config
        assert config.num_layers == num_layers
        assert config.hidden_dim == 64 * config.num_heads
        assert config.intermediate_dim == 4 * config.hidden_dim


@pytest.mark.parametrize("alias", sorted(KERAS_HUB))
def test_the_names_of_keras_hub_are_accepted(alias):
    ours, parameters = KERAS_HUB[alias]
    assert presets.find_preset(alias).name == ours
    assert presets.find_preset(alias).parameters == parameters


def test_names_are_sorted_and_say_what_they_are():
    assert list(EVERY) == sorted(EVERY)
    assert all(re.fullmatch(r"[a-z][a-z0-9_]*", name) for name in EVERY)
    wrong = [
        name
        for name, info in EVERY.items()
        if info.tokenizer.kind == "wordpiece"
        and name.endswith(("_cased", "_uncased"))
        and name.endswith("_uncased") != info.tokenizer.lowercase
    ]
    assert wrong == []


@pytest.mark.parametrize("name", sorted(EVERY))
def test_a_preset_carries_heads_that_belong_to_its_encoder(name):
    info = EVERY[name]
    if "masked_lm" in info.heads:
        assert info.heads["masked_lm"].hidden_activation == info.config.activation
        assert info.heads["masked_lm"].layer_norm_epsilon == info.config.layer_norm_epsilon
    assert all(info.config.pooler for head in info.heads.values() if head.reads_pooled_output)


def test_the_two_finberts_have_different_label_orders():
    prosus = presets.find_preset("finbert_prosus_en_uncased").heads["text_classifier"].labels
    tone = presets.find_preset("finbert_tone_en_uncased").heads["text_classifier"].labels
    assert prosus == ("positive", "negative", "neutral")
    assert tone == ("Neutral", "Positive", "Negative")


def test_the_labels_of_fine_tuned_presets_are_the_published_ones():
    ner = ("O", "B-MISC", "I-MISC", "B-PER", "I-PER", "B-ORG", "I-ORG", "B-LOC", "I-LOC")
    assert EVERY["bert_base_ner_en_cased"].heads["token_classifier"].labels == ner
    assert EVERY["bert_large_ner_en_cased"].heads["token_classifier"].labels == ner
    sst2 = EVERY["distilbert_base_sst2_en_uncased"].heads["text_classifier"]
    assert sst2.labels == ("NEGATIVE", "POSITIVE")
    assert (sst2.input, sst2.hidden_activation) == ("first_token", "relu")
    symptoms = presets.find_preset("symps_disease_bert_v3_c41").heads["text_classifier"]
    assert symptoms.labels == tuple(f"LABEL_{index}" for index in range(41))


def test_families_have_their_own_shapes():
    albert, roberta = EVERY["albert_base_v2_en_uncased"], EVERY["roberta_base_en"]
    assert (albert.config.activation, albert.config.dropout) == ("gelu_tanh", 0.0)
    assert albert.config.num_distinct_layers == 1
    assert (roberta.config.position_offset, roberta.config.num_segments) == (2, 1)
    assert roberta.config.layer_norm_epsilon == 1.0e-5
    assert roberta.tokenizer.mask_token == "<mask>"
    assert EVERY["distilbert_base_en_uncased"].config.num_segments == 0
    for name, width in {
        "tinybert_l4_h312_en_uncased": 26,
        "minilm_l12_h384_en_uncased": 32,
    }.items():
        config = EVERY[name].config
        assert config.hidden_dim == width * config.num_heads
    assert EVERY["all_minilm_l6_v2_en"].tokenizer.sequence_length == 256
    embedder = EVERY["all_minilm_l6_v2_en"].heads["text_embedder"]
    assert (embedder.pooling, embedder.normalize) == (("mean",), True)


def test_the_first_version_of_albert_differs_from_the_second_as_published():
    for size in ("base", "large", "xlarge", "xxlarge"):
        first = EVERY[f"albert_{size}_v1_en_uncased"].config
        assert first.activation == "gelu"
        assert first.dropout == (0.0 if size == "xxlarge" else 0.1)


def test_no_file_names_a_host_or_states_a_checksum_that_nobody_computed():
    for path in (ROOT / "presets").rglob("*.yaml"):
        text = path.read_text(encoding="utf-8")
        assert "http" not in text, path
        assert path.name == "architectures.yaml" or "\nsha256: unknown\n" in text, path


def test_every_architecture_is_used_by_a_preset():
    folder = presets.data_folder("presets")
    rows = (folder / "architectures.yaml").read_text(encoding="utf-8")
    names = set(re.findall(r"^(\w+):", rows, re.M))
    used = {
        match
        for path in folder.glob("*/*.yaml")
        for match in re.findall(r"^architecture: (\w+)$", path.read_text(encoding="utf-8"), re.M)
    }
    assert used == names


def test_the_toy_needs_no_files():
    toy = presets.find_preset("bert_toy")
    assert toy.random_seed == 7
    assert len(toy.vocabulary) == toy.config.vocabulary_size
    assert {"[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"} <= set(toy.vocabulary)
    assert EVERY["bert_base_en_uncased"].random_seed is None
    assert EVERY["bert_base_en_uncased"].vocabulary is None


def test_the_page_of_the_zoo_is_up_to_date():
    written = (ROOT / "docs" / "zoo.md").read_text(encoding="utf-8")
    assert written == zoo_page(EVERY), "run: bertzoo list --markdown > docs/zoo.md"


def test_an_unknown_name_is_answered_with_the_nearest():
    with pytest.raises(ValueError, match="did you mean `bert_base_en_uncased`"):
        presets.find_preset("bert_base_en_uncasd")
    with pytest.raises(ValueError, match="did you mean `distil_bert_base_multi`"):
        presets.find_preset("distil_bert_base_mult")


def test_a_listing_can_be_changed_without_changing_the_next():
    presets.list_presets().clear()
    assert len(presets.list_presets()) == len(EVERY) > 100


def test_a_row_becomes_a_preset():
    info = parse(heads=["masked_lm"], aliases=["tiny"], config={"activation": "gelu_tanh"})
    assert isinstance(info, PresetInfo)
    assert (info.name, info.family) == ("small_en_uncased", "bert")
    assert info.sources == (Source("hugging_face", "someone/small"),)
    assert info.heads["masked_lm"].hidden_activation == "gelu_tanh"
    assert (info.config.hidden_dim, info.config.vocabulary_size) == (20, 97)
    assert (info.aliases, info.sha256) == (("tiny",), None)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"licence": "MIT"}, "unknown key `licence` in presets/bert/small_en_uncased.yaml; did "
                             "you mean `license`"),
        ({"license": None}, "small_en_uncased.yaml lacks license"),
        ({"sha256": None}, "lacks sha256"),
        ({"architecture": "smal"}, "unknown key `smal` .* did you mean `small`"),
        ({"config": {"hidden_size": 20}}, "unknown key `hidden_size` in presets/bert/small"),
        ({"config": {"layer_norm_epsilon": "1e-5"}}, "small_en_uncased.yaml: .*must be float"),
        ({"tokenizer": {"lower_case": True}}, "did you mean `lowercase`"),
        ({"heads": ["masked_lmm"]}, "did you mean `masked_lm`"),
        ({"heads": ["masked_lm", "masked_lm"]}, "each kind once"),
        ({"heads": ["text_classifier"]}, "needs num_outputs or labels"),
        ({"heads": ["next_sentence"], "config": {"pooler": False}, "parameters": 8_934},
         "an encoder with a pooler"),
        ({"parameters": 9_000}, "says 9,000 parameters, but .* has 9,354"),
        ({"parameters": "9354"}, "must be a whole number; got '9354'"),
        ({"sources": []}, "`sources` .* must be a list of places"),
        ({"sources": [{"hugginface": "a/b"}]}, "did you mean `hugging_face`"),
        ({"sources": [{"archive": "https://host/file.zip"}]}, "a name without an address"),
        ({"sources": [{"random": "seven"}]}, "a whole number as seed"),
        ({"sha256": {"model.safetensors": "abc"}}, "64 hexadecimal digits; got 'abc'"),
        ({"vocabulary": ["a", "b"]}, "97 tokens that differ; got 2"),
        ({"vocabulary": [True] * 97}, "a list of texts"),
        ({"aliases": "tiny"}, "`aliases` .* a list of texts"),
        ({"language": True}, "`language` .* must be text; got True"),
    ],
)  # fmt: skip
def test_a_mistake_in_a_file_is_named_with_the_file_and_the_key(changes, message):
    with pytest.raises(ValueError, match=message) as error:
        parse(**changes)
    assert "small_en_uncased.yaml" in str(error.value)


def write(folder, family, name, text):
    (folder / family).mkdir(exist_ok=True)
    (folder / family / f"{name}.yaml").write_text(text, encoding="utf-8")


SMALL_YAML = """\
description: Two layers.
architecture: small
vocabulary_size: 97
parameters: 9_354
tokenizer: {lowercase: true}
language: en
license: unknown
paper: unknown
sources:
  - hugging_face: someone/small
sha256: unknown
"""
SMALL_ROW = (
    "small: {num_layers: 2, hidden_dim: 20, num_heads: 4, intermediate_dim: 37, "
    "max_sequence_length: 16}\n"
)


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "architectures.yaml").write_text(SMALL_ROW, encoding="utf-8")
    write(tmp_path, "bert", "small_en_uncased", SMALL_YAML)
    return tmp_path


def test_a_folder_of_files_is_read_by_name_and_family(folder):
    write(folder, "domain", "lesser_en_uncased", SMALL_YAML)
    found = presets.read_folder(folder)
    assert [(name, info.family) for name, info in found.items()] == [
        ("lesser_en_uncased", "domain"),
        ("small_en_uncased", "bert"),
    ]


def test_two_files_of_one_name_raise(folder):
    write(folder, "domain", "small_en_uncased", SMALL_YAML)
    with pytest.raises(ValueError, match="two preset files are called small_en_uncased"):
        presets.read_folder(folder)


@pytest.mark.parametrize("alias", ["small_en_uncased", "wee"])
def test_an_alias_that_means_two_presets_raises(folder, alias):
    write(folder, "bert", "lesser", SMALL_YAML + "aliases: [wee]\n")
    write(folder, "bert", "third", SMALL_YAML + f"aliases: [{alias}]\n")
    with pytest.raises(ValueError, match=f"the alias `{alias}` of third already means"):
        presets.collect_aliases(presets.read_folder(folder))


def test_a_key_written_twice_raises(folder):
    write(folder, "bert", "small_en_uncased", SMALL_YAML + "license: MIT\n")
    with pytest.raises(ValueError, match=r"small_en_uncased\.yaml is not valid YAML: .*twice"):
        presets.read_folder(folder)


def test_a_file_that_is_no_mapping_raises(folder):
    write(folder, "bert", "small_en_uncased", "- 1\n")
    with pytest.raises(ValueError, match="must hold one mapping; got list"):
        presets.read_folder(folder)


def test_a_wrong_row_of_the_architecture_table_raises(folder):
    (folder / "architectures.yaml").write_text("small: {num_layer: 2}\n", encoding="utf-8")
    with pytest.raises(ValueError, match=r"architectures.yaml, row `small`; did you .*num_layers"):
        presets.read_folder(folder)


def test_the_data_folder_that_is_missing_is_named(monkeypatch, tmp_path):
    monkeypatch.setattr(presets, "__file__", str(tmp_path / "bertzoo" / "presets.py"))
    with pytest.raises(ValueError, match="the folder `presets` is missing"):
        presets.data_folder("presets")
    (tmp_path / "bertzoo" / "_presets").mkdir(parents=True)
    assert presets.data_folder("presets") == tmp_path / "bertzoo" / "_presets"
