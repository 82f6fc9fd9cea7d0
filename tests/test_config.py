"""Configurations: strict keys, strict types, and the published parameter counts."""

import dataclasses
import json
import subprocess
import sys

import pytest

from bertzoo.config import BackboneConfig, HeadConfig, TokenizerConfig, check_key

BASE = BackboneConfig()
LARGE = BackboneConfig(num_layers=24, hidden_dim=1024, num_heads=16, intermediate_dim=4096)
ALBERT = BackboneConfig(
    vocabulary_size=30000, embedding_dim=128, num_groups=1, activation="gelu_tanh"
)
ROBERTA = {
    "vocabulary_size": 50265,
    "num_segments": 1,
    "position_offset": 2,
    "pooler": False,
    "layer_norm_epsilon": 1.0e-5,
}

# Published counts of encoder parameters, pooler included where the model has one.
PUBLISHED = {
    "bert_base_uncased": (BASE, 109_482_240),
    "bert_base_cased": (BASE.replace(vocabulary_size=28996), 108_310_272),
    "bert_base_multi_cased": (BASE.replace(vocabulary_size=119547), 177_853_440),
    "bert_base_multi_uncased": (BASE.replace(vocabulary_size=105879), 167_356_416),
    "bert_base_zh": (BASE.replace(vocabulary_size=21128), 102_267_648),
    "bert_large_uncased": (LARGE, 335_141_888),
    "bert_large_cased": (LARGE.replace(vocabulary_size=28996), 333_579_264),
    "biobert_large_cased": (LARGE.replace(vocabulary_size=58996), 364_299_264),
    "bert_for_patents": (LARGE.replace(vocabulary_size=39859), 344_702_976),
    "scibert_uncased": (BASE.replace(vocabulary_size=31090), 109_918_464),
    "scibert_cased": (BASE.replace(vocabulary_size=31116), 109_938_432),
    "distilbert_base": (BASE.replace(num_layers=6, num_segments=0, pooler=False), 66_362_880),
    "distilbert_base_cased": (
        BASE.replace(num_layers=6, num_segments=0, pooler=False, vocabulary_size=28996),
        65_190_912,
    ),
    "distilbert_base_multi": (
        BASE.replace(num_layers=6, num_segments=0, pooler=False, vocabulary_size=119547),
        134_734_080,
    ),
    "albert_base": (ALBERT, 11_683_584),
    "albert_large": (
        ALBERT.replace(num_layers=24, hidden_dim=1024, num_heads=16, intermediate_dim=4096),
        17_683_968,
    ),
    "albert_xlarge": (
        ALBERT.replace(num_layers=24, hidden_dim=2048, num_heads=16, intermediate_dim=8192),
        58_724_864,
    ),
    "albert_xxlarge": (
        ALBERT.replace(hidden_dim=4096, num_heads=64, intermediate_dim=16384),
        222_595_584,
    ),
    "roberta_base": (BASE.replace(**ROBERTA), 124_055_040),
    "roberta_base_with_pooler": (BASE.replace(**{**ROBERTA, "pooler": True}), 124_645_632),
    "roberta_large": (LARGE.replace(**ROBERTA), 354_310_144),
    "roberta_large_with_pooler": (LARGE.replace(**{**ROBERTA, "pooler": True}), 355_359_744),
    "distilroberta_base": (BASE.replace(num_layers=6, **ROBERTA), 81_527_808),
    "electra_small": (
        BackboneConfig(
            hidden_dim=256, num_heads=4, intermediate_dim=1024, embedding_dim=128, pooler=False
        ),
        13_483_008,
    ),
    "electra_base": (BASE.replace(pooler=False), 108_891_648),
    "electra_large": (LARGE.replace(pooler=False), 334_092_288),
    "tinybert_4l": (
        BackboneConfig(num_layers=4, hidden_dim=312, intermediate_dim=1200),
        14_350_248,
    ),
    "tinybert_6l": (BASE.replace(num_layers=6), 66_955_008),
    "minilm_l12_h384": (BASE.replace(hidden_dim=384, intermediate_dim=1536), 33_360_000),
    "minilm_l6_h384": (
        BASE.replace(num_layers=6, hidden_dim=384, intermediate_dim=1536),
        22_713_216,
    ),
    "legal_bert_small": (
        BackboneConfig(num_layers=6, hidden_dim=512, num_heads=8, intermediate_dim=2048),
        35_068_416,
    ),
}

