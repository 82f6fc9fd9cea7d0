"""Hostile files of PyTorch: each case writes a directory, and says what must be said of it.

Whatever they try to run would create the file `ran` in the working directory.
"""

import json
import struct
import zipfile

import numpy as np

from tests.checkpoints import spelled, torch_files
from tests.checkpoints.torch_files import integer, numbers, state_dict, storage, tensor, text

FOUR = np.arange(4, dtype="float32").tobytes()
GOOD = tensor(storage("0", "float32", 4), (4,))
COMMAND = text("touch ran")
CASES = []


def add(name, expected, function):
    """Register a case: `function` writes the directory."""
    CASES.append((name, function, expected))


def with_config(directory, **changes):
    raw = {**spelled.HF_CONFIGS["bert"], **changes}
    (directory / "config.json").write_text(json.dumps(raw))
    return directory


# Pickles ----------------------------------------------------------------------------------------


def pickle(body, storages=None, legacy=False):
    """A writer of a model whose weights are one pickle."""

    def write(directory):
        with_config(directory)
        path = directory / "pytorch_model.bin"
        if legacy:
            torch_files.legacy_file(path, body, storages or {"0": (4, FOUR)})
        else:
            torch_files.zip_file(path, body, storages or {"0": FOUR})

    return write


def call(name, arguments=b"(" + COMMAND + b"t"):
    module, _, attribute = name.rpartition(".")
    return f"c{module}\n{attribute}\n".encode() + arguments + b"R"


for name in (
    "os.system", "posix.system", "nt.system", "builtins.eval", "builtins.exec",
    "builtins.getattr", "__builtin__.eval", "subprocess.Popen", "subprocess.check_output",
    "runpy.run_path", "pickle.loads", "torch.load", "torch.storage._load_from_bytes",
    "torch._utils._rebuild_sparse_tensor", "torch.nn.modules.linear.Linear",
    "numpy.core.multiarray._reconstruct", "collections.Counter", "_codecs.encode",
    "argparse.Namespace", "torch.FloatStorage.__class__", "importlib.import_module",
):  # fmt: skip
    reason = f"names the Python object `{name.replace('.', '[.]')}`.*nothing of it was run"
    add(f"pickle that calls {name}", reason, pickle(state_dict([("x", call(name))])))
    if name in ("os.system", "builtins.eval"):
        add(f"legacy pickle that calls {name}", reason,
            pickle(state_dict([("x", call(name))]), legacy=True))  # fmt: skip

PICKLES = {
    "a global of protocol 4": (text("os") + text("system") + b"\x93(" + COMMAND + b"tR",
                               "os.system"),
    "an object of protocol 0": (b"(" + COMMAND + b"ios\nsystem\n", "opcode INST"),
    "an object of protocol 1": (b"(cos\nsystem\n" + COMMAND + b"o", "os.system"),
    "an opcode OBJ": (b"(" + torch_files.NO_HOOKS + b"o", "opcode OBJ"),
    "a registered extension": (b"\x82\x01", "opcode EXT1"),
    "a call of a string": (text("os.system") + b"(" + COMMAND + b"tR", "calls a str"),
    "a call of a storage type": (b"ctorch\nFloatStorage\n(" + integer(4) + b"tR", "calls a"),
    "a call without a tuple": (b"ccollections\nOrderedDict\n" + COMMAND + b"R", "damaged"),
    "a dict made from arguments": (b"ccollections\nOrderedDict\n(]tR", "from arguments"),
    "a new object with keywords": (b"ccollections\nOrderedDict\n)}\x92", "opcode NEWOBJ_EX"),
    "the state of a tensor": (GOOD + b"}" + text("data") + COMMAND + b"sb", "state of a Tensor"),
    "items of a tensor": (GOOD + text("a") + COMMAND + b"s", "sets items of a Tensor"),
    "appending to a tensor": (GOOD + COMMAND + b"a", "appends to a Tensor"),
    "a text as persistent id": (b"Pstorage\n", "opcode PERSID"),
    "another persistent id": (b"(" + text("module") + COMMAND + b"tQ", "other than a storage"),
    "a storage of no type": (b"(" + text("storage") + text("f4") + text("0") + text("cpu")
                             + integer(4) + b"tQ", "by other types"),
    "a storage with a list for a key": (b"(" + text("storage") + b"ctorch\nFloatStorage\n]"
                                        + text("cpu") + integer(4) + b"tQ", "by other types"),
    "a key that is a list": (b"}]Ns", "list stands as the key"),
    "a key that is a tensor": (b"}" + GOOD + b"Ns", "Tensor stands as the key"),
    "one key twice": (b"}(" + text("a") + GOOD + text("a") + GOOD + b"u", "key 'a' twice"),
    "an odd number of items": (b"}(" + text("a") + b"u", "a key without a value"),
    "a forgotten memo": (b"h\x05", "damaged"),
    "an empty stack": (b"R", "damaged"),
    "two objects": (b"NN", "damaged"),
    "a mark alone": (b"(", "damaged"),
    "a memo at two billion": (GOOD + b"r\xff\xff\xff\x7f" + b"0", "opcode POP"),
    "bytes of an exabyte": (b"\x8e" + struct.pack("<Q", 2**60) + b"x", f"expected {2**60}"),
    "a number of gigabytes": (b"\x8b" + struct.pack("<i", 2**30), "not enough data in stream"),
    "text of gigabytes": (b"X" + struct.pack("<I", 2**31) + b"x", "expected 2147483648 bytes"),
    "a set": (b"\x8f", "opcode EMPTY_SET"),
    "text that is not utf-8": (b"X\x01\x00\x00\x00\xff", "utf-8"),
    "a number with a tensor's name": (state_dict([("x", integer(3))]), "'x': int; expected names"),
    "a name that is a number": (b"}" + integer(3) + GOOD + b"s", "'3': Tensor; expected names"),
    "a training checkpoint": (state_dict([("model", state_dict([("x", GOOD)]))]), "'model': Dict"),
    "no dict": (b"](" + GOOD + b"e", "holds no dict of tensors"),
    "an empty dict": (b"}", "holds no dict of tensors"),
    "a tensor of a string": (b"ctorch._utils\n_rebuild_tensor_v2\n(" + text("x") + integer(0)
                             + numbers((4,)) + numbers((1,)) + b"\x89NtR", "no storage"),
    "a tensor of too few arguments": (b"ctorch._utils\n_rebuild_tensor_v2\n(tR", "TypeError"),
    "a parameter of a string": (b"ctorch._utils\n_rebuild_parameter\n(" + COMMAND + b"\x89NtR",
                                "no tensor"),
}  # fmt: skip
for name, (body, reason) in PICKLES.items():
    add(f"pickle with {name}", reason, pickle(body))


