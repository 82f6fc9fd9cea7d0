"""One config and one set of weights on TensorFlow, JAX and PyTorch: the same outputs.

The file runs itself once per backend, `python test_backends.py out.npz`, because Keras has one
backend per process. On JAX and PyTorch, TensorFlow is blocked: the networks must not need it.
"""

import os
import pathlib
import subprocess
import sys

import numpy as np

TOP = pathlib.Path(__file__).resolve().parents[2]

BACKENDS = ("tensorflow", "jax", "torch")
BACKBONE_ROWS = ("bert", "distilbert", "albert", "albert_groups", "roberta", "electra_small")
HEAD_ROWS = (
    "masked_lm",
    "masked_lm_untied",
    "masked_lm_albert",
    "masked_lm_roberta",
    "next_sentence",
    "classifier_pooled",
    "classifier_roberta",
    "token_classifier",
    "question_answerer",
    "discriminator",
    "embedder_all_poolings",
    "embedder_projections",
)
TRAINED_ROWS = ("bert", "albert", "roberta_with_pooler")


def run_one_backend(path):
    """Write the outputs of every row, and the weights after one step, as one file."""
    if os.environ["KERAS_BACKEND"] != "tensorflow":
        sys.modules["tensorflow"] = None
        sys.modules["tensorflow_text"] = None
    import keras

    from tests.reference import build, cases

    assert keras.backend.backend() == os.environ["KERAS_BACKEND"]
    found = {}
    for row in BACKBONE_ROWS:
        inputs = cases.random_inputs(cases.BACKBONES[row])
        outputs = build.shared_backbone(row).tap("attention_probabilities", "query")(inputs)
        for name in ("attention_probabilities", "query"):
            outputs[name] = keras.ops.stack(outputs[name])
        found |= {f"{row}/{name}": build.to_float32(value) for name, value in outputs.items()}
        # Inputs that are left out, and a row of nothing but padding.
        alone = build.shared_backbone(row)({"token_ids": inputs["token_ids"]})
        found[f"{row}/alone"] = build.to_float32(alone["sequence_output"])
        inputs["padding_mask"][1] = 0
        masked = build.shared_backbone(row)(inputs)["sequence_output"]
        found[f"{row}/masked"] = build.to_float32(masked)
        packed = build.shared_backbone(row).packed(4 if cases.BACKBONES[row].pooler else None)
        outputs = packed(cases.packed_inputs(cases.BACKBONES[row])[0])
        found |= {f"{row}/packed/{name}": build.to_float32(v) for name, v in outputs.items()}
    for row in HEAD_ROWS:
        backbone, head = cases.HEADS[row]
        outputs = build.shared_network(row)(cases.random_inputs(cases.BACKBONES[backbone], head))
        outputs = outputs if isinstance(outputs, dict) else {"logits": outputs}
        found |= {f"{row}/{name}": build.to_float32(value) for name, value in outputs.items()}
    for row in TRAINED_ROWS:
        found |= {f"{row}/step/{k}": value for k, value in one_step(row).items()}
    np.savez(path, **found)


def one_step(row):
    """Return the weights of a backbone after one step of gradient descent."""
    import keras

    from bertzoo.models.loading import weights_of
    from tests.reference import build, cases

    config = cases.BACKBONES[row].replace(dropout=0.0, attention_dropout=0.0)
    backbone = build.build_backbone(config)
    inputs = cases.random_inputs(config)
    inputs["token_ids"][:, 1] = inputs["token_ids"][:, 3]  # repeated tokens
    names = {name: keras.Input((None,), dtype="int32", name=name) for name in inputs}
    model = keras.Model(names, backbone(names)["pooled_output"])
    model.compile(keras.optimizers.SGD(0.05), "mean_squared_error")
    model.train_on_batch(inputs, np.ones((cases.BATCH, config.hidden_dim), "float32"))
    return {path: build.to_float32(v.value) for path, v in weights_of(backbone).items()}


if __name__ == "__main__":
    # Before the imports of the tests: pytest is not needed here, and nothing may load TensorFlow.
    run_one_backend(sys.argv[1])
    sys.exit(0)

import pytest  # noqa: E402

from tests.reference import cases, encoder  # noqa: E402


@pytest.fixture(scope="session", params=BACKENDS)
def found(request, tmp_path_factory):
    """The file that one backend wrote."""
    return outputs_of(request.param, tmp_path_factory)


_OUTPUTS = {}


def outputs_of(backend, tmp_path_factory):
    if backend not in _OUTPUTS:
        path = tmp_path_factory.mktemp(backend) / "outputs.npz"
        environment = os.environ | {
            "KERAS_BACKEND": backend,
            "JAX_PLATFORMS": "cpu",
            "TF_CPP_MIN_LOG_LEVEL": "3",
            "PYTHONPATH": os.pathsep.join([str(TOP), os.environ.get("PYTHONPATH", "")]),
        }
        result = subprocess.run(
            [sys.executable, __file__, str(path)], env=environment, capture_output=True, text=True
        )
        assert result.returncode == 0, result.stderr[-4000:]
        _OUTPUTS[backend] = dict(np.load(path))
    return _OUTPUTS[backend]


