"""Archives: what a checkpoint comes in is unpacked, what is made to do harm is refused whole."""

import functools
import gzip
import io
import os
import pathlib
import stat
import struct
import tarfile
import tempfile
import zipfile

import hypothesis
import pytest
from hypothesis import strategies

from bertzoo import checkpoints, hub
from bertzoo.hub import archives

LOW_ENTROPY = bytes(40 * 2**20)  # unpacks to more than any small archive may


def make_zip(path, members, **options):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        for name, content in members:
            file.writestr(name, content, **options)
    return path


def make_tar(path, members, mode="w:gz"):
    """Members are (name, content) or TarInfo objects without content."""
    with tarfile.open(path, mode) as file:
        for member in members:
            if isinstance(member, tarfile.TarInfo):
                file.addfile(member)
                continue
            name, content = member
            info = tarfile.TarInfo(name)
            info.size = len(content)
            file.addfile(info, io.BytesIO(content))
    return path


def tar_info(name, **fields):
    info = tarfile.TarInfo(name)
    for key, value in fields.items():
        setattr(info, key, value)
    return info


def link_in_zip(name, target):
    info = zipfile.ZipInfo(name)
    info.external_attr = (stat.S_IFLNK | 0o777) << 16
    return info, target


@pytest.fixture
def folder(tmp_path):
    made = tmp_path / "into" / "here"
    made.mkdir(parents=True)
    return made


def files_of(folder):
    return {path.relative_to(folder).as_posix(): path.read_bytes()
            for path in folder.rglob("*") if path.is_file()}  # fmt: skip


GOOD = [("bert/config.json", b"{}"), ("bert/assets/vocab.txt", b"a\nb\n" * 1000)]
CONTENT = {"config.json": b"{}", "assets/vocab.txt": b"a\nb\n" * 1000}


@pytest.mark.parametrize("suffix", [".zip", ".tar.gz", ".tgz", ".tar"])
def test_the_content_of_the_single_folder_comes_out(tmp_path, folder, suffix):
    path = tmp_path / f"bert{suffix}"
    if suffix == ".zip":
        make_zip(path, GOOD)
    else:
        make_tar(path, GOOD, "w" if suffix == ".tar" else "w:gz")
    archives.unpack(path, folder)
    assert files_of(folder) == CONTENT


def test_a_folder_that_holds_a_file_of_its_own_name_comes_out(tmp_path, folder):
    archives.unpack(make_zip(tmp_path / "a.zip", [("bert/bert", b"x"), ("bert/c", b"y")]), folder)
    assert files_of(folder) == {"bert": b"x", "c": b"y"}


def test_several_folders_stay_as_they_are_and_litter_does_not(tmp_path, folder):
    members = [("a/x", b"1"), ("b/y", b"2"), ("__MACOSX/a/._x", b"3"), ("a/.DS_Store", b"4")]
    archives.unpack(make_zip(tmp_path / "a.zip", members), folder)
    assert files_of(folder) == {"a/x": b"1", "b/y": b"2"}


def test_modes_owners_and_times_of_the_archive_are_not_taken_over(tmp_path, folder):
    info = tar_info("run.sh", mode=0o6777, mtime=1, uid=12345)
    path = make_tar(tmp_path / "a.tar.gz", [("config.json", b"{}"), info])
    archives.unpack(path, folder)
    found = (folder / "run.sh").stat()
    assert found.st_mode & 0o7111 == 0
    assert found.st_uid == os.getuid()
    assert found.st_mtime > 1e9


BAD_NAMES = ["../evil", "a/../../evil", "/evil", "//evil", "a\\..\\evil", "C:/evil", "a:b", "a\nb",
             "/".join("abcdefghi"), "x" * 300]  # fmt: skip


@pytest.mark.parametrize("name", BAD_NAMES)
@pytest.mark.parametrize("kind", ["zip", "tar"])
def test_names_that_do_not_belong_inside_a_folder_are_refused(tmp_path, folder, kind, name):
    make, path = (make_zip, "a.zip") if kind == "zip" else (make_tar, "a.tar.gz")
    path = make(tmp_path / path, [("config.json", b"{}"), (name, b"evil")])
    with pytest.raises(ValueError, match="does not belong inside a folder; refused"):
        archives.unpack(path, folder)
    assert not any("evil" in str(path) for path in tmp_path.parent.rglob("*evil*"))
    if kind == "zip":  # its list of names comes first, so nothing is written at all
        assert files_of(folder) == {}


