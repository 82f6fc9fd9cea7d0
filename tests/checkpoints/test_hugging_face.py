"""Hugging Face directories as they are found: prefixes, old names, copies, shards, half floats."""

import json

import ml_dtypes
import numpy as np
import pytest
import safetensors.numpy

from bertzoo import checkpoints
from bertzoo.checkpoints import hugging_face, readers
from tests.checkpoints import foreign

MLM = {
    "cls.predictions.transform.dense.weight": (20, 20),
    "cls.predictions.transform.dense.bias": (20,),
    "cls.predictions.transform.LayerNorm.weight": (20,),
    "cls.predictions.transform.LayerNorm.bias": (20,),
    "cls.predictions.bias": (97,),
}


def bert(extra=None, seed=0):
    return foreign.random_tensors({**foreign.tensor_shapes("hf_bert"), **(extra or {})}, seed)


def opened(tmp_path, tensors, format="hf_bert", **config):
    return checkpoints.open_checkpoint(
        foreign.write_hugging_face(tmp_path / "theirs", format, tensors, **config)
    )


@pytest.mark.parametrize("format", foreign.HF_FORMATS)
@pytest.mark.parametrize("wrapper", ["", "module.", "model."])
@pytest.mark.parametrize("prefixed", [True, False])
def test_prefixes_and_wrappers_are_taken_off(format, wrapper, prefixed, tmp_path):
    tensors = foreign.random_tensors(foreign.tensor_shapes(format))
    prefix = wrapper + (foreign.NAMES[format].prefix if prefixed else "")
    found = opened(tmp_path, {prefix + name: a for name, a in tensors.items()}, format)
    foreign.assert_equal_weights(found.all_weights(), foreign.expected_weights(format, tensors))


def test_old_names_of_layer_norms_are_understood(tmp_path):
    tensors = bert(MLM)
    old = {
        name.replace("LayerNorm.weight", "LayerNorm.gamma").replace(
            "LayerNorm.bias", "LayerNorm.beta"
        ): array
        for name, array in tensors.items()
    }
    assert len(set(old) - set(tensors)) == 12
    weights = dict(opened(tmp_path, old).all_weights())
    name = "encoder.layer.1.output.LayerNorm.bias"
    np.testing.assert_array_equal(weights["layer_1/output_norm/beta"], tensors[name])
    name = "cls.predictions.transform.LayerNorm.weight"
    np.testing.assert_array_equal(weights["masked_lm/norm/gamma"], tensors[name])


def test_two_names_for_one_tensor_raise(tmp_path):
    tensors = bert()
    tensors["bert.pooler.dense.bias"] = tensors["pooler.dense.bias"]
    with pytest.raises(ValueError, match=r"both stand for `pooler.dense.bias`"):
        opened(tmp_path, tensors)


@pytest.mark.parametrize("format", foreign.HF_FORMATS)
def test_buffers_of_old_versions_are_ignored(format, tmp_path):
    tensors = foreign.random_tensors(foreign.tensor_shapes(format))
    expected = foreign.expected_weights(format, tensors)
    tensors["embeddings.position_ids"] = np.arange(13, dtype=np.int64)[None]
    tensors["embeddings.token_type_ids"] = np.zeros((1, 13), np.int64)
    foreign.assert_equal_weights(opened(tmp_path, tensors, format).all_weights(), expected)


def test_the_projection_of_a_distilled_tinybert_is_ignored(tmp_path):
    tensors = bert({"fit_dense.weight": (31, 20), "fit_dense.bias": (31,)})
    found = opened(tmp_path, tensors, emb_size=20, cell={}, structure=[], pre_trained="")
    foreign.assert_equal_weights(found.all_weights(), foreign.expected_weights("hf_bert", tensors))


def test_tinyberts_own_classifier_is_said_to_be_unread(tmp_path):
    tensors = bert({"fit_dense.weight": (31, 20), "fit_dense.bias": (31,),
                    "classifier.weight": (2, 20), "classifier.bias": (2,)})  # fmt: skip
    found = opened(tmp_path, tensors, architectures=["BertForSequenceClassification"])
    assert "ReLU" in found.unread_heads["text_classifier"]
    wanted = {**checkpoints.variable_shapes(found.config), "text_classifier/logits/bias": (2,)}
    with pytest.raises(ValueError, match="ReLU to the pooled vector"):
        found.weights(wanted)


