"""The exported signatures: the task's answers, whatever comes in."""

import json
import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf

from bertzoo.serving import c_api, graph_file, saved_model
from bertzoo.serving import signatures as functions
from bertzoo.tasks.text_embedder import TextEmbedder

NO_UTF8 = b"\xff\xfe caf\xc3\xa9"
TEXTS = ["the cat sat on the mat.", "", "good", "a bad film " * 9, NO_UTF8, "a\0cat"]


def call(signature, **inputs):
    return {key: value.numpy() for key, value in signature(**inputs).items()}


def by_hand(task, text):
    """One text alone, from ids to probabilities, in NumPy behind the network."""
    logits = np.asarray(task.network(task.preprocessor.preprocess([text])))[0]
    exp = np.exp(logits - logits.max())
    return exp / exp.sum()


def test_a_signature_answers_as_the_task_on_each_text_alone(signatures, tasks):
    answer = call(signatures["serving_default"], text=tf.constant(TEXTS))
    for index, text in enumerate(TEXTS):
        expected = by_hand(tasks["sentiment"], text)
        np.testing.assert_allclose(answer["probabilities"][index], expected, atol=1e-5)
        assert answer["label"][index].decode() == ["bad", "good"][int(expected.argmax())]
    assert answer["truncated"].tolist() == [0, 0, 0, 1, 0, 0]


def test_predict_and_the_signature_agree_to_1e_6_at_an_equal_padded_shape(signatures, tasks):
    texts = ["the cat sat", "a good film"]
    logits = tasks["sentiment"].predict(texts, verbose=0)
    exp = np.exp(logits - logits.max(axis=1, keepdims=True))
    expected = exp / exp.sum(axis=1, keepdims=True)
    answer = call(signatures["serving_default"], text=tf.constant(texts))
    np.testing.assert_allclose(answer["probabilities"], expected, atol=1e-6)


def test_masks_are_filled_as_the_task_fills_them(signatures, tasks):
    texts = ["the [MASK] sat on [MASK].", "no mask", "[MASK]"]
    answer = call(signatures["fill"], text=tf.constant(texts))
    assert answer["fill_count"].tolist() == [2, 0, 1]
    assert answer["fill_token"].shape == (3, 2, 5)
    first = tasks["fill"].fill(texts[0])
    for place in range(2):
        tokens = [token.decode() for token in answer["fill_token"][0, place]]
        assert tokens == [fill.token for fill in first[place]]
        scores = [fill.score for fill in first[place]]
        np.testing.assert_allclose(answer["fill_score"][0, place], scores, atol=1e-6)
    assert set(answer["fill_token"][1].ravel()) == {b""}
    assert not answer["fill_score"][2, 1].any()


def test_no_texts_give_no_answers(signatures):
    for name in ("serving_default", "fill", "tokenize"):
        answer = call(signatures[name], text=tf.constant([], tf.string))
        assert {value.shape[0] for value in answer.values()} == {0}, name


def test_tokenize_gives_what_serving_ids_takes(signatures):
    made = call(signatures["tokenize"], text=tf.constant(TEXTS))
    answer = call(
        signatures["serving_ids"],
        token_ids=tf.constant(made["token_ids"]),
        segment_ids=tf.constant(made["segment_ids"]),
    )
    expected = call(signatures["serving_default"], text=tf.constant(TEXTS))
    np.testing.assert_allclose(answer["probabilities"], expected["probabilities"], atol=1e-6)


def test_the_places_of_tokens_are_those_of_the_text(signatures):
    text = "The capital of France"
    made = call(signatures["tokenize"], text=tf.constant([text]))
    spans = zip(made["starts"][0], made["ends"][0], strict=True)
    words = [text[start:end] for start, end in spans if start >= 0]
    assert words == ["The", "capital", "of", "France"]
    assert made["starts"][0][0] == made["ends"][0][5] == -1  # [CLS] and [SEP]


def test_padding_by_repeating_the_first_element_changes_nothing(signatures):
    # What a server does with pad_variable_length_inputs: true (batching_util.cc).
    ids = [[2, 7, 14, 16, 3], [2, 18, 3]]
    alone = [
        call(
            signatures["serving_ids"],
            token_ids=tf.constant([row]),
            segment_ids=tf.zeros([1, len(row)], tf.int32),
        )["probabilities"][0]
        for row in ids
    ]
    padded = [row + [row[0]] * (9 - len(row)) for row in ids]
    together = call(
        signatures["serving_ids"],
        token_ids=tf.constant(padded),
        segment_ids=tf.zeros([2, 9], tf.int32),
    )
    np.testing.assert_allclose(together["probabilities"], alone, atol=1e-6)