# Turc et al. 2019: heads of width 64, an intermediate layer four times as wide; by depth.
MINIATURES = {
    128: (4_385_920, 4_782_464, 5_179_008, 5_575_552, 5_972_096, 6_368_640),
    256: (9_591_040, 11_170_560, 12_750_080, 14_329_600, 15_909_120, 17_488_640),
    512: (22_458_880, 28_763_648, 35_068_416, 41_373_184, 47_677_952, 53_982_720),
    768: (38_603_520, 52_779_264, 66_955_008, 81_130_752, 95_306_496, 109_482_240),
}


@pytest.mark.parametrize("name", sorted(PUBLISHED))
def test_parameter_count_is_the_published_one(name):
    config, published = PUBLISHED[name]
    assert config.parameter_count() == published


@pytest.mark.parametrize("width", sorted(MINIATURES))
def test_parameter_counts_of_the_miniatures_are_the_published_ones(width):
    counts = tuple(
        BackboneConfig(
            num_layers=depth,
            hidden_dim=width,
            num_heads=width // 64,
            intermediate_dim=4 * width,
        ).parameter_count()
        for depth in (2, 4, 6, 8, 10, 12)
    )
    assert counts == MINIATURES[width]


def test_counting_parameters_imports_nothing_heavy():
    code = (
        "import sys; from bertzoo.config import BackboneConfig;"
        "assert BackboneConfig().parameter_count() == 109482240;"
        "print(sorted({'tensorflow', 'keras', 'numpy'} & set(sys.modules)))"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"


# Keys --------------------------------------------------------------------------------------------

CONFIGS = [BASE, HeadConfig("masked_lm", hidden_activation="gelu"), TokenizerConfig()]


@pytest.mark.parametrize(
    ("cls", "values", "wrong", "right"),
    [
        (BackboneConfig, {}, "hidden_size", "hidden_dim"),
        (BackboneConfig, {}, "num_layer", "num_layers"),
        (BackboneConfig, {}, "layer_norm_eps", "layer_norm_epsilon"),
        (HeadConfig, {"kind": "masked_lm"}, "num_output", "num_outputs"),
        (TokenizerConfig, {}, "lower_case", "lowercase"),
    ],
)
def test_an_unknown_key_names_the_nearest_one_and_the_place(cls, values, wrong, right):
    with pytest.raises(ValueError, match=rf"`{wrong}` in a/b\.yaml.*did you mean `{right}`"):
        cls.from_dict({**values, wrong: 1}, where="a/b.yaml")
    with pytest.raises(ValueError, match=rf"`{wrong}` in {cls.__name__}"):
        cls.from_dict({**values, wrong: 1})


def test_a_key_far_from_all_others_still_lists_the_valid_ones():
    with pytest.raises(ValueError, match="valid keys are a, b") as error:
        check_key("zzzzzz", ["b", "a"], "here")
    assert "did you mean" not in str(error.value)


@pytest.mark.parametrize("config", CONFIGS, ids=lambda config: type(config).__name__)
def test_replace_refuses_an_unknown_key(config):
    with pytest.raises(ValueError, match="unknown key `wrong`"):
        config.replace(wrong=1)


@pytest.mark.parametrize("config", CONFIGS, ids=lambda config: type(config).__name__)
def test_configs_are_frozen_and_hashable(config):
    with pytest.raises(dataclasses.FrozenInstanceError):
        config.new = 1
    with pytest.raises(dataclasses.FrozenInstanceError):
        setattr(config, dataclasses.fields(config)[0].name, 3)
    assert hash(config) == hash(config.replace())


@pytest.mark.parametrize(
    "config",
    [
        *CONFIGS,
        ALBERT,
        HeadConfig("text_classifier", labels=("no", "yes"), hidden_activation="relu"),
        HeadConfig(
            "text_embedder",
            pooling=("cls", "mean"),
            projections=((5, "tanh", True), (3, None, False)),
        ),
        TokenizerConfig(kind="byte_pair", strip_accents=False, sequence_length=128),
    ],
    ids=str,
)
@pytest.mark.parametrize("defaults", [True, False])
def test_a_config_goes_through_json_and_back(config, defaults):
    text = json.dumps(config.to_dict(defaults=defaults))
    assert type(config).from_dict(json.loads(text)) == config


def test_only_what_differs_is_written_without_defaults():
    assert BASE.to_dict(defaults=False) == {}
    assert BASE.replace(num_layers=6, pooler=False).to_dict(defaults=False) == {
        "num_layers": 6,
        "pooler": False,
    }


# Types and values --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "values",
    [
        {"num_layers": "12"},
        {"num_layers": 12.0},
        {"num_layers": True},
        {"num_layers": None},
        {"embedding_dim": 12.5},
        {"pooler": 1},
        {"pooler": "false"},
        # PyYAML reads 1e-5, without a point, as a string.
        {"layer_norm_epsilon": "1e-5"},
        {"dropout": None},
        {"dropout": True},
        {"activation": None},
        {"activation": ["gelu"]},
    ],
    ids=str,
)
def test_a_value_of_the_wrong_type_is_refused_by_name(values):
    (name,) = values
    with pytest.raises(ValueError, match=rf"BackboneConfig\.{name}"):
        BackboneConfig.from_dict(values)


