"""Hostile safetensors, HDF5 files, TensorFlow checkpoints and configurations."""

import json
import struct

import h5py
import numpy as np

from tests.checkpoints import bundles, spelled, torch_files
from tests.checkpoints.hostile_torch import FOUR, with_config

CASES = []


def add(name, expected, function):
    """Register a case: `function` writes the directory, `expected` is in the message."""
    CASES.append((name, function, expected))


# Safetensors ------------------------------------------------------------------------------------


def safetensors(header, data=FOUR, length=None):
    def write(directory):
        content = header if isinstance(header, bytes) else json.dumps(header).encode()
        size = struct.pack("<Q", len(content) if length is None else length)
        (with_config(directory) / "model.safetensors").write_bytes(size + content + data)

    return write


def info(shape, start, end, dtype="F32"):
    return {"dtype": dtype, "shape": shape, "data_offsets": [start, end]}


SAFETENSORS = {
    "a cut end": safetensors({"x": info([4], 0, 16)}, FOUR[:9]),
    "a header past the end": safetensors({}, b"", length=10**6),
    "a header of an exabyte": safetensors({}, b"", length=2**60),
    "overlapping tensors": safetensors({"x": info([4], 0, 16), "y": info([2], 8, 16)}),
    "a hole": safetensors({"x": info([1], 0, 4), "y": info([1], 12, 16)}),
    "data that nothing names": safetensors({"x": info([2], 0, 8)}),
    "another shape than size": safetensors({"x": info([5], 0, 16)}),
    "a negative size": safetensors({"x": info([-4], 0, 16)}),
    "a product that overflows": safetensors({"x": info([2**40, 2**40], 0, 16)}),
    "an unknown type": safetensors({"x": info([4], 0, 16, "F31")}),
    "a header that is not JSON": safetensors(b"{{{{"),
    "a header that is a list": safetensors(b"[1, 2]"),
    "no header": safetensors(b"", b"", length=0),
}
for name, write in SAFETENSORS.items():
    add(f"safetensors with {name}", "not a whole safetensors file", write)
add("safetensors with a key twice", "the key `x` twice",
    safetensors(b'{"x":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},'
                b'"x":{"dtype":"F32","shape":[4],"data_offsets":[0,16]}}'))  # fmt: skip


# HDF5 -------------------------------------------------------------------------------------------


def h5(fill):
    def write(directory):
        with h5py.File(with_config(directory) / "tf_model.h5", "w") as file:
            fill(file)

    return write


NAME = "bert/tf_bert_model/bert/pooler/dense/kernel:0"
VIRTUAL = h5py.VirtualLayout((4,), "f4")
VIRTUAL[:] = h5py.VirtualSource("other.h5", "x", (4,))


def cycle(file):
    file.create_group("a")["b"] = file["/"]


def external_data(file):
    file.create_dataset(NAME, (4,), "f4", external=[("passwd", 0, 16)])


def compressed(file):
    file.create_dataset(NAME, data=np.zeros((4000, 4000), "f4"), compression="gzip")


def sparse(file):
    file.create_dataset(NAME, (2**20, 2**20), "f4", chunks=(1024, 1024))


def named_type(file):
    file[NAME] = np.dtype("f4")


def linked(link):
    def fill(file):
        file["x"] = np.ones(3)
        file[NAME] = link

    return fill


H5 = {
    "a link to another file": (linked(h5py.ExternalLink("other.h5", "/x")), "is a link"),
    "a link within": (linked(h5py.SoftLink("/x")), "is a link"),
    "a link to nothing": (linked(h5py.SoftLink("/nowhere")), "is a link"),
    "a group inside itself": (cycle, "another name of an earlier object"),
    "data in another file": (external_data, "keeps its data in another file"),
    "a virtual array": (lambda f: f.create_virtual_dataset(NAME, VIRTUAL), "put together"),
    "a bomb": (compressed, "more than the file"),
    "an array without its data": (sparse, "more than the file"),
    "a type": (named_type, "neither a group nor an array"),
    "text": (lambda f: f.create_dataset(NAME, data=[b"a"]), "hold only 1 tensors"),
}
for name, (fill, reason) in H5.items():
    add(f"h5 with {name}", reason, h5(fill))


