"""A server's settings and the README of a model's folder, as text."""

import json

# Where the container has the folder of the model.
INSIDE = "/models"
_TEXT, _SECOND = "The film was great.", "I liked it."


def settings(name):
    """Return the files that a server of a model is started with, as file name to text.

    Args:
        name: Of the model.
    """
    return {
        "models.config": _models_config(name),
        "batching_parameters.txt": _BATCHING,
        "docker-compose.yaml": _compose(name),
    }


def readme(name, version, manifest):
    """Return the README of a model's folder, with requests that work.

    Args:
        name: Of the model.
        version: Number of the version that it describes.
        manifest: Of that version.
    """
    signatures = manifest["signatures"]
    mask = next(iter(manifest["tasks"].values()))["mask_token"]
    texts = _sample_texts(signatures["serving_default"], mask)
    # A single input may stand alone in a row.
    row = texts["text"] if len(texts) == 1 else texts
    table = "\n".join(
        f"| `{signature}` | {_cells(tensors['inputs'])} | {_cells(tensors['outputs'])} |"
        for signature, tensors in signatures.items()
    )
    return _README.format(
        name=name,
        version=version,
        server=manifest["server"],
        tensorflow=manifest["tensorflow"],
        table=table,
        instances=json.dumps({"instances": [row]}),
        examples=_examples(manifest, name),
        inside=INSIDE,
        grpc="\n".join(
            f'request.inputs["{key}"].CopyFrom(tf.make_tensor_proto([{value!r}]))'
            for key, value in texts.items()
        ),
    )


def _sample_texts(signature, mask):
    """Return something worth asking as each input of a signature."""
    samples = {"text": _TEXT, "text_pair": _SECOND, "choices": ["I liked it.", "It rained."]}
    if "fill_token" in signature["outputs"]:
        samples["text"] = f"Paris is the {mask} of France."
    elif "entity_text" in signature["outputs"]:
        samples["text"] = "Marie Curie was born in Warsaw."
    elif "answer" in signature["outputs"]:
        samples |= {"text": "Where is the cat?", "text_pair": "The cat sat on a mat in Paris."}
    return {key: samples[key] for key in sorted(signature["inputs"])}


def _cells(tensors):
    return "<br>".join(f"`{key}` {spelled}" for key, spelled in tensors.items())


def _examples(manifest, name):
    found = []
    for verb in ("classify", "regress"):
        if verb in manifest["signatures"]:
            # Of the first task that can, which need not be the default.
            kinds = [task for task in manifest["tasks"].values() if _has_api(task, verb)]
            example = {"text": _TEXT, "text_pair": _SECOND} if kinds[0]["pair"] else {"text": _TEXT}
            body = json.dumps({"signature_name": verb, "examples": [example]})
            found.append(f"curl -d '{body}' \\\n  http://localhost:8501/v1/models/{name}:{verb}")
    return "\n".join(found)


def _has_api(task, verb):
    return task["kind"] == "text_classifier" and (task["problem"] == "regression") == (
        verb == "regress"
    )


def _models_config(name):
    return (
        "model_config_list {\n"
        "  config {\n"
        f'    name: "{name}"\n'
        f'    base_path: "{INSIDE}/{name}"\n'
        '    model_platform: "tensorflow"\n'
        "    # The newest version; to keep an older one beside it, as for a label `stable`:\n"
        "    # model_version_policy { specific { versions: 1 versions: 2 } }\n"
        '    # version_labels { key: "stable" value: 1 }\n'
        "  }\n"
        "}\n"
    )


# For `--enable_batching`. Texts have no length in the request, so requests of any length join.
# pad_variable_length_inputs stays false: it repeats the first element of a tensor. The masks of
# `serving_ids` survive that, but nothing is won by it.
_BATCHING = """\
max_batch_size { value: 32 }
batch_timeout_micros { value: 2000 }
max_enqueued_batches { value: 100 }
num_batch_threads { value: 4 }
allowed_batch_sizes: 1
allowed_batch_sizes: 2
allowed_batch_sizes: 4
allowed_batch_sizes: 8
allowed_batch_sizes: 16
allowed_batch_sizes: 32
pad_variable_length_inputs: false
"""


def _compose(name):
    return f"""\
services:
  serving:
    image: tensorflow/serving:2.19.1
    command:
      - --model_config_file={INSIDE}/{name}/models.config
      - --enable_batching=true
      - --batching_parameters_file={INSIDE}/{name}/batching_parameters.txt
    volumes:
      - .:{INSIDE}/{name}:ro
    ports:
      - "127.0.0.1:8500:8500"
      - "127.0.0.1:8501:8501"
"""


_README = """\
# {name}

A model for TensorFlow Serving {server} or newer, written by bertzoo with TensorFlow {tensorflow}.
This page is of version {version}; `{version}/assets.extra/manifest.json` has its origin, checksums
and how far its outputs are from the model's.

## Start

```
docker compose up
```

or, with an installed server, from the folder above this one:

```
tensorflow_model_server --rest_api_port=8501 --port=8500 \\
  --model_name={name} --model_base_path="$PWD/{name}"
```

## Ask

```
curl -d '{instances}' \\
  http://localhost:8501/v1/models/{name}:predict
{examples}
curl http://localhost:8501/v1/models/{name}
curl http://localhost:8501/v1/models/{name}/metadata
```

Over gRPC, with `pip install tensorflow-serving-api`:

```
import grpc
import tensorflow as tf
from tensorflow_serving.apis import predict_pb2, prediction_service_pb2_grpc

request = predict_pb2.PredictRequest()
request.model_spec.name = "{name}"
request.model_spec.signature_name = "serving_default"
{grpc}
channel = grpc.insecure_channel("localhost:8500")
reply = prediction_service_pb2_grpc.PredictionServiceStub(channel).Predict(request, 10.0)
print({{key: tf.make_ndarray(value) for key, value in reply.outputs.items()}})
```

## Signatures

`?` is the batch, or a length that differs between requests.

| signature | inputs | outputs |
|---|---|---|
{table}

Strings are UTF-8; what is not is skipped. `truncated` is 1 where a text was longer than the model
reads. Lists of different length are padded, and a count says how many are real.
"""