def test_a_whole_number_is_taken_where_a_fraction_is_meant():
    config = BackboneConfig(dropout=0)
    assert config.dropout == 0.0
    assert isinstance(config.dropout, float)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"num_layers": 0}, "num_layers"),
        ({"vocabulary_size": -1}, "vocabulary_size"),
        ({"vocabulary_size": 2**31}, "vocabulary_size"),
        ({"embedding_dim": 0}, "embedding_dim"),
        ({"max_sequence_length": 0}, "max_sequence_length"),
        ({"num_inner_layers": 0}, "num_inner_layers"),
        ({"position_offset": -1}, "position_offset"),
        ({"num_segments": -1}, "num_segments"),
        ({"dropout": 1.0}, "dropout"),
        ({"dropout": -0.1}, "dropout"),
        ({"dropout": float("nan")}, "dropout"),
        ({"attention_dropout": 1.5}, "attention_dropout"),
        ({"layer_norm_epsilon": 0.0}, "layer_norm_epsilon"),
        ({"layer_norm_epsilon": float("nan")}, "layer_norm_epsilon"),
        ({"layer_norm_epsilon": float("inf")}, "layer_norm_epsilon"),
        ({"initializer_range": -0.02}, "initializer_range"),
        ({"hidden_dim": 770}, "hidden_dim=770, num_heads=12"),
        ({"num_groups": 5}, "num_layers=12, num_groups=5"),
        ({"activation": "gelu_new"}, "gelu_new.*did you mean `gelu"),
        ({"activation": "tanh"}, "activation must be one of gelu, gelu_tanh, relu"),
        ({"activation": "GELU"}, "GELU"),
    ],
    ids=str,
)
def test_an_impossible_backbone_is_refused(values, message):
    with pytest.raises(ValueError, match=message):
        BackboneConfig(**values)


@pytest.mark.parametrize(
    ("changes", "schedule"),
    [
        ({"num_layers": 3}, (0, 1, 2)),
        ({"num_layers": 3, "num_groups": 1}, (0, 0, 0)),
        ({"num_layers": 4, "num_groups": 2}, (0, 0, 1, 1)),
        ({"num_layers": 4, "num_groups": 2, "num_inner_layers": 2}, (0, 1, 0, 1, 2, 3, 2, 3)),
        ({"num_layers": 2, "num_inner_layers": 2}, (0, 1, 2, 3)),
    ],
    ids=str,
)
def test_layers_run_in_the_order_of_their_groups(changes, schedule):
    config = BackboneConfig(**changes)
    assert config.layer_schedule == schedule
    assert config.num_distinct_layers == max(schedule) + 1


def test_widths_of_heads_and_tables():
    assert (BASE.attention_dim, BASE.table_dim) == (768, 768)
    assert ALBERT.table_dim == 128