@pytest.mark.parametrize("segments", [1, 2, 3, 16])
def test_the_segment_table_decides_how_many_segments_there_are(segments, tmp_path):
    tensors = bert()
    table = np.full((segments, 20), 0.5, np.float32)
    tensors["embeddings.token_type_embeddings.weight"] = table
    found = opened(tmp_path, tensors, type_vocab_size=2)
    assert found.config.num_segments == segments


@pytest.mark.parametrize("pooler", [True, False])
def test_the_pooler_is_there_if_its_tensors_are(pooler, tmp_path):
    tensors = bert()
    if not pooler:
        tensors = {name: a for name, a in tensors.items() if not name.startswith("pooler")}
    found = opened(tmp_path, tensors, architectures=["BertForMaskedLM" if pooler else "BertModel"])
    assert found.config.pooler is pooler
    assert ("pooler/kernel" in dict(found.all_weights())) is pooler


@pytest.mark.parametrize("dtype", [np.float16, ml_dtypes.bfloat16, np.float64])
def test_other_floats_are_read_as_float32(dtype, tmp_path):
    stored = {name: array.astype(dtype) for name, array in bert().items()}
    weights = dict(opened(tmp_path, stored).all_weights())
    assert {array.dtype for array in weights.values()} == {np.dtype(np.float32)}
    np.testing.assert_array_equal(
        weights["layer_0/output/kernel"],
        stored["encoder.layer.0.output.dense.weight"].T.astype(np.float32),
    )


def test_quantized_weights_are_refused(tmp_path):
    tensors = bert()
    tensors["pooler.dense.weight"] = np.ones((20, 20), np.int8)
    with pytest.raises(ValueError, match=r"pooler.dense.weight` is stored as int8"):
        dict(opened(tmp_path, tensors).all_weights())


def sharded(directory, tensors):
    names = sorted(tensors)
    parts = {"model-00001-of-00002.safetensors": names[::2],
             "model-00002-of-00002.safetensors": names[1::2]}  # fmt: skip
    foreign.write_hugging_face(directory, "hf_bert", {})
    (directory / "model.safetensors").unlink()
    for file, members in parts.items():
        safetensors.numpy.save_file({name: tensors[name] for name in members}, directory / file)
    weight_map = {name: file for file, members in parts.items() for name in members}
    index = {"metadata": {"total_size": 1}, "weight_map": weight_map}
    (directory / "model.safetensors.index.json").write_text(json.dumps(index))
    return directory


def test_shards_are_read_through_their_index(tmp_path):
    tensors = bert()
    found = checkpoints.open_checkpoint(sharded(tmp_path / "many", tensors))
    foreign.assert_equal_weights(found.all_weights(), foreign.expected_weights("hf_bert", tensors))


def test_a_missing_shard_is_named(tmp_path):
    directory = sharded(tmp_path / "many", bert())
    (directory / "model-00002-of-00002.safetensors").unlink()
    with pytest.raises(ValueError, match=r"model-00002-of-00002.safetensors is named by the index"):
        checkpoints.open_checkpoint(directory)


def test_an_index_cannot_name_files_elsewhere(tmp_path):
    directory = sharded(tmp_path / "many", bert())
    index = {"weight_map": {"a": "../secret.safetensors"}}
    (directory / "model.safetensors.index.json").write_text(json.dumps(index))
    with pytest.raises(ValueError, match="expected a file beside it"):
        checkpoints.open_checkpoint(directory)


def test_a_truncated_file_is_named(tmp_path):
    directory = foreign.write_hugging_face(tmp_path / "theirs", "hf_bert", bert())
    whole = (directory / "model.safetensors").read_bytes()
    (directory / "model.safetensors").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ValueError, match=r"model.safetensors is not a whole safetensors file"):
        checkpoints.open_checkpoint(directory)


@pytest.mark.parametrize("file", ["flax_model.msgpack"])
def test_formats_that_are_not_read_are_named_with_what_to_do(file, tmp_path):
    directory = foreign.write_hugging_face(tmp_path / "theirs", "hf_bert", {})
    (directory / "model.safetensors").unlink()
    (directory / file).write_bytes(b"never read")
    found = checkpoints.open_checkpoint(directory)
    assert found.config.hidden_dim == 20
    with pytest.raises(ValueError, match="does not read; save the model with") as error:
        found.all_weights()
    assert file in str(error.value)


