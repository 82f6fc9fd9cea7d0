"""bertzoo's own directory: whole or not at all, checked by sums, and equal to the bit."""

import json
import os
import subprocess
import sys

import numpy as np
import pytest

from bertzoo import checkpoints
from bertzoo.checkpoints import preset_directory, safetensors_file
from bertzoo.config import BackboneConfig, HeadConfig, TokenizerConfig

CONFIG = BackboneConfig(
    vocabulary_size=31,
    num_layers=2,
    hidden_dim=20,
    num_heads=4,
    intermediate_dim=37,
    max_sequence_length=11,
)
HEADS = {
    "masked_lm": HeadConfig("masked_lm", hidden_activation="gelu", tie_embeddings=False),
    "text_classifier": HeadConfig("text_classifier", labels=("spam", "höflich")),
    "text_embedder": HeadConfig(
        "text_embedder", pooling=("max", "mean"), projections=((7, "tanh", True),)
    ),
}
VOCABULARY = "[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\nß\n".encode()
INFO = {"description": "A test.", "license": "Apache-2.0", "language": "en"}


def weights(seed=0, config=CONFIG, heads=HEADS):
    generator = np.random.default_rng(seed)
    shapes = checkpoints.variable_shapes(config, heads.values())
    return {p: generator.standard_normal(s).astype(np.float32) for p, s in shapes.items()}


def write(directory, seed=0, **changes):
    values = {
        "config": CONFIG,
        "heads": HEADS,
        "tokenizer": TokenizerConfig(lowercase=False, sequence_length=9),
        "files": {"vocabulary.txt": VOCABULARY},
        "weights": weights(seed).items(),
        "info": INFO,
    }
    return checkpoints.write_preset(directory, **{**values, **changes})


def test_everything_comes_back_as_it_was(tmp_path):
    found = checkpoints.open_checkpoint(write(tmp_path / "mine"))
    assert found.format == "bertzoo"
    assert (found.config, found.heads, found.info) == (CONFIG, HEADS, INFO)
    assert found.tokenizer == TokenizerConfig(lowercase=False, sequence_length=9)
    assert found.files["vocabulary"].read_bytes() == VOCABULARY
    expected = weights()
    loaded = dict(found.all_weights())
    assert loaded.keys() == expected.keys()
    assert all(np.array_equal(loaded[path], expected[path]) for path in expected)


def test_the_directory_holds_our_files_and_no_others(tmp_path):
    directory = write(tmp_path / "deep" / "mine")
    names = ["README.md", "preset.json", "vocabulary.txt", "weights.safetensors"]
    assert sorted(item.name for item in directory.iterdir()) == names
    assert [item.name for item in directory.parent.iterdir()] == ["mine"]


def test_the_model_card_says_what_is_known_and_what_is_not(tmp_path):
    card = (write(tmp_path / "mine") / "README.md").read_text(encoding="utf-8")
    assert card.startswith("# mine\n\nA test.\n")
    assert "- License: Apache-2.0\n- Language: en\n- Paper: not known\n" in card
    assert "labels spam, höflich" in card
    assert 'TextEmbedder.from_preset("mine/")' in card


def test_other_libraries_read_our_weights(tmp_path):
    import safetensors.numpy

    loaded = safetensors.numpy.load_file(write(tmp_path / "mine") / "weights.safetensors")
    assert all(np.array_equal(loaded[path], array) for path, array in weights().items())


def test_weights_may_come_in_any_order(tmp_path):
    forward = write(tmp_path / "a", weights=weights().items())
    backward = write(tmp_path / "b", weights=reversed(list(weights().items())))
    files = [(d / "weights.safetensors").read_bytes() for d in (forward, backward)]
    assert files[0] == files[1]


