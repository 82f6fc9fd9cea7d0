"""Exports beside TensorFlow Serving's own protos, KerasHub, older TensorFlow cores, other runtimes.

`BERTZOO_TF_CORES` names a folder with one folder for each TensorFlow, as `2.13.1`, in which lie
`tensorflow/` and `tensorflow_text/` of the wheels of tensorflow-cpu and tensorflow-text (only the
libraries are needed). Published pairs that load: 2.13.1 with 2.13.0rc0, 2.16.2 with 2.16.1, 2.18.1
with 2.18.1; tensorflow-text 2.19.0 needs symbols that no wheel of 2.19 has.
"""

import json
import os
import pathlib
import re

import keras
import numpy as np
import pytest
import tensorflow as tf
from google.protobuf import text_format, unknown_fields

from bertzoo.models.backbone import Backbone
from bertzoo.serving import c_api, check, companions, graph_file, server_ops, warm_up
from bertzoo.serving.saved_model import export_saved_model
from bertzoo.tasks.question_answerer import QuestionAnswerer
from bertzoo.tasks.text_classifier import TextClassifier
from bertzoo.tasks.text_embedder import TextEmbedder
from bertzoo.tasks.token_classifier import TokenClassifier

CORES = os.environ.get("BERTZOO_TF_CORES")


WORDS = ("the", "cat", "sat", "on", "a", "mat", "in", "paris", "good", "bad", "film")


@pytest.fixture(scope="module")
def classifier():
    """The toy's vocabulary on a wide random encoder: its outputs differ visibly between texts."""
    keras.utils.set_random_seed(31)
    toy = TextClassifier.from_preset("bert_toy")
    backbone = Backbone(toy.backbone.config.replace(initializer_range=0.3))
    return TextClassifier.from_backbone(backbone, toy.preprocessor, labels=["bad", "good"])


@pytest.fixture(scope="module")
def exported(classifier, tmp_path_factory):
    embedder = TextEmbedder.from_backbone(classifier.backbone, classifier.preprocessor)
    directory = tmp_path_factory.mktemp("models") / "toy"
    return export_saved_model({"tone": classifier, "vector": embedder}, directory)


# === TensorFlow Serving's own protos ===


def test_warm_up_requests_are_prediction_logs(exported):
    prediction_log_pb2 = pytest.importorskip("tensorflow_serving.apis.prediction_log_pb2")
    records = list(tf.data.TFRecordDataset(str(exported / warm_up.FILE)).as_numpy_iterator())
    requests = warm_up.read(exported)
    assert len(records) == len(requests)
    for record, request in zip(records, requests, strict=True):
        log = prediction_log_pb2.PredictionLog.FromString(record)
        assert log.WhichOneof("log_type") == "predict_log"
        predict = log.predict_log.request
        assert predict.model_spec.signature_name == request.signature
        assert set(predict.inputs) == set(request.inputs)
        for name, tensor in predict.inputs.items():
            np.testing.assert_array_equal(tf.make_ndarray(tensor), request.inputs[name])
        for message in (log, log.predict_log, predict, predict.model_spec):
            assert len(unknown_fields.UnknownFieldSet(message)) == 0


def test_requests_written_by_the_protos_are_read(tmp_path):
    prediction_log_pb2 = pytest.importorskip("tensorflow_serving.apis.prediction_log_pb2")
    log = prediction_log_pb2.PredictionLog()
    request = log.predict_log.request
    request.model_spec.name, request.model_spec.signature_name = "m", "fill"
    request.inputs["text"].CopyFrom(tf.make_tensor_proto([b"a", b"\xff" * 300]))
    (tmp_path / "assets.extra").mkdir()
    with tf.io.TFRecordWriter(str(tmp_path / warm_up.FILE)) as writer:
        writer.write(log.SerializeToString())
    (read,) = warm_up.read(tmp_path)
    assert (read.signature, read.inputs["text"].tolist()) == ("fill", [b"a", b"\xff" * 300])


def test_the_models_config_is_a_model_server_config(exported):
    config_pb2 = pytest.importorskip("tensorflow_serving.config.model_server_config_pb2")
    text = (exported.parent / "models.config").read_text()
    parsed = text_format.Parse(text, config_pb2.ModelServerConfig())
    (config,) = parsed.model_config_list.config
    assert (config.name, config.base_path) == ("toy", "/models/toy")
    assert config.model_platform == "tensorflow"


