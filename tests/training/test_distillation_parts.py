"""What a distillation is made of: the table, more examples, stored outputs, the BiLSTM."""

import json
import types

import keras
import numpy as np
import pytest

import bertzoo
from bertzoo.models.bilstm import build_bilstm
from bertzoo.tasks.masked_lm import Fill
from bertzoo.training.distillation import comparison
from bertzoo.training.distillation.augmentation import Augmenter
from bertzoo.training.distillation.stored import load_outputs, store_outputs
from tests.training import distill_run

# === The table ===


def two_networks():
    teacher = distill_run.network(distill_run.config(num_layers=3))
    return {"teacher": teacher, "student": distill_run.network(distill_run.config(num_layers=1))}


def test_the_comparison_counts_times_and_writes(tmp_path):
    networks = two_networks()
    metrics = {"teacher": {"accuracy": 0.9}, "student": {"accuracy": 0.81}}
    found = comparison.compare(networks, metrics, shapes=[(1, 8), (2, 500)], rounds=2)
    for model, network in zip(found, networks.values(), strict=True):
        assert model.parameters == network.count_params()
        assert model.megabytes == pytest.approx(4e-6 * model.parameters)
        assert set(model.milliseconds) == {"1x8", "2x500"}  # of which 16 tokens were possible
        assert min(model.milliseconds.values()) > 0
    comparison.write(tmp_path, found)
    stored = json.loads((tmp_path / "comparison.json").read_text())
    assert stored["retained"] == {"accuracy": 0.9}
    assert [model["name"] for model in stored["models"]] == ["teacher", "student"]
    text = (tmp_path / "comparison.md").read_text()
    assert "| accuracy | 0.9000 | 0.8100 | 90.0 % retained |" in text
    assert f"{found[0].parameters:,}" in text


def test_the_picture_is_drawn_where_matplotlib_is(tmp_path):
    pytest.importorskip("matplotlib")
    found = [
        comparison.Measured("teacher", 4, 2.0, {"1x32": 3.0}, {"accuracy": 0.5}),
        comparison.Measured("student", 2, 1.0, {"1x32": 1.0}, {"accuracy": 0.4}),
    ]
    comparison.plot(tmp_path / "table.png", found)
    assert (tmp_path / "table.png").read_bytes().startswith(b"\x89PNG")


# === More examples ===

SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
WORDS = [*SPECIAL, "cat", "dog", "sat", "the", "mo", "##use", "mouse2", "x"]


def embedder():
    """Return a task in whose token table cat and dog are near."""
    config = distill_run.config(vocabulary_size=len(WORDS), num_layers=1)
    task = bertzoo.TextEmbedder.from_backbone(
        bertzoo.Backbone(config),
        bertzoo.Preprocessor(bertzoo.WordPieceTokenizer(WORDS), sequence_length=16),
    )
    table = np.random.default_rng(1).normal(size=(len(WORDS), 20)).astype("float32")
    table[WORDS.index("dog")] = table[WORDS.index("cat")] + 0.1
    task.backbone.embeddings.token.embeddings.assign(table)
    return task


def encoded(task, *pieces):
    """Return what the encoder makes of a word alone: the mean of its pieces, of length 1."""
    ids = [[WORDS.index(token) for token in ("[CLS]", *pieces, "[SEP]")]]
    states = np.asarray(task.backbone({"token_ids": np.array(ids)})["sequence_output"])[0]
    mean = states[1:-1].mean(axis=0)
    return mean / np.linalg.norm(mean)


def test_words_are_replaced_by_their_nearest_neighbours():
    task = embedder()
    (copies,) = Augmenter(task, copies=3, candidates=1, probability=1.0)(["cat mouse"])
    # The word of two pieces by the word nearest to it in the encoder, and no `##use` or `mouse2`.
    mouse = encoded(task, "mo", "##use")
    nearest = max(("cat", "dog", "sat", "the", "mo"), key=lambda word: encoded(task, word) @ mouse)
    assert copies == [f"dog {nearest}"] * 3


def test_words_of_a_byte_level_vocabulary_are_without_its_marks():
    tokens = ["<s>", "cat", "\u0120dog", "\u0120d", "\u0120\u00c3\u00a9t", "\u0120sat", "x", "y"]
    tokenizer = types.SimpleNamespace(
        vocabulary=tokens, config=types.SimpleNamespace(kind="byte_pair")
    )
    task = types.SimpleNamespace(tokenizer=tokenizer, backbone=embedder().backbone)
    assert Augmenter(task)._words == [("dog", 2), ("sat", 5)]


def test_what_is_not_of_letters_alone_stays():
    augment = Augmenter(embedder(), copies=3, candidates=1, probability=1.0)
    (copies,) = augment(["cat 's mouse, 1999 . cat"])
    assert copies == ["dog 's mouse, 1999 . dog"] * 3