def window(shape, strides, offset=0, numel=4):
    reference = storage("0", "float32", numel)
    return pickle(state_dict([("x", tensor(reference, shape, strides, offset))]))


WINDOWS = {
    "a storage larger than its member": (((5,), (1,), 0, 5), "5 elements, but its member has 16"),
    "a storage of an exabyte": (((1,), (1,), 0, 2**62), "but its member has 16 bytes"),
    "a negative storage": (((1,), (1,), 0, -4), "has -4 elements"),
    "a size past its storage": (((5,), (1,)), "leaves its storage of 4 elements"),
    "an offset past its storage": (((2,), (1,), 3), "leaves its storage of 4 elements"),
    "a negative offset": (((2,), (1,), -2), "offset, sizes or strides"),
    "a negative stride": (((4,), (-1,), 3), "offset, sizes or strides"),
    "a negative size": (((-4,), (1,)), "offset, sizes or strides"),
    "one element repeated": (((2**40,), (0,)), "shows elements more than once"),
    "overlapping rows": (((3, 2), (1, 1)), "shows elements more than once"),
    "a product that overflows": (((2**40, 2**40), (2**40, 1)), "leaves its storage"),
    "nine axes": (((1,) * 9, (1,) * 9), "9 sizes and 9 strides"),
    "more sizes than strides": (((2, 2), (1,)), "2 sizes and 1 strides"),
}
for name, (arguments, reason) in WINDOWS.items():
    add(f"tensor with {name}", reason, window(*arguments))
add("tensor with fractions for sizes", "not whole numbers", pickle(state_dict([("x",
    b"ctorch._utils\n_rebuild_tensor_v2\n(" + storage("0", "float32", 4) + integer(0)
    + b"(G" + struct.pack(">d", 4.0) + b"t" + numbers((1,)) + b"\x89NtR")])))  # fmt: skip


# The files around the pickle --------------------------------------------------------------------


def archive(change, **options):
    """A writer of a good model of which `change` alters the bytes."""

    def write(directory):
        with_config(directory)
        path = directory / "pytorch_model.bin"
        torch_files.zip_file(path, state_dict([("x", GOOD)]), {"0": FOUR}, **options)
        path.write_bytes(change(path.read_bytes()))

    return write


def same(data):
    return data


def raw_file(content):
    def write(directory):
        (with_config(directory) / "pytorch_model.bin").write_bytes(content)

    return write


def encrypted(data):
    at = data.index(b"PK\x01\x02")
    return data[: at + 8] + b"\x01" + data[at + 9 :]


