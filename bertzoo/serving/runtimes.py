"""A task's network for other runtimes: ONNX Runtime, OpenVINO, LiteRT, in float32 or int8.

They take ids, which the tokenizer makes before: its ops on strings are TensorFlow's. The mask is
found from the ids, as in `serving_ids`.
"""

import dataclasses
import importlib.util
import pathlib

import numpy as np
import tensorflow as tf

from bertzoo import durable
from bertzoo.serving import converters, signatures

# B batch  T length  P masked places  V vocabulary

# Name -> (extra to install, packages that it needs, ending of its file).
RUNTIMES = {
    "onnx": ("onnx", ("onnx", "tf2onnx", "onnxruntime"), ".onnx"),
    "openvino": ("openvino", ("openvino", "onnx", "tf2onnx"), ".xml"),
    "litert": ("litert", ("ai_edge_litert",), ".tflite"),
}
# LiteRT does not convert a mask of which batch and length are both open.
FIXED_LENGTH = ("litert",)
SAMPLE = ("A good film, and the cast was great.", "", "Größe 東京 мир", "word " * 40)


@dataclasses.dataclass
class RuntimeModel:
    """A network in another runtime.

    Args:
        path: Of its file.
        runtime: `onnx`, `openvino` or `litert`.
        task: Whose it is; its preprocessor makes the ids.
        difference: Largest difference of an output from the task's, on the texts given.
        length: T, where it is fixed; None where it is open.
        run: From a dict of int32 `[B, T]` to a dict of arrays.
    """

    path: pathlib.Path
    runtime: str
    task: object
    difference: float
    length: int | None
    run: object

    def predict(self, texts, batch_size=32):
        """Return the outputs for texts, arrays `[N, ...]` by name.

        Where batches differ in their padded length, shorter outputs end in zeros.
        """
        parts = []
        for start in range(0, len(texts), batch_size):
            features = features_of(self.task, texts[start : start + batch_size], self.length)
            parts.append(self.run(features))
        return {name: _joined([part[name] for part in parts]) for name in parts[0]}


def export_runtime(task, path, runtime, texts=SAMPLE, calibration=None):
    """Write a task's network as a file of another runtime, run it there and compare.

    Args:
        task: Any task. A `MaskedLM`'s network also takes `mask_positions` `[B, P]` and gives
            `logits` `[B, P, V]`; a `MultipleChoice`'s takes pairs of a text and one of its choices,
            and gives the `logit` `[B]` of each.
        path: Of the file; a proper ending is added where it has none.
        runtime: `onnx`, `openvino` or `litert`.
        texts: For the comparison.
        calibration: Texts like those to come: then the products are int8, by the runtime's own
            quantiser (OpenVINO's is the package nncf). ONNX Runtime and OpenVINO take the ranges of
            activations from these texts, LiteRT from each batch. The outputs drift: measure your
            metric before and after, with `predict`.

    Returns:
        A `RuntimeModel`.

    Raises:
        ValueError: For a task or a runtime that is not supported, or if an output in float32
            differs by more than 1e-4.
        ModuleNotFoundError: If the runtime is not installed.
    """
    if runtime not in RUNTIMES:
        raise ValueError(f"runtime must be one of {', '.join(RUNTIMES)}; got {runtime!r}.")
    if task.head_kind not in _OUTPUTS:
        raise ValueError(
            f"a {task.head_kind} network cannot be exported; {', '.join(_OUTPUTS)} can."
        )
    if calibration is not None and not len(calibration):
        raise ValueError("calibration needs texts like those to come; got none.")
    extra, packages, _ = RUNTIMES[runtime]
    if calibration is not None and runtime == "openvino":
        extra, packages = "openvino-int8", (*packages, "nncf")
    for package in packages:
        if importlib.util.find_spec(package) is None:
            raise ModuleNotFoundError(
                f"{package}, pip install 'bertzoo[{extra}]'", name=f"{package} ({extra})"
            )
    path, length = _file_and_length(task, path, runtime)
    samples = None
    if calibration is not None:
        samples = [features_of(task, [text], length) for text in calibration]
    temporary = durable.temporary_beside(path, "export")
    try:
        converters.WRITERS[runtime](numeric_function(task, length), temporary / path.name, samples)
        difference = _difference(
            task, converters.RUNNERS[runtime](temporary / path.name), length, texts
        )
        if calibration is None and not difference <= 1e-4:
            raise ValueError(
                f"{runtime} differs from the task by {difference}; nothing is written."
            )
        # OpenVINO has its weights in a file of their own; the one that is opened comes last.
        for file in sorted(temporary.iterdir(), key=lambda file: file.name == path.name):
            durable.sync(file)
            file.replace(path.parent / file.name)
        durable.sync(path.parent)
    finally:
        for file in temporary.iterdir():
            file.unlink()
        temporary.rmdir()
    return RuntimeModel(path, runtime, task, difference, length, converters.RUNNERS[runtime](path))