@pytest.mark.parametrize("row", BACKBONE_ROWS)
def test_backbones_equal_the_reference_on_every_backend(found, row):
    config = cases.BACKBONES[row]
    weights = cases.random_weights(cases.variable_shapes(config))
    inputs = cases.random_inputs(config)
    expected = encoder.encode(config, weights, **inputs)
    names = ["sequence_output"] + (["pooled_output"] if config.pooler else [])
    for name in names:
        assert np.abs(found[f"{row}/{name}"] - expected[name]).max() < 1e-5, name
    for name in ("attention_probabilities", "query"):
        assert np.abs(found[f"{row}/{name}"] - np.stack(expected[name])).max() < 1e-5, name
    alone = encoder.encode(config, weights, inputs["token_ids"])["sequence_output"]
    assert np.abs(found[f"{row}/alone"] - alone).max() < 1e-5


@pytest.mark.parametrize("row", BACKBONE_ROWS)
def test_packed_texts_are_those_alone_on_every_backend(found, row):
    config = cases.BACKBONES[row]
    weights = cases.random_weights(cases.variable_shapes(config))
    inputs, starts = cases.packed_inputs(config)
    for number, columns, ids in cases.packed_texts(inputs):
        expected = encoder.encode(config, weights, **ids)
        ours = found[f"{row}/packed/sequence_output"][number, columns]
        assert np.abs(ours - expected["sequence_output"][0]).max() < 1e-5
        if config.pooler:
            text = starts[number].tolist().index(columns[0])
            ours = found[f"{row}/packed/pooled_output"][number, text]
            assert np.abs(ours - expected["pooled_output"][0]).max() < 1e-5


@pytest.mark.parametrize("row", BACKBONE_ROWS)
def test_a_fully_masked_row_is_finite_on_every_backend(found, row):
    assert np.isfinite(found[f"{row}/masked"]).all()


@pytest.mark.parametrize("row", HEAD_ROWS)
def test_heads_equal_the_reference_on_every_backend(found, row):
    backbone, head = cases.HEADS[row]
    config = cases.BACKBONES[backbone]
    weights = cases.random_weights(cases.variable_shapes(config, head))
    expected = encoder.head_outputs(config, head, weights, cases.random_inputs(config, head))
    expected = expected if isinstance(expected, dict) else {"logits": expected}
    for name, value in expected.items():
        assert np.abs(found[f"{row}/{name}"] - value).max() < 1e-5, name


@pytest.mark.parametrize("row", TRAINED_ROWS)
@pytest.mark.parametrize("backend", ["jax", "torch"])
def test_one_training_step_gives_the_same_weights_on_every_backend(row, backend, tmp_path_factory):
    ours = outputs_of(backend, tmp_path_factory)
    tensorflow = outputs_of("tensorflow", tmp_path_factory)
    before = cases.random_weights(cases.variable_shapes(cases.BACKBONES[row]))
    for path in before:
        name = f"{row}/step/{path}"
        assert np.abs(ours[name] - tensorflow[name]).max() < 1e-5, path
    moved = tensorflow[f"{row}/step/embeddings/token/embeddings"]
    assert np.abs(moved - before["embeddings/token/embeddings"]).max() > 1e-4


# The yardstick itself ----------------------------------------------------------------------------


def copied(module, weights, names):
    """Fill a transformers model from ours: kernels are transposed there."""
    import torch

    state = module.state_dict()
    for theirs, ours in names.items():
        value = weights[ours]
        value = value.T if ours.endswith("kernel") else value
        assert tuple(state[theirs].shape) == value.shape, theirs
        state[theirs] = torch.tensor(np.ascontiguousarray(value))
    module.load_state_dict(state)
    unfilled = {name for name in state if "position_ids" not in name} - set(names)
    assert {name for name in unfilled if "token_type_ids" not in name} == set()


def bert_names(config):
    """Return transformers name -> our path, for BERT and RoBERTa."""
    names = {
        "embeddings.word_embeddings.weight": "embeddings/token/embeddings",
        "embeddings.position_embeddings.weight": "embeddings/position/embeddings",
        "embeddings.token_type_embeddings.weight": "embeddings/segment/embeddings",
        "embeddings.LayerNorm.weight": "embeddings/norm/gamma",
        "embeddings.LayerNorm.bias": "embeddings/norm/beta",
    }
    for i in range(config.num_layers):
        parts = {
            "attention.self.query": "attention/query",
            "attention.self.key": "attention/key",
            "attention.self.value": "attention/value",
            "attention.output.dense": "attention/output",
            "intermediate.dense": "intermediate",
            "output.dense": "output",
        }
        for theirs, ours in parts.items():
            names[f"encoder.layer.{i}.{theirs}.weight"] = f"layer_{i}/{ours}/kernel"
            names[f"encoder.layer.{i}.{theirs}.bias"] = f"layer_{i}/{ours}/bias"
        for theirs, ours in (("attention.output", "attention_norm"), ("output", "output_norm")):
            names[f"encoder.layer.{i}.{theirs}.LayerNorm.weight"] = f"layer_{i}/{ours}/gamma"
            names[f"encoder.layer.{i}.{theirs}.LayerNorm.bias"] = f"layer_{i}/{ours}/beta"
    if config.pooler:
        names["pooler.dense.weight"] = "pooler/kernel"
        names["pooler.dense.bias"] = "pooler/bias"
    return names


