"""`https://` archives from a server on this machine: what arrives, what is refused."""

import io
import os
import subprocess
import sys
import tarfile
import zipfile

import pytest

from bertzoo import checkpoints, presets
from bertzoo.hub import download_preset, fetch, fetching
from tests.hub.server import sha256


@pytest.fixture
def archive(hub, toy_files):
    """A zip file of the toy; the hub serves it as /toy.zip."""
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED) as file:
        for name, data in toy_files.items():
            file.writestr(f"toy/{name}", data)
    hub.files["/toy.zip"] = content.getvalue()
    return f"{hub.address}/toy.zip"


def test_an_archive_loads_as_the_model_that_was_put_there(archive):
    opened = checkpoints.open_source(archive)
    expected = dict(checkpoints.open_source("bert_toy").all_weights())
    assert all((array == expected[path]).all() for path, array in opened.all_weights())
    assert opened.info["source"].startswith(archive)


def test_an_archive_is_fetched_once_and_not_kept_beside_its_content(hub, archive, toy_files):
    folder = fetch(archive)
    assert fetch(archive) == folder
    assert len(hub.gets("toy.zip")) == 1
    assert {path.name for path in folder.iterdir()} == {*toy_files, "bertzoo.lock"}


def test_a_tar_file_without_a_suffix_in_its_address_is_read(hub, toy_files):
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w:gz") as file:
        for name, data in toy_files.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            file.addfile(info, io.BytesIO(data))
    hub.files["/models/toy/2"] = content.getvalue()
    assert (fetch(f"{hub.address}/models/toy/2?format=compressed") / "config.json").is_file()


def test_a_checksum_behind_the_address_must_fit(hub, archive, left_behind):
    digest = sha256(hub.files["/toy.zip"])
    assert (fetch(f"{archive}#sha256={digest}") / "config.json").is_file()
    with pytest.raises(ValueError, match=f"has the SHA-256 {digest}, but {'0' * 64} is expected"):
        fetch(f"{archive}#sha256={'0' * 64}")
    assert left_behind() == []


FAULTS = {
    "page": "is a web page, not an archive",
    "truncate": r"arrived with [0-9,]+ bytes of [0-9,]+|cannot be fetched .*IncompleteRead",
    "flip": "toy.zip is damaged or not whole",
    401: "asks for a login",
    403: "may not be read",
    404: "does not exist .status 404",
    503: "cannot be fetched .status 503.; try again",
}


@pytest.mark.parametrize("fault", FAULTS, ids=str)
def test_what_arrives_wrong_leaves_nothing_behind(hub, archive, left_behind, fault):
    hub.faults["toy.zip"] = fault
    with pytest.raises(ValueError, match=FAULTS[fault]) as caught:
        fetch(archive)
    assert "\n" not in str(caught.value)
    assert left_behind() == []
    hub.faults.clear()
    assert (fetch(archive) / "config.json").is_file()


def test_something_else_is_not_downloaded_to_its_end(hub, left_behind):
    hub.files["/weights.bin"] = b"\x00" * (8 * 2**20)
    with pytest.raises(ValueError, match=r"weights.bin is not a .zip or .tar.gz archive"):
        fetch(f"{hub.address}/weights.bin")
    assert left_behind() == []


def test_a_server_that_is_not_there_is_told(hub, left_behind):
    with pytest.raises(ValueError, match=r"http://127.0.0.1:9/a.zip cannot be fetched"):
        fetch("http://127.0.0.1:9/a.zip")
    assert left_behind() == []


def test_redirects_are_followed_on_the_same_footing_and_no_further(hub, archive, left_behind):
    hub.redirects["/latest.zip"] = "/toy.zip"
    assert (fetch(f"{hub.address}/latest.zip") / "config.json").is_file()
    for target in ("http://192.0.2.1/toy.zip?token=secret", "file:///etc/passwd", "ftp://h/a.zip"):
        hub.redirects["/away.zip"] = target
        with pytest.raises(ValueError, match=r"which is not https|cannot be fetched") as caught:
            fetch(f"{hub.address}/away.zip")
        assert "secret" not in str(caught.value)
    hub.redirects["/round.zip"] = "/round.zip"
    with pytest.raises(ValueError, match="cannot be fetched"):
        fetch(f"{hub.address}/round.zip")
    assert len(hub.gets("round.zip")) < 15
    assert left_behind() == []


def test_offline_nothing_is_asked(hub, archive, monkeypatch):
    monkeypatch.setenv("BERTZOO_OFFLINE", "yes")
    with pytest.raises(ValueError, match="BERTZOO_OFFLINE forbids downloading"):
        fetch(archive)
    assert hub.requests == []


def test_a_preset_comes_from_its_archive_where_the_first_hub_cannot_be_used(
    hub, home, archive, monkeypatch
):
    monkeypatch.setattr(fetching, "GOOGLE_STORAGE", hub.address)
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    hub.files["/bert_models/2020_02_20/uncased_L-2_H-128_A-2.zip"] = hub.files["/toy.zip"]
    folder = download_preset(presets.find_preset("bert_l2_h128_en_uncased"))
    assert folder == home / "bert_l2_h128_en_uncased"
    assert (folder / "config.json").is_file()


def test_a_preset_that_no_place_has_says_why_for_each_and_what_to_do(hub, monkeypatch):
    monkeypatch.setattr(fetching, "GOOGLE_STORAGE", hub.address)
    opened = checkpoints.open_source("bert_l2_h128_en_uncased")
    with pytest.raises(ValueError, match="put the files of") as caught:
        opened.all_weights()
    text = str(caught.value)
    assert "hf://google/bert_uncased_L-2_H-128_A-2 does not exist, or is private" in text
    assert "uncased_L-2_H-128_A-2.zip does not exist (status 404)" in text


def test_fetching_an_archive_loads_no_tensorflow(hub, archive):
    code = "import sys; from bertzoo import hub; hub.fetch(sys.argv[1]); print(sorted(sys.modules))"
    done = subprocess.run(
        [sys.executable, "-c", code, archive], capture_output=True, text=True, timeout=60,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "'tensorflow'" not in done.stdout
    assert "'huggingface_hub'" not in done.stdout
