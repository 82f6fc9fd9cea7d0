"""What lies beside a SavedModel: warm-up requests, a manifest, a server's settings, a README."""

import json
import os
import pathlib

import numpy as np

from bertzoo import durable
from bertzoo.preprocessing import packing
from bertzoo.serving import check, documents, graph_file, warm_up

MANIFEST = "assets.extra/manifest.json"
# The batch sizes of warm-up requests: one text, and a batch as a server that batches makes it.
WARM_UP_BATCHES = (1, 8)
# For the comparison with the task: scripts, controls, invalid UTF-8, nothing at all.
PARITY_TEXTS = (
    "A good film, and the [MASK] was great.", "", " ", "Größe ΟΔΟΣ İstanbul naïve café",
    "東京は日本の首都です。", "мир и война", "مرحبا بالعالم", "नमस्ते दुनिया", "👩‍👩‍👧 ok",
    "a\0b\tc\r\nd", b"\xff\xfe\xc3(", "[CLS] [SEP] <s> </s>", "word " * 700, "ก" * 300,
)  # fmt: skip


def write(folder, functions, preprocessor, facts, server, with_warm_up):
    """Write what a version holds beside the graph, check it all, and write what was found.

    Args:
        folder: Of the SavedModel, still under its temporary name.
        functions: The `tf.function` of each signature.
        preprocessor: Of the first task.
        facts: For the manifest.
        server: The oldest server that is to load it.
        with_warm_up: Whether to write warm-up requests.

    Raises:
        ValueError: If the check finds a problem, or an output differs from the task's.
    """
    (folder / "assets.extra").mkdir()
    if with_warm_up:
        warm_up.write(folder, warm_up_requests(functions, preprocessor))
    runs, expected = parity_runs(folder, functions)
    report, results = check.examine(folder, server, more_runs=runs)
    if report.problems:
        raise ValueError(
            f"a server of {server} would not take this export: {'; '.join(report.problems)}."
        )
    manifest = {
        **facts,
        "signatures": {
            name: {"inputs": inputs, "outputs": outputs}
            for name, (inputs, outputs) in report.signatures.items()
        },
        "ops": report.ops,
        "load_seconds": round(report.load_seconds, 3),
        "warm_up_requests": report.num_warm_up,
        "largest_difference": largest_differences(expected, results),
        "sha256": checksums(folder),
    }
    text = json.dumps(manifest, indent=2, ensure_ascii=False)
    durable.write_bytes(folder / MANIFEST, text.encode())


def write_beside(version):
    """Write a server's settings and the README into the folder of the model.

    Settings that are there already stay: they may have been changed.

    Args:
        version: Path of the version directory.
    """
    base, name = version.parent, version.parent.resolve().name
    manifest = json.loads((version / MANIFEST).read_text(encoding="utf-8"))
    for file, content in documents.settings(name).items():
        if not (base / file).exists():
            _replace(base / file, content)
    _replace(base / "README.md", documents.readme(name, version.name, manifest))


