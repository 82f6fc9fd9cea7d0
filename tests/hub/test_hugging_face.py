"""`hf://` with the official client against a hub on this machine: what arrives, what is refused."""

import dataclasses
import errno
import json
import os
import signal
import subprocess
import sys
import threading
import traceback

import pytest

from bertzoo import BackboneConfig, checkpoints, durable, presets
from bertzoo.hub import (
    cache,
    download_preset,
    downloaded,
    fetch,
    hugging_face,
    locate,
    parse,
    verify,
)
from tests.hub.server import sha256, wait_until

NAME = "me/toy"
ADDRESS = f"hf://{NAME}"
# Fetching in another process.
CODE = "import sys; from bertzoo import hub; print(hub.fetch(sys.argv[1]))"


@pytest.fixture
def toy(hub, toy_files):
    hub.commit(NAME, {**toy_files, "modeling_evil.py": b"import os", "optimizer.bin": b"x"})
    return hub


def fetch_in_another_process(*addresses):
    return [
        subprocess.Popen(
            [sys.executable, "-c", CODE, address],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        )
        for address in addresses
    ]  # fmt: skip


def test_a_repository_loads_as_the_model_that_was_put_there(toy):
    opened = checkpoints.open_source(ADDRESS)
    expected = dict(checkpoints.open_source("bert_toy").all_weights())
    assert opened.format == "hf_bert"
    for path, array in opened.all_weights():
        assert (array == expected[path]).all(), path


def test_only_what_a_checkpoint_needs_is_asked_for(toy, toy_files):
    folder = fetch(ADDRESS)
    names = {path.name for path in folder.iterdir()}
    assert names == {"config.json", "model.safetensors", "vocab.txt", "tokenizer_config.json",
                     "bertzoo.lock"} & (set(toy_files) | {"bertzoo.lock"})  # fmt: skip
    assert {"config.json", "model.safetensors", "vocab.txt"} <= names
    assert toy.gets(".py") == []
    assert toy.gets("optimizer") == []


def test_the_first_download_is_kept_and_nothing_is_asked_again(toy, toy_files):
    folder = fetch(ADDRESS)
    asked = len(toy.requests)
    toy.commit(NAME, {**toy_files, "config.json": b"{}"})
    assert fetch(ADDRESS) == folder
    assert len(toy.requests) == asked


def test_the_commit_and_the_checksums_are_recorded(toy, toy_files):
    lock = json.loads((fetch(ADDRESS) / "bertzoo.lock").read_text())
    commit = toy.repositories[NAME][0][0]
    assert (lock["source"], lock["revision"]) == (ADDRESS, commit)
    assert lock["files"]["model.safetensors"]["sha256"] == sha256(toy_files["model.safetensors"])
    assert checkpoints.open_source(ADDRESS).info["source"] == f"{ADDRESS} ({commit})"


def test_a_pinned_revision_is_the_one_that_arrives(toy, toy_files):
    old = toy.repositories[NAME][0][0]
    toy.commit(NAME, {**toy_files, "config.json": b"{}"})
    pinned = fetch(f"{ADDRESS}@{old}")
    newest = fetch(f"{ADDRESS}@main")
    assert (pinned / "config.json").read_bytes() == toy_files["config.json"]
    assert (newest / "config.json").read_bytes() == b"{}"


def test_safetensors_come_before_pickles(hub, toy_files):
    hub.commit("me/both", {**toy_files, "pytorch_model.bin": b"pickle"})
    hub.commit("me/old", {"config.json": b"{}", "pytorch_model.bin": b"pickle", "tf_model.h5": b""})
    assert not (fetch("hf://me/both") / "pytorch_model.bin").exists()
    old = {path.name for path in fetch("hf://me/old").iterdir()}
    assert old == {"config.json", "pytorch_model.bin", "bertzoo.lock"}


def test_a_preset_is_downloaded_on_first_use_and_found_afterwards(hub, home, toy_files):
    info = presets.find_preset("bert_tiny_en_uncased")  # an alias
    hub.commit("google/bert_uncased_L-2_H-128_A-2", toy_files)
    folder = download_preset(info)
    assert folder == home / "bert_l2_h128_en_uncased" == locate(info)
    assert (folder / "model.safetensors").read_bytes() == toy_files["model.safetensors"]


def test_a_preset_with_another_model_behind_its_name_is_refused(hub, toy_files):
    hub.commit("google/bert_uncased_L-2_H-128_A-2", toy_files)
    with pytest.raises(ValueError, match="not those of the preset: vocabulary_size is 30522"):
        checkpoints.open_source("bert_l2_h128_en_uncased")


def test_a_preset_with_a_known_checksum_takes_no_other_file(hub, toy_files, left_behind):
    hub.commit("google/bert_uncased_L-2_H-128_A-2", toy_files)
    info = dataclasses.replace(
        presets.find_preset("bert_l2_h128_en_uncased"),
        sha256={"config.json": "0" * 64},
        sources=(presets.Source("hugging_face", "google/bert_uncased_L-2_H-128_A-2"),),
    )
    with pytest.raises(ValueError, match=r"config.json of hf://.* but 0{64} is expected"):
        download_preset(info)
    assert left_behind() == []


