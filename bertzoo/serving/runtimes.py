"""A task's network for other runtimes: ONNX Runtime, OpenVINO, LiteRT, in float32 or int8.

They take ids, which the tokenizer makes before: its ops on strings are TensorFlow's. The mask is
found from the ids, as in `serving_ids`.
"""

import dataclasses
import importlib.util
import pathlib
import tempfile

import numpy as np
import tensorflow as tf

from bertzoo import durable
from bertzoo.serving import signatures

# B batch  T length

# Name -> (extra to install, packages that it needs, ending of its file).
RUNTIMES = {
    "onnx": ("onnx", ("onnx", "tf2onnx", "onnxruntime"), ".onnx"),
    "openvino": ("openvino", ("openvino", "onnx", "tf2onnx"), ".xml"),
    "litert": ("litert", ("ai_edge_litert",), ".tflite"),
}
# The version of ONNX's ops that onnxruntime 1.14 (2023) and all later ones run.
OPSET = 17
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
        """Return the outputs for texts, arrays `[N, ...]` by name, each batch padded alike."""
        parts = []
        for start in range(0, len(texts), batch_size):
            features = features_of(self.task, texts[start : start + batch_size], self.length)
            parts.append(self.run(features))
        return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def export_runtime(task, path, runtime, texts=SAMPLE, calibration=None):
    """Write a task's network as a file of another runtime, run it there and compare.

    Args:
        task: A `TextClassifier`, `TextEmbedder`, `TokenClassifier` or `QuestionAnswerer`.
        path: Of the file; a proper ending is added where it has none.
        runtime: `onnx`, `openvino` or `litert`.
        texts: For the comparison.
        calibration: Texts like those to come: then the products are int8, by the runtime's own
            quantiser. ONNX Runtime takes the ranges of activations from these texts, LiteRT from
            each batch. The outputs drift: measure your metric before and after, with `predict`.

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
    if calibration is not None and runtime == "openvino":
        raise ValueError("OpenVINO has no quantiser of its own in its package; use onnx or litert.")
    extra, packages, ending = RUNTIMES[runtime]
    for package in packages:
        if importlib.util.find_spec(package) is None:
            raise ModuleNotFoundError(
                f"{package}, pip install 'bertzoo[{extra}]'", name=f"{package} ({extra})"
            )
    path = pathlib.Path(path)
    path = path if path.suffix == ending else path.with_name(path.name + ending)
    length = task.preprocessor.sequence_length if runtime in FIXED_LENGTH else None
    function = numeric_function(task, length)
    samples = None
    if calibration is not None:
        samples = [features_of(task, [text], length) for text in calibration]
    temporary = durable.temporary_beside(path, "export")
    try:
        _WRITERS[runtime](function, temporary / path.name, samples)
        run = RUNNERS[runtime](temporary / path.name)
        features = features_of(task, list(texts), length)
        expected = {key: value.numpy() for key, value in function(*features.values()).items()}
        got = run(features)
        difference = max(float(np.abs(got[key] - expected[key]).max()) for key in expected)
        if calibration is None and not difference <= 1e-4:
            raise ValueError(
                f"{runtime} differs from the task by {difference}; nothing is written."
            )
        for file in temporary.iterdir():  # OpenVINO has its weights in a file of their own
            durable.sync(file)
            file.replace(path.parent / file.name)
        durable.sync(path.parent)
    finally:
        for file in temporary.iterdir():
            file.unlink()
        temporary.rmdir()
    return RuntimeModel(path, runtime, task, difference, length, RUNNERS[runtime](path))


def numeric_function(task, length=None):
    """Return the network as a `tf.function` of ids `[B, length]` with numbers only as outputs."""
    names = list(signatures.ids_inputs(task))
    specs = [tf.TensorSpec([None, length], tf.int32, name=name) for name in names]
    tokenizer, outputs = task.tokenizer, _OUTPUTS[task.head_kind]

    def run(*tensors):
        features = dict(zip(names, tensors, strict=True))
        ids = features["token_ids"]
        features["padding_mask"] = signatures.derived_mask(
            ids, tokenizer.pad_id, tokenizer.start_id
        )
        return outputs(task, task.network(features, training=False))

    return tf.function(run, input_signature=specs, autograph=False)


def _class_outputs(task, outputs):
    answers = task.answers(outputs)
    return {name: answers[name] for name in ("probabilities", "score") if name in answers}


_OUTPUTS = {
    "text_classifier": _class_outputs,
    "text_embedder": lambda task, outputs: {"embedding": outputs},
    "token_classifier": lambda task, outputs: {"probabilities": tf.nn.softmax(outputs)},
    "question_answerer": lambda task, outputs: dict(outputs),
}


def features_of(task, texts, length=None):
    """Return the ids of texts as the functions in `RUNNERS` take them, int32 `[B, T]` by name."""
    preprocessor = task.preprocessor
    features = preprocessor.pad(*preprocessor.pack(*preprocessor.columns(texts)), length)
    return {name: features[name] for name in signatures.ids_inputs(task)}


def _write_onnx(function, path, samples):
    import tf2onnx

    plain = path if samples is None else path.with_name("float32.onnx")
    tf2onnx.convert.from_function(
        function,
        input_signature=function.input_signature,
        opset=OPSET,
        output_path=str(plain),
        # tf2onnx writes it under its own name, as if another would give its meaning.
        custom_op_handlers={"Erfc": (_one_minus_erf, [])},
    )
    if samples is None:
        return
    from onnxruntime import quantization

    class Reader(quantization.CalibrationDataReader):
        def __init__(self):
            self.left = iter(samples)

        def get_next(self):
            features = next(self.left, None)
            return features and {name: value.numpy() for name, value in features.items()}

    # Only products: quantised norms and softmaxes cost accuracy and win nothing.
    quantization.quantize_static(
        str(plain),
        str(path),
        Reader(),
        quant_format=quantization.QuantFormat.QDQ,
        op_types_to_quantize=["MatMul", "Gemm"],
        per_channel=True,
        activation_type=quantization.QuantType.QUInt8,
        weight_type=quantization.QuantType.QInt8,
    )
    plain.unlink()


def _one_minus_erf(graph, node, name, args):
    """Write TensorFlow's Erfc, which ONNX lacks, as 1 - Erf: exact to 1e-7 of what is added."""
    shapes, dtypes = node.output_shapes, node.output_dtypes
    erf = graph.make_node("Erf", [node.input[0]], shapes=shapes, dtypes=dtypes)
    one = graph.make_const(f"{name}/one", np.array(1.0, dtype=np.float32))
    graph.remove_node(node.name)
    graph.make_node(
        "Sub", [one.output[0], erf.output[0]], name=node.name, outputs=node.output, shapes=shapes,
        dtypes=dtypes,
    )  # fmt: skip