def albert_names():
    """Return transformers name -> our path, for one group of one layer."""
    layer = "encoder.albert_layer_groups.0.albert_layers.0"
    names = {
        "embeddings.word_embeddings.weight": "embeddings/token/embeddings",
        "embeddings.position_embeddings.weight": "embeddings/position/embeddings",
        "embeddings.token_type_embeddings.weight": "embeddings/segment/embeddings",
        "embeddings.LayerNorm.weight": "embeddings/norm/gamma",
        "embeddings.LayerNorm.bias": "embeddings/norm/beta",
        f"{layer}.attention.LayerNorm.weight": "layer_0/attention_norm/gamma",
        f"{layer}.attention.LayerNorm.bias": "layer_0/attention_norm/beta",
        f"{layer}.full_layer_layer_norm.weight": "layer_0/output_norm/gamma",
        f"{layer}.full_layer_layer_norm.bias": "layer_0/output_norm/beta",
    }
    parts = {
        "encoder.embedding_hidden_mapping_in": "embeddings/projection",
        f"{layer}.attention.query": "layer_0/attention/query",
        f"{layer}.attention.key": "layer_0/attention/key",
        f"{layer}.attention.value": "layer_0/attention/value",
        f"{layer}.attention.dense": "layer_0/attention/output",
        f"{layer}.ffn": "layer_0/intermediate",
        f"{layer}.ffn_output": "layer_0/output",
        "pooler": "pooler",
    }
    for theirs, ours in parts.items():
        names[f"{theirs}.weight"] = f"{ours}/kernel"
        names[f"{theirs}.bias"] = f"{ours}/bias"
    return names


@pytest.mark.parametrize("row", ["bert", "bert_gelu_tanh", "bert_relu", "roberta", "albert"])
def test_the_numpy_reference_equals_transformers(row):
    import torch
    import transformers

    config = cases.BACKBONES[row]
    sizes = {
        "vocab_size": config.vocabulary_size,
        "num_hidden_layers": config.num_layers,
        "hidden_size": config.hidden_dim,
        "num_attention_heads": config.num_heads,
        "intermediate_size": config.intermediate_dim,
        "max_position_embeddings": config.max_sequence_length + config.position_offset,
        "type_vocab_size": config.num_segments,
        "layer_norm_eps": config.layer_norm_epsilon,
        "hidden_act": {"gelu_tanh": "gelu_new"}.get(config.activation, config.activation),
        "attn_implementation": "eager",
    }
    if row == "albert":
        model = transformers.AlbertModel(
            transformers.AlbertConfig(**sizes, embedding_size=config.embedding_dim)
        )
        names = albert_names()
    elif row == "roberta":
        # Padding has token 1 there, and positions follow from it.
        model = transformers.RobertaModel(
            transformers.RobertaConfig(**sizes, pad_token_id=1), add_pooling_layer=False
        )
        names = bert_names(config)
    else:
        model = transformers.BertModel(transformers.BertConfig(**sizes))
        names = bert_names(config)
    weights = cases.random_weights(cases.variable_shapes(config))
    copied(model, weights, names)
    inputs = cases.random_inputs(config)
    if row == "roberta":
        inputs["token_ids"] = np.where(inputs["padding_mask"], inputs["token_ids"] % 29 + 2, 1)
    model.eval()
    with torch.no_grad():
        theirs = model(
            input_ids=torch.tensor(inputs["token_ids"].astype("int64")),
            attention_mask=torch.tensor(inputs["padding_mask"].astype("int64")),
            token_type_ids=torch.tensor(inputs["segment_ids"].astype("int64")),
            output_hidden_states=True,
            output_attentions=True,
        )
    ours = encoder.encode(config, weights, **inputs)
    assert np.abs(theirs.last_hidden_state.numpy() - ours["sequence_output"]).max() < 1e-5
    if config.pooler:
        assert np.abs(theirs.pooler_output.numpy() - ours["pooled_output"]).max() < 1e-5
    for name, values in (("hidden_states", theirs.hidden_states),
                         ("attention_probabilities", theirs.attentions)):  # fmt: skip
        for theirs_one, ours_one in zip(values, ours[name], strict=True):
            assert np.abs(theirs_one.numpy() - ours_one).max() < 1e-5, name