def h5_cut_short(directory):
    h5(lambda file: file.create_dataset(NAME, data=np.ones((200, 200))))(directory)
    path = directory / "tf_model.h5"
    path.write_bytes(path.read_bytes()[:900])


def h5_that_is_a_web_page(directory):
    (with_config(directory) / "tf_model.h5").write_bytes(b"<html>404</html>")


add("h5 cut short", "not a whole HDF5 file", h5_cut_short)
add("h5 that is a web page", "not a whole HDF5 file", h5_that_is_a_web_page)


# TensorFlow checkpoints -------------------------------------------------------------------------

ENTRY, DATA = bundles.array([1.0, 2.0])
SIZES = {"vocab_size": 31, "hidden_size": 20, "num_hidden_layers": 2, "num_attention_heads": 4}


def bundle(pairs, data=DATA, change=None, **options):
    def write(directory):
        (directory / "bert_config.json").write_text(json.dumps(SIZES))
        bundles.write(directory / "bert_model.ckpt", pairs, data, **options)
        if change is not None:
            path = directory / "bert_model.ckpt.index"
            path.write_bytes(change(path.read_bytes()))

    return write


def pair(*arguments, **options):
    return [(b"x", bundles.entry(*arguments, **options))]


def graph(data):
    """A checkpoint whose object graph is `data`."""
    content = bundles.varint(len(data)) + bytes(4) + data
    value = bundles.entry(7, (), 0, len(content), 0)
    return bundle([(b"_CHECKPOINTABLE_OBJECT_GRAPH", value)], content)


NODE = bundles.field(1, bundles.field(1, bundles.field(1, 9) + bundles.field(2, b"x")))
ATTRIBUTE = bundles.field(1, b"VARIABLE_VALUE")
ATTRIBUTE += bundles.field(3, b"y/.ATTRIBUTES/VARIABLE_VALUE")
VARIABLE = bundles.field(1, bundles.field(2, ATTRIBUTE))
BUNDLES = {
    "an index cut short": (bundle([(b"x", ENTRY)], change=lambda d: d[:-9]), "cut short"),
    "an index of noise": (bundle([(b"x", ENTRY)], change=lambda d: bytes(len(d))), "not the index"),
    "a flipped bit in the index": (bundle([(b"x", ENTRY)], change=lambda d: b"\x80" + d[1:]),
                                   "checksum differs"),
    "a compressed index": (bundle([(b"x", ENTRY)], compression=1), "compressed"),
    "a block past the end": (bundle([(b"x", ENTRY)],
                                    change=lambda d: d[:-48] + b"\x00\x00" + b"\xff" * 5 + b"\x01"
                                    + b"\xff\x01" + d[-38:]), "index"),
    "a tensor past the end": (bundle(pair(1, (4,), 0, 16)), "goes past the end"),
    "an offset past the end": (bundle(pair(1, (2,), 2**62, 8)), "goes past the end"),
    "a tensor of an exabyte": (bundle(pair(1, (2**58,), 0, 8)), "but 8 bytes"),
    "a negative size": (bundle(pair(1, (-2,), 0, 8)), r"has the shape \(-2,\)"),
    "nine axes": (bundle(pair(1, (1,) * 9, 0, 4)), "has the shape"),
    "an unknown shard": (bundle(pair(1, (2,), 0, 8, shard=7)), "data file 7 of 1"),
    "slices": (bundle(pair(1, (2,), 0, 8, extra=bundles.field(7, b""))), "kept in slices"),
    "a name twice": (bundle([(b"x", ENTRY), (b"x", ENTRY)]), "names `x` twice"),
    "another byte order": (bundle([(b"", bundles.header(1, 1)), (b"x", ENTRY)]), "big-endian"),
    "a billion data files": (bundle([(b"", bundles.header(10**9)), (b"x", ENTRY)]),
                             "names 1000000000 data files"),
    "no data file": (bundle([(b"", bundles.header(2)), (b"x", ENTRY)]), "is missing"),
    "a message that ends early": (bundle([(b"x", b"\x12\x7f")]), "past the end"),
    "a message of another kind": (bundle([(b"x", b"\x0b")]), "unknown type"),
    "a number without an end": (bundle([(b"x", b"\x08" + b"\xff" * 12)]), "longer than 64 bits"),
    "an object graph of noise": (graph(b"\xff\xff\xff"), "object graph is damaged"),
    "an empty object graph": (graph(b""), "object graph is empty"),
    "a child that is not there": (graph(NODE), "a child is missing"),
    "an array that is not there": (graph(VARIABLE), "`y/.ATTRIBUTES/VARIABLE_VALUE`, which is not"),
}  # fmt: skip
for name, (write, reason) in BUNDLES.items():
    add(f"TensorFlow checkpoint with {name}", reason, write)