SPECIAL = {
    "a symbolic link": tar_info("vocab.txt", type=tarfile.SYMTYPE, linkname="/etc/passwd"),
    "a link inside": tar_info("vocab.txt", type=tarfile.SYMTYPE, linkname="config.json"),
    "a hard link": tar_info("vocab.txt", type=tarfile.LNKTYPE, linkname="/etc/passwd"),
    "a device": tar_info("vocab.txt", type=tarfile.CHRTYPE, devmajor=1, devminor=5),
    "a disk": tar_info("vocab.txt", type=tarfile.BLKTYPE, devmajor=8),
    "a pipe": tar_info("vocab.txt", type=tarfile.FIFOTYPE),
}


@pytest.mark.parametrize("what", SPECIAL)
def test_what_is_no_file_is_refused(tmp_path, folder, what):
    path = make_tar(tmp_path / "a.tar.gz", [("config.json", b"{}"), SPECIAL[what]])
    with pytest.raises(ValueError, match=r"`vocab.txt` that is a link, a device or the like"):
        archives.unpack(path, folder)
    assert not (folder / "vocab.txt").exists()
    assert not (folder / "vocab.txt").is_symlink()


def test_a_link_in_a_zip_file_is_refused(tmp_path, folder):
    path = make_zip(tmp_path / "a.zip", [("config.json", b"{}"), link_in_zip("x", "/etc/passwd")])
    with pytest.raises(ValueError, match="`x` that is a link"):
        archives.unpack(path, folder)
    assert files_of(folder) == {}


def test_a_sparse_file_is_refused(tmp_path, folder):
    """One gigabyte that the archive does not hold."""
    info = tar_info("model.bin", type=tarfile.GNUTYPE_SPARSE)
    header = bytearray(info.tobuf(tarfile.GNU_FORMAT))
    header[386:410] = b"%011o\0%011o\0" % (0, 0)
    header[483:495] = b"%011o\0" % 2**30
    header[148:156] = b"%06o\0 " % (sum(header[:148]) + 8 * 32 + sum(header[156:512]))
    path = tmp_path / "a.tar.gz"
    path.write_bytes(gzip.compress(bytes(header) + bytes(1024)))
    with pytest.raises(ValueError, match="a link, a device or the like"):
        archives.unpack(path, folder)
    assert files_of(folder) == {}


@pytest.mark.parametrize("kind", ["zip", "tar"])
def test_a_bomb_is_refused_before_it_fills_the_disk(tmp_path, folder, kind):
    make, path = (make_zip, "a.zip") if kind == "zip" else (make_tar, "a.tar.gz")
    path = make(tmp_path / path, [("model.bin", LOW_ENTROPY)])
    assert path.stat().st_size < 100_000
    with pytest.raises(ValueError, match=r"unpacks to more than .* refused"):
        archives.unpack(path, folder)
    assert files_of(folder) == {}


def test_a_bomb_of_many_members_is_refused(tmp_path, folder):
    path = make_zip(tmp_path / "a.zip", [(f"{i}", bytes(2**20)) for i in range(40)])
    with pytest.raises(ValueError, match="unpacks to more than"):
        archives.unpack(path, folder)
    assert sum(map(len, files_of(folder).values())) <= archives.ALWAYS_ALLOWED


def test_a_member_that_says_it_is_small_and_is_not_is_refused(tmp_path, folder):
    path = make_zip(tmp_path / "a.zip", [("model.bin", bytes(2**20))])
    content = path.read_bytes().replace(struct.pack("<L", 2**20), struct.pack("<L", 5))
    path.write_bytes(content)
    with pytest.raises(ValueError, match="damaged or not whole"):
        archives.unpack(path, folder)
    assert all(len(content) <= 5 for content in files_of(folder).values())


