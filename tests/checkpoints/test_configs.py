"""Foreign configurations: every key is mapped, known to be irrelevant, or an error."""

import pytest

from bertzoo.checkpoints import configs, google, hugging_face
from bertzoo.config import BackboneConfig
from tests.checkpoints import foreign

READERS = {
    **{name: module.CONFIG for name, module in hugging_face.FORMATS.items()},
    **{name: module.CONFIG for name, module in google.FORMATS.items()},
}


def read(format="hf_bert", pooler=True, num_segments=None, activation=None, **changes):
    raw = {**foreign.CONFIGS[format], **changes}
    raw = {key: value for key, value in raw.items() if value is not ...}
    return READERS[format].read(
        raw, "config.json", pooler=pooler, num_segments=num_segments, activation=activation
    )


def test_every_key_of_bert_is_mapped():
    assert read(
        hidden_act="relu",
        hidden_dropout_prob=0.2,
        attention_probs_dropout_prob=0.3,
        initializer_range=0.04,
        layer_norm_eps=1e-7,
    ) == BackboneConfig(
        vocabulary_size=97,
        num_layers=2,
        hidden_dim=20,
        num_heads=4,
        intermediate_dim=37,
        max_sequence_length=13,
        num_segments=3,
        activation="relu",
        dropout=0.2,
        attention_dropout=0.3,
        initializer_range=0.04,
        layer_norm_epsilon=1e-7,
    )


def test_distilberts_own_names_are_mapped():
    config = read("hf_distilbert", pooler=False, dropout=0.2, attention_dropout=0.3)
    assert (config.hidden_dim, config.intermediate_dim, config.num_segments) == (20, 37, 0)
    assert (config.dropout, config.attention_dropout) == (0.2, 0.3)


def test_albert_has_groups_inner_layers_and_a_projection():
    config = read("hf_albert")
    assert (config.embedding_dim, config.num_groups, config.num_inner_layers) == (12, 2, 2)
    assert (config.activation, config.dropout) == ("gelu_tanh", 0.0)


@pytest.mark.parametrize(
    ("format", "expected"),
    [("hf_albert", 20), ("hf_electra", None), ("google_albert", None)],
)
def test_a_square_projection_is_there_only_in_hugging_face_albert(format, expected):
    assert read(format, embedding_size=20).embedding_dim == expected


def test_roberta_counts_positions_after_the_pad_token():
    config = read("hf_roberta")
    assert (config.max_sequence_length, config.position_offset) == (11, 2)
    config = read("hf_roberta", max_position_embeddings=514)
    assert (config.max_sequence_length, config.position_offset) == (512, 2)
    config = read("hf_roberta", pad_token_id=0)
    assert (config.max_sequence_length, config.position_offset) == (12, 1)


@pytest.mark.parametrize("pad", [None, -1, "1", True])
def test_roberta_without_a_usable_pad_token_raises(pad):
    with pytest.raises(ValueError, match="pad_token_id"):
        read("hf_roberta", pad_token_id=pad)


@pytest.mark.parametrize(
    ("format", "name", "expected"),
    [
        ("hf_bert", "gelu", "gelu"),
        ("hf_bert", "gelu_python", "gelu"),
        ("hf_bert", "gelu_new", "gelu_tanh"),
        ("hf_bert", "gelu_pytorch_tanh", "gelu_tanh"),
        ("hf_bert", "gelu_fast", "gelu_tanh"),
        ("hf_albert", "gelu", "gelu"),
        ("hf_albert", "gelu_new", "gelu_tanh"),
        # The same word for two functions.
        ("google_bert", "gelu", "gelu"),
        ("google_albert", "gelu", "gelu_tanh"),
        ("google_bert", "relu", "relu"),
    ],
)
def test_the_word_gelu_means_what_each_family_means_by_it(format, name, expected):
    assert read(format, hidden_act=name).activation == expected


def test_the_caller_may_know_the_activation_better():
    assert read("google_bert", hidden_act="gelu", activation="gelu_tanh").activation == "gelu_tanh"


def test_an_unknown_activation_is_named_with_the_nearest():
    with pytest.raises(ValueError, match=r"'gelu_nwe'.*did you mean `gelu_new`"):
        read(hidden_act="gelu_nwe")


def test_the_rows_of_the_segment_table_win_over_the_file():
    assert read("google_bert", type_vocab_size=..., num_segments=2).num_segments == 2
    assert read(type_vocab_size=16, num_segments=2).num_segments == 2