# Configurations ---------------------------------------------------------------------------------


def config(text_of_file, weights=False):
    def write(directory):
        (directory / "config.json").write_text(text_of_file)
        if weights:
            torch_files.save(directory / "pytorch_model.bin", {"x": np.ones(3, "float32")})

    return write


def changed(**changes):
    return json.dumps({**spelled.HF_CONFIGS["bert"], **changes})


CONFIGS = {
    "a billion layers": (changed(num_hidden_layers=10**9), "taken for a damaged file"),
    "a hidden size of a billion": (changed(hidden_size=10**9), "damaged file|multiple"),
    "heads that do not divide": (changed(num_attention_heads=3), "multiple of num_heads"),
    "a size that is text": (changed(hidden_size="20"), "hidden_dim must be int"),
    "a negative size": (changed(vocab_size=-1), "must be at least 1"),
    "a size of infinity": (changed(vocab_size=float("inf")), "must be int"),
    "a size of many digits": ('{"vocab_size": ' + "9" * 5000 + "}", "not valid JSON"),
    "a key twice": ('{"vocab_size": 1, "vocab_size": 2}', "key `vocab_size` twice"),
    "a list": ("[1]", "must hold a JSON object"),
    "no end": ('{"vocab_size": ', "not valid JSON"),
    "a deep nest": ('{"a":' * 10**5 + "1" + "}" * 10**5, "not valid JSON"),
    "code of its own": (changed(auto_map={"AutoModel": "x.py"}), "runs code of its own"),
    "an activation of its own": (changed(hidden_act="os.system"), "has the activation 'os.system'"),
}
for name, (content, reason) in CONFIGS.items():
    add(f"configuration with {name}", reason, config(content))
add("configuration of more layers than tensors", "asks for 900 layers, but the weights hold only 1",
    config(changed(num_hidden_layers=900), weights=True))  # fmt: skip

YAML = {
    "code": ("!!python/object/apply:os.system ['touch ran']", "not valid YAML"),
    "a bomb": ("a: &a [x, x]\nb: &b [*a, *a]\nc: [*b, *b]", "YAML aliases"),
    "no encoder": ("task: {model: 3}", "no task.model.encoder.bert"),
}


def yaml_file(content):
    def write(directory):
        import tensorflow as tf

        from tests.checkpoints import garden_objects
        from tests.reference import cases

        weights = cases.random_weights(cases.variable_shapes(cases.SMALL))
        apart = garden_objects.heads_apart(weights, cases.SMALL)
        thing = garden_objects.encoder(cases.SMALL, apart, "class")
        tf.train.Checkpoint(encoder=thing).write(str(directory / "ckpt-1"))
        (directory / "params.yaml").write_text(content)

    return write


for name, (content, reason) in YAML.items():
    add(f"params.yaml with {name}", reason, yaml_file(content))