def test_too_many_members_are_refused(tmp_path, folder, monkeypatch):
    monkeypatch.setattr(archives, "MAX_MEMBERS", 5)
    path = make_tar(tmp_path / "a.tar", [(str(i), b"") for i in range(6)], "w")
    with pytest.raises(ValueError, match="more than 5 members"):
        archives.unpack(path, folder)


def test_a_long_name_that_would_fill_the_memory_is_refused(tmp_path, folder):
    """GNU's long names are read in one piece of the size that their header says."""
    info = tar_info("././@LongLink", type=tarfile.GNUTYPE_LONGNAME, size=2**30)
    path = tmp_path / "a.tar.gz"
    path.write_bytes(gzip.compress(info.tobuf(tarfile.GNU_FORMAT) + bytes(4096)))
    with pytest.raises(ValueError, match="has a header of 1,073,741,824 bytes"):
        archives.unpack(path, folder)


def test_an_extended_header_that_would_fill_the_memory_is_refused(tmp_path, folder):
    info = tar_info("pax", type=tarfile.XHDTYPE, size=2**30)
    path = tmp_path / "a.tar.gz"
    path.write_bytes(gzip.compress(info.tobuf(tarfile.USTAR_FORMAT) + bytes(4096)))
    with pytest.raises(ValueError, match=r"has a header of 1,073,741,824 bytes"):
        archives.unpack(path, folder)


@pytest.mark.parametrize("size", [-512, -1024, -10240])
@pytest.mark.parametrize("kind", [tarfile.REGTYPE, b"?", tarfile.GNUTYPE_LONGNAME])
def test_a_member_of_negative_size_does_not_lead_round_in_circles(tmp_path, folder, kind, size):
    first = tar_info("config.json").tobuf(tarfile.GNU_FORMAT)
    info = tar_info("x", type=kind, size=size).tobuf(tarfile.GNU_FORMAT)
    path = tmp_path / "a.tar.gz"
    path.write_bytes(gzip.compress(first + info + bytes(10240)))
    with pytest.raises(ValueError, match=r"leads back|has a header of -|a link, a device|damaged"):
        archives.unpack(path, folder)


@pytest.mark.parametrize("members", [
    [("a", b"1"), ("a", b"2")],
    [("a", b"1"), ("A", b"2")],
    [("a", b"1"), ("./a", b"2")],
    [("a", b"1"), ("a/b", b"2")],
    [("a/b", b"1"), ("a", b"2")],
])  # fmt: skip
@pytest.mark.parametrize("kind", ["zip", "tar"])
@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_two_members_of_one_name_are_refused(tmp_path, folder, kind, members):
    make, path = (make_zip, "a.zip") if kind == "zip" else (make_tar, "a.tar.gz")
    with pytest.raises(ValueError, match="has two members called"):
        archives.unpack(make(tmp_path / path, members), folder)


def test_an_encrypted_zip_file_is_refused(tmp_path, folder):
    path = make_zip(tmp_path / "a.zip", [("config.json", b"{}")])
    content = bytearray(path.read_bytes())
    for signature, flags in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        content[content.index(signature) + flags] |= 1
    path.write_bytes(content)
    with pytest.raises(ValueError, match="is encrypted"):
        archives.unpack(path, folder)


def test_a_packing_that_is_not_read_is_named(tmp_path, folder):
    path = make_zip(tmp_path / "a.zip", [("c", b"x" * 100)], compress_type=zipfile.ZIP_BZIP2)
    with pytest.raises(ValueError, match="packed by method 12"):
        archives.unpack(path, folder)


@pytest.mark.parametrize("content", [b"", b"PK", b"hello", b"<!DOCTYPE html>", b"\x80\x02}"])
def test_what_is_no_archive_is_told(tmp_path, folder, content):
    (tmp_path / "a.zip").write_bytes(content)
    with pytest.raises(ValueError, match=r"a.zip is not a .zip or .tar.gz archive"):
        archives.unpack(tmp_path / "a.zip", folder)


@pytest.mark.parametrize(
    "content",
    [b"\x1f\x8b nonsense", gzip.compress(b"a vocabulary\n" * 99)],
    ids=["nonsense", "no tar"],  # gzip's header has the time: two processes must agree on names
)
def test_a_gzip_file_that_holds_no_tar_is_told(tmp_path, folder, content):
    (tmp_path / "a.tar.gz").write_bytes(content)
    with pytest.raises(ValueError, match="is damaged or not whole"):
        archives.unpack(tmp_path / "a.tar.gz", folder)


