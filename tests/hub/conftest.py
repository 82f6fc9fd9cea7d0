"""A hub on this machine and a cache of its own for each test."""

import os

# Before huggingface_hub is imported: the server has plain files, no chunked storage, and nobody's
# token is sent anywhere.
os.environ["HF_HUB_DISABLE_XET"] = "1"
os.environ["HF_HUB_DISABLE_TELEMETRY"] = "1"
os.environ["HF_HUB_DISABLE_PROGRESS_BARS"] = "1"

import pytest

from tests.hub import server


@pytest.fixture
def home(tmp_path, monkeypatch):
    """The cache, empty."""
    folder = tmp_path / "home"
    monkeypatch.setenv("BERTZOO_HOME", str(folder))
    return folder


@pytest.fixture
def hub(home, tmp_path, monkeypatch):
    """A hub that is asked instead of the public one, with `hub.address`."""
    there = server.Hub()
    there.address, stop = server.start(there)
    monkeypatch.setenv("HF_ENDPOINT", there.address)
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
    for name in ("BERTZOO_OFFLINE", "HF_HUB_OFFLINE", "HF_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    yield there
    stop()


@pytest.fixture(scope="session")
def toy_files(tmp_path_factory):
    """bert_toy in Hugging Face's layout: name -> content."""
    from bertzoo import checkpoints

    folder = tmp_path_factory.mktemp("toy") / "toy"
    checkpoints.export_checkpoint("bert_toy", folder, "hf_bert", heads=["masked_lm"])
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.fixture
def left_behind(home):
    """Return every file of the cache apart from whole entries: there should be none."""

    def look():
        entries = [path.parent for path in home.rglob("bertzoo.lock")]
        return sorted(
            str(path.relative_to(home))
            for path in home.rglob("*")
            if path.is_file() and not any(entry in path.parents for entry in entries)
        )

    return look