def test_a_configuration_alone_opens_and_has_no_weights(tmp_path):
    directory = foreign.write_hugging_face(tmp_path / "theirs", "hf_bert", {})
    (directory / "model.safetensors").unlink()
    found = checkpoints.open_checkpoint(directory)
    assert found.config.pooler
    with pytest.raises(ValueError, match=r"no model.safetensors"):
        found.all_weights()


def test_a_tied_decoder_may_be_repeated(tmp_path):
    tensors = bert(MLM)
    tensors["cls.predictions.decoder.weight"] = tensors["embeddings.word_embeddings.weight"]
    tensors["cls.predictions.decoder.bias"] = tensors["cls.predictions.bias"]
    found = opened(tmp_path, tensors)
    assert found.heads["masked_lm"].tie_embeddings
    assert "masked_lm/decoder/embeddings" not in dict(found.all_weights())


def test_a_decoder_that_differs_is_loaded_as_one_of_its_own(tmp_path):
    tensors = bert({**MLM, "cls.predictions.decoder.weight": (97, 20),
                    "cls.predictions.decoder.bias": (97,)})  # fmt: skip
    found = opened(tmp_path, tensors)
    assert not found.heads["masked_lm"].tie_embeddings
    weights = dict(found.all_weights())
    np.testing.assert_array_equal(
        weights["masked_lm/decoder/embeddings"], tensors["cls.predictions.decoder.weight"]
    )
    # transformers computes with the decoder's own bias where it is not tied.
    np.testing.assert_array_equal(
        weights["masked_lm/bias"], tensors["cls.predictions.decoder.bias"]
    )


def test_the_bias_may_stand_under_either_name(tmp_path):
    tensors = bert(MLM)
    bias = tensors.pop("cls.predictions.bias")
    tensors["cls.predictions.decoder.bias"] = bias
    weights = dict(opened(tmp_path, tensors).all_weights())
    np.testing.assert_array_equal(weights["masked_lm/bias"], bias)


def test_two_biases_that_differ_under_a_tied_decoder_raise(tmp_path):
    tensors = bert({**MLM, "cls.predictions.decoder.bias": (97,)})
    with pytest.raises(ValueError, match="must be equal"):
        opened(tmp_path, tensors)


CLASSIFIER = {"classifier.weight": (5, 20), "classifier.bias": (5,)}
LABELS = {"10": "k", "2": "c", "0": "a", "1": "b", "3": "d"}


@pytest.mark.parametrize(
    ("architecture", "kind"),
    [
        ("BertForSequenceClassification", "text_classifier"),
        ("BertForTokenClassification", "token_classifier"),
        ("TFBertForTokenClassification", "token_classifier"),
    ],
)
def test_the_class_tells_which_of_two_heads_a_classifier_is(architecture, kind, tmp_path):
    found = opened(tmp_path, bert(CLASSIFIER), architectures=[architecture])
    assert list(found.heads) == [kind]
    assert found.heads[kind].num_outputs == 5
    assert found.heads[kind].labels is None


def test_a_classifier_without_a_pooler_classifies_tokens(tmp_path):
    tensors = {n: a for n, a in bert(CLASSIFIER).items() if not n.startswith("pooler")}
    assert list(opened(tmp_path, tensors).heads) == ["token_classifier"]


def test_a_classifier_that_cannot_be_told_is_not_guessed(tmp_path):
    found = opened(tmp_path, bert(CLASSIFIER))
    assert found.heads == {}
    assert "does not say which" in found.unread_heads["text_classifier"]
    assert len(dict(found.all_weights())) == len(foreign.tensor_shapes("hf_bert"))
    directory = tmp_path / "theirs"
    told = checkpoints.open_checkpoint(directory, expected_heads=["text_classifier"])
    assert list(told.heads) == ["text_classifier"]