@pytest.mark.parametrize("kind", ["zip", "tar.gz", "tar"])
@pytest.mark.parametrize("share", [0.3, 0.6])  # the last third of a tar file is zeros
def test_an_archive_cut_short_is_told(tmp_path, folder, kind, share):
    noise = [(name, os.urandom(5000)) for name in "abc"]
    path = tmp_path / f"a.{kind}"
    make_zip(path, noise) if kind == "zip" else make_tar(
        path, noise, "w:gz" * ("gz" in kind) or "w"
    )
    content = path.read_bytes()
    path.write_bytes(content[: int(share * len(content))])
    with pytest.raises(ValueError, match="is damaged or not whole"):
        archives.unpack(path, folder)


def test_a_tar_file_cut_between_two_members_is_told(tmp_path, folder):
    path = make_tar(tmp_path / "a.tar", [("a", b"1"), ("b", b"2")], "w")
    path.write_bytes(path.read_bytes()[:1024])  # one header, one block
    with pytest.raises(ValueError, match="the end of the archive is missing"):
        archives.unpack(path, folder)


def test_an_archive_of_nothing_is_told(tmp_path, folder):
    with pytest.raises(ValueError, match="holds no files"):
        archives.unpack(make_zip(tmp_path / "a.zip", []), folder)


@functools.cache
def seed(kind):
    members = [("bert/config.json", b"{}"), ("bert/" + "v" * 120, b"a\n" * 50), ("bert/d/e", b"x")]
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder, "a")
        make_zip(path, members) if kind == "zip" else make_tar(path, members, "w")
        return path.read_bytes()


@hypothesis.settings(
    max_examples=300,
    deadline=None,
    suppress_health_check=[hypothesis.HealthCheck.function_scoped_fixture],
)
@hypothesis.given(data=strategies.data())  # fmt: skip
def test_damaged_archives_end_in_one_sentence_and_inside_the_folder(data, tmp_path_factory):
    content = bytearray(seed(data.draw(strategies.sampled_from(["zip", "tar"]))))
    for _ in range(data.draw(strategies.integers(1, 6))):
        place = data.draw(strategies.integers(0, len(content) - 1))
        content[place] = data.draw(strategies.integers(0, 255))
    base = tmp_path_factory.mktemp("fuzz")
    (base / "into").mkdir()
    (base / "a.bin").write_bytes(content)
    message = ""
    try:
        archives.unpack(base / "a.bin", base / "into")
    except ValueError as error:
        message = str(error)
    assert "\n" not in message
    assert {path.name for path in base.iterdir()} == {"a.bin", "into"}
    for path in (base / "into").rglob("*"):
        assert path.is_dir() or path.is_file()
        assert not path.is_symlink()


def test_a_local_archive_opens_as_its_content_and_is_unpacked_once(tmp_path, home, toy_files):
    members = [(f"toy/{name}", content) for name, content in toy_files.items()]
    path = make_zip(tmp_path / "toy.zip", members)
    opened = checkpoints.open_source(path)
    expected = dict(checkpoints.open_source("bert_toy").all_weights())
    assert {path for path, _ in opened.all_weights()} <= set(expected)
    assert all((array == expected[path]).all() for path, array in opened.all_weights())
    (entry,) = hub.downloaded()
    before = (entry / "model.safetensors").stat().st_mtime_ns
    assert checkpoints.open_source(str(path)).directory == entry
    assert (entry / "model.safetensors").stat().st_mtime_ns == before


def test_a_hostile_local_archive_leaves_nothing_in_the_cache(tmp_path, home, left_behind):
    path = make_tar(tmp_path / "a.tar.gz", [("config.json", b"{}"), SPECIAL["a symbolic link"]])
    with pytest.raises(ValueError, match=r"a.tar.gz has a member `vocab.txt` that is a link"):
        checkpoints.open_source(path)
    assert left_behind() == []
    assert hub.downloaded() == []
