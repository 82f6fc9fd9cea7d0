"""Questions on passages: training labels, answers, thresholds, and what is refused."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from bertzoo.metrics.squad import squad_scores
from bertzoo.models.backbone import Backbone
from bertzoo.readers.squad import GoldAnswer, SquadExample
from bertzoo.tasks.question_answerer import Answer, QuestionAnswerer
from tests.tasks.conftest import CONFIG

ALLOWED_TEXT_OPS = {
    "FastBertNormalize",
    "FastWordpieceTokenizeWithOffsets",
    "TFText>ByteSplitByOffsets",
}
LONG = "The cats sat. A dog is on Paris! " * 3 + "A great film. " + "the dog sat. " * 3
QUESTIONS = {
    "question": ["the cat", "a dog on", "of", "great city"],
    "context": ["Cats sat on the MAT", "a dog  on Paris.", "nothing", LONG],
    "answer": ["MAT", "Paris", None, "great film"],
}


def new_answerer(preprocessor, null_threshold=0.0):
    keras.utils.set_random_seed(4)
    return QuestionAnswerer.from_backbone(
        Backbone(CONFIG), preprocessor, null_threshold=null_threshold
    )


@pytest.fixture(scope="module")
def answerer(preprocessor):
    """An answerer that no test may change."""
    return new_answerer(preprocessor)


def rows_of(answerer, x):
    data, _, _ = answerer._training_data(x, None, None, 1000)
    features, labels = next(iter(data))
    return features["token_ids"].numpy(), {key: value.numpy() for key, value in labels.items()}


def test_labels_are_the_tokens_of_the_answer_in_each_window(answerer):
    ids, labels = rows_of(answerer, QUESTIONS)
    vocabulary = answerer.tokenizer.vocabulary
    spans = []
    for row, start, end in zip(ids, labels["start_logits"], labels["end_logits"], strict=True):
        spans.append(" ".join(vocabulary[i] for i in row[start : end + 1]))
    # One window each for the first three; of the long one, those that hold the whole answer.
    assert spans[:3] == ["mat", "paris", "[CLS]"]
    windows = answerer.preprocessor.windows([LONG], ["great city"])
    place = LONG.index("great film")
    starts = [[s for s, e in zip(*row, strict=True) if e] for row in zip(
        windows.starts.numpy(), windows.ends.numpy(), strict=True
    )]  # fmt: skip
    has = [place in row and place + len("great ") in row for row in starts]
    assert spans[3:] == ["great film" if one else "[CLS]" for one in has]
    assert 0 < sum(has) < len(has)


def test_the_loss_is_the_mean_of_both_cross_entropies(answerer):
    loss = answerer.evaluate(QUESTIONS, verbose=0, return_dict=True, batch_size=100)["loss"]
    losses = []
    ids, labels = rows_of(answerer, QUESTIONS)
    # Rows of like length come together in `evaluate`; the padding takes a part of the softmax.
    data, _, _ = answerer._training_data(QUESTIONS, None, None, 100, by_length=True)
    for features, labels in data:
        logits = answerer.predict({k: v.numpy() for k, v in features.items()}, verbose=0)
        for name in ("start_logits", "end_logits"):
            powers = np.exp(logits[name])
            right = powers[range(len(powers)), labels[name].numpy()] / powers.sum(axis=1)
            losses += (-np.log(right)).tolist()
    assert len(losses) == 2 * len(ids)
    np.testing.assert_allclose(loss, np.mean(losses), rtol=1e-4)


def test_every_form_of_questions_gives_the_same_rows(answerer):
    pairs = zip(QUESTIONS["context"], QUESTIONS["answer"], strict=True)
    starts = [None if answer is None else context.index(answer) for context, answer in pairs]
    hugging_face = [
        {"text": [a] if a else [], "answer_start": [s] if a else []}
        for a, s in zip(QUESTIONS["answer"], starts, strict=True)
    ]
    texts = {key: QUESTIONS[key] for key in ("question", "context")}
    examples = [
        SquadExample(q, c, (GoldAnswer(a, s),) if a else (), str(row), not a)
        for row, (q, c, a, s) in enumerate(zip(*QUESTIONS.values(), starts, strict=True))
    ]
    expected = rows_of(answerer, QUESTIONS)
    for form in ({**QUESTIONS, "answer_start": starts}, {**texts, "answers": hugging_face},
                 examples):  # fmt: skip
        ids, labels = rows_of(answerer, form)
        np.testing.assert_array_equal(ids, expected[0])
        np.testing.assert_array_equal(labels["end_logits"], expected[1]["end_logits"])


def test_it_learns_answers_of_long_and_short_passages(preprocessor):
    answerer = new_answerer(preprocessor)
    answerer.compile(
        keras.optimizers.Adam(0.01),
        loss=dict.fromkeys(("start_logits", "end_logits"),
                           keras.losses.SparseCategoricalCrossentropy(from_logits=True)),
    )  # fmt: skip
    columns = {key: values * 4 for key, values in QUESTIONS.items()}
    answerer.fit(columns, epochs=25, batch_size=8, verbose=0)
    got = answerer.answer(QUESTIONS["question"], QUESTIONS["context"])
    assert [one.text for one in got] == ["MAT", "Paris", "", "great film"]
    assert got[2] == Answer("", got[2].no_answer, 0, 0, got[2].no_answer)
    assert LONG[got[3].start : got[3].end] == "great film"
    scores = answerer.score(QUESTIONS)
    assert (scores["exact"], scores["f1"], scores["no_answer"]) == (100.0, 100.0, 1)
    assert scores["best_f1"] == 100.0


def test_predict_gives_what_answer_gives(answerer):
    questions = {key: QUESTIONS[key] for key in ("question", "context")}
    arrays = answerer.predict(questions)
    for row, one in enumerate(answerer.answer(*questions.values(), batch_size=2)):
        assert arrays["answer"][row] == one.text
        assert arrays["start"][row] == one.start
        np.testing.assert_allclose(arrays["score"][row], one.score, rtol=1e-4)
    alone = [answerer.answer(*pair) for pair in zip(*questions.values(), strict=True)]
    assert [one.text for one in alone] == arrays["answer"].tolist()


def test_the_best_answers_come_in_order_with_none_among_them(answerer):
    best = answerer.answer("a dog on", LONG, top_k=20)
    scores = [one.score for one in best]
    assert scores == sorted(scores, reverse=True)
    assert len({one.text for one in best}) == len(best) == 20
    assert all(LONG[one.start : one.end] == one.text for one in best)
    everything = answerer._answered(answerer_examples("a dog on", LONG), 32, 0.0)
    assert sum(everything["scores"][0]) + everything["no_answer_probability"][0] == pytest.approx(1)


def answerer_examples(question, context):
    return [SquadExample(question, context)]


def test_where_every_question_has_an_answer_none_is_never_given(preprocessor):
    answerer = new_answerer(preprocessor, None)
    best = answerer.answer("a dog on", "a dog on paris", top_k=20)
    assert {one.no_answer for one in best} == {0.0}
    assert "" not in {one.text for one in best}
    with pytest.raises(ValueError, match=r"row 2 \(question 2\) has no answer, .* null_threshold"):
        answerer.fit(QUESTIONS, verbose=0)


def test_the_threshold_is_the_best_of_all_and_stays_with_the_preset(preprocessor, tmp_path):
    answerer = new_answerer(preprocessor)
    contexts = ["cats sat", "a dog on paris", "great city", "the mat", "a film", "dog is good"] * 2
    questions = ["the", "of paris", "a", "is", "great", "cat"] * 2
    answers = ["cats", "", "city", "", "film", "", "", "dog", "", "mat", "", "dog"]
    questions = {"question": questions, "context": contexts, "answer": answers}
    threshold = answerer.tune_threshold(questions)
    found = answerer.predict(questions)
    golds = [[answer] if answer else [] for answer in answers]

    def f1_at(threshold):
        kept = found["null_score"] <= np.float32(threshold)
        texts = np.where(kept, found["answers"][:, 0], "").tolist()
        return squad_scores(golds, texts)["f1"]

    every = [f1_at(one) for one in [*found["null_score"], found["null_score"].min() - 1]]
    assert f1_at(threshold) == pytest.approx(max(every))
    assert answerer.score(questions)["f1"] == pytest.approx(max(every))
    assert answerer.null_threshold == threshold
    answerer.save_to_preset(tmp_path / "preset")
    again = QuestionAnswerer.from_preset(tmp_path / "preset")
    assert again.null_threshold == threshold
    assert again.predict(questions)["answer"].tolist() == found["answer"].tolist()
    assert (
        QuestionAnswerer.from_preset(tmp_path / "preset", null_threshold=1.5).null_threshold == 1.5
    )
    new = QuestionAnswerer.from_preset(tmp_path / "preset", new_head=True)
    assert new.null_threshold is None
    answerer.save(tmp_path / "answerer.keras")
    loaded = keras.models.load_model(tmp_path / "answerer.keras")
    assert loaded.null_threshold == threshold
    assert loaded.predict(questions)["answer"].tolist() == found["answer"].tolist()


def test_a_server_answers_what_python_answers(answerer):
    questions, contexts = (QUESTIONS[key] for key in ("question", "context"))
    contexts = [*contexts[:3], "東 café " + LONG]
    spec = tf.TensorSpec([None], "string")
    respond = tf.function(answerer.respond, [spec, spec])
    got = respond(tf.constant(questions), tf.constant(contexts))
    for row, one in enumerate(answerer.answer(questions, contexts)):
        assert got["answer"][row].numpy().decode() == one.text == contexts[row][one.start : one.end]
        assert (int(got["start"][row]), int(got["end"][row])) == (one.start, one.end)
    assert {value.dtype for value in got.values()} == {tf.string, tf.float32, tf.int32}
    assert {int(value.shape[0]) for value in got.values()} == {4}
    graph = respond.get_concrete_function().graph.as_graph_def()
    used = {node.op for node in graph.node}
    used |= {node.op for function in graph.library.function for node in function.node_def}
    assert used - set(dir(tf.raw_ops)) == ALLOWED_TEXT_OPS


@pytest.mark.parametrize(
    ("x", "message"),
    [
        ({"question": ["q"]}, "questions are a dict with `question`, `context`"),
        ({"question": ["q"], "context": ["a", "b"]}, "the columns differ in length"),
        ({"question": ["q"], "context": ["a cat"], "answer": ["dog"]},
         "row 0: the answer 'dog' is not in its context"),
        ({"question": ["q"], "context": ["a cat"], "answer": ["cat"], "answer_start": [1]},
         "row 0: the answer 'cat' is not in its context at character 1, where ' ca' stands"),
        ({"question": ["q", 3], "context": ["a", "b"], "answer": ["a", "b"]},
         "row 1: `question` should be a string; got 3"),
        ({"question": ["q"], "context": ["a"]}, "row 0 .* does not say that there is none"),
        ([SquadExample("q", "a cat", (GoldAnswer("dog", 2),), "q7")], "question q7: the answer"),
        (["q"], "row 0 should be a SquadExample"),
        ({"question": ["q"], "context": ["a \u200b b"], "answer": ["\u200b"]},
         "question 0: no token stands in the answer"),
        ({"question": [], "context": [], "answer": []}, "at least one example; got none"),
    ],
)  # fmt: skip
def test_bad_input_is_named_with_its_row(answerer, x, message):
    with pytest.raises(ValueError, match=message):
        answerer.fit(x, verbose=0)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda one: one.answer("q", ["c"]), "a list of each"),
        (lambda one: one.answer("q", "c", top_k=21), "top_k must be between 1 and 20; got 21"),
        (lambda one: one.fit(QUESTIONS, [1]), "answers come with their questions"),
        (lambda one: one.tune_threshold(QUESTIONS, metric="em"), "f1 or exact; got 'em'"),
        (lambda one: one.respond(tf.constant(["q"])), "reads pairs"),
    ],
)
def test_wrong_calls_are_refused(answerer, call, message):
    with pytest.raises(ValueError, match=message):
        call(answerer)
