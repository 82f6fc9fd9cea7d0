"""Every loss beside a reference in NumPy: loops over what counts, in float64, with padding."""

import itertools

import keras
import numpy as np
import pytest

from bertzoo.losses import LOSSES
from tests.losses.outputs import PADDING_MASK, REAL, B, P, T, float64, kl, outputs, softmax

STUDENT = outputs(1, layers=2, width=20, heads=4)
SAME_SIZE = outputs(2, layers=4, width=20, heads=4)
WIDER = outputs(3, layers=4, width=36, heads=6)
POSITIONS = [(b, t) for b, t in itertools.product(range(B), range(T)) if REAL[b, t]]
LABELS = np.array([3, -1, 0], "int32")
BATCH = {
    "padding_mask": PADDING_MASK,
    "mask_labels": np.array([[4, 30], [7, 0], [2, 0]], "int32"),
    "mask_weights": np.array([[1, 1], [1, 0], [1, 0]], "int32"),
}
MASKED = [(b, p) for b, p in itertools.product(range(B), range(P)) if BATCH["mask_weights"][b, p]]


def run(name, student, teacher, batch=None, **options):
    """Return (sum, weight) of a loss as two numbers."""
    batch = BATCH if batch is None else batch
    values = (student, teacher or {}, batch)
    tensors = keras.tree.map_structure(keras.ops.convert_to_tensor, values)
    result = LOSSES[name](*tensors, **options)
    # What counts is known before any model has run.
    assert float(LOSSES[name].weight(tensors[2])) == float(result[1])
    assert {keras.backend.standardize_dtype(x.dtype) for x in result} == {"float32"}
    assert [tuple(x.shape) for x in result] == [(), ()]
    return [float(x) for x in result]


def check(result, terms):
    """Compare with a list of what each thing that counts contributes."""
    np.testing.assert_allclose(result, [sum(terms), len(terms)], rtol=1e-6)


def with_logits(model, name):
    return {**model, "logits": model[name]}


@pytest.mark.parametrize("temperature", [1.0, 2.0, 7.0])
def test_soft_targets_are_kl_over_the_words_at_real_positions(temperature):
    one, other = (with_logits(x, "word_logits") for x in (STUDENT, SAME_SIZE))
    s, t = (float64(x)["logits"] / temperature for x in (one, other))
    terms = [temperature**2 * kl(softmax(t[i]), softmax(s[i])) for i in POSITIONS]
    check(run("soft_targets", one, other, temperature=temperature), terms)
    assert LOSSES["soft_targets"].options == {"temperature": 2.0}


def test_soft_targets_of_masked_positions_alone():
    s, t = (float64(x)["masked_logits"] / 2.0 for x in (STUDENT, SAME_SIZE))
    terms = [4.0 * kl(softmax(t[i]), softmax(s[i])) for i in MASKED]
    check(run("masked_soft_targets", STUDENT, SAME_SIZE), terms)


def test_soft_targets_of_classes_count_rows():
    one, other = (with_logits(x, "class_logits") for x in (STUDENT, SAME_SIZE))
    s, t = (float64(x)["logits"] / 2.0 for x in (one, other))
    terms = [4.0 * kl(softmax(t[b]), softmax(s[b])) for b in range(B)]
    check(run("soft_labels", one, other), terms)


def test_soft_cross_entropy_is_kl_and_the_teachers_entropy():
    one, other = (with_logits(x, "class_logits") for x in (STUDENT, SAME_SIZE))
    s, t = (softmax(float64(x)["logits"]) for x in (one, other))
    terms = [-float(np.sum(t[b] * np.log(s[b]))) for b in range(B)]
    check(run("soft_cross_entropy", one, other), terms)


@pytest.mark.parametrize("temperature", [1.0, 3.0])
def test_soft_multi_label_is_kl_of_bernoullis(temperature):
    one, other = (with_logits(x, "class_logits") for x in (STUDENT, SAME_SIZE))
    s, t = (1 / (1 + np.exp(-float64(x)["logits"] / temperature)) for x in (one, other))
    terms = [
        temperature**2
        * np.mean([kl(np.array([t[b, c], 1 - t[b, c]]), np.array([s[b, c], 1 - s[b, c]]))
                   for c in range(5)])
        for b in range(B)
    ]  # fmt: skip
    result = run("soft_multi_label", one, other, temperature=temperature)
    np.testing.assert_allclose(result, [sum(terms), B], rtol=2e-6)