@pytest.mark.parametrize(
    ("format", "kind", "extra", "fields"),
    [
        ("hf_bert", "text_classifier", CLASSIFIER, ("pooled", None, 0.3)),
        (
            "hf_roberta",
            "text_classifier",
            {"classifier.dense.weight": (20, 20), "classifier.dense.bias": (20,),
             "classifier.out_proj.weight": (5, 20), "classifier.out_proj.bias": (5,)},
            ("first_token", "tanh", 0.3),
        ),
        (
            "hf_electra",
            "text_classifier",
            {"classifier.dense.weight": (20, 20), "classifier.dense.bias": (20,),
             "classifier.out_proj.weight": (5, 20), "classifier.out_proj.bias": (5,)},
            ("first_token", "gelu", 0.3),
        ),
        (
            "hf_distilbert",
            "text_classifier",
            {"pre_classifier.weight": (20, 20), "pre_classifier.bias": (20,), **CLASSIFIER},
            ("first_token", "relu", 0.3),
        ),
        ("hf_albert", "text_classifier", CLASSIFIER, ("pooled", None, 0.3)),
    ],
)  # fmt: skip
def test_each_family_has_its_own_classifier(format, kind, extra, fields, tmp_path):
    tensors = foreign.random_tensors({**foreign.tensor_shapes(format), **extra})
    name = {"hf_bert": "Bert", "hf_albert": "Albert", "hf_roberta": "Roberta",
            "hf_electra": "Electra", "hf_distilbert": "DistilBert"}[format]  # fmt: skip
    dropout = {"hf_albert": "classifier_dropout_prob", "hf_distilbert": "seq_classif_dropout"}
    config = {
        "architectures": [f"{name}ForSequenceClassification"],
        dropout.get(format, "classifier_dropout"): 0.3,
        "id2label": {str(i): f"label {i}" for i in range(5)},
    }
    head = opened(tmp_path, tensors, format, **config).heads[kind]
    assert (head.input, head.hidden_activation, head.dropout) == fields
    assert head.labels == tuple(f"label {i}" for i in range(5))


def test_labels_are_sorted_by_number_and_not_by_spelling(tmp_path):
    labels = {str(index): f"name {index}" for index in reversed(range(12))}
    tensors = bert({"classifier.weight": (12, 20), "classifier.bias": (12,)})
    found = opened(tmp_path, tensors, id2label=labels, architectures=["BertForTokenClassification"])
    assert found.heads["token_classifier"].labels == tuple(f"name {i}" for i in range(12))


def test_labels_may_be_given_the_other_way_round(tmp_path):
    found = opened(
        tmp_path,
        bert(CLASSIFIER),
        label2id={"e": "4", "a": 0, "c": 2, "b": 1, "d": 3},
        architectures=["BertForSequenceClassification"],
    )
    assert found.heads["text_classifier"].labels == ("a", "b", "c", "d", "e")


@pytest.mark.parametrize("labels", [LABELS, {"0": "a", "1": "b"}, {"a": "b"}, ["a"]])
def test_labels_that_do_not_fit_raise(labels, tmp_path):
    with pytest.raises(ValueError, match=r"id2label|names 2 labels, but"):
        opened(
            tmp_path,
            bert(CLASSIFIER),
            id2label=labels,
            architectures=["BertForSequenceClassification"],
        )


@pytest.mark.parametrize(
    ("format", "activation", "epsilon"),
    [
        ("hf_bert", "relu", 1e-3),  # follow the encoder
        ("hf_albert", "relu", 1e-3),
        ("hf_roberta", "gelu", 1e-3),  # always erf
        ("hf_electra", "gelu", 1e-3),
        ("hf_distilbert", "relu", 1e-12),  # a constant in its code
    ],
)
def test_each_masked_lm_head_has_the_activation_and_epsilon_of_its_code(
    format, activation, epsilon, tmp_path
):
    from tests.checkpoints.test_tables import HEAD_TENSORS

    rows = {name: shape for name, (_, shape) in HEAD_TENSORS["masked_lm"][format].items()}
    tensors = foreign.random_tensors({**foreign.tensor_shapes(format), **rows})
    if format == "hf_distilbert":
        config = {"activation": "relu"}
    else:
        config = {"hidden_act": "relu", "layer_norm_eps": 1e-3}
    head = opened(tmp_path, tensors, format, **config).heads["masked_lm"]
    assert (head.hidden_activation, head.layer_norm_epsilon) == (activation, epsilon)


def test_a_normal_name_stays_as_it_is():
    name = "encoder.layer.0.attention.self.query.weight"
    assert hugging_face.normal_name(name, ("bert.",)) == name


TOKENS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "cat"]


def with_tokenizer(tmp_path, words, **settings):
    directory = foreign.write_hugging_face(tmp_path / "theirs", "hf_bert", bert())
    (directory / "vocab.txt").write_text("\n".join(TOKENS + words) + "\n")
    if settings:
        (directory / "tokenizer_config.json").write_text(json.dumps(settings))
    return checkpoints.open_checkpoint(directory)