def _write_openvino(function, path, samples):
    import openvino

    between = path.with_name("between.onnx")
    _write_onnx(function, between, None)
    # Not to float16, which is the default for weights.
    openvino.save_model(openvino.convert_model(str(between)), str(path), compress_to_fp16=False)
    between.unlink()


def _write_litert(function, path, samples):
    concrete = function.get_concrete_function()
    root = tf.Module()
    root.weights = list(concrete.graph.variables)
    with tempfile.TemporaryDirectory() as folder:
        tf.saved_model.save(root, folder, signatures={"serving_default": concrete})
        converter = tf.lite.TFLiteConverter.from_saved_model(folder)
        if samples is not None:
            # Weights in int8, activations by the range of each batch. With ranges from the samples
            # attention would be lost: its scores hold the mask's -10000 and share one int8 scale
            # (probabilities drifted by 0.18 on average).
            converter.optimizations = [tf.lite.Optimize.DEFAULT]
        path.write_bytes(converter.convert())


def _run_onnx(path):
    import onnxruntime

    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]

    def run(features):
        feeds = {name: np.asarray(value) for name, value in features.items()}
        return dict(zip(names, session.run(None, feeds), strict=True))

    return run


def _run_openvino(path):
    import openvino

    # On processors with AMX the default is bfloat16.
    model = openvino.Core().compile_model(str(path), "CPU", {"INFERENCE_PRECISION_HINT": "f32"})

    def run(features):
        found = model({name: np.asarray(value) for name, value in features.items()})
        return {output.get_any_name(): found[output].copy() for output in model.outputs}

    return run


def _run_litert(path):
    from ai_edge_litert.interpreter import Interpreter

    signature = Interpreter(model_path=str(path)).get_signature_runner("serving_default")

    def run(features):
        return signature(**{name: np.asarray(value) for name, value in features.items()})

    return run


_WRITERS = {"onnx": _write_onnx, "openvino": _write_openvino, "litert": _write_litert}
RUNNERS = {"onnx": _run_onnx, "openvino": _run_openvino, "litert": _run_litert}