def test_a_given_mask_of_ones_cannot_undo_the_derived_one(tasks):
    task = tasks["sentiment"]
    run = functions.ids_function(task, "hugging_face")
    assert [spec.name for spec in run.input_signature] == [
        "input_ids",
        "attention_mask",
        "token_type_ids",
    ]
    alone = task.answers(task.network({"token_ids": np.array([[2, 18, 3]])}))
    ids = tf.constant([[2, 18, 3, 2, 2, 0]])
    padded = run(ids, tf.ones_like(ids), tf.zeros_like(ids))
    np.testing.assert_allclose(padded["probabilities"], alone["probabilities"], atol=1e-6)
    ids, mask = tf.constant([[2, 18, 3, 9]]), tf.constant([[1, 1, 1, 0]])
    hidden = run(ids, mask, tf.zeros_like(ids))
    np.testing.assert_allclose(hidden["probabilities"], alone["probabilities"], atol=1e-6)


def test_rows_longer_than_the_position_table_are_refused(tasks):
    run = functions.ids_function(tasks["sentiment"])
    ids = tf.ones([1, 25], tf.int32)
    with pytest.raises(tf.errors.InvalidArgumentError, match="at most 24 tokens"):
        run(ids, tf.zeros_like(ids))


def test_classify_takes_examples_and_gives_classes_and_scores(signatures):
    example = tf.train.Example()
    example.features.feature["text"].bytes_list.value.append(b"good")
    answer = call(signatures["classify"], inputs=tf.constant([example.SerializeToString()] * 2))
    expected = call(signatures["serving_default"], text=tf.constant(["good"]))
    assert set(answer) == {"classes", "scores"}
    assert answer["classes"].tolist() == [[b"bad", b"good"]] * 2
    np.testing.assert_allclose(answer["scores"][1], expected["probabilities"][0], atol=1e-6)
    with pytest.raises(tf.errors.InvalidArgumentError, match="text"):
        signatures["classify"](inputs=tf.constant([tf.train.Example().SerializeToString()]))


def test_weights_are_stored_once(exported, tasks):
    stored = tf.train.list_variables(str(exported / "variables" / "variables"))
    numbers = sum(int(np.prod(shape)) for name, shape in stored if "VARIABLE_VALUE" in name)
    paths = {}
    for task in tasks.values():
        paths |= {id(weight): int(np.prod(weight.shape)) for weight in task.network.weights
                  if weight.name != "seed_generator_state"}  # fmt: skip
    assert numbers == sum(paths.values())


@pytest.mark.slow  # test_every_kind.py has the same of one task
def test_a_fresh_process_with_tensorflow_alone_gives_the_same(exported, signatures):
    program = (
        "import json, sys; import tensorflow as tf, tensorflow_text\n"
        "model = tf.saved_model.load(sys.argv[1])\n"
        "out = model.signatures['serving_default'](tf.constant(json.loads(sys.argv[2])))\n"
        "assert 'bertzoo' not in sys.modules\n"
        "print(json.dumps(out['probabilities'].numpy().tolist()))\n"
    )
    texts = ["the cat sat.", "", "good film"]
    done = subprocess.run(
        [sys.executable, "-c", program, str(exported), json.dumps(texts)],
        capture_output=True,
        text=True,
        check=True,
        cwd=exported,
    )
    expected = call(signatures["serving_default"], text=tf.constant(texts))["probabilities"]
    np.testing.assert_allclose(json.loads(done.stdout.splitlines()[-1]), expected, atol=1e-6)


@pytest.mark.slow  # the export itself compares, and test_every_kind.py
def test_the_c_api_gives_the_same_numbers(exported, signatures):
    graph = graph_file.read(exported)
    default = graph.signatures["serving_default"]
    texts = np.array([t.encode() if isinstance(t, str) else t for t in TEXTS], dtype=object)
    feeds = {default.inputs["text"].tensor: texts}
    outputs = {key: info.tensor for key, info in default.outputs.items()}
    answer = c_api.run(exported, [(feeds, list(outputs.values()))], server="2.13")
    assert answer["error"] is None
    got = answer["results"][0]["outputs"]
    for key, value in call(signatures["serving_default"], text=tf.constant(TEXTS)).items():
        if value.dtype == object:
            assert got[outputs[key]].tolist() == value.tolist()
        else:
            np.testing.assert_allclose(got[outputs[key]], value, atol=1e-6)


