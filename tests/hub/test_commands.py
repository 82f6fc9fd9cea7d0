"""The command with addresses: show, list --here, doctor, upload."""

import json

import pytest

from bertzoo import checkpoints, cli
from bertzoo.hub import fetch

ADDRESS = "hf://me/toy"


@pytest.fixture
def run(capsys):
    def call(*words):
        code = cli.main(list(words))
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return call


@pytest.fixture
def toy(hub, toy_files):
    hub.commit("me/toy", toy_files)
    return hub


def test_show_takes_an_address(run, toy):
    code, out, err = run("show", ADDRESS, "--json")
    assert code == 0, err
    shown = json.loads(out)
    assert shown["format"] == "hf_bert"
    assert shown["info"]["source"] == f"{ADDRESS} ({toy.repositories['me/toy'][0][0]})"


def test_show_says_that_a_preset_comes_by_itself_unless_that_is_forbidden(run, toy, monkeypatch):
    assert "on first use, with the client of" in run("show", "bert_base_zh")[1]
    monkeypatch.setenv("BERTZOO_OFFLINE", "1")
    out = run("show", "bert_base_zh")[1]
    assert "on first use" not in out
    assert "unset BERTZOO_OFFLINE to have them downloaded" in out


def test_list_here_shows_what_was_downloaded_by_address(run, toy):
    assert "downloaded" not in run("list", "--here")[1]
    folder = fetch(ADDRESS)
    code, out, _ = run("list", "--here")
    assert code == 0
    line = next(line for line in out.splitlines() if line.startswith(ADDRESS))
    assert line.endswith(str(folder))


def test_doctor_shows_the_cache_and_whether_the_hubs_can_be_used(run, toy, monkeypatch):
    fetch(ADDRESS)
    shown = json.loads(run("doctor", "--json")[1])
    (entry,) = shown["caches"]["downloads"]["addresses"]
    assert entry["source"] == ADDRESS
    assert entry["bytes"] > 1000
    assert shown["uses"]["hf://"]["ready"] is True
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    shown = json.loads(run("doctor", "--json")[1])
    assert shown["uses"]["hf://"]["missing"] == "the network: HF_HUB_OFFLINE is set"


def test_doctor_survives_a_damaged_record(run, toy):
    (fetch(ADDRESS) / "bertzoo.lock").write_text("{")
    code, out, _ = run("doctor", "--json")
    assert code == 0
    (entry,) = json.loads(out)["caches"]["downloads"]["addresses"]
    assert entry["source"] == "damaged record"
    assert "is not a whole record of a download" in run("show", ADDRESS)[2]


def test_upload_publishes_a_preset_and_prints_its_address(run, hub, tmp_path, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", "hf_" + "x" * 20)
    directory = checkpoints.import_checkpoint("bert_toy").save_to_preset(tmp_path / "mine")
    facts = ["--license", "MIT", "--training-data", "a poem", "--metric", "accuracy=0.5"]
    code, out, err = run("upload", str(directory), "hf://me/new", "--private", *facts)
    assert code == 0, err
    commit, files = hub.repositories["me/new"][-1]
    assert out.strip() == f"hf://me/new@{commit}"
    assert b"| accuracy | 0.5 |" in files["README.md"]
    assert hub.private == {"me/new"}


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["upload", ".", "hf://me/new"], "is not a preset of bertzoo"),
        (["upload", ".", "hf://me/new", "--metric", "x"], "as accuracy=0.93; got 'x'"),
        (["upload", ".", "here"], "'here' is not a place to upload to"),
        (["show", "hf://../../x"], "'hf://../../x' is not an address"),
        (["show", "hf://me/nothing"], "hf://me/nothing does not exist"),
    ],
)
def test_a_mistake_ends_with_code_2_and_a_sentence(run, hub, tmp_path, monkeypatch, words, message):
    monkeypatch.chdir(tmp_path)
    code, out, err = run(*words)
    assert (code, out) == (2, "")
    assert message in err.splitlines()[-1]