def test_logits_mse():
    one, other = (with_logits(x, "class_logits") for x in (STUDENT, SAME_SIZE))
    s, t = float64(one)["logits"], float64(other)["logits"]
    check(run("logits_mse", one, other), list(np.mean((s - t) ** 2, axis=1)))


def test_soft_spans_leave_padding_out():
    terms = np.zeros(B)
    for name in ("start_logits", "end_logits"):
        s, t = float64(STUDENT)[name] / 2.0, float64(SAME_SIZE)[name] / 2.0
        for b in range(B):
            terms[b] += 2.0 * kl(softmax(t[b, REAL[b]]), softmax(s[b, REAL[b]]))
    check(run("soft_spans", STUDENT, SAME_SIZE), list(terms))


def test_masked_lm_is_cross_entropy_of_the_true_words():
    probabilities = softmax(float64(STUDENT)["masked_logits"])
    terms = [-np.log(probabilities[i][BATCH["mask_labels"][i]]) for i in MASKED]
    check(run("masked_lm", STUDENT, None), terms)


def test_single_label_leaves_unlabelled_rows_out():
    one = with_logits(STUDENT, "class_logits")
    probabilities = softmax(float64(one)["logits"])
    terms = [-np.log(probabilities[0, 3]), -np.log(probabilities[2, 0])]
    check(run("single_label", one, None, {**BATCH, "labels": LABELS}), terms)


def test_multi_label_is_the_mean_over_labels():
    one = with_logits(STUDENT, "class_logits")
    labels = np.array([[1, 0, 0, 1, 1], [0, 0, 0, 0, 0], [0, 1, 0, 0, 0]], "int32")
    batch = {**BATCH, "labels": labels, "label_weights": np.array([1, 0, 1], "int32")}
    p = 1 / (1 + np.exp(-float64(one)["logits"]))
    entropy = -(labels * np.log(p) + (1 - labels) * np.log(1 - p))
    check(run("multi_label", one, None, batch), [entropy[0].mean(), entropy[2].mean()])


def test_regression_is_the_squared_error():
    one = {"logits": STUDENT["class_logits"][:, :1]}
    labels = np.array([0.5, 2.0, -3.5], "float32")
    terms = (float64(one)["logits"][:, 0] - labels) ** 2
    check(run("regression", one, None, {**BATCH, "labels": labels}), list(terms))


def test_token_labels_count_labelled_real_tokens():
    one = with_logits(STUDENT, "word_logits")
    labels = np.random.default_rng(4).integers(-1, 3, (B, T)).astype("int32")
    probabilities = softmax(float64(one)["logits"])
    terms = [-np.log(probabilities[i][labels[i]]) for i in POSITIONS if labels[i] >= 0]
    assert 0 < len(terms) < len(POSITIONS)
    check(run("token_labels", one, None, {**BATCH, "labels": labels}), terms)


def test_spans_are_the_mean_of_start_and_end():
    starts, ends = np.array([1, 0, 2], "int32"), np.array([6, 3, -1], "int32")
    batch = {**BATCH, "start_positions": starts, "end_positions": ends}
    terms = np.zeros(2)
    for name, positions in (("start_logits", starts), ("end_logits", ends)):
        for b in (0, 1):
            p = softmax(float64(STUDENT)[name][b, REAL[b]])
            terms[b] -= np.log(p[positions[b]]) / 2
    check(run("spans", STUDENT, None, batch), list(terms))


def test_the_cosine_of_last_hidden_states():
    s, t = (float64(x)["hidden_states"][-1] for x in (STUDENT, SAME_SIZE))
    terms = [1 - s[i] @ t[i] / np.linalg.norm(s[i]) / np.linalg.norm(t[i]) for i in POSITIONS]
    check(run("last_hidden_cosine", STUDENT, SAME_SIZE), terms)


def test_the_embedding_layer():
    s, t = (float64(x)["hidden_states"][0] for x in (STUDENT, SAME_SIZE))
    check(
        run("embedding_layer_mse", STUDENT, SAME_SIZE),
        [np.mean((s[i] - t[i]) ** 2) for i in POSITIONS],
    )


@pytest.mark.parametrize(
    ("layers", "chosen"),
    [("uniform", (2, 4)), ("top", (3, 4)), ("bottom", (1, 2)), ([4, 1], (4, 1))],
)
def test_hidden_states_follow_the_layer_map(layers, chosen):
    s, t = (float64(x)["hidden_states"] for x in (STUDENT, SAME_SIZE))
    terms = [
        sum(np.mean((s[m][i] - t[layer][i]) ** 2) for m, layer in enumerate(chosen, start=1))
        for i in POSITIONS
    ]
    check(run("hidden_states_mse", STUDENT, SAME_SIZE, layers=layers), terms)