def test_the_grpc_call_of_the_readme_builds_a_request_that_is_answered(exported, classifier):
    predict_pb2 = pytest.importorskip("tensorflow_serving.apis.predict_pb2")
    readme = (exported.parent / "README.md").read_text(encoding="utf-8")
    code = re.search(r"^request = .*?(?=^channel)", readme, re.DOTALL | re.MULTILINE).group()
    names = {"tf": tf, "predict_pb2": predict_pb2}
    exec(code, names)
    request = names["request"]
    assert request.model_spec.name == "toy"
    signature = tf.saved_model.load(str(exported)).signatures[request.model_spec.signature_name]
    inputs = {key: tf.constant(tf.make_ndarray(value)) for key, value in request.inputs.items()}
    answer = signature(**inputs)
    (expected,) = classifier.classify(["The film was great."])
    assert answer["label"].numpy()[0].decode() == expected.label


# === KerasHub ===


def test_the_text_export_of_keras_hub_fails_before_2_20_and_passes_after(tmp_path):
    keras_hub = pytest.importorskip("keras_hub")
    vocabulary = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "a", "cat", "sat"]
    tokenizer = keras_hub.models.BertTokenizer(vocabulary=vocabulary)
    preprocessor = keras_hub.models.BertTextClassifierPreprocessor(tokenizer, sequence_length=16)
    backbone = keras_hub.models.BertBackbone(len(vocabulary), 1, 2, 8, 16, max_sequence_length=16)
    model = keras_hub.models.BertTextClassifier(backbone, num_classes=2, preprocessor=preprocessor)
    archive = tf.Module()
    archive.weights = [weight.value for weight in model.weights]
    archive.tokenizer = tokenizer

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name="text")])
    def classify(text):
        return {"logits": tf.cast(tf.convert_to_tensor(model(preprocessor(text))), tf.float32)}

    tf.saved_model.save(archive, str(tmp_path), signatures={"serving_default": classify})
    report = check.check_servable(tmp_path, "2.19")
    assert any("TFText>RoundRobinTrim" in problem for problem in report.problems)
    assert any("does not load with the ops of 2.19" in problem for problem in report.problems)
    assert [version for version, ops in report.missing_ops.items() if not ops] == ["2.20"]
    assert not any(
        "RoundRobin" in problem for problem in check.check_servable(tmp_path, "2.20").problems
    )


# === Older TensorFlow cores ===


def cores():
    folders = sorted(pathlib.Path(CORES).iterdir()) if CORES else []
    return [folder for folder in folders if (folder / "tensorflow_text").is_dir()]


@pytest.mark.skipif(not CORES, reason="BERTZOO_TF_CORES is not set")
@pytest.mark.parametrize("core", cores(), ids=lambda folder: folder.name)
def test_older_tensorflow_cores_load_it_and_give_the_same_numbers(exported, classifier, core):
    server = ".".join(core.name.split(".")[:2])
    report = check.check_servable(exported, server, core=core)
    assert report.problems == ()
    texts = np.array([b"paris is a city", b"", b"\xff bad", "Größe 中文".encode()], dtype=object)
    graph = graph_file.read(exported).signatures["serving_default"]
    outputs = {key: info.tensor for key, info in graph.outputs.items()}
    run = ({graph.inputs["text"].tensor: texts}, list(outputs.values()))
    answer = c_api.run(exported, [run], server, core)
    assert answer["version"] == core.name
    expected = classifier.respond(tf.constant(texts))
    got = answer["results"][0]["outputs"][outputs["probabilities"]]
    np.testing.assert_allclose(got, expected["probabilities"], atol=1e-6)
    # The table of new ops, from the core itself.
    for version, ops in server_ops.NEW_OPS.items():
        is_there = server_ops.number(version) <= server_ops.number(server)
        assert ops <= set(answer["core_ops"]) if is_there else not ops & set(answer["core_ops"])


# === Long inputs, answered whole by a client of the C API alone ===


def long_text(words):
    generator = np.random.default_rng(3)
    places = ["paris", "london", "the city", "a cat", "größe", "👩‍👩‍👧", "mat"]
    return " ".join(generator.choice(places, size=words))


def run_default(folder, **texts):
    graph = graph_file.read(folder).signatures["serving_default"]
    feeds = {
        graph.inputs[name].tensor: np.array([text.encode() for text in column], dtype=object)
        for name, column in texts.items()
    }
    outputs = {key: info.tensor for key, info in graph.outputs.items()}
    answer = c_api.run(folder, [(feeds, list(outputs.values()))], "2.13")
    assert answer["error"] is None
    return {key: answer["results"][0]["outputs"][tensor] for key, tensor in outputs.items()}


def wide(task_class, classifier, **head):
    keras.utils.set_random_seed(7)
    return task_class.from_backbone(classifier.backbone, classifier.preprocessor, **head)


