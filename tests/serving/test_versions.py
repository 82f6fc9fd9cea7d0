"""Version directories: whole or not at all, never replaced."""

import multiprocessing
import os
import pathlib
import random
import signal
import subprocess
import sys
import time

import pytest

from bertzoo.serving import versions

# Writes versions as fast as it can, of three files each, and says when it has begun.
WRITER = """
import sys
from bertzoo.serving import versions
print("ready", flush=True)
while True:
    with versions.new_version(sys.argv[1]) as (folder, _):
        for name in ("saved_model.pb", "variables/data", "last"):
            path = folder / name
            path.parent.mkdir(exist_ok=True)
            path.write_bytes(bytes(200_000))
"""
# Exports the toy until it is killed, and says when the next one begins.
EXPORTER = """
import sys
import bertzoo as bz
task = bz.TextEmbedder.from_preset("bert_toy")
while True:
    print("ready", flush=True)
    bz.export_saved_model(task, sys.argv[1], warm_up=False)
"""
FILES = {"saved_model.pb", "variables/data", "last"}


def write_version(directory, version=None, content="x"):
    with versions.new_version(directory, version) as (folder, placed):
        (folder / "saved_model.pb").write_text(content)
    return placed[0]


def test_numbers_count_up_and_other_names_are_left_alone(tmp_path):
    assert versions.next_version(tmp_path / "none") == 1
    (tmp_path / "README.md").write_text("")
    (tmp_path / "9").write_text("a file is no version")
    (tmp_path / ".7.export-abc").mkdir()
    assert write_version(tmp_path).name == "1"
    assert write_version(tmp_path, 30).name == "30"
    assert write_version(tmp_path).name == "31"
    assert versions.versions(tmp_path) == [1, 30, 31]


def test_a_version_is_never_replaced(tmp_path):
    write_version(tmp_path, 3, "old")
    with pytest.raises(ValueError, match=r"has a version 3.*for the next one, 4"):
        write_version(tmp_path, 3, "new")
    assert (tmp_path / "3" / "saved_model.pb").read_text() == "old"
    assert [path.name for path in tmp_path.iterdir()] == ["3"]


def test_a_version_made_meanwhile_is_not_replaced_even_if_it_is_empty(tmp_path):
    def write_while_another_makes_it():
        with versions.new_version(tmp_path, 3) as (folder, _):
            (folder / "saved_model.pb").write_text("new")
            (tmp_path / "3").mkdir()

    with pytest.raises(ValueError, match="has been made meanwhile"):
        write_while_another_makes_it()
    assert list((tmp_path / "3").iterdir()) == []


def test_the_next_number_moves_on_if_another_took_it(tmp_path):
    with versions.new_version(tmp_path) as (folder, placed):
        (folder / "saved_model.pb").write_text("mine")
        write_version(tmp_path, 1, "theirs")
    assert placed[0].name == "2"
    assert (tmp_path / "1" / "saved_model.pb").read_text() == "theirs"


def test_an_error_leaves_nothing(tmp_path):
    def write_half():
        with versions.new_version(tmp_path / "m") as (folder, _):
            (folder / "saved_model.pb").write_text("half")
            raise RuntimeError("disk full")

    with pytest.raises(RuntimeError, match="disk"):
        write_half()
    assert list((tmp_path / "m").iterdir()) == []
    with (
        pytest.raises(ValueError, match="cannot be empty"),
        versions.new_version(tmp_path / "m"),
    ):
        pass
    assert list((tmp_path / "m").iterdir()) == []


@pytest.mark.parametrize("version", [0, -1, 1.0, True, "1", 2**63])
def test_a_version_is_a_number_that_a_server_reads(tmp_path, version):
    with pytest.raises(ValueError, match="from 1 on"):
        write_version(tmp_path, version)


def run_and_kill(script, directory, seconds):
    process = subprocess.Popen(
        [sys.executable, "-c", script, str(directory)],
        stdout=subprocess.PIPE,
        cwd=pathlib.Path(versions.__file__).parents[2],
    )
    assert process.stdout.readline() == b"ready\n"
    time.sleep(seconds)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()


def test_a_writer_killed_at_any_point_leaves_only_whole_versions(tmp_path):
    generator = random.Random(5)
    for _ in range(8):
        run_and_kill(WRITER, tmp_path, generator.uniform(0.0, 0.05))
        for number in versions.versions(tmp_path):
            folder = tmp_path / str(number)
            found = {str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file()}
            assert found == FILES
            assert {(folder / name).stat().st_size for name in FILES} == {200_000}


@pytest.mark.slow
def test_an_export_killed_at_any_point_leaves_only_versions_that_work(tmp_path):
    from bertzoo.serving import check, companions

    generator = random.Random(7)
    for _ in range(6):
        run_and_kill(EXPORTER, tmp_path / "m", generator.uniform(0.0, 12.0))
        for number in versions.versions(tmp_path / "m"):
            folder = tmp_path / "m" / str(number)
            assert companions.checksums(folder) == {
                **companions.read_manifest(folder)["sha256"],
                companions.MANIFEST: companions.checksums(folder)[companions.MANIFEST],
            }
    found = versions.versions(tmp_path / "m")
    assert found, "some exports came to their end"
    assert check.check_servable(tmp_path / "m" / str(found[-1])).problems == ()
    left = [path.name for path in (tmp_path / "m").iterdir() if path.is_dir()]
    assert all(name.isdigit() or name.startswith(".") for name in left)


def test_writers_at_once_get_different_numbers(tmp_path):
    context = multiprocessing.get_context("fork")
    writers = [context.Process(target=write_version, args=(tmp_path,)) for _ in range(6)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    assert [writer.exitcode for writer in writers] == [0] * 6
    assert versions.versions(tmp_path) == [1, 2, 3, 4, 5, 6]
