"""Damaged files of every format, made by hypothesis: a ValueError or an answer, nothing else.

Bytes are changed where checksums would hide what lies behind them too: inside the pickle, the
entries of an index and the object graph, around which a correct file is built again.
"""

import json
import pathlib
import tempfile

import h5py
import hypothesis
import numpy as np
import safetensors.numpy
from hypothesis import strategies as st

from bertzoo.checkpoints import readers
from bertzoo.checkpoints.inert_pickle import read_pickle
from bertzoo.checkpoints.object_graph import KEY, ObjectGraph
from bertzoo.checkpoints.tensor_bundle import TensorFlowReader
from bertzoo.checkpoints.tensorflow_h5 import TensorFlowH5Reader
from bertzoo.checkpoints.torch_file import TorchReader
from tests.checkpoints import bundles, torch_files

# Seconds each, not minutes: the same settings run for hours find the same nothing.
FUZZ = hypothesis.settings(
    max_examples=300,
    deadline=None,
    suppress_health_check=list(hypothesis.HealthCheck),
    derandomize=True,
)
ARRAYS = {"a/b.c": np.arange(6, dtype="float32").reshape(2, 3), "d": np.ones(2, "float16")}
EDITS = st.lists(st.tuples(st.floats(0, 1), st.integers(0, 255)), max_size=6)
BYTES = st.binary(max_size=8)


def damaged(data, edits, cut, insert):
    """Change some bytes, put some in, cut the end off."""
    content = bytearray(data)
    for place, byte in edits:
        if content:
            content[min(int(place * len(content)), len(content) - 1)] = byte
    at, extra = insert
    at = int(at * len(content))
    content[at:at] = extra
    return bytes(content[: int(cut * len(content)) + 1])


DAMAGE = {
    "edits": EDITS,
    "cut": st.one_of(st.just(1.0), st.floats(0, 1)),
    "insert": st.tuples(st.floats(0, 1), BYTES),
}


def answers_or_refuses(read):
    """Whether a reader ends well: with an answer, or with a ValueError that says something."""
    try:
        read()
    except ValueError as error:
        return str(error) != ""
    return True


def survives(read, files):
    """Write the files and read everything in them."""

    def read_all():
        reader = read(folder / next(iter(files)))
        for name in reader.shapes:
            array = reader.read(name)
            assert tuple(array.shape) == tuple(reader.shapes[name])
            assert array.nbytes <= sum(map(len, files.values()))

    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        for name, content in files.items():
            (folder / name).write_bytes(content)
        assert answers_or_refuses(read_all)
        assert sorted(p.name for p in folder.iterdir()) == sorted(files)


def file_of(write):
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder) / "file"
        write(path)
        return path.read_bytes()


ZIP = file_of(lambda path: torch_files.save(path, ARRAYS))
LEGACY = file_of(lambda path: torch_files.save(path, ARRAYS, legacy=True))


@FUZZ
@hypothesis.given(data=st.sampled_from([ZIP, LEGACY]), **DAMAGE)
def test_damaged_files_of_pytorch(data, edits, cut, insert):
    survives(TorchReader, {"x.bin": damaged(data, edits, cut, insert)})


PIECES = [
    b"N", b"\x88", b"]", b"}", b")", b"(", b"t", b"a", b"e", b"s", b"u", b"R", b"b", b"Q", b"\x81",
    b"\x85", b"\x86", b"\x87", b"q\x00", b"h\x00", b"\x94", b"\x93", b"0", b"2", b".",
    torch_files.text("x"), torch_files.text("storage"), torch_files.integer(2),
    torch_files.integer(-1), torch_files.integer(2**70), torch_files.NO_HOOKS,
    torch_files.storage("0", "float32", 4), torch_files.numbers((2, 2)),
    b"ctorch._utils\n_rebuild_tensor_v2\n", b"cos\nsystem\n", b"ctorch\nFloatStorage\n",
]  # fmt: skip


@FUZZ
@hypothesis.given(st.lists(st.sampled_from(PIECES), max_size=25))
def test_pickles_of_random_opcodes_in_a_sound_archive(pieces):
    def write(path):
        torch_files.zip_file(path, b"".join(pieces), {"0": bytes(16)})

    survives(TorchReader, {"x.bin": file_of(write)})


@FUZZ
@hypothesis.given(st.binary(max_size=60))
def test_pickles_of_random_bytes(data):
    assert answers_or_refuses(lambda: read_pickle(b"\x80\x02" + data, {}))


SAFETENSORS = safetensors.numpy.save(ARRAYS)


@FUZZ
@hypothesis.given(**DAMAGE)
def test_damaged_safetensors(edits, cut, insert):
    data = damaged(SAFETENSORS, edits, cut, insert)
    survives(readers.SafetensorsReader, {"x.safetensors": data})


def fill_h5(path):
    with h5py.File(path, "w") as file:
        for name, value in ARRAYS.items():
            file[f"bert/model/bert/{name}/kernel:0"] = value


H5 = file_of(fill_h5)


@FUZZ
@hypothesis.given(**DAMAGE)
def test_damaged_h5(edits, cut, insert):
    survives(TensorFlowH5Reader, {"x.h5": damaged(H5, edits, cut, insert)})


VALUE, DATA = bundles.array([[1.0, 2.0], [3.0, 4.0]])
GOOD = bundles.index([(b"", bundles.header()), (b"x", VALUE)])


def bundle(index, data):
    files = {"c.index": index, "c.data-00000-of-00001": data}
    survives(lambda path: TensorFlowReader(path.with_suffix("")), files)


@FUZZ
@hypothesis.given(**DAMAGE)
def test_damaged_tensorflow_checkpoints(edits, cut, insert):
    bundle(damaged(GOOD, edits, cut, insert), DATA)


@FUZZ
@hypothesis.given(**DAMAGE)
def test_damaged_entries_in_a_sound_index(edits, cut, insert):
    value = damaged(VALUE, edits, cut, insert)
    bundle(bundles.index([(b"", bundles.header()), (b"x", value)]), DATA)


NODE = bundles.field(1, bundles.field(1, 0) + bundles.field(2, b"self"))
GRAPH = bundles.field(
    1, NODE + bundles.field(2, bundles.field(3, b"x/.ATTRIBUTES/VARIABLE_VALUE"))
)  # fmt: skip


@FUZZ
@hypothesis.given(**DAMAGE)
def test_damaged_object_graphs(edits, cut, insert):
    graph = damaged(GRAPH + GRAPH, edits, cut, insert)
    content = bundles.varint(len(graph)) + bytes(4) + graph
    with tempfile.TemporaryDirectory() as folder:
        prefix = pathlib.Path(folder) / "c"
        entry = bundles.entry(7, (), 0, len(content))
        bundles.write(prefix, [(KEY.encode(), entry)], content)
        assert answers_or_refuses(lambda: walk_once(prefix))


def walk_once(prefix):
    walked = list(ObjectGraph(TensorFlowReader(prefix)).walk())
    assert len(walked) == len(set(walked))


JSON = json.dumps({"weight_map": {"x": "a.bin"}, "n": [1, 2.5, None, {"k": "v"}]}).encode()


@FUZZ
@hypothesis.given(**DAMAGE)
def test_damaged_json(edits, cut, insert):
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder) / "config.json"
        path.write_bytes(damaged(JSON, edits, cut, insert))
        assert answers_or_refuses(lambda: readers.read_json(path))
