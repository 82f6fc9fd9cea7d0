"""A teacher's outputs, written once: the student then trains without the teacher in memory."""

import hashlib
import io
import pathlib

import numpy as np

from bertzoo import durable
from bertzoo.training.distillation.outputs import Outputs

PREFIX = "teacher_"
OF = "teacher_of"  # whose outputs, and of which examples


def fingerprint(arrays):
    """Return a digest of the examples: outputs belong to these, in this order.

    >>> ids = np.zeros((2, 3), "int32")
    >>> fingerprint({"token_ids": ids}) == fingerprint({"token_ids": ids + 1})
    False
    """
    digest = hashlib.sha256()
    for name in sorted(arrays):
        array = np.ascontiguousarray(arrays[name])
        digest.update(f"{name} {array.dtype} {array.shape}".encode())
        digest.update(array.tobytes())
    return digest.hexdigest()


def store_outputs(teacher, reads, arrays, path, batch_size=32):
    """Run the teacher over all examples and write what it gives, whole or not at all.

    Args:
        teacher: A `Network`.
        reads: Names of the outputs that losses read, as `logits`.
        arrays: Dict of `[N, ...]` arrays of ids.
        path: Of the file, an `.npz` of plain arrays.
        batch_size: Rows at once.

    Returns:
        What `load_outputs` gives.
    """
    import tensorflow as tf

    outputs = Outputs(teacher, reads)
    run = tf.function(lambda batch: outputs(batch, training=False), reduce_retracing=True)
    count, parts = len(arrays["token_ids"]), []
    for start in range(0, count, batch_size):
        batch = {name: tf.constant(a[start : start + batch_size]) for name, a in arrays.items()}
        parts.append({name: value.numpy() for name, value in run(batch).items()})
    found = {
        PREFIX + name: np.concatenate([part[name] for part in parts]).astype(np.float32)
        for name in reads
    }
    buffer = io.BytesIO()
    np.savez(buffer, **found, **{OF: np.array(_whose(teacher, arrays))})
    durable.replace_file(pathlib.Path(path), buffer.getvalue())
    return found


def load_outputs(path, teacher, reads, arrays):
    """Return the stored outputs as columns `teacher_...` `[N, ...]`, or None where none are there.

    Args:
        path: Of the file.
        teacher: The `Network` that they are of; None to take them from any.
        reads: Names that must be there.
        arrays: The examples that they must be of.

    Raises:
        ValueError: If they are of other examples or of another teacher, or lack a name.
    """
    path = pathlib.Path(path)
    if not path.is_file():
        return None
    with np.load(path, allow_pickle=False) as stored:
        found = {name: stored[name] for name in stored.files}
    whose = str(found.pop(OF, "")).split()
    expected = _whose(teacher, arrays).split()
    if len(whose) != 2 or whose[1] != expected[1]:
        raise ValueError(
            f"{path} holds a teacher's outputs of other examples; delete it to write them anew."
        )
    if teacher is not None and whose[0] != expected[0]:
        raise ValueError(
            f"{path} holds the outputs of another teacher; delete it to write them anew."
        )
    for name in reads:
        if PREFIX + name not in found:
            raise ValueError(
                f"{path} has no `{name}` of the teacher, which a loss reads; delete it to write "
                "them anew."
            )
    return {PREFIX + name: found[PREFIX + name] for name in reads}


def _whose(teacher, arrays):
    weights = "-"
    if teacher is not None:
        digest = hashlib.sha256()
        for weight in teacher.weights:
            if weight.name != "seed_generator_state":
                digest.update(np.asarray(weight).tobytes())
        weights = digest.hexdigest()
    return f"{weights} {fingerprint(arrays)}"
