"""TensorFlow Serving's REST API as functions: JSON to arrays and back (util/json_tensor.cc).

https://www.tensorflow.org/tfx/serving/api_rest. What differs: NaN and Infinity, which are no JSON,
are refused, and so are unknown keys and keys that are given twice.
"""

import base64
import binascii
import json

import numpy as np

DEFAULT_SIGNATURE = "serving_default"
_INTEGERS = (np.int8, np.int16, np.int32, np.int64, np.uint8, np.uint16, np.uint32, np.uint64)


class RequestError(Exception):
    """A request that cannot be answered: an HTTP status and a sentence for the client."""

    def __init__(self, status, message):
        super().__init__(message)
        self.status = status
        self.message = message


def wrong(message):
    """Return the error of a request that is itself at fault."""
    return RequestError(400, message)


def parse_body(content, allowed):
    """Return the JSON object of a body.

    Args:
        content: Bytes.
        allowed: The keys that it may have.
    """
    try:
        body = json.loads(
            content.decode("utf-8"), parse_constant=_no_constant, object_pairs_hook=_unique
        )
    except UnicodeDecodeError:
        raise wrong("the body is not UTF-8") from None
    except RecursionError:
        raise wrong("the body is nested too deeply") from None
    except json.JSONDecodeError as error:
        raise wrong(f"the body is no JSON: {error}") from None
    except ValueError as error:  # a number of thousands of digits
        raise wrong(f"the body cannot be read: {error}") from None
    if not isinstance(body, dict):
        raise wrong(f"the body must be a JSON object; got {_kind(body)}")
    for key in body:
        if key not in allowed:
            raise wrong(f"unknown key {key!r}; valid keys are {', '.join(allowed)}")
    return body


def signature_name(body):
    """Return the signature that a body names, or the default."""
    name = body.get("signature_name", DEFAULT_SIGNATURE)
    if not isinstance(name, str):
        raise wrong(f"signature_name must be a string; got {_kind(name)}")
    return name or DEFAULT_SIGNATURE


def predict_inputs(body, inputs):
    """Return the arrays of a body for :predict, and whether it has rows.

    Args:
        body: With `instances` (rows) or `inputs` (columns).
        inputs: Name to (NumPy dtype, shape with None for open dimensions).

    Returns:
        Arrays by name, and True for `instances`.
    """
    if ("instances" in body) == ("inputs" in body):
        raise wrong("give either `instances` (rows) or `inputs` (columns)")
    is_rows = "instances" in body
    columns = _from_rows(body["instances"], inputs) if is_rows else body["inputs"]
    if not is_rows and (len(inputs) == 1 and not _is_columns(columns, inputs)):
        columns = dict.fromkeys(inputs, columns)
    if not isinstance(columns, dict):
        raise wrong(f"`inputs` must be an object with {', '.join(inputs)}; got {_kind(columns)}")
    _check_names(columns, inputs, "`inputs`")
    arrays = {name: to_array(name, columns[name], *inputs[name]) for name in inputs}
    batches = {name: array.shape[0] for name, array in arrays.items()}
    if len(set(batches.values())) > 1:
        raise wrong(f"all inputs must have the same number of rows; got {batches}")
    return arrays, is_rows


def to_array(name, value, dtype, shape):
    r"""Return the array of a JSON value.

    >>> to_array("text", ["a", {"b64": "/w=="}], np.object_, (None,)).tolist()
    [b'a', b'\xff']
    """
    if not isinstance(value, list):
        raise wrong(f"{name} must be a list, one entry a row; got {_kind(value)}")
    if len(shape) == 1:  # quick, and by far the most usual
        array = np.empty(len(value), dtype)
        for row, item in enumerate(value):
            array[row] = _scalar(f"{name}[{row}]", item, dtype)
        return _fitting(name, array, shape)
    sizes, level = [], value
    while len(sizes) < len(shape):
        if not isinstance(level, list):
            raise wrong(f"{name} must have {len(shape)} dimensions; got {len(sizes)}")
        sizes.append(len(level))
        level = level[0] if level else []
    array = np.empty(sizes, dtype)
    _fill(name, array, value)
    return _fitting(name, array, shape)


def prediction(outputs, is_rows):
    """Return the reply to :predict.

    Args:
        outputs: Arrays by name.
        is_rows: Whether the request had rows.
    """
    columns = {name: to_json(name, array) for name, array in outputs.items()}
    only = next(iter(columns.values())) if len(columns) == 1 else None
    if not is_rows:
        return {"outputs": columns if only is None else only}
    if only is not None:
        return {"predictions": only}
    rows = zip(*columns.values(), strict=True)
    return {"predictions": [dict(zip(columns, row, strict=True)) for row in rows]}


def to_json(name, array):
    """Return an array as nested lists; strings of outputs named `..._bytes` as base64."""
    if array.dtype != object:
        return array.tolist()
    flat = np.empty(array.size, dtype=object)
    for index, item in enumerate(array.ravel()):
        if name.endswith("_bytes"):
            flat[index] = {"b64": base64.b64encode(item).decode()}
        else:
            flat[index] = item.decode("utf-8", "replace")
    return flat.reshape(array.shape).tolist()