@pytest.mark.parametrize("file", ["weights.safetensors", "vocabulary.txt"])
@pytest.mark.parametrize("damage", ["changed", "missing"])
def test_a_damaged_file_is_named(file, damage, tmp_path):
    directory = write(tmp_path / "mine")
    if damage == "changed":
        content = bytearray((directory / file).read_bytes())
        content[-1] ^= 1
        (directory / file).write_bytes(content)
        with pytest.raises(ValueError, match=f"{file} is not the file that was written"):
            checkpoints.open_checkpoint(directory)
    elif file == "vocabulary.txt":
        (directory / file).unlink()
        with pytest.raises(ValueError, match=r"vocabulary.txt is missing"):
            checkpoints.open_checkpoint(directory)
    else:
        (directory / file).unlink()
        found = checkpoints.open_checkpoint(directory)
        with pytest.raises(ValueError, match=r"has no weights.safetensors"):
            found.all_weights()


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("format_version", 2, "A newer bertzoo may read it"),
        ("format", "other", "this bertzoo reads 'bertzoo'"),
        ("confg", {}, "unknown key `confg`"),
        ("config", {**CONFIG.to_dict(), "hidden_size": 20}, "did you mean `hidden_dim`"),
        ("heads", {"masked_lm": HEADS["text_classifier"].to_dict()}, "under the name 'masked_lm'"),
        ("config", {**CONFIG.to_dict(), "num_layers": 900}, "asks for 900 layers"),
        ("config", {**CONFIG.to_dict(), "intermediate_dim": 38}, "contradicts the weights"),
        ("files", None, "not a whole preset file"),
    ],
)
def test_a_changed_preset_file_is_refused(key, value, message, tmp_path):
    directory = write(tmp_path / "mine")
    raw = json.loads((directory / "preset.json").read_text())
    raw[key] = value
    (directory / "preset.json").write_text(json.dumps(raw))
    with pytest.raises(ValueError, match=message):
        checkpoints.open_checkpoint(directory)


@pytest.mark.parametrize("content", ["", "[]", "{", "\udcff", "[" * 100_000])
def test_a_preset_file_that_is_not_json_is_named(content, tmp_path):
    directory = write(tmp_path / "mine")
    (directory / "preset.json").write_text(content, encoding="utf-8", errors="surrogateescape")
    with pytest.raises(ValueError, match=r"preset\.json (is not valid JSON|must hold)"):
        checkpoints.open_checkpoint(directory)


@pytest.mark.parametrize("change", ["missing", "extra", "shape", "twice"])
def test_incomplete_weights_are_refused_and_leave_nothing_behind(change, tmp_path):
    arrays = list(weights().items())
    if change == "missing":
        arrays.pop()
    elif change == "extra":
        arrays.append(("pooler/scale", np.ones(3, np.float32)))
    elif change == "shape":
        arrays[0] = (arrays[0][0], arrays[0][1].T)
    else:
        arrays.append(arrays[0])
    with pytest.raises(ValueError, match="was not written"):
        write(tmp_path / "mine", weights=arrays)
    assert list(tmp_path.iterdir()) == []


def test_a_preset_is_replaced(tmp_path):
    write(tmp_path / "mine", seed=0)
    write(tmp_path / "mine", seed=1)
    loaded = dict(checkpoints.open_checkpoint(tmp_path / "mine").all_weights())
    assert np.array_equal(loaded["pooler/kernel"], weights(1)["pooler/kernel"])
    assert [item.name for item in tmp_path.iterdir()] == ["mine"]


def test_a_preset_can_be_written_over_itself_while_it_is_being_read(tmp_path):
    directory = write(tmp_path / "mine")
    found = checkpoints.open_checkpoint(directory)
    write(directory, weights=found.all_weights(), info={"description": "again"})
    again = checkpoints.open_checkpoint(directory)
    assert again.info == {"description": "again"}
    assert np.array_equal(dict(again.all_weights())["pooler/kernel"], weights()["pooler/kernel"])