def test_tasks_loaded_apart_share_the_encoder_if_it_is_the_same(tasks):
    first = tasks["sentiment"]
    other = TextEmbedder.from_backbone(
        type(first.backbone).from_config(first.backbone.get_config()), first.preprocessor
    )
    other.backbone.set_weights(first.backbone.get_weights())
    vectors = other.predict(["a cat"], verbose=0)
    shared = saved_model.on_one_encoder({"a": first, "b": other})
    assert shared["b"].backbone is first.backbone
    np.testing.assert_array_equal(shared["b"].predict(["a cat"], verbose=0), vectors)
    other.backbone.embeddings.token.weights[0].assign_add(
        np.ones(other.backbone.embeddings.token.weights[0].shape)
    )
    with pytest.raises(ValueError, match="different encoders"):
        saved_model.on_one_encoder({"a": first, "b": other})


def test_a_task_that_pools_windows_still_does_on_a_shared_encoder(tasks):
    first = tasks["sentiment"]
    backbone = type(first.backbone).from_config(first.backbone.get_config())
    backbone.set_weights(first.backbone.get_weights())
    other = type(first).from_backbone(backbone, first.preprocessor, labels=["a", "b"])
    other.windows = "mean_logits"
    shared = saved_model.on_one_encoder({"first": first, "other": other})["other"]
    assert shared.backbone is first.backbone
    long = ["the cat sat. " * 20 + "a bad film " * 20]
    np.testing.assert_allclose(
        shared.predict(long, verbose=0), other.predict(long, verbose=0), atol=1e-6
    )
    assert shared.respond(tf.constant(long))["truncated"].numpy().tolist() == [0]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"tasks": []}, "no task"),
        ({"tasks": ["bert_toy"]}, "expected a task, as TextClassifier; got str"),
        ({"pairs": ["other"]}, "pairs names 'other'"),
        ({"input_names": "torch"}, "input_names must be one of bertzoo, keras_hub"),
        ({"server": "2.12"}, "server must be one of 2.13"),
        ({"version": 0}, "from 1 on; got 0"),
        ({"directory": "gs://bucket/model"}, "object stores"),
        ({"directory": "model/3"}, "looks like a version"),
    ],
)
def test_wrong_arguments_leave_nothing(tasks, tmp_path, monkeypatch, arguments, message):
    monkeypatch.chdir(tmp_path)
    arguments = {"tasks": {"a": tasks["sentiment"]}, "directory": "model", **arguments}
    with pytest.raises(ValueError, match=message):
        saved_model.export_saved_model(**arguments)
    assert not [path for path in tmp_path.rglob("*") if path.name.isdigit()]


def test_a_task_without_a_vocabulary_is_refused(tasks, tmp_path):
    task = type(tasks["sentiment"])(tasks["sentiment"].network)
    with pytest.raises(ValueError, match="has no tokenizer"):
        saved_model.export_saved_model(task, tmp_path / "model")


def test_two_tasks_of_a_kind_need_names(tasks):
    with pytest.raises(ValueError, match="give them by name"):
        saved_model.named_tasks([tasks["sentiment"]] * 2)
    with pytest.raises(ValueError, match="names a signature"):
        saved_model.named_tasks({"classify": tasks["sentiment"]})


@pytest.mark.slow
def test_a_choice_is_served_as_the_task_makes_it(tasks, tmp_path):
    from bertzoo.tasks.multiple_choice import MultipleChoice

    first = tasks["sentiment"]
    task = MultipleChoice.from_backbone(first.backbone, first.preprocessor)
    folder = saved_model.export_saved_model(task, tmp_path / "choice", warm_up=False)
    run = tf.saved_model.load(str(folder)).signatures["serving_default"]
    texts = ["the cat sat", "paris is"]
    choices = [["on the mat", "in france", ""], ["a city", "good", "a bad film"]]
    answer = call(run, text=tf.constant(texts), choices=tf.constant(choices))
    for row, text in enumerate(texts):
        features = first.preprocessor.preprocess([(text, choice) for choice in choices[row]])
        logits = np.asarray(task.network(features)).reshape(-1)
        exp = np.exp(logits - logits.max())
        np.testing.assert_allclose(answer["probabilities"][row], exp / exp.sum(), atol=1e-5)
        assert answer["choice"][row] == logits.argmax()
