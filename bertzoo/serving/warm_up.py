"""Requests that a server runs when it loads a version, before it answers from it.

`assets.extra/tf_serving_warmup_requests`, a TFRecord of PredictionLogs (saved_model_warmup.cc). The
four messages around TensorFlow's own TensorProto are written here, by their field numbers in
tensorflow_serving/apis (prediction_log.proto, predict.proto, model.proto), so that an export needs
no further package; they are compared with that package's in the peers' tests.
"""

import pathlib
import typing

import numpy as np

from bertzoo.checkpoints import protobuf_wire as wire

FILE = "assets.extra/tf_serving_warmup_requests"
# num_request_iterations and the file are bounded by the server: kMaxNumRecords.
MOST = 1000

# PredictionLog.predict_log, PredictLog.request, PredictRequest.model_spec and .inputs,
# ModelSpec.signature_name, and key and value of a map's entry.
_PREDICT_LOG, _REQUEST, _MODEL_SPEC, _INPUTS, _SIGNATURE_NAME, _KEY, _VALUE = 6, 1, 1, 2, 3, 1, 2


class Request(typing.NamedTuple):
    """A request for prediction.

    Args:
        signature: Its name.
        inputs: Arrays by input name; strings are object arrays of bytes.
    """

    signature: str
    inputs: dict[str, np.ndarray]


def write(folder, requests):
    """Write warm-up requests into the folder of a SavedModel.

    Args:
        folder: Of the SavedModel.
        requests: A list of `Request`s, at most 1000.
    """
    import tensorflow as tf

    if len(requests) > MOST:
        raise ValueError(f"a server takes {MOST} warm-up requests; got {len(requests)}.")
    path = pathlib.Path(folder) / FILE
    path.parent.mkdir(exist_ok=True)
    with tf.io.TFRecordWriter(str(path)) as writer:
        for request in requests:
            writer.write(prediction_log(request))


def prediction_log(request):
    """Return a `Request` as a serialized PredictionLog."""
    import tensorflow as tf

    content = _field(_MODEL_SPEC, _field(_SIGNATURE_NAME, request.signature.encode()))
    for name, value in request.inputs.items():
        tensor = tf.make_tensor_proto(value).SerializeToString()
        content += _field(_INPUTS, _field(_KEY, name.encode()) + _field(_VALUE, tensor))
    return _field(_PREDICT_LOG, _field(_REQUEST, content))


def read(folder):
    """Return the warm-up requests in the folder of a SavedModel, a list of `Request`s.

    Raises:
        ValueError: If the file is damaged or has something else than requests for prediction.
    """
    import tensorflow as tf

    path = pathlib.Path(folder) / FILE
    if not path.is_file():
        return []
    requests = []
    try:
        for record in tf.data.TFRecordDataset(str(path)):
            requests.append(_request(record.numpy()))
    except (ValueError, tf.errors.OpError) as error:
        raise ValueError(f"warm-up request {len(requests)} cannot be read: {error}") from error
    return requests


def _request(content):
    from tensorflow.core.framework import tensor_pb2
    from tensorflow.python.framework import tensor_util

    log = _message(content, _PREDICT_LOG, "predict_log")
    request = _message(log, _REQUEST, "request")
    signature, inputs = "serving_default", {}
    for number, value in wire.fields(request):
        if number == _MODEL_SPEC:
            fields = dict(wire.fields(wire.message(value)))
            signature = wire.message(fields.get(_SIGNATURE_NAME, b"")).decode() or signature
        elif number == _INPUTS:
            entry = dict(wire.fields(wire.message(value)))
            tensor = tensor_pb2.TensorProto.FromString(wire.message(entry.get(_VALUE, b"")))
            inputs[wire.message(entry.get(_KEY, b"")).decode()] = tensor_util.MakeNdarray(tensor)
    return Request(signature, inputs)


def _message(content, number, name):
    found = [value for field, value in wire.fields(content) if field == number]
    if not found:
        raise ValueError(f"it has no {name}: only requests for prediction are read here")
    return wire.message(found[-1])


def _field(number, content):
    r"""Return a field that holds bytes.

    >>> _field(2, b"a")
    b'\x12\x01a'
    """
    return bytes([number << 3 | 2]) + _varint(len(content)) + content


def _varint(value):
    content = bytearray()
    while value > 127:
        content.append(value & 127 | 128)
        value >>= 7
    return bytes([*content, value])