def test_words_of_one_token_are_what_the_masked_model_guesses():
    class Guesses:
        def fill(self, gaps, top_k):
            self.seen = (gaps, top_k)
            fills = [Fill(t, 0.1, "") for t in ("##use", "the", "cat", "x")]
            return [fills for _ in gaps]

    guesses = Guesses()
    augment = Augmenter(embedder(), guesses, copies=4, candidates=2, probability=1.0, seed=3)
    (copies,) = augment(["cat sat mouse"])
    assert guesses.seen == (["[MASK] sat mouse", "cat [MASK] mouse"], 4)
    first = {copy.split()[0] for copy in copies}
    second = {copy.split()[1] for copy in copies}
    assert first == {"the"}  # the word itself is no replacement, and letters alone are no words
    assert second <= {"the", "cat"}
    assert all(copy.split()[2] in WORDS for copy in copies)


def test_words_are_replaced_with_the_given_probability_and_drawn_by_seed():
    text = "cat " * 400
    augment = Augmenter(embedder(), copies=5, candidates=1, probability=0.4, seed=1)
    (copies,) = augment([text])
    share = np.mean([word == "dog" for copy in copies for word in copy.split()])
    assert share == pytest.approx(0.4, abs=4 * np.sqrt(0.24 / 2000))
    again = Augmenter(embedder(), copies=5, candidates=1, probability=0.4, seed=1)
    assert again([text]) == [copies]
    other = Augmenter(embedder(), copies=5, candidates=1, probability=0.4, seed=2)
    assert other([text]) != [copies]
    assert augment([" "]) == [[]]


@pytest.mark.parametrize("settings", [{"copies": 0}, {"candidates": 0}, {"probability": 1.5}])
def test_settings_that_make_nothing_raise(settings):
    with pytest.raises(ValueError, match="at least 1 and probability in"):
        Augmenter(embedder(), **settings)


# === Stored outputs ===


def classifier(seed=1):
    return distill_run.network(
        distill_run.config(num_layers=1), "text_classifier", seed, num_outputs=3, input="mean"
    )


def test_outputs_are_stored_once_and_found_again(tmp_path):
    teacher, arrays = classifier(), distill_run.arrays()
    path = tmp_path / "run" / "outputs.npz"
    assert load_outputs(path, teacher, ["logits"], arrays) is None
    stored = store_outputs(teacher, ["logits"], arrays, path, batch_size=7)
    ids = {name: arrays[name] for name in ("token_ids", "padding_mask", "segment_ids")}
    np.testing.assert_allclose(stored["teacher_logits"], teacher(ids), atol=1e-5)
    found = load_outputs(path, teacher, ["logits"], arrays)
    assert list(found) == ["teacher_logits"]
    np.testing.assert_array_equal(found["teacher_logits"], stored["teacher_logits"])
    assert [item.name for item in path.parent.iterdir()] == ["outputs.npz"]


def test_outputs_of_others_are_refused(tmp_path):
    teacher, arrays, path = classifier(), distill_run.arrays(), tmp_path / "outputs.npz"
    store_outputs(teacher, ["logits"], arrays, path)
    with pytest.raises(ValueError, match="outputs of another teacher"):
        load_outputs(path, classifier(2), ["logits"], arrays)
    other = {**arrays, "token_ids": arrays["token_ids"][::-1]}
    with pytest.raises(ValueError, match="of other examples"):
        load_outputs(path, teacher, ["logits"], other)
    with pytest.raises(ValueError, match="no `embedding`"):
        load_outputs(path, teacher, ["embedding"], arrays)


# === The BiLSTM ===


def test_a_bilstm_does_not_read_padding_and_is_saved(tmp_path):
    keras.utils.set_random_seed(4)
    model = build_bilstm(31, 3, embedding_dim=6, hidden_dim=5)
    ids = np.array([[5, 6, 7, 9, 9], [4, 3, 2, 1, 8]], "int32")
    mask = np.array([[1, 1, 1, 0, 0], [1, 1, 1, 1, 1]], "int32")
    logits = np.asarray(model({"token_ids": ids, "padding_mask": mask})["logits"])
    short = model({"token_ids": ids[:1, :3], "padding_mask": mask[:1, :3]})["logits"]
    np.testing.assert_allclose(logits[:1], short, atol=1e-6)
    backwards = model({"token_ids": ids[1:, ::-1], "padding_mask": mask[1:]})["logits"]
    assert np.abs(logits[1:] - backwards).max() > 1e-4  # order counts
    model.save(tmp_path / "student.keras")
    again = keras.saving.load_model(tmp_path / "student.keras")
    same = again({"token_ids": ids, "padding_mask": mask})["logits"]
    np.testing.assert_array_equal(same, logits)
