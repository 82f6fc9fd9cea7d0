"""Tasks on a RoBERTa encoder, strings in, answers out, from every form that it is saved in."""

import json
import pathlib

import keras
import numpy as np
import pytest

import bertzoo
from bertzoo.cli import main
from bertzoo.config import BackboneConfig
from bertzoo.models.backbone import Backbone
from bertzoo.preprocessing.preprocessor import Preprocessor
from bertzoo.tokenizers.byte_pair import BytePairTokenizer

FOLDER = pathlib.Path(__file__).parents[1] / "data" / "roberta-base-cut"
CONFIG = BackboneConfig(
    vocabulary_size=2261,
    num_layers=1,
    hidden_dim=20,
    num_heads=4,
    intermediate_dim=37,
    max_sequence_length=24,
    position_offset=2,
    num_segments=1,
    pooler=False,
    layer_norm_epsilon=1.0e-5,
    initializer_range=0.3,
)
TEXTS = ["The sea, it's wide.", "", "naïve 中文 \x00", " the  sea"]


@pytest.fixture(scope="module")
def preprocessor():
    tokenizer = BytePairTokenizer(FOLDER / "vocab.json", FOLDER / "merges.txt")
    return Preprocessor(tokenizer, sequence_length=24, num_segments=1)


@pytest.fixture(scope="module")
def masked_lm(preprocessor):
    keras.utils.set_random_seed(21)
    return bertzoo.MaskedLM.from_backbone(Backbone(CONFIG), preprocessor)


@pytest.fixture(scope="module")
def saved(masked_lm, tmp_path_factory):
    folder = tmp_path_factory.mktemp("preset") / "roberta"
    masked_lm.save_to_preset(folder)
    return folder


def test_filling_joins_words_to_what_stands_before_the_mask(masked_lm):
    fills = masked_lm.fill("The \t<mask> is wide.", top_k=2261)
    texts = {fill.token: fill.text for fill in fills}
    assert texts["Ġthe"] == "The the is wide."
    assert texts["the"] == "Thethe is wide."
    assert texts["Ċ"] == "The\n is wide."
    assert abs(sum(fill.score for fill in fills) - 1) < 1e-5
    # The white space before the mask is no token of its own: the same answers without it.
    bare = masked_lm.fill("The<mask> is wide.", top_k=3)
    assert [(f.token, f.score) for f in bare] == [(f.token, f.score) for f in fills[:3]]


def test_several_masks_are_filled_each_for_itself(masked_lm):
    first, second = masked_lm.fill("<mask> sea is <mask>.", top_k=1)
    assert first[0].text.endswith(" sea is <mask>.")
    assert second[0].text.startswith("<mask> sea is")


def test_a_preset_directory_has_both_files_and_gives_the_same_answers(masked_lm, saved):
    assert {"vocabulary.json", "merges.txt"} < {path.name for path in saved.iterdir()}
    again = bertzoo.MaskedLM.from_preset(saved)
    assert again.tokenizer.config == masked_lm.tokenizer.config.replace(sequence_length=24)
    assert again.fill("The <mask>.", top_k=3) == masked_lm.fill("The <mask>.", top_k=3)


@pytest.mark.long
def test_classifiers_learn_and_come_back(saved, tmp_path):
    classifier = bertzoo.TextClassifier.from_preset(saved, labels=["bad", "good"])
    texts = ["a good sea", "a bad day"] * 8
    classifier.compile(keras.optimizers.Adam(0.02), classifier.loss, metrics=["accuracy"])
    classifier.fit(texts, ["good", "bad"] * 8, epochs=6, batch_size=8, verbose=0)
    assert [one.label for one in classifier.classify(texts[:2])] == ["good", "bad"]
    classifier.save_to_preset(tmp_path / "saved")
    again = bertzoo.TextClassifier.from_preset(tmp_path / "saved")
    pairs = [("a good sea", "it's"), ("é", "")]
    for inputs in (texts, pairs):
        expected = classifier.predict(inputs, verbose=0)
        assert np.array_equal(again.predict(inputs, verbose=0), expected)
    classifier.save(tmp_path / "task.keras")
    loaded = keras.saving.load_model(tmp_path / "task.keras")
    assert np.allclose(loaded.predict(texts, verbose=0), classifier.predict(texts, verbose=0))


def test_embeddings_do_not_depend_on_the_batch(saved):
    embedder = bertzoo.TextEmbedder.from_backbone(
        bertzoo.Backbone.from_preset(saved), bertzoo.MaskedLM.from_preset(saved).preprocessor
    )
    together = embedder.predict(TEXTS, verbose=0)
    assert together.shape == (4, 20)
    for text, vector in zip(TEXTS, together, strict=True):
        assert np.allclose(embedder.predict([text], verbose=0)[0], vector, atol=1e-5)


@pytest.mark.parametrize("layout", ["hf_roberta", "keras_hub"])
def test_other_layouts_carry_the_tokenizer(masked_lm, saved, layout, tmp_path):
    bertzoo.export_checkpoint(saved, tmp_path / "out", format=layout)
    again = bertzoo.MaskedLM.from_preset(tmp_path / "out")
    assert again.tokenizer.files() == masked_lm.tokenizer.files()
    assert again.preprocessor.sequence_length == 24
    (one,), (other,) = again.fill("The <mask>.", top_k=1), masked_lm.fill("The <mask>.", top_k=1)
    assert one.token == other.token
    assert one.score == pytest.approx(other.score, abs=1e-5)


@pytest.mark.parametrize("as_pairs", [True, False])
def test_a_tokenizer_json_alone_is_enough(masked_lm, saved, as_pairs, tmp_path):
    # All that transformers 5 writes.
    folder = tmp_path / "out"
    bertzoo.export_checkpoint(saved, folder, format="hf_roberta")
    ids = json.loads((folder / "vocab.json").read_text("utf-8"))
    rules = (folder / "merges.txt").read_text("utf-8").split("\n")[1:-1]
    added = [{"id": ids.pop("<mask>"), "content": "<mask>"}]
    merges = [rule.split(" ") for rule in rules] if as_pairs else rules
    content = {"added_tokens": added, "model": {"type": "BPE", "vocab": ids, "merges": merges}}
    (folder / "tokenizer.json").write_text(json.dumps(content), "utf-8")
    for name in ("vocab.json", "merges.txt"):
        (folder / name).unlink()
    again = bertzoo.MaskedLM.from_preset(folder)
    assert again.tokenizer.vocabulary == masked_lm.tokenizer.vocabulary
    assert again.tokenizer.merges == masked_lm.tokenizer.merges


def test_the_command_reads_texts(saved, capsys):
    assert main(["tokenize", str(saved), " the sea", "--json"]) == 0
    (answer,) = json.loads(capsys.readouterr().out)
    assert answer["tokens"][0] == "Ġthe"
    assert main(["tokenize", str(saved), " the sea", "--offsets"]) == 0
    assert "Ġthe" in capsys.readouterr().out
    assert main(["fill", str(saved), "The <mask>.", "--top-k", "2", "--json"]) == 0
    (answer,) = json.loads(capsys.readouterr().out)
    assert len(answer["masks"][0]) == 2
    assert main(["convert", str(saved), str(saved.parent / "converted"), "--to", "hf_roberta"]) == 0
    assert (saved.parent / "converted" / "merges.txt").is_file()