@pytest.mark.parametrize(("layers", "chosen"), [("uniform", (2, 4)), ([1, 3], (1, 3))])
def test_attention_scores_of_pairs_of_real_tokens(layers, chosen):
    s, t = (float64(x)["attention_scores"] for x in (STUDENT, SAME_SIZE))
    terms = [
        sum(np.mean((s[m][b, :, i, j] - t[k - 1][b, :, i, j]) ** 2) for m, k in enumerate(chosen))
        for b, i in POSITIONS
        for j in range(T)
        if REAL[b, j]
    ]
    check(run("attention_scores_mse", STUDENT, SAME_SIZE, layers=layers), terms)


@pytest.mark.parametrize("teacher_layer", [-1, 3])
def test_attention_relations_are_kl_of_attention_distributions(teacher_layer):
    s = float64(STUDENT)["attention_scores"][1]
    t = float64(SAME_SIZE)["attention_scores"][3 if teacher_layer == -1 else 2]
    terms = [
        np.mean([kl(softmax(t[b, n, i, REAL[b]]), softmax(s[b, n, i, REAL[b]])) for n in range(4)])
        for b, i in POSITIONS
    ]
    result = run("attention_relation", STUDENT, SAME_SIZE, teacher_layer=teacher_layer)
    check(result, terms)


def relation(heads, b, n, i):
    """Return the distribution of a token's products with the real tokens of its row."""
    vectors = heads[b, n][REAL[b]]
    return softmax(vectors @ heads[b, n, i] / np.sqrt(heads.shape[-1]))


@pytest.mark.parametrize("name", ["value", "query", "key"])
def test_relations_of_equally_many_heads(name):
    s, t = float64(STUDENT)[name][-1], float64(SAME_SIZE)[name][-1]
    terms = [
        np.mean([kl(relation(t, b, n, i), relation(s, b, n, i)) for n in range(4)])
        for b, i in POSITIONS
    ]
    check(run(f"{name}_relation", STUDENT, SAME_SIZE), terms)


