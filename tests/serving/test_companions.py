"""What lies beside the graph: it says what is true, and its requests are those that work."""

import json
import re

import numpy as np
import pytest
from google.protobuf import text_format
from tensorflow.core.framework import graph_pb2

from bertzoo import durable
from bertzoo.serving import companions, documents, warm_up


def test_the_manifest_has_origin_checksums_signatures_and_parity(exported, tasks):
    manifest = companions.read_manifest(exported)
    assert manifest["tasks"]["sentiment"]["labels"] == ["bad", "good"]
    assert manifest["tasks"]["sentiment"]["parameters"] == tasks["fill"].backbone.count_params()
    assert set(manifest["signatures"]) == {
        "classify", "fill", "fill_ids", "sentiment", "sentiment_ids", "serving_default",
        "serving_ids", "tokenize",
    }  # fmt: skip
    assert manifest["largest_difference"]["serving_default"]["probabilities"] <= 1e-6
    assert manifest["largest_difference"]["fill"]["fill_score"] <= 1e-6
    for name, digest in manifest["sha256"].items():
        assert durable.sha256(exported / name) == digest
    files = {str(p.relative_to(exported)) for p in exported.rglob("*") if p.is_file()}
    assert files == {*manifest["sha256"], companions.MANIFEST}


def test_every_padded_length_is_warmed_up(exported, signatures):
    import tensorflow as tf

    lengths = set()
    for request in warm_up.read(exported):
        if request.signature == "serving_default":
            made = signatures["tokenize"](text=tf.constant(request.inputs["text"]))
            lengths.add(made["token_ids"].shape[1])
    assert lengths == {8, 16, 24}
    names = {request.signature for request in warm_up.read(exported)}
    assert names == set(companions.read_manifest(exported)["signatures"]) - {"tokenize"}


def test_settings_lie_beside_the_versions_and_are_kept(exported, tmp_path):
    base = exported.parent
    assert {p.name for p in base.iterdir()} == {
        "1", "README.md", "models.config", "batching_parameters.txt", "docker-compose.yaml",
    }  # fmt: skip
    copy = tmp_path / "toy" / "1"
    (copy / "assets.extra").mkdir(parents=True)
    (copy / companions.MANIFEST).write_bytes((exported / companions.MANIFEST).read_bytes())
    (tmp_path / "toy" / "models.config").write_text("mine")
    (tmp_path / "toy" / "README.md").write_text("of version 0")
    companions.write_beside(copy)
    assert (tmp_path / "toy" / "models.config").read_text() == "mine"
    assert "This page is of version 1;" in (tmp_path / "toy" / "README.md").read_text()
    assert not [p for p in (tmp_path / "toy").iterdir() if p.name.startswith(".")]


def test_the_requests_of_the_readme_are_json_that_the_signatures_take(exported):
    text = (exported.parent / "README.md").read_text(encoding="utf-8")
    bodies = [json.loads(body) for body in re.findall(r"curl -d '(.*)' ", text)]
    assert bodies[0] == {"instances": ["The film was great."]}
    assert bodies[1]["signature_name"] == "classify"
    assert list(bodies[1]["examples"][0]) == ["text"]
    assert "/v1/models/toy:predict" in text
    assert 'request.inputs["text"]' in text
    for name, tensors in companions.read_manifest(exported)["signatures"].items():
        assert f"| `{name}` |" in text
        assert all(f"`{key}`" in text for key in tensors["outputs"])


def test_the_batching_parameters_are_a_text_proto_whose_largest_size_is_the_last():
    text = documents.settings("m")["batching_parameters.txt"]
    sizes = [int(size) for size in re.findall(r"allowed_batch_sizes: (\d+)", text)]
    assert sizes == sorted(sizes)
    assert f"max_batch_size {{ value: {sizes[-1]} }}" in text
    assert "pad_variable_length_inputs: false" in text
    # The syntax is that of text protos: an unknown field is what a foreign message says of it.
    with pytest.raises(text_format.ParseError, match="max_batch_size"):
        text_format.Parse(text, graph_pb2.GraphDef())


@pytest.mark.parametrize(
    ("got", "message"),
    [
        (np.array([0.1, 0.2], np.float32), "differs from the task's by 0.1000"),
        (np.array([0.1], np.float32), "has the shape"),
        (np.array([0.1, np.nan], np.float32), "differs"),
    ],
)
def test_an_output_that_differs_is_refused(got, message):
    expected = [("s", {"t:0": ("score", np.array([0.1, 0.1], np.float32))})]
    with pytest.raises(ValueError, match=message):
        companions.largest_differences(expected, [{"outputs": {"t:0": got}}])


def test_a_string_that_differs_is_refused():
    expected = [("s", {"t:0": ("label", np.array([b"a"], object))})]
    with pytest.raises(ValueError, match="label of signature s differs from the task's"):
        companions.largest_differences(expected, [{"outputs": {"t:0": np.array([b"b"], object)}}])
    with pytest.raises(ValueError, match="signature s fails: no kernel"):
        companions.largest_differences(expected, [{"error": "no kernel"}])


def manifest_of(outputs, inputs=("text",), **more):
    task = {"kind": "masked_lm", "problem": None, "pair": False, "mask_token": "<mask>"}
    signature = {"inputs": dict.fromkeys(inputs, "DT_STRING [?]"),
                 "outputs": dict.fromkeys(outputs, "DT_FLOAT [?]")}  # fmt: skip
    manifest = {"server": "2.13", "tensorflow": "2.20.0", "tasks": {"first": task},
                "signatures": {"serving_default": signature}}  # fmt: skip
    for key, value in more.items():
        manifest[key] = manifest[key] | value
    return manifest


def bodies_of(manifest):
    return [json.loads(body) for body in re.findall(
        r"curl -d '(.*)' ", documents.readme("m", "1", manifest))]  # fmt: skip


def test_the_readme_asks_what_the_task_answers():
    (body,) = bodies_of(manifest_of(["fill_token"]))
    assert body == {"instances": ["Paris is the <mask> of France."]}
    (body,) = bodies_of(manifest_of(["answer"], ("text", "text_pair")))
    assert set(body["instances"][0]) == {"text", "text_pair"}
    (body,) = bodies_of(manifest_of(["choice"], ("text", "choices")))
    assert len(body["instances"][0]["choices"]) == 2
    # classify is that of the second task, which takes pairs.
    second = {"kind": "text_classifier", "problem": "single_label", "pair": True}
    api = {"inputs": {"inputs": "DT_STRING [?]"}, "outputs": {"classes": "", "scores": ""}}
    manifest = manifest_of(["embedding"], tasks={"second": second}, signatures={"classify": api})
    assert set(bodies_of(manifest)[1]["examples"][0]) == {"text", "text_pair"}