def test_the_configuration_of_a_preset_asks_nobody(toy):
    assert BackboneConfig.from_preset("bert_base_en_uncased").num_layers == 12
    assert toy.requests == []


def test_a_file_that_changed_in_the_cache_is_noticed(toy):
    folder = fetch(ADDRESS)
    content = (folder / "vocab.txt").read_bytes()
    (folder / "vocab.txt").write_bytes(content[:-1] + b"X")
    with pytest.raises(ValueError, match=r"vocab.txt has another SHA-256.*delete"):
        fetch(ADDRESS)
    (folder / "vocab.txt").unlink()
    with pytest.raises(ValueError, match=r"vocab.txt is missing.*delete"):
        checkpoints.open_source(ADDRESS)


@pytest.mark.parametrize("variable", ["BERTZOO_OFFLINE", "HF_HUB_OFFLINE"])
def test_offline_what_is_there_is_used_and_nothing_asked(toy, monkeypatch, variable):
    folder = fetch(ADDRESS)
    asked = len(toy.requests)
    monkeypatch.setenv(variable, "1")
    assert fetch(ADDRESS) == folder
    with pytest.raises(ValueError, match=f"hf://me/other is not in .*{variable} forbids"):
        fetch("hf://me/other")
    assert len(toy.requests) == asked


def test_a_preset_offline_says_where_to_get_it(hub, monkeypatch):
    monkeypatch.setenv("BERTZOO_OFFLINE", "1")
    opened = checkpoints.open_source("bert_base_zh")
    with pytest.raises(ValueError, match=r"put the files of .* or unset BERTZOO_OFFLINE"):
        opened.all_weights()
    assert hub.requests == []


# What goes wrong: one sentence, and nothing left behind.
FAULTS = {
    "page instead": "model.safetensors of hf://me/toy arrived as a web page",
    "short": "model.safetensors of hf://me/toy cannot be fetched .*Consistency check failed",
    "flip": "model.safetensors of hf://me/toy is not what the hub's checksum says",
    501: "model.safetensors of hf://me/toy cannot be fetched.*status 501",
    403: "model.safetensors of hf://me/toy may not be used with your login .status 403",
}


@pytest.mark.parametrize("fault", FAULTS, ids=str)
def test_weights_that_arrive_wrong_leave_nothing_behind(toy, left_behind, fault):
    toy.faults = {"model.safetensors": fault}
    with pytest.raises(ValueError, match=FAULTS[fault]) as caught:
        fetch(ADDRESS)
    assert left_behind() == []
    assert "\n" not in str(caught.value)
    toy.faults = {}
    assert (fetch(ADDRESS) / "model.safetensors").is_file()


def test_a_small_file_with_another_content_is_noticed_too(toy, left_behind):
    toy.faults = {"vocab.txt": "flip"}
    with pytest.raises(ValueError, match=r"vocab.txt of hf://me/toy is not what the hub's"):
        fetch(ADDRESS)
    assert left_behind() == []


def test_a_hub_that_answers_with_a_page_is_named(toy, left_behind):
    toy.faults = {"/api/models": "page"}
    with pytest.raises(ValueError, match="hf://me/toy got an answer that is not the hub's"):
        fetch(ADDRESS)
    assert left_behind() == []


@pytest.mark.parametrize(
    ("address", "message"),
    [
        ("hf://me/nothing", r"hf://me/nothing does not exist, or is private.*hf auth login.*401"),
        ("hf://me/hidden", r"hf://me/hidden does not exist, or is private"),
        ("hf://me/terms", r"hf://me/terms asks you to accept its terms"),
        (f"{ADDRESS}@v9", r"hf://me/toy@v9 does not exist: me/toy has no revision 'v9'"),
        ("hf://me/images", r"has no files that bertzoo reads; .*it has a.jpg"),
    ],
)
def test_what_cannot_be_had_is_told_in_one_sentence(toy, left_behind, address, message):
    toy.commit("me/hidden", {})
    toy.private.add("me/hidden")
    toy.commit("me/terms", {})
    toy.gated.add("me/terms")
    toy.commit("me/images", {"a.jpg": b"x"})
    with pytest.raises(ValueError, match=message) as caught:
        fetch(address)
    assert "\n" not in str(caught.value)
    assert left_behind() == []


def test_a_hub_that_is_not_there_is_told(home, monkeypatch, left_behind):
    monkeypatch.delenv("BERTZOO_OFFLINE")
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    with pytest.raises(ValueError, match="hf://me/toy cannot be fetched"):
        fetch(ADDRESS)
    assert left_behind() == []


def test_names_that_leave_the_folder_are_refused(hub, tmp_path, left_behind):
    hub.commit("me/evil", {"config.json": b"{}", "../../escaped.json": b"x", "/vocab.txt": b"x",
                           "assets/../../vocab.txt": b"x"})  # fmt: skip
    folder = fetch("hf://me/evil")
    assert {path.name for path in folder.iterdir()} == {"config.json", "bertzoo.lock"}
    assert hub.gets("escaped") == []


