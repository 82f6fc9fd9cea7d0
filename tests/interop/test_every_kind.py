"""Exports of every task beside TensorFlow Serving's protos, OpenVINO, and much real text.

Four kinds of tasks and some hundreds of texts; with BERTZOO_ALL_TEXT=1 every kind and 10,000.
"""

import functools

import numpy as np
import pytest
import tensorflow as tf

from bertzoo.serving.saved_model import export_saved_model
from tests.interop.corpora import ALL_TEXT, DATA, scaled
from tests.serving import every_kind

# For protos and 10,000 texts; every further one costs an export.
KINDS = list(every_kind.KINDS) if ALL_TEXT else ["pairs", "entities", "answers", "choices"]
HOSTILE = [
    b"", b" ", b"\0", b"\xff\xfe", b"\xed\xa0\x80 lone", b"a" * 3000, "ก".encode() * 500,
    b"[MASK] [CLS]", "👩‍👩‍👧".encode() * 40, b"\r\n\t\x0b", "\u202eabc\u200b\ufeff".encode(),
    "ﬁ ﷺ Ǆ".encode(), b"\xf0\x9f\x98", b"</s><s><pad>",
]  # fmt: skip


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    """A function that gives the task of a kind and its version."""

    @functools.cache
    def make(kind):
        task = every_kind.make_task(kind, "wordpiece")
        directory = tmp_path_factory.mktemp("models") / kind
        return task, export_saved_model(task, directory, pairs=kind == "pairs", warm_up=False)

    return make


# === TensorFlow Serving's own messages ===


@pytest.mark.parametrize("kind", KINDS)
def test_a_predict_request_gets_the_answers_of_the_task(exported, kind):
    predict_pb2 = pytest.importorskip("tensorflow_serving.apis.predict_pb2")
    task, version = exported(kind)
    inputs = every_kind.inputs_of(kind, task, every_kind.TEXTS)
    request = predict_pb2.PredictRequest()
    request.model_spec.name, request.model_spec.signature_name = "m", "serving_default"
    for key, value in inputs.items():
        request.inputs[key].CopyFrom(tf.make_tensor_proto(every_kind.string_array(value)))
    # Over the wire, and as the server feeds it.
    arrived = predict_pb2.PredictRequest.FromString(request.SerializeToString())
    columns = {key: tf.make_ndarray(value) for key, value in arrived.inputs.items()}
    (outputs,) = every_kind.run_by_c_api(
        version, [columns], signature=arrived.model_spec.signature_name
    )
    reply = predict_pb2.PredictResponse()
    for key, value in outputs.items():
        reply.outputs[key].CopyFrom(tf.make_tensor_proto(value))
    reply = predict_pb2.PredictResponse.FromString(reply.SerializeToString())
    got = {key: tf.make_ndarray(value) for key, value in reply.outputs.items()}
    rows = every_kind.answers_of_outputs(kind, got)
    want = every_kind.answers_of_task(kind, task, inputs)
    assert every_kind.largest_difference(rows, want, 1e-5)[1] == 0


def test_a_classification_request_gets_classes_and_scores(exported):
    classification_pb2 = pytest.importorskip("tensorflow_serving.apis.classification_pb2")
    task, version = exported("pairs")
    inputs = every_kind.inputs_of("pairs", task, every_kind.TEXTS)
    request = classification_pb2.ClassificationRequest()
    for text, other in zip(inputs["text"], inputs["text_pair"], strict=True):
        example = request.input.example_list.examples.add()
        example.features.feature["text"].bytes_list.value.append(text.encode())
        example.features.feature["text_pair"].bytes_list.value.append(other.encode())
    arrived = classification_pb2.ClassificationRequest.FromString(request.SerializeToString())
    # InputToSerializedExampleTensor of servables/tensorflow/util.cc.
    rows = [example.SerializeToString() for example in arrived.input.example_list.examples]
    (outputs,) = every_kind.run_by_c_api(version, [{"inputs": rows}], signature="classify")
    reply = classification_pb2.ClassificationResult()
    for names, scores in zip(outputs["classes"], outputs["scores"], strict=True):
        row = reply.classifications.add()
        for name, score in zip(names, scores, strict=True):
            row.classes.add(label=name.decode(), score=score)
    want = every_kind.answers_of_task("pairs", task, inputs)
    for row, (label, probabilities) in zip(reply.classifications, want, strict=True):
        np.testing.assert_allclose([found.score for found in row.classes], probabilities, atol=1e-6)
        assert max(row.classes, key=lambda found: found.score).label == label


