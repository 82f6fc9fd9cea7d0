"""Which ops a stock TensorFlow Serving of each version has, as data.

A server has the ops of its TensorFlow and those of the tensorflow-text that it links
(model_servers/BUILD, `SUPPORTED_TENSORFLOW_OPS`): version 2.12.1 up to Serving 2.19.1, 2.20.0 from
Serving 2.20 on (workspace.bzl of each tag).
"""

from __future__ import annotations

SERVERS = ("2.13", "2.14", "2.15", "2.16", "2.17", "2.18", "2.19", "2.20")

# Ops that came with a version of TensorFlow, those for TPUs and inner ones (`_...`) left out: the
# differences of TF_GetAllOpList between libtensorflow_cc of tensorflow-cpu 2.13.1, 2.14.1, 2.15.1,
# 2.16.2, 2.17.1, 2.18.1, 2.19.1 and tensorflow 2.20.0.
NEW_OPS = {
    "2.14": {"Conv", "RelayoutLike", "SparseSegmentMeanGradV2", "SparseSegmentSqrtNGradV2",
             "SparseSegmentSumGradV2", "TFRecordDatasetV2"},
    "2.15": {"DumpTensor", "FFTND", "IFFTND", "IRFFTND", "RFFTND"},
    "2.16": {"DatasetFingerprint", "GlobalIterId", "ListSnapshotChunksDataset"},
    "2.17": {"CalibrationStatisticsSaver", "GlobalShuffleDataset", "IndexFlatMapDataset",
             "IteratorGetModelProto", "WeightedFlatMapDataset"},
    "2.18": {"CheckPinned"},
    "2.20": {"DecodeWebP"},
}  # fmt: skip

# tensorflow-text's op libraries that 2.12.1's ops_lib does not link, and their ops.
LATE_LIBRARIES = {
    "_trimmer_ops.so": ("TFText>RoundRobinTrim", "TFText>RoundRobinGenerateMasks"),
    "_utf8_binarize_op.so": ("TFText>Utf8Binarize",),
}
LATE_TEXT = "2.20"

# What no server runs, and why.
NEVER = {
    "PyFunc": "it calls Python",
    "PyFuncStateless": "it calls Python",
    "EagerPyFunc": "it calls Python",
    "XlaCallModule": "it holds a program that JAX compiled, which a stock server does not link",
    "MutableHashTable": "a table that can be changed is not filled again when a server loads it",
    "MutableHashTableV2": "a table that can be changed is not filled again when a server loads it",
}


def number(server: str) -> tuple[int, int]:
    """Return a server's version as numbers.

    >>> number("2.13") < number("2.20")
    True
    """
    if server not in SERVERS:
        raise ValueError(f"server must be one of {', '.join(SERVERS)}; got {server!r}.")
    return tuple(map(int, server.split(".")))  # type: ignore[return-value]


def op_libraries(names: list[str], server: str) -> list[str]:
    """Return those of tensorflow-text's op libraries that a server links.

    >>> op_libraries(["_trimmer_ops.so", "_normalize_ops.so"], "2.19")
    ['_normalize_ops.so']
    """
    if number(server) >= number(LATE_TEXT):
        return list(names)
    return [name for name in names if name.rpartition("/")[2] not in LATE_LIBRARIES]


def missing_since(op: str, server: str) -> str | None:
    """Return the first version that has an op, if a server of this version lacks it.

    >>> missing_since("TFText>RoundRobinTrim", "2.16"), missing_since("MatMul", "2.13")
    ('2.20', None)
    """
    late_text = {name for ops in LATE_LIBRARIES.values() for name in ops}
    since = [version for version, ops in NEW_OPS.items() if op in ops]
    since += [LATE_TEXT] if op in late_text else []
    return since[0] if since and number(since[0]) > number(server) else None