def test_an_unknown_key_is_named():
    with pytest.raises(ValueError, match="key `rope_theta` \\(10000\\)"):
        read(rope_theta=10000)
    with pytest.raises(ValueError, match="did you mean `hidden_size`"):
        read(hidden_sizes=20)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("is_decoder", True),
        ("add_cross_attention", True),
        ("position_embedding_type", "relative_key"),
        ("pruned_heads", {"0": [1]}),
        ("quantization_config", {"bits": 4}),
        ("auto_map", {"AutoModel": "modeling.Jina"}),
    ],
)
def test_what_changes_the_network_is_refused_with_the_reason(key, value):
    with pytest.raises(ValueError, match=f"has `{key}`: .*, but "):
        read(**{key: value})


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("is_decoder", False),
        ("position_embedding_type", "absolute"),
        ("pruned_heads", {}),
        ("directionality", "bidi"),
        ("pooler_fc_size", 768),
        ("output_past", True),
        ("gradient_checkpointing", False),
        ("torch_dtype", "float16"),
        ("max_length", 20),
        ("_num_labels", 9),
        ("emb_size", 20),
    ],
)
def test_keys_that_change_nothing_are_passed_over(key, value):
    assert read(**{key: value}) == read()


@pytest.mark.parametrize("key", ["emb_size", "embedding_size"])
def test_a_bert_with_narrower_embeddings_is_refused(key):
    with pytest.raises(ValueError, match="no narrower embeddings"):
        read(**{key: 12})


@pytest.mark.parametrize("format", ["hf_albert", "google_albert"])
@pytest.mark.parametrize("key", ["hidden_size", "num_attention_heads", "embedding_size"])
def test_a_truncated_albert_does_not_become_an_xxlarge(format, key):
    with pytest.raises(ValueError, match=f"lacks the key `{key}`"):
        read(format, **{key: ...})


@pytest.mark.parametrize("format", READERS)
def test_the_size_of_the_vocabulary_has_no_default(format):
    with pytest.raises(ValueError, match="lacks the key `vocab_size`"):
        read(format, vocab_size=...)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"num_attention_heads": 3}, "multiple of num_heads"),
        ({"hidden_size": 0}, "at least 1"),
        ({"hidden_size": "20"}, "must be int"),
        ({"num_hidden_layers": 10**9}, "damaged file"),
        ({"vocab_size": 2**31 - 1, "hidden_size": 4096}, "damaged file"),
        ({"hidden_size": 2**40}, "at least 1"),
        ({"layer_norm_eps": float("nan")}, "must be positive"),
    ],
)
def test_absurd_sizes_are_refused_before_anything_is_allocated(changes, message):
    with pytest.raises(ValueError, match=f"config.json.*{message}"):
        read(**changes)


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        ({"model_type": "albert", "dim": 1, "n_layers": 2}, "albert"),
        ({"dim": 768, "n_layers": 6}, "distilbert"),
        ({"embedding_size": 128, "num_hidden_groups": 1}, "albert"),
        ({"architectures": ["RobertaForMaskedLM"], "hidden_size": 1}, "roberta"),
        ({"architectures": ["DistilBertModel"]}, "distilbert"),
        ({"architectures": ["BertModel"]}, "bert"),
        ({"summary_type": "first", "hidden_size": 256, "num_hidden_layers": 2}, "electra"),
        ({"hidden_size": 768, "num_hidden_layers": 12}, "bert"),
    ],
)
def test_old_files_without_a_model_type_are_understood(raw, expected):
    assert configs.model_type_of(raw, "config.json") == expected


def test_a_file_that_says_nothing_is_not_guessed():
    with pytest.raises(ValueError, match="says nothing by which to tell"):
        configs.model_type_of({"a": 1}, "config.json")


@pytest.mark.parametrize(
    ("model_type", "reason"),
    [
        ("mpnet", "relative attention"),
        ("deberta-v2", "disentangled"),
        ("modernbert", "rotary"),
        ("mobilebert", "bottleneck"),
        ("xlm-roberta", "SentencePiece"),
        ("llama", "not one that bertzoo knows"),
    ],
)
def test_other_families_are_refused_with_the_reason(model_type, reason):
    with pytest.raises(ValueError, match=reason):
        configs.refuse_family(model_type, "config.json", hugging_face.FAMILIES)


@pytest.mark.parametrize("format", READERS)
def test_a_written_configuration_is_read_back_as_it_was(format):
    config = read(format, pooler=format not in ("hf_distilbert", "hf_electra"))
    raw = READERS[format].write(config)
    assert READERS[format].read(raw, "config.json", pooler=config.pooler) == config