def load_runtime(task, path, runtime, texts=SAMPLE):
    """Open a file of `export_runtime`, and measure again how far it is from the task.

    Args:
        task: Whose it is: its preprocessor makes the ids.
        path: Of the file.
        runtime: `onnx`, `openvino` or `litert`.
        texts: For the comparison.

    Returns:
        A `RuntimeModel`.

    Raises:
        FileNotFoundError: If there is no such file.
    """
    path, length = _file_and_length(task, path, runtime)
    if not path.is_file():
        raise FileNotFoundError(f"there is no {path}; export_runtime writes it.")
    run = converters.RUNNERS[runtime](path)
    return RuntimeModel(path, runtime, task, _difference(task, run, length, texts), length, run)


def _file_and_length(task, path, runtime):
    ending, path = RUNTIMES[runtime][2], pathlib.Path(path)
    path = path if path.suffix == ending else path.with_name(path.name + ending)
    return path, task.preprocessor.sequence_length if runtime in FIXED_LENGTH else None


def _difference(task, run, length, texts):
    features = features_of(task, list(texts), length)
    expected = numeric_function(task, length)(*features.values())
    got = run(features)
    return max(float(np.abs(got[key] - value.numpy()).max()) for key, value in expected.items())


def numeric_function(task, length=None):
    """Return the network as a `tf.function` of ids `[B, length]` with numbers only as outputs."""
    names = _input_names(task)
    specs = [tf.TensorSpec([None, length], tf.int32, name=name) for name in names]
    tokenizer, outputs = task.tokenizer, _OUTPUTS[task.head_kind]

    def run(*tensors):
        features = dict(zip(names, tensors, strict=True))
        ids = features["token_ids"]
        features["padding_mask"] = signatures.derived_mask(
            ids, tokenizer.pad_id, tokenizer.start_id
        )
        return outputs(task, task.network(features, training=False))

    if task.head_kind == "masked_lm":  # P, which no padding fixes
        specs[-1] = tf.TensorSpec([None, None], tf.int32, name=names[-1])
    return tf.function(run, input_signature=specs, autograph=False)


def _input_names(task):
    names = list(signatures.ids_inputs(task))
    return [*names, "mask_positions"] if task.head_kind == "masked_lm" else names


def _class_outputs(task, outputs):
    answers = task.answers(outputs)
    return {name: answers[name] for name in ("probabilities", "score") if name in answers}


_OUTPUTS = {
    "text_classifier": _class_outputs,
    "text_embedder": lambda task, outputs: {"embedding": outputs},
    "token_classifier": lambda task, outputs: {"probabilities": tf.nn.softmax(outputs)},
    "question_answerer": lambda task, outputs: dict(outputs),
    "multiple_choice": lambda task, outputs: {"logit": tf.reshape(outputs, [-1])},
    "masked_lm": lambda task, outputs: {"logits": outputs},
}


def features_of(task, texts, length=None):
    """Return the ids of texts as a runtime takes them, int32 `[B, T]` by name."""
    preprocessor = task.preprocessor
    if task.head_kind == "masked_lm":
        features = preprocessor.preprocess_masked(texts, length)
    else:
        features = preprocessor.pad(*preprocessor.pack(*preprocessor.columns(texts)), length)
    return {name: features[name] for name in _input_names(task)}


def _joined(parts):
    """Return arrays as one, `[N, ...]`: each dimension behind the first as long as the longest."""
    longest = np.max([part.shape[1:] for part in parts], axis=0)
    padded = [
        np.pad(part, [(0, 0), *((0, more) for more in longest - part.shape[1:])])
        if part.shape[1:] != tuple(longest)
        else part
        for part in parts
    ]
    return np.concatenate(padded)
