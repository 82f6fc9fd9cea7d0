"""A function of ids as a file of another runtime, and such a file as a function of ids.

Imported by `runtimes.py`; each runtime's packages are imported where they are needed.
"""

import contextlib
import os
import tempfile

import numpy as np
import tensorflow as tf

# The version of ONNX's ops that onnxruntime 1.14 (2023) and all later ones run.
OPSET = 17


def _write_onnx(function, path, samples):
    import tf2onnx

    plain = path if samples is None else path.with_name("float32.onnx")
    with _without_copies():
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
            return features and _as_arrays(features)

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


@contextlib.contextmanager
def _without_copies():
    """Keep tf2onnx from copying the graph, weights and all, before each of its forty passes.

    It does so in order to go on when a pass fails; the copies go late, and an encoder of 90 MB took
    7 GB. There is no argument for it, only a variable (convert.py, `_convert_common`).
    """
    from tf2onnx import constants

    name = constants.ENV_TF2ONNX_CATCH_ERRORS
    before = os.environ.get(name)
    os.environ[name] = "FALSE"
    try:
        yield
    finally:
        if before is None:
            del os.environ[name]
        else:
            os.environ[name] = before


def _as_arrays(features):
    return {name: np.asarray(value) for name, value in features.items()}


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
    model = openvino.convert_model(str(between))
    if samples is not None:
        import nncf

        # As it says itself of Transformers: their attention is left to it, symmetric activations.
        model = nncf.quantize(
            model,
            nncf.Dataset(samples, _as_arrays),
            model_type=nncf.ModelType.TRANSFORMER,
            subset_size=len(samples),
        )
    # Not to float16, which is the default for weights.
    openvino.save_model(model, str(path), compress_to_fp16=False)
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
        return dict(zip(names, session.run(None, _as_arrays(features)), strict=True))

    return run


def _run_openvino(path):
    import openvino

    # On processors with AMX the default is bfloat16.
    model = openvino.Core().compile_model(str(path), "CPU", {"INFERENCE_PRECISION_HINT": "f32"})

    def run(features):
        found = model(_as_arrays(features))
        return {output.get_any_name(): found[output].copy() for output in model.outputs}

    return run


def _run_litert(path):
    from ai_edge_litert.interpreter import Interpreter

    signature = Interpreter(model_path=str(path)).get_signature_runner("serving_default")

    def run(features):
        return signature(**_as_arrays(features))

    return run


WRITERS = {"onnx": _write_onnx, "openvino": _write_openvino, "litert": _write_litert}
RUNNERS = {"onnx": _run_onnx, "openvino": _run_openvino, "litert": _run_litert}