# Heads and tokenizers ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"kind": "masked_language_model"}, "kind must be one of masked_lm"),
        ({"kind": "masked_lm"}, "hidden_activation"),
        ({"kind": "discriminator"}, "hidden_activation"),
        ({"kind": "text_classifier"}, "num_outputs or labels"),
        ({"kind": "token_classifier"}, "num_outputs or labels"),
        ({"kind": "text_classifier", "num_outputs": 0}, "num_outputs"),
        ({"kind": "text_classifier", "num_outputs": 2, "labels": ("a",)}, "2 outputs"),
        ({"kind": "text_classifier", "labels": ("a", "a")}, "differ"),
        ({"kind": "text_classifier", "labels": ("a", 1)}, "labels"),
        ({"kind": "text_classifier", "labels": "ab"}, "labels"),
        ({"kind": "text_classifier", "num_outputs": 2, "input": "last"}, "input must be one of"),
        ({"kind": "text_classifier", "num_outputs": 2, "hidden_activation": "silu"}, "silu"),
        ({"kind": "text_classifier", "num_outputs": 2.0}, "num_outputs"),
        ({"kind": "text_embedder", "pooling": ("average",)}, "average"),
        ({"kind": "text_embedder", "pooling": ()}, "pooling"),
        ({"kind": "text_embedder", "pooling": ("mean", "mean")}, "once"),
        ({"kind": "text_embedder", "projections": ((5, "tanh"),)}, "projections"),
        ({"kind": "text_embedder", "projections": ((5, "swish", True),)}, "swish"),
        ({"kind": "text_embedder", "projections": ((0, None, True),)}, "projections"),
        ({"kind": "question_answerer", "dropout": 1.0}, "dropout"),
        ({"kind": "masked_lm", "hidden_activation": "gelu", "layer_norm_epsilon": 0.0}, "epsilon"),
    ],
    ids=str,
)
def test_an_impossible_head_is_refused(values, message):
    with pytest.raises(ValueError, match=message):
        HeadConfig(**values)


def test_labels_say_how_many_outputs_there_are():
    assert HeadConfig("text_classifier", labels=("no", "yes", "maybe")).num_outputs == 3
    assert HeadConfig.from_dict({"kind": "token_classifier", "labels": ["O", "B"]}).num_outputs == 2


def test_poolings_are_kept_in_the_order_of_sentence_transformers():
    head = HeadConfig("text_embedder", pooling=("mean_sqrt", "mean", "cls", "max"))
    assert head.pooling == ("cls", "max", "mean", "mean_sqrt")


@pytest.mark.parametrize(
    ("head", "reads"),
    [
        (HeadConfig("next_sentence", num_outputs=2), True),
        (HeadConfig("text_classifier", num_outputs=2), True),
        (HeadConfig("text_classifier", num_outputs=2, input="first_token"), False),
        (HeadConfig("token_classifier", num_outputs=2), False),
        (HeadConfig("question_answerer"), False),
    ],
    ids=lambda value: getattr(value, "kind", value),
)
def test_a_head_says_whether_it_needs_a_pooler(head, reads):
    assert head.reads_pooled_output is reads


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"kind": "word_piece"}, "did you mean `wordpiece`"),
        ({"sequence_length": 2}, "sequence_length"),
        ({"sequence_length": "512"}, "sequence_length"),
        ({"lowercase": "yes"}, "lowercase"),
        ({"mask_token": 3}, "mask_token"),
        ({"kind": "byte_pair", "lowercase": True}, "byte_pair tokenizers keep case"),
        ({"add_prefix_space": True}, "not a setting of wordpiece"),
        (
            {"kind": "sentence_piece", "special_tokens_in_text": True},
            "special_tokens_in_text is not",
        ),
    ],
    ids=str,
)
def test_an_impossible_tokenizer_is_refused(values, message):
    with pytest.raises(ValueError, match=message):
        TokenizerConfig(**values)


@pytest.mark.parametrize(
    ("kind", "tokens", "lowercase"),
    [
        ("wordpiece", "[CLS] [SEP] [PAD] [UNK] [MASK]", True),
        ("byte_pair", "<s> </s> <pad> <unk> <mask>", False),
        ("sentence_piece", "[CLS] [SEP] <pad> <unk> [MASK]", True),
    ],
)
def test_special_tokens_and_case_follow_the_kind(kind, tokens, lowercase):
    config = TokenizerConfig(kind=kind)
    roles = ("start", "end", "pad", "unknown", "mask")
    assert [getattr(config, f"{role}_token") for role in roles] == tokens.split()
    assert config.lowercase is lowercase
    assert TokenizerConfig(kind=kind, mask_token="[M]", lowercase=False).mask_token == "[M]"
    assert TokenizerConfig.from_dict(config.to_dict()) == config