def examples(body):
    """Return the examples of a body for :classify or :regress as dicts of feature lists.

    >>> examples({"examples": [{"text": "a"}], "context": {"n": 1}})
    [{'n': [1], 'text': [b'a']}]
    """
    rows, context = body.get("examples"), body.get("context", {})
    if not isinstance(rows, list):
        raise wrong(f"`examples` must be a list of objects; got {_kind(rows)}")
    if not isinstance(context, dict):
        raise wrong(f"`context` must be an object; got {_kind(context)}")
    shared = _features("context", context)
    found = []
    for index, row in enumerate(rows):
        if not isinstance(row, dict):
            raise wrong(f"examples[{index}] must be an object; got {_kind(row)}")
        found.append({**shared, **_features(f"examples[{index}]", row)})
    return found


def classification(outputs):
    """Return the reply to :classify: (class, score) pairs of each example."""
    scores, classes = outputs.get("scores"), outputs.get("classes")
    if scores is None or classes is None:
        raise wrong("this signature gives no classes and scores; choose it with signature_name")
    names, numbers = to_json("classes", classes), scores.tolist()
    rows = zip(names, numbers, strict=True)
    return {"results": [[list(pair) for pair in zip(*row, strict=True)] for row in rows]}


def regression(outputs):
    """Return the reply to :regress: a number for each example."""
    if set(outputs) != {"outputs"} or outputs["outputs"].dtype.kind != "f":
        raise wrong("this signature gives no regression; choose it with signature_name")
    return {"results": outputs["outputs"].reshape(-1).tolist()}


def _from_rows(rows, inputs):
    if not isinstance(rows, list):
        raise wrong(f"`instances` must be a list; got {_kind(rows)}")
    if not rows:
        raise wrong("`instances` is empty")
    only = next(iter(inputs)) if len(inputs) == 1 else None
    if only is not None and not _is_columns(rows[0], inputs):
        return {only: rows}
    for index, row in enumerate(rows):
        if not isinstance(row, dict):
            raise wrong(f"instances[{index}] must be an object with {', '.join(inputs)}; "
                        f"got {_kind(row)}")  # fmt: skip
        _check_names(row, inputs, f"instances[{index}]")
    return {name: [row[name] for row in rows] for name in inputs}


def _is_columns(value, inputs):
    # A string as {"b64": ...} is an object too.
    return isinstance(value, dict) and not (set(value) == {"b64"} and "b64" not in inputs)


def _check_names(values, inputs, what):
    missing = [name for name in inputs if name not in values]
    unknown = [name for name in values if name not in inputs]
    if missing or unknown:
        raise wrong(f"{what} must have {', '.join(inputs)}; got {', '.join(values) or 'nothing'}")


def _fill(name, array, value):
    if not isinstance(value, list) or len(value) != len(array):
        got = len(value) if isinstance(value, list) else _kind(value)
        raise wrong(f"{name} is not rectangular: expected {len(array)} entries; got {got}")
    for index, item in enumerate(value):
        if array.ndim > 1:
            _fill(f"{name}[{index}]", array[index], item)
        else:
            array[index] = _scalar(f"{name}[{index}]", item, array.dtype.type)


def _fitting(name, array, shape):
    if any(wanted not in (None, size) for wanted, size in zip(shape, array.shape, strict=True)):
        wanted = [-1 if size is None else size for size in shape]
        raise wrong(f"{name} must have the shape {wanted}; got {list(array.shape)}")
    return array


def _scalar(name, value, dtype):
    if dtype is np.object_:
        return _string(name, value)
    if dtype is np.bool_:
        if isinstance(value, bool):
            return value
    elif isinstance(value, bool) or not isinstance(value, int | float):
        pass
    elif dtype not in _INTEGERS:
        return _float(name, value, dtype)
    elif isinstance(value, int):
        limits = np.iinfo(dtype)
        if not limits.min <= value <= limits.max:
            raise wrong(f"{name} is beyond {dtype.__name__}")
        return value
    raise wrong(f"{name} must be {_spell(dtype)}; got {_kind(value)}")


def _float(name, value, dtype):
    if not abs(value) <= float(np.finfo(dtype).max):
        raise wrong(f"{name} is beyond {dtype.__name__}")
    return value


def _string(name, value):
    if isinstance(value, str):
        try:
            return value.encode("utf-8")
        except UnicodeEncodeError:
            raise wrong(f"{name} has a lone surrogate, which is no text") from None
    if isinstance(value, dict) and set(value) == {"b64"} and isinstance(value["b64"], str):
        try:
            return base64.b64decode(value["b64"], validate=True)
        except (binascii.Error, ValueError):
            raise wrong(f"{name} has b64 that is no base64") from None
    raise wrong(f"{name} must be a string; got {_kind(value)}")


def _features(what, values):
    features = {}
    for key, value in values.items():
        items = value if isinstance(value, list) else [value]
        name = f"{what}.{key}"
        if items and all(isinstance(item, int) and not isinstance(item, bool) for item in items):
            features[key] = [_scalar(name, item, np.int64) for item in items]
        elif items and all(isinstance(item, float) for item in items):
            features[key] = [_float(name, item, np.float32) for item in items]
        else:
            features[key] = [_string(name, item) for item in items]
    return features


def _no_constant(word):
    raise wrong(f"{word} is no JSON number")


def _unique(pairs):
    found = dict(pairs)
    if len(found) != len(pairs):
        names = [key for key, _ in pairs]
        twice = next(key for key in names if names.count(key) > 1)
        raise wrong(f"the key {twice!r} is given twice")
    return found


def _spell(dtype):
    if dtype is np.bool_:
        return "true or false"
    return "a whole number" if dtype in _INTEGERS else "a number"


def _kind(value):
    kinds = {dict: "an object", list: "a list", str: "a string", bool: "a boolean"}
    return "null" if value is None else kinds.get(type(value), "a number")