def test_the_token_is_sent_to_the_hub_and_written_nowhere(hub, toy_files, monkeypatch, capfd):
    token = "hf_" + "secret" * 5
    monkeypatch.setenv("HF_TOKEN", token)
    hub.commit("me/hidden", toy_files)
    hub.private.add("me/hidden")
    folder = fetch("hf://me/hidden")
    sent = [headers.get("authorization") for _, _, headers in hub.requests]
    assert f"Bearer {token}" in sent
    hub.faults = {"model.safetensors": 501}
    with pytest.raises(ValueError, match="status 501") as caught:
        fetch(f"hf://me/hidden@{hub.repositories['me/hidden'][0][0]}")
    trace = "".join(traceback.format_exception(caught.value))
    output = capfd.readouterr()
    for text in (trace, output.out, output.err, (folder / "bertzoo.lock").read_text()):
        assert "secret" not in text


def test_without_the_client_the_extra_is_named(hub, monkeypatch, left_behind):
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(ValueError, match=r"huggingface_hub: pip install 'bertzoo\[hf\]'"):
        fetch(ADDRESS)
    assert left_behind() == []


# Two processes, killed processes, and places that cannot be written.
def test_two_processes_at_once_download_once(toy):
    toy.faults = {"model.safetensors": "slow"}
    both = fetch_in_another_process(ADDRESS, ADDRESS)
    results = [process.communicate(timeout=60) for process in both]
    assert [process.returncode for process in both] == [0, 0], results
    assert results[0][0] == results[1][0]
    assert len(toy.gets("resolve/" + toy.repositories[NAME][0][0] + "/model.safetensors")) == 1


def test_where_locks_do_nothing_two_downloads_both_end_well(toy, monkeypatch, left_behind):
    monkeypatch.setattr(cache, "_lock", lambda path, entry: None)
    toy.faults = {"model.safetensors": "slow"}
    results = []
    threads = [threading.Thread(target=lambda: results.append(fetch(ADDRESS))) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert len(results) == 2
    assert results[0] == results[1]
    assert len(toy.gets("/model.safetensors")) == 2
    assert left_behind() == []
    verify(results[0])


def test_a_download_that_is_killed_leaves_no_entry_and_the_next_one_cleans_up(
    toy, home, monkeypatch, left_behind
):
    toy.faults = {"model.safetensors": "stall"}
    (process,) = fetch_in_another_process(ADDRESS)
    assert toy.stalled.wait(60)
    wait_until(lambda: list(home.rglob("*.incomplete")))
    process.send_signal(signal.SIGKILL)
    process.communicate(timeout=30)
    assert downloaded() == []
    assert left_behind() != []
    toy.faults = {}
    toy.release.set()
    monkeypatch.setattr(cache, "STALE_SECONDS", 0)
    folder = fetch(ADDRESS)
    verify(folder)
    assert left_behind() == []


def test_what_another_process_still_writes_is_not_cleaned_up(toy, home):
    entry = home / "downloads" / "hugging_face" / parse(ADDRESS).folder
    other = entry.parent / f".{entry.name}.downloading-other"
    other.mkdir(parents=True)
    (other / "model.safetensors").write_bytes(b"half")
    fetch(ADDRESS)
    assert (other / "model.safetensors").is_file()


def test_an_interrupted_download_leaves_nothing(toy, monkeypatch, left_behind):
    def interrupt(*arguments):
        raise KeyboardInterrupt

    monkeypatch.setattr(hugging_face, "_check", interrupt)
    with pytest.raises(KeyboardInterrupt):
        fetch(ADDRESS)
    assert left_behind() == []


def test_a_full_disk_is_told(toy, home):
    limited = "import resource, signal; signal.signal(signal.SIGXFSZ, signal.SIG_IGN);" \
              "resource.setrlimit(resource.RLIMIT_FSIZE, (4000, 4000));"  # fmt: skip
    code = limited + CODE
    done = subprocess.run(
        [sys.executable, "-c", code, ADDRESS], capture_output=True, text=True, timeout=60,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )  # fmt: skip
    assert done.returncode == 1
    assert "hf://me/toy cannot be stored below" in done.stderr
    assert "set BERTZOO_HOME to a folder that can be written" in done.stderr
    assert [path for path in home.rglob("*") if path.is_file()] == []


def test_a_cache_that_is_no_folder_is_told(toy, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("BERTZOO_HOME", str(tmp_path / "file"))
    with pytest.raises(ValueError, match=r"cannot be stored below .*file .*set BERTZOO_HOME"):
        fetch(ADDRESS)


def test_a_cache_that_is_read_only_is_told_and_still_read(toy, home, monkeypatch):
    folder = fetch(ADDRESS)

    def refuse(target, purpose):  # as root the tests may write everywhere
        raise OSError(errno.EROFS, "Read-only file system", str(target))

    monkeypatch.setattr(durable, "temporary_beside", refuse)
    assert fetch(ADDRESS) == folder
    with pytest.raises(ValueError, match=r"cannot be stored below .*Read-only file system"):
        fetch(f"{ADDRESS}@main")