def warm_up_requests(functions, preprocessor):
    """Return requests for every padded length that the preprocessor makes, by signature.

    A text of a length is so many full stops: in every vocabulary, and always one token. One that
    is filled begins with a mask.
    """
    lengths = packing.length_buckets(preprocessor.sequence_length)
    if preprocessor.padding == "fixed":
        lengths = [preprocessor.sequence_length]
    requests = []
    for name, function in functions.items():
        if name == "tokenize":
            continue
        specs = function.input_signature
        is_pair = bool({"text_pair", "choices"} & {spec.name for spec in specs})
        is_filled = "fill_token" in function.get_concrete_function().structured_outputs
        mask = preprocessor.tokenizer.config.mask_token if is_filled else "."
        for length in lengths:
            stops = (length - 3) // 2 if is_pair else length - 2
            text = (mask + " ." * (stops - 1)).encode()
            for batch in WARM_UP_BATCHES:
                inputs = {spec.name: _warm_up_value(spec, batch, length, text) for spec in specs}
                requests.append(warm_up.Request(name, inputs))
    # Evenly fewer where several tasks have more lengths than a server takes.
    step = -(-len(requests) // warm_up.MOST)
    return requests[::step]


def parity_runs(folder, functions):
    """Return runs of every signature that takes texts, and what its function answers.

    Args:
        folder: Of the SavedModel.
        functions: The `tf.function` of each signature.

    Returns:
        Runs as for `c_api.run`; and for each (signature name, {tensor: (output name, array)}).
    """
    import tensorflow as tf

    texts = [t.encode() if isinstance(t, str) else t for t in PARITY_TEXTS]
    graph = graph_file.read(folder)
    runs, expected = [], []
    for name, function in functions.items():
        if not _takes_text(function):
            continue
        signature = graph.signatures[name]
        columns = {key: _parity_column(key, texts) for key in signature.inputs}
        feeds = {signature.inputs[key].tensor: column for key, column in columns.items()}
        runs.append((feeds, [info.tensor for info in signature.outputs.values()]))
        values = function(*(tf.constant(columns[spec.name]) for spec in function.input_signature))
        tensors = {signature.outputs[key].tensor: (key, v.numpy()) for key, v in values.items()}
        expected.append((name, tensors))
    return runs, expected


def largest_differences(expected, results):
    """Return the largest difference of each float output between the C API and the task.

    Strings and whole numbers must be the same.

    Args:
        expected: From `parity_runs`.
        results: What the runs gave.

    Raises:
        ValueError: If a run failed, they are not the same, or a float differs by more than 1e-5.
    """
    differences = {}
    for (name, tensors), result in zip(expected, results, strict=True):
        if "error" in result:
            raise ValueError(f"signature {name} fails: {result['error']}")
        for tensor, (key, value) in tensors.items():
            difference = _difference(f"{key} of signature {name}", value, result["outputs"][tensor])
            if difference is not None:
                differences.setdefault(name, {})[key] = difference
    return differences


def checksums(folder):
    """Return the SHA-256 of every file below a folder, by its path in it."""
    return {
        str(path.relative_to(folder)): durable.sha256(path)
        for path in sorted(pathlib.Path(folder).rglob("*"))
        if path.is_file()
    }


def _difference(what, expected, got):
    if got.shape != expected.shape:
        raise ValueError(f"{what} has the shape {got.shape}, and the task's {expected.shape}.")
    if expected.dtype.kind == "f":
        largest = float(np.abs(got - expected).max(initial=0.0))
        if not largest <= 1e-5:
            raise ValueError(f"{what} differs from the task's by {largest}.")
        return largest
    if not np.array_equal(got, expected):
        raise ValueError(f"{what} differs from the task's.")
    return None


def _takes_text(function):
    return all(spec.dtype.name == "string" for spec in function.input_signature)


def _parity_column(key, texts):
    """Return the texts as an input takes them: tf.Examples, strings, or three choices each."""
    if key == "choices":
        return np.array([texts, texts[1:] + texts[:1], texts[::-1]], dtype=object).T
    return np.array([check.example(t) if key == "inputs" else t for t in texts], dtype=object)


def _warm_up_value(spec, batch, length, text):
    if spec.dtype.name != "string":
        return check.sample_numbers(spec.name, (batch, length))
    value = np.empty((batch, 2) if spec.name == "choices" else batch, dtype=object)
    value[:] = check.example(text) if spec.name == "inputs" else text
    return value


def _replace(path, content):
    temporary = durable.temporary_beside(path, "new")
    try:
        durable.write_bytes(temporary / path.name, content.encode())
        os.replace(temporary / path.name, path)
    finally:
        temporary.rmdir()
    durable.sync(path.parent)


def read_manifest(version):
    """Return the manifest of a version directory, or None where it has none."""
    path = pathlib.Path(version) / MANIFEST
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else None