# === Much text ===


def corpus(count):
    """Lines of every file of the collection in turn, behind hostile strings."""
    files = sorted(path for path in DATA.rglob("*") if path.suffix in (".txt", ".tsv", ".jsonl"))
    lines, readers = list(HOSTILE), [path.open("rb") for path in files]
    try:
        while readers and len(lines) < count:
            for reader in list(readers):
                line = reader.readline(2000)
                if line:
                    lines.append(line)
                else:
                    reader.close()
                    readers.remove(reader)
    finally:
        for reader in readers:
            reader.close()
    return lines[:count]


@pytest.mark.skipif(not DATA.is_dir(), reason="the data collection is not here")
@pytest.mark.parametrize("kind", KINDS)
def test_ten_thousand_texts_get_the_answers_of_the_task(exported, kind):
    task, version = exported(kind)
    texts = corpus(scaled(10_000))
    # What is not UTF-8 is skipped: so the server gets the bytes, and the task what is left.
    clean = [text.decode("utf-8", "ignore") for text in texts]
    want = every_kind.answers_of_task(kind, task, every_kind.inputs_of(kind, task, clean), 128)
    raw = every_kind.inputs_of(kind, task, clean if kind == "fills" else texts)
    batches = [
        {key: column[start : start + 100] for key, column in raw.items()}
        for start in range(0, len(texts), 100)
    ]
    got = []
    for outputs in every_kind.run_by_c_api(version, batches):
        got += every_kind.answers_of_outputs(kind, outputs)
    largest, others = every_kind.largest_difference(got, want, 1e-5)
    print(f"{kind}: {len(texts)} texts, largest difference {largest:.1e}, near-ties {others}")
    assert others <= len(texts) // 1000


# === OpenVINO, on ids ===


@pytest.mark.parametrize("kind", every_kind.KINDS)
def test_openvino_gives_the_numbers_of_predict_on_ids(kind, tmp_path):
    runtimes = pytest.importorskip("bertzoo.serving.runtimes")
    for package in runtimes.RUNTIMES["openvino"][1]:
        pytest.importorskip(package)
    task = every_kind.make_task(kind, "wordpiece")
    inputs = every_kind.inputs_of(kind, task, every_kind.TEXTS)
    if kind == "choices":
        rows = zip(inputs["text"], inputs["choices"], strict=True)
        texts = [(text, choice) for text, choices in rows for choice in choices]
    elif "text_pair" in inputs:
        texts = list(zip(inputs["text"], inputs["text_pair"], strict=True))
    else:
        texts = inputs["text"]
    model = runtimes.export_runtime(task, tmp_path / "model", "openvino", texts=texts)
    found = model.predict(texts, batch_size=len(texts))
    # `predict` on ids goes by Keras and by the preprocessor's own mask.
    preprocess = task.preprocessor.preprocess_masked if kind == "fills" else task.preprocessor
    features = preprocess(texts)
    features.pop("mask_weights", None)
    expected = task.network.predict(features, verbose=0)
    if kind in ("single_label", "pairs"):
        expected = {"probabilities": every_kind.softmax(expected)}
    elif kind == "multi_label":
        expected = {"probabilities": 1 / (1 + np.exp(-expected.astype(float)))}
    elif kind == "regression":
        expected = {"score": expected[:, 0]}
    elif kind == "embeddings":
        expected = {"embedding": expected}
    elif kind == "entities":
        expected = {"probabilities": every_kind.softmax(expected)}
    elif kind == "choices":
        expected = {"logit": expected.reshape(-1)}
    elif kind == "fills":
        expected = {"logits": expected}
    assert set(found) == set(expected)
    for key, value in expected.items():
        np.testing.assert_allclose(found[key], value, atol=2e-5)
        assert np.ptp(value, axis=0).max() > 1e-3