def larger_member(data):
    at = data.rindex(b"PK\x01\x02", 0, data.rindex(b"archive/data/0"))
    return data[: at + 20] + struct.pack("<II", 2**31, 2**31) + data[at + 28 :]


ARCHIVES = {
    "a bomb": (archive(same, extra=[("archive/data/1", bytes(10**6))],
                       compression=zipfile.ZIP_DEFLATED), "is compressed or encrypted"),
    "an encrypted member": (archive(encrypted), "is compressed or encrypted"),
    "a member larger than the file": (archive(larger_member), "larger than the file"),
    "a truncated end": (archive(lambda data: data[:-40]), "zip archive is damaged"),
    "a truncated beginning": (archive(lambda data: data[:200]), "zip archive is damaged"),
    "two pickles": (archive(same, extra=[("b/data.pkl", b"x")]), "no data.pkl, or several"),
    "a program": (archive(same, extra=[("archive/code/x.py", b"x")]), "TorchScript program"),
    "another byte order": (archive(same, byteorder="big"), "big-endian"),
}  # fmt: skip
for name, (write, reason) in ARCHIVES.items():
    add(f"archive with {name}", reason, write)


def archive_without_its_storage(directory):
    body = state_dict([("x", tensor(storage("1", "float32", 4), (4,)))])
    pickle(body)(directory)


def archive_with_a_member_twice(directory):
    with_config(directory)
    path = directory / "pytorch_model.bin"
    torch_files.zip_file(path, state_dict([("x", GOOD)]), {"0": FOUR})
    with zipfile.ZipFile(path, "a") as archive_file:
        archive_file.writestr("archive/data/0", FOUR)


add("archive without its storage", "storage '1' is not in its archive", archive_without_its_storage)
add("archive with a member twice", "holds `archive/data/0` twice", archive_with_a_member_twice)

FILES = {
    "nothing in it": (b"", "neither a zip archive nor a pickle"),
    "a web page": (b"<!DOCTYPE html><html>404</html>", "a web page; the download failed"),
    "a Git LFS pointer": (b"version https://git-lfs.github.com/spec/v1\n", "a Git LFS pointer"),
    "noise": (bytes(range(1, 200)), "neither a zip archive nor a pickle"),
    "a pickle of another program": (b"\x80\x02}q\x00.", "not one of torch.save"),
    "a pickle that runs at once": (b"\x80\x02" + call("os.system") + b".", "os[.]system"),
    "a pickle without an end": (b"\x80\x02]", "pickle exhausted|no end"),
}
for name, (content, reason) in FILES.items():
    add(f"file with {name}", reason, raw_file(content))


def legacy(**changes):
    def write(directory):
        with_config(directory)
        body = changes.pop("body", None) or state_dict(
            [("x", tensor(storage("0", "float32", 4, legacy=True), (4,)))]
        )
        storages = changes.pop("storages", {"0": (4, FOUR)})
        path = directory / "pytorch_model.bin"
        torch_files.legacy_file(path, body, storages, **changes)

    return write


def viewed():
    view = storage("0", "float32", 4, legacy=True)[:-3]  # without None, end of tuple, BINPERSID
    view += b"(" + text("1") + integer(0) + integer(2) + b"ttQ"
    return state_dict([("x", tensor(view, (4,)))])


LEGACY = {
    "fewer elements than it says": ({"storages": {"0": (3, FOUR)}}, "has 3 elements, not 4"),
    "a cut end": ({"storages": {"0": (4, FOUR[:7])}}, "ends within storage '0'"),
    "other storages": ({"keys": ["0", "1"]}, "list of storages is not that of its tensors"),
    "another byte order": ({"little_endian": False}, "big-endian"),
    "a view": ({"body": viewed()}, "is a view of another"),
    "a storage of an exabyte": ({"body": state_dict([("x", tensor(
        storage("0", "float32", 2**62, legacy=True), (4,)))])}, "larger than the file"),
}  # fmt: skip
for name, (changes, reason) in LEGACY.items():
    add(f"legacy file with {name}", reason, legacy(**changes))


def shard_index(weight_map):
    def write(directory):
        content = json.dumps({"weight_map": weight_map})
        (with_config(directory) / "pytorch_model.bin.index.json").write_text(content)

    return write


add("index that leads outside", "expected a file beside it", shard_index({"x": "../secret.bin"}))
add("index of the root", "expected a file beside it", shard_index({"x": "/etc/passwd"}))
add("index of a list", "expected a file beside it", shard_index({"x": ["a.bin"]}))
add("index of nothing", "must hold a `weight_map`", shard_index({}))
add("index of a missing file", "is not there", shard_index({"x": "a.bin"}))
