"""upload_preset: what arrives at a hub on this machine, and what is not sent."""

import json

import pytest
import yaml

import bertzoo as bz
from bertzoo import checkpoints
from bertzoo.hub import fetch

ADDRESS = "hf://me/new-model"


@pytest.fixture
def preset(tmp_path):
    return checkpoints.import_checkpoint("bert_toy").save_to_preset(tmp_path / "my_preset")


@pytest.fixture
def logged_in(hub, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", "hf_" + "x" * 20)
    return hub


def card_of(hub, name="me/new-model"):
    text = hub.repositories[name][-1][1]["README.md"].decode()
    front, _, body = text.removeprefix("---\n").partition("\n---\n")
    return yaml.safe_load(front), body


def test_what_was_uploaded_loads_again_as_the_same_model(logged_in, preset):
    address = bz.upload_preset(preset, ADDRESS)
    assert address == f"{ADDRESS}@{logged_in.repositories['me/new-model'][-1][0]}"
    again = dict(checkpoints.open_source(address).all_weights())
    expected = dict(checkpoints.open_source("bert_toy").all_weights())
    assert again.keys() == expected.keys()
    assert all((again[path] == expected[path]).all() for path in expected)


def test_the_presets_own_files_are_sent_and_no_others(logged_in, preset):
    (preset / "notes_with_passwords.txt").write_text("secret")
    before = {path.name: path.read_bytes() for path in preset.iterdir()}
    bz.upload_preset(preset, ADDRESS)
    sent = logged_in.repositories["me/new-model"][-1][1]
    assert set(sent) == {"preset.json", "weights.safetensors", "vocabulary.txt", "README.md"}
    assert all(sent[name] == before[name] for name in sent if name != "README.md")
    assert {path.name: path.read_bytes() for path in preset.iterdir()} == before


def test_the_model_card_says_what_is_known(logged_in, preset):
    facts = {"license": "CC-BY-4.0", "language": "en", "training_data": "three sentences",
             "metrics": {"accuracy": 0.5}, "description": "A toy."}  # fmt: skip
    bz.upload_preset(preset, ADDRESS, facts=facts)
    front, body = card_of(logged_in)
    assert front["license"] == "cc-by-4.0"
    assert front["pipeline_tag"] == "sentence-similarity"
    for line in ("- License: CC-BY-4.0", "- Training data: three sentences", "| accuracy | 0.5 |",
                 "2 layers of width 20", "A toy.", "- Tokenizer: wordpiece, lower-cased",
                 "its ids equal those of tokenization.py of google-research/bert",
                 f'from_preset("{ADDRESS}")'):  # fmt: skip
        assert line in body, body
    count = checkpoints.open_source("bert_toy").config.parameter_count()
    assert f"- {count:,} parameters" in body


def test_the_model_card_does_not_guess(logged_in, preset):
    raw = json.loads((preset / "preset.json").read_text())
    raw["info"] = {}
    (preset / "preset.json").write_text(json.dumps(raw))
    (preset / "README.md").unlink()
    bz.upload_preset(preset, ADDRESS)
    front, body = card_of(logged_in)
    assert "license" not in front
    assert "- License: not known" in body
    assert "- Training data: not known" in body
    assert "Metrics" not in body


def test_a_card_that_the_user_wrote_is_kept(logged_in, preset):
    (preset / "README.md").write_text("# Mine\n\nRead this.\n")
    bz.upload_preset(preset, ADDRESS)
    front, body = card_of(logged_in)
    assert front["library_name"] == "bertzoo"
    assert body.strip() == "# Mine\n\nRead this."


def test_a_second_upload_is_a_new_commit_of_the_same_repository(logged_in, preset):
    first = bz.upload_preset(preset, ADDRESS)
    second = bz.upload_preset(preset, ADDRESS, facts={"note": "again"})
    assert first != second
    assert "again" in card_of(logged_in)[1]
    assert (fetch(first) / "preset.json").is_file()


def test_a_private_repository_is_made_private(logged_in, preset):
    bz.upload_preset(preset, ADDRESS, private=True)
    assert logged_in.private == {"me/new-model"}


def test_without_a_login_nothing_is_made(hub, preset):
    with pytest.raises(ValueError, match=r"hf://me/new-model .*hf auth login") as caught:
        bz.upload_preset(preset, ADDRESS)
    assert "\n" not in str(caught.value)
    assert hub.repositories == {}


@pytest.mark.parametrize(
    "address",
    [
        "me/new-model",
        "gs://bucket/x",
        "https://h/a.zip",
        "hf://me/x@main",
        "kaggle://a/b/keras/c/3",
    ],
)
def test_addresses_that_cannot_be_uploaded_to_are_refused(hub, preset, address):
    with pytest.raises(ValueError, match=r"is not a place to upload to|names a version"):
        bz.upload_preset(preset, address)
    assert hub.requests == []


def test_what_is_no_preset_is_refused(hub, tmp_path):
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(ValueError, match=r"is not a preset of bertzoo: it has no preset.json"):
        bz.upload_preset(tmp_path, ADDRESS)
    assert hub.requests == []


def test_a_preset_whose_files_changed_is_refused(hub, preset):
    with open(preset / "weights.safetensors", "r+b") as file:
        file.seek(-1, 2)
        file.write(b"\x7f")
    with pytest.raises(ValueError, match="is not the file that was written"):
        bz.upload_preset(preset, ADDRESS)
    assert hub.requests == []


def test_a_preset_without_weights_is_refused(hub, preset):
    (preset / "weights.safetensors").unlink()
    with pytest.raises(ValueError, match="Such a preset is not published"):
        bz.upload_preset(preset, ADDRESS)


def test_an_unknown_fact_is_told(hub, preset):
    with pytest.raises(ValueError, match=r"licence.*did you mean.*license"):
        bz.upload_preset(preset, ADDRESS, facts={"licence": "MIT"})