def test_a_directory_without_a_vocabulary_has_no_tokenizer(tmp_path):
    found = opened(tmp_path, bert())
    assert (found.tokenizer, found.files) == (None, {})


@pytest.mark.parametrize(
    ("words", "settings", "lowercase"),
    [
        (["dog"], {}, True),
        (["Dog"], {}, False),  # the vocabulary says so
        (["Dog"], {"do_lower_case": True}, True),  # the file says otherwise, and is believed
        (["dog"], {"do_lower_case": False}, False),
    ],
)
def test_case_is_read_from_the_file_or_else_from_the_vocabulary(
    words, settings, lowercase, tmp_path
):
    assert with_tokenizer(tmp_path, words, **settings).tokenizer.lowercase is lowercase


def test_special_tokens_and_length_are_read(tmp_path):
    mask = {"__type": "AddedToken", "content": "<mask>", "lstrip": True}
    found = with_tokenizer(
        tmp_path, ["a"], mask_token=mask, model_max_length=9, strip_accents=False
    )
    assert found.tokenizer.mask_token == "<mask>"
    assert found.tokenizer.sequence_length == 9
    assert found.tokenizer.strip_accents is False
    assert found.files == {"vocabulary": found.directory / "vocab.txt"}


@pytest.mark.parametrize("length", [10**30, 512, 1e30])
def test_a_length_beyond_the_position_table_is_not_taken_over(length, tmp_path):
    found = with_tokenizer(tmp_path, ["a"], model_max_length=length)
    assert found.tokenizer.sequence_length is None


def test_roberta_and_albert_vocabularies_are_recognised(tmp_path):
    tensors = foreign.random_tensors(foreign.tensor_shapes("hf_roberta"))
    directory = foreign.write_hugging_face(tmp_path / "roberta", "hf_roberta", tensors)
    (directory / "vocab.json").write_text("{}")
    (directory / "merges.txt").write_text("#version: 0.2\n")
    found = checkpoints.open_checkpoint(directory)
    assert (found.tokenizer.kind, found.tokenizer.start_token) == ("byte_pair", "<s>")
    assert sorted(found.files) == ["merges", "vocabulary"]
    tensors = foreign.random_tensors(foreign.tensor_shapes("hf_albert"))
    directory = foreign.write_hugging_face(tmp_path / "albert", "hf_albert", tensors)
    (directory / "spiece.model").write_bytes(b"model")
    found = checkpoints.open_checkpoint(directory)
    assert (found.tokenizer.kind, found.tokenizer.pad_token) == ("sentence_piece", "<pad>")


def test_a_bert_with_the_tokenizer_of_xlm_r_is_not_taken_for_wordpiece(tmp_path):
    directory = foreign.write_hugging_face(tmp_path / "theirs", "hf_bert", bert())
    settings = {"tokenizer_class": "XLMRobertaTokenizerFast"}
    (directory / "tokenizer_config.json").write_text(json.dumps(settings))
    assert checkpoints.open_checkpoint(directory).tokenizer.kind == "sentence_piece"


def test_reading_a_name_twice_from_shards_raises(tmp_path):
    for file in ("a.safetensors", "b.safetensors"):
        safetensors.numpy.save_file({"x": np.ones(2, np.float32)}, tmp_path / file)
    index = {"weight_map": {"x": "a.safetensors", "y": "b.safetensors"}}
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps(index))
    with pytest.raises(ValueError, match="the tensor `x` twice"):
        readers.SafetensorsReader(tmp_path / "model.safetensors.index.json")


@pytest.mark.parametrize(
    ("text", "info"),
    [
        ("---\nlicense: apache-2.0\nlanguage: en\n---\n# A model\n",
         {"license": "apache-2.0", "language": "en"}),
        ("---\nlicense: mit\nlanguage:\n- en\n- de\n---\n", {"license": "mit"}),
        ("---\nlicense: [\n---\n", {}),
        ("---\nlicense: mit\ndate: 2021-13-45\n---\n", {}),
        ("---\nlicense: " + "[" * 50_000 + "\n---\n", {}),
        ("---\nlicense: mit\n" + "#" * 200_000 + "\n---\n", {}),
        ("# No front matter\n", {}),
    ],
)  # fmt: skip
def test_the_licence_is_taken_from_the_model_card(text, info, tmp_path):
    directory = foreign.write_hugging_face(tmp_path / "theirs", "hf_bert", bert())
    (directory / "README.md").write_text(text)
    assert checkpoints.open_checkpoint(directory).info == info