@pytest.mark.parametrize("name", ["value", "query", "key"])
@pytest.mark.parametrize("relation_heads", [1, 2, 4])
def test_relations_re_split_into_relation_heads(name, relation_heads):
    def split(heads):
        b, n, length, width = heads.shape
        rows = np.concatenate([heads[:, k] for k in range(n)], axis=-1)  # (B, T, N * H)
        parts = np.split(rows, relation_heads, axis=-1)
        assert parts[0].shape == (b, length, n * width // relation_heads)
        return np.stack(parts, axis=1)

    s, t = split(float64(STUDENT)[name][-1]), split(float64(WIDER)[name][-1])
    terms = [
        np.mean([kl(relation(t, b, n, i), relation(s, b, n, i)) for n in range(relation_heads)])
        for b, i in POSITIONS
    ]
    check(run(f"{name}_relation", STUDENT, WIDER, relation_heads=relation_heads), terms)


def test_sentence_vectors():
    s, t = float64(STUDENT)["embedding"], float64(SAME_SIZE)["embedding"]
    check(run("sentence_mse", STUDENT, SAME_SIZE), list(np.mean((s - t) ** 2, axis=1)))


def cosine(a, b):
    return a @ b / np.linalg.norm(a) / np.linalg.norm(b)


def test_sentence_similarities_compare_every_text_with_every_other():
    s, t = float64(STUDENT)["embedding"], float64(WIDER)["embedding"]
    terms = [
        np.mean([(cosine(s[i], s[j]) - cosine(t[i], t[j])) ** 2 for j in range(B) if j != i])
        for i in range(B)
    ]
    check(run("sentence_similarity", STUDENT, WIDER), terms)


def test_sentence_similarities_of_two_replicas_are_those_of_one():
    whole = run("sentence_similarity", STUDENT, WIDER)
    parts = np.zeros(2)
    for rows in (slice(0, 2), slice(2, 3)):
        one, other = (
            {"embedding": x["embedding"][rows], "all_embedding": x["embedding"]}
            for x in (STUDENT, WIDER)
        )
        batch = {"padding_mask": PADDING_MASK[rows], "all_row_weights": np.ones(B, "float32")}
        parts += run("sentence_similarity", one, other, batch)
    np.testing.assert_allclose(parts, whole, rtol=1e-6)


ALL = sorted(LOSSES)


def full_batch():
    return {
        **BATCH,
        "labels": LABELS,
        "start_positions": np.array([2, 1, 3], "int32"),
        "end_positions": np.array([4, 2, 5], "int32"),
    }


def logits_of(name):
    return "word_logits" if name in ("token_labels", "soft_targets") else "class_logits"


def inputs_of(name, batch):
    if name == "token_labels":
        batch = {**batch, "labels": np.where(REAL, 2, -1).astype("int32")}
    if name == "multi_label":
        batch = {**batch, "labels": np.ones((B, 5), "int32")}
    return [with_logits(x, logits_of(name)) for x in (STUDENT, SAME_SIZE)], batch


@pytest.mark.parametrize("name", ALL)
def test_rows_without_weight_do_not_count(name):
    (one, other), batch = inputs_of(name, full_batch())
    weights = np.array([1, 0, 1], "float32")
    batch["mask_weights"] = batch["mask_weights"] * weights[:, None].astype("int32")
    result = run(name, one, other, {**batch, "row_weights": weights})

    def kept(value):
        return np.asarray(value)[[0, 2]]

    one, other, batch = keras.tree.map_structure(kept, (one, other, batch))
    np.testing.assert_allclose(result, run(name, one, other, batch), rtol=2e-6)


@pytest.mark.parametrize("name", [n for n in ALL if LOSSES[n].needs_teacher])
def test_a_student_like_its_teacher_has_no_loss(name):
    (one, _), batch = inputs_of(name, full_batch())
    options = {"layers": "bottom"} if "layers" in LOSSES[name].options else {}
    value, weight = run(name, one, one, batch, **options)
    if name == "soft_cross_entropy":
        p = softmax(float64(one)["logits"])
        value += float(np.sum(p * np.log(p)))
    assert abs(value) / weight < 1e-6


@pytest.mark.parametrize("name", ALL)
def test_what_stands_at_padding_changes_nothing_and_has_no_gradient(name):
    import tensorflow as tf

    (one, other), batch = inputs_of(name, full_batch())
    tensors = keras.tree.map_structure(tf.constant, one)
    with tf.GradientTape() as tape:
        tape.watch(tensors)
        value, _ = LOSSES[name](tensors, keras.tree.map_structure(tf.constant, other), batch)
    gradients = tape.gradient(value, tensors)
    for key in ("hidden_states", "query", "key", "value"):
        for gradient in gradients[key]:
            if gradient is not None:
                axes = (0, 1) if key == "hidden_states" else (0, 2)
                rows = np.moveaxis(np.array(gradient), axes, (0, 1))
                assert np.abs(rows[~REAL]).max() == 0.0, key
                assert np.isfinite(rows).all()
    for key in LOSSES[name].reads:
        found = keras.tree.flatten(gradients[key])
        assert any(g is not None and np.abs(np.array(g)).max() > 0 for g in found), key


def test_packed_texts_relate_only_to_themselves():
    mask = np.array([[1, 1, 1, 2, 2, 2, 0]] * B, "int32")
    alone = PADDING_MASK * 0
    total = np.zeros(2)
    for first, last in ((0, 3), (3, 6)):
        part = alone.copy()
        part[:, first:last] = 1
        total += run("value_relation", STUDENT, SAME_SIZE, {"padding_mask": part})
    result = run("value_relation", STUDENT, SAME_SIZE, {"padding_mask": mask})
    np.testing.assert_allclose(result, total, rtol=1e-6)
    pairs = run("attention_scores_mse", STUDENT, SAME_SIZE, {"padding_mask": mask})[1]
    assert pairs == B * 2 * 9


@pytest.mark.parametrize("name", ["soft_targets", "attention_relation", "hidden_states_mse"])
def test_bfloat16_inputs_are_compared_in_float32(name):
    def rounded(value):
        tensor = keras.ops.cast(np.asarray(value, "float32"), "bfloat16")
        return tensor, keras.ops.convert_to_numpy(keras.ops.cast(tensor, "float32"))

    coarse, exact = [], []
    for model in (STUDENT, SAME_SIZE):
        model = with_logits(model, "word_logits")
        coarse.append(keras.tree.map_structure(lambda x: rounded(x)[0], model))
        exact.append(keras.tree.map_structure(lambda x: rounded(x)[1], model))
    np.testing.assert_allclose(run(name, *coarse), run(name, *exact), rtol=1e-6)
