"""TensorFlow checkpoints without TensorFlow: equal to its own reader, and safe."""

import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf

from bertzoo.checkpoints.crc32c import crc32c
from bertzoo.checkpoints.object_graph import KEY, ObjectGraph
from bertzoo.checkpoints.tensor_bundle import TensorFlowReader


def bitwise_crc(data):
    """RFC 3720, appendix B.4, one bit at a time."""
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = (crc >> 1) ^ (0x82F63B78 if crc & 1 else 0)
    return crc ^ 0xFFFFFFFF


@pytest.mark.parametrize(
    ("data", "expected"),
    [  # the examples of the RFC
        (bytes(32), 0x8A9136AA),
        (b"\xff" * 32, 0x62A8AB43),
        (bytes(range(32)), 0x46DD794E),
        (bytes(range(31, -1, -1)), 0x113FDB5C),
        (b"123456789", 0xE3069283),
        (b"", 0),
    ],
)
def test_checksums_are_those_of_the_rfc(data, expected):
    assert crc32c(data) == expected


def test_checksums_of_every_length_are_right():
    data = np.random.default_rng(0).integers(0, 256, 300, dtype="uint8").tobytes()
    for length in range(300):
        assert crc32c(data[:length]) == bitwise_crc(data[:length])


def test_checksums_of_long_data_are_right():
    data = np.random.default_rng(0).integers(0, 256, 2**20 + 77, dtype="uint8").tobytes()
    assert crc32c(data) == bitwise_crc(data)


VALUES = {
    "word": np.random.default_rng(0).normal(size=(300, 7)).astype("float32"),
    "half": np.array([0.5, 2.0], "float16"),
    "double": np.array(1.25),
    "step": np.array(7, "int64"),
    "yes": np.array([True, False]),
    "empty": np.zeros((0, 3), "float32"),
    **{f"many/{i:04d}/kernel": np.full((3,), i, "float32") for i in range(700)},
}


def save(path, values=VALUES):
    with tf.Graph().as_default(), tf.compat.v1.Session() as session:
        for name, value in values.items():
            tf.compat.v1.get_variable(name, initializer=value)
        session.run(tf.compat.v1.global_variables_initializer())
        tf.compat.v1.train.Saver().save(session, str(path), write_state=False)
    return path


def test_every_type_and_many_blocks_are_read_as_tensorflow_does(tmp_path):
    prefix = save(tmp_path / "bert_model.ckpt")
    theirs = tf.train.load_checkpoint(str(prefix))
    ours = TensorFlowReader(prefix)
    assert {k: list(v) for k, v in ours.shapes.items()} == theirs.get_variable_to_shape_map()
    for name, value in VALUES.items():
        found = ours.read(name)
        assert found.dtype == value.dtype
        np.testing.assert_array_equal(found, theirs.get_tensor(name))


def test_several_data_files_are_read(tmp_path):
    parts = {"one": {"a": np.array([1.0, 2.0])}, "two": {"b": np.array([[3.0]])}}
    names = [str(save(tmp_path / name, values)) for name, values in parts.items()]
    tf.raw_ops.MergeV2Checkpoints(
        checkpoint_prefixes=names, destination_prefix=str(tmp_path / "both"),
        delete_old_dirs=False, allow_missing_files=False,
    )  # fmt: skip
    assert len(list(tmp_path.glob("both.data-*-of-00002"))) == 2
    reader = TensorFlowReader(tmp_path / "both")
    assert [reader.read(name).tolist() for name in "ab"] == [[1.0, 2.0], [[3.0]]]


def test_an_object_graph_is_read_as_tensorflow_does(tmp_path):
    from tensorflow.core.protobuf import trackable_object_graph_pb2

    shared = tf.Variable([1.0], name="shared")
    module = tf.Module()
    module.first, module.second = shared, shared
    module.items = [tf.Module(), tf.Variable(2.0)]
    prefix = tf.train.Checkpoint(model=module).write(str(tmp_path / "ckpt"))
    theirs = trackable_object_graph_pb2.TrackableObjectGraph()
    theirs.ParseFromString(tf.train.load_checkpoint(prefix).get_tensor(KEY))
    ours = ObjectGraph(TensorFlowReader(tmp_path / "ckpt"))
    assert len(ours.nodes) == len(theirs.nodes)
    for mine, node in zip(ours.nodes, theirs.nodes, strict=True):
        assert mine.children == {child.local_name: child.node_id for child in node.children}
        for attribute in node.attributes:
            assert (mine.key, mine.full_name) == (attribute.checkpoint_key, attribute.full_name)
    first, second = ours.follow(0, "model.first"), ours.follow(0, "model.second")
    assert first == second is not None


def test_a_flipped_bit_is_noticed(tmp_path):
    prefix = save(tmp_path / "c", {"x": np.ones(1000, "float32")})
    data = tmp_path / "c.data-00000-of-00001"
    content = bytearray(data.read_bytes())
    content[1234] ^= 1
    data.write_bytes(bytes(content))
    with pytest.raises(ValueError, match="`x` is damaged: its checksum differs"):
        TensorFlowReader(prefix).read("x")


def test_tensorflow_is_not_imported(tmp_path):
    save(tmp_path / "c", {"x": np.ones(3, "float32")})
    code = (
        "import sys, pathlib; from bertzoo.checkpoints.tensor_bundle import TensorFlowReader\n"
        f"TensorFlowReader(pathlib.Path({str(tmp_path / 'c')!r})).read('x')\n"
        "print('tensorflow' in sys.modules)"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert result.stdout.strip() == "False", result.stderr