def test_entities_of_two_thousand_words_come_with_their_places(classifier, tmp_path):
    tagger = wide(TokenClassifier, classifier, labels=("O", "B-LOC", "I-LOC"))
    folder = export_saved_model(tagger, tmp_path / "ner", warm_up=False)
    texts = [long_text(2000), "paris"]
    found = run_default(folder, text=texts)
    expected = tagger.entities(texts)
    for row, text in enumerate(texts):
        count = found["entity_count"][row]
        spans = [(found["entity_start"][row, i], found["entity_end"][row, i]) for i in range(count)]
        assert spans == [(entity.start, entity.end) for entity in expected[row]]
        strings = [word.decode() for word in found["entity_text"][row, :count]]
        assert strings == [text[start:end] for start, end in spans]
    last = found["entity_end"][0].max()
    assert found["entity_count"][0] > 100
    assert last > len(texts[0]) * 0.95, "the end of the text is answered too"


def test_an_answer_in_two_thousand_words_is_its_part_of_the_passage(classifier, tmp_path):
    answerer = wide(QuestionAnswerer, classifier)
    folder = export_saved_model(answerer, tmp_path / "qa", warm_up=False)
    questions, passages = ["where is it?", "what"], [long_text(2000), "it is in paris."]
    found = run_default(folder, text=questions, text_pair=passages)
    expected = answerer.respond(tf.constant(questions), tf.constant(passages))
    for row, passage in enumerate(passages):
        start, end = found["start"][row], found["end"][row]
        assert found["answer"][row].decode() == passage[start:end]
        assert (start, end) == (expected["start"][row], expected["end"][row])
        np.testing.assert_allclose(found["score"][row], expected["score"][row], atol=1e-5)


# === Other runtimes ===


@pytest.mark.parametrize("runtime", ["onnx", "openvino", "litert"])
def test_other_runtimes_give_the_same_numbers(classifier, tmp_path, runtime):
    runtimes = pytest.importorskip("bertzoo.serving.runtimes")
    for package in runtimes.RUNTIMES[runtime][1]:
        pytest.importorskip(package)
    texts = ["a good film", "", "Größe 中文", "the cat sat on the mat " * 9] * 3
    model = runtimes.export_runtime(classifier, tmp_path / "model", runtime, texts=texts)
    assert model.path.suffix == runtimes.RUNTIMES[runtime][2]
    assert model.difference < 1e-5
    again = runtimes.load_runtime(classifier, model.path, runtime, texts)
    assert again.difference == model.difference
    got = again.predict(texts, batch_size=5)["probabilities"]
    expected = classifier.respond(tf.constant(texts))["probabilities"]
    assert np.ptp(expected.numpy()[:, 0]) > 0.05, "the outputs differ between the texts"
    np.testing.assert_allclose(got, expected, atol=1e-5)


def test_a_file_that_is_not_there_is_named(classifier, tmp_path):
    runtimes = pytest.importorskip("bertzoo.serving.runtimes")
    with pytest.raises(FileNotFoundError, match=r"there is no .*model\.onnx"):
        runtimes.load_runtime(classifier, tmp_path / "model", "onnx")
    with pytest.raises(ValueError, match="calibration needs texts"):
        runtimes.export_runtime(classifier, tmp_path / "model", "onnx", calibration=[])


@pytest.mark.parametrize("runtime", ["onnx", "openvino", "litert"])
def test_int8_is_smaller_and_drifts_a_little(classifier, tmp_path, runtime):
    runtimes = pytest.importorskip("bertzoo.serving.runtimes")
    own = ("nncf",) if runtime == "openvino" else ()
    for package in (*runtimes.RUNTIMES[runtime][1], *own):
        pytest.importorskip(package)
    texts = [" ".join(text) for text in np.random.default_rng(4).choice(
        WORDS, size=(40, 8))]  # fmt: skip
    exact = classifier.respond(tf.constant(texts))["probabilities"].numpy()
    model = runtimes.export_runtime(
        classifier, tmp_path / "model8", runtime, texts=texts, calibration=texts[:20]
    )
    got = model.predict(texts)["probabilities"]
    drift = np.abs(got - exact)
    agree = (got.argmax(axis=1) == exact.argmax(axis=1)).mean()
    print(f"{runtime} int8: mean drift {drift.mean():.4f}, same label {agree:.0%}")
    assert 0 < drift.mean() < 0.1
    assert agree > 0.8


def test_the_manifest_says_how_far_the_outputs_are(exported):
    manifest = json.loads((exported / companions.MANIFEST).read_text())
    found = manifest["largest_difference"]
    assert set(found) == {"serving_default", "tone", "classify", "vector"}
    assert max(value for outputs in found.values() for value in outputs.values()) < 1e-5