def test_a_directory_with_something_else_is_not_touched(tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.tex").write_text("years of work")
    with pytest.raises(ValueError, match="holds no preset of bertzoo"):
        write(tmp_path / "mine")
    assert (tmp_path / "mine" / "thesis.tex").read_text() == "years of work"


def test_a_preset_with_strange_files_beside_it_is_not_replaced(tmp_path):
    directory = write(tmp_path / "mine")
    (directory / "notes.txt").write_text("keep me")
    with pytest.raises(ValueError, match=r"notes.txt"):
        write(directory, seed=1)
    assert (directory / "notes.txt").read_text() == "keep me"


def test_an_empty_directory_may_be_there(tmp_path):
    (tmp_path / "mine").mkdir()
    assert checkpoints.open_checkpoint(write(tmp_path / "mine")).config == CONFIG


def test_a_file_or_link_of_that_name_is_not_replaced(tmp_path):
    (tmp_path / "file").write_text("x")
    (tmp_path / "link").symlink_to(tmp_path / "elsewhere")
    for name in ("file", "link"):
        with pytest.raises(ValueError, match="is not a directory"):
            write(tmp_path / name)


def test_an_unknown_vocabulary_file_is_named(tmp_path):
    with pytest.raises(ValueError, match=r"unknown key `vocab\.txt`.*vocabulary\.txt"):
        write(tmp_path / "mine", files={"vocab.txt": VOCABULARY})


@pytest.mark.parametrize("fails_at", [1, 2])
def test_a_failing_rename_leaves_the_old_preset(fails_at, tmp_path, monkeypatch):
    write(tmp_path / "mine", seed=0)
    calls, rename = [], os.rename

    def failing(source, target):
        calls.append(source)
        if len(calls) == fails_at:
            raise OSError("disk full")
        rename(source, target)

    monkeypatch.setattr(os, "rename", failing)
    with pytest.raises(OSError, match="disk full"):
        write(tmp_path / "mine", seed=1)
    monkeypatch.undo()
    loaded = dict(checkpoints.open_checkpoint(tmp_path / "mine").all_weights())
    assert np.array_equal(loaded["pooler/kernel"], weights(0)["pooler/kernel"])
    assert [item.name for item in tmp_path.iterdir()] == ["mine"]


KILLED = """
import os, sys
sys.path.insert(0, {root!r})
from tests.checkpoints import test_preset_directory as t
calls, rename = [], os.rename
def dying(source, target):
    if len(calls) == {after}:
        os._exit(9)
    calls.append(source)
    rename(source, target)
os.rename = dying
t.write({target!r}, seed=1)
"""


@pytest.mark.parametrize("after", [0, 1])
def test_a_process_killed_while_replacing_loses_nothing(after, tmp_path):
    """Before the old preset is set aside, and before the new one takes its name."""
    target = tmp_path / "mine"
    write(target, seed=0)
    code = KILLED.format(root=os.getcwd(), after=after, target=str(target))
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 9
    assert target.exists() is (after == 0)
    loaded = dict(checkpoints.open_checkpoint(target).all_weights())
    assert np.array_equal(loaded["pooler/kernel"], weights(0)["pooler/kernel"])
    write(target, seed=2)  # and the next write goes through
    loaded = dict(checkpoints.open_checkpoint(target).all_weights())
    assert np.array_equal(loaded["pooler/kernel"], weights(2)["pooler/kernel"])
    assert not preset_directory.existing(target).name.startswith(".")


def test_weights_are_written_one_at_a_time(tmp_path):
    """An array may be released as soon as the next one is asked for."""
    shapes = {"a": (3, 2), "b": (4,)}
    alive = []

    def arrays():
        for name, shape in shapes.items():
            alive.append(name)
            yield name, np.full(shape, len(alive), np.float32)

    safetensors_file.write_safetensors(tmp_path / "x.safetensors", shapes, arrays())
    assert alive == ["a", "b"]
    assert (tmp_path / "x.safetensors").stat().st_size % 8 == 0
