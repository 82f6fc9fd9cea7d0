"""Every task, on every kind of tokenizer, from its Python methods to clients without them."""

import json
import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf

from bertzoo.serving import c_api
from bertzoo.serving.saved_model import export_saved_model
from tests.serving import every_kind

# A server's stand-in: TensorFlow and tensorflow-text, and nothing else of ours.
CLIENT = """
import base64, json, sys
import tensorflow as tf, tensorflow_text

def read(value):
    strings = [base64.b64decode(item) for item in value["strings"]]
    return tf.reshape(tf.constant(strings, tf.string), value["shape"])

def write(tensor):
    array, number = tensor.numpy(), tensor.dtype.as_datatype_enum
    if number == 7:
        strings = [base64.b64encode(item).decode() for item in array.ravel()]
        return {"dtype": 7, "shape": list(array.shape), "strings": strings}
    data = base64.b64encode(array.tobytes()).decode()
    return {"dtype": number, "shape": list(array.shape), "data": data}

for line in sys.stdin:
    request = json.loads(line)
    model = tf.saved_model.load(request["folder"])
    run = model.signatures[request["signature"]]
    outputs = run(**{key: read(value) for key, value in request["inputs"].items()})
    assert "bertzoo" not in sys.modules
    print(json.dumps({key: write(value) for key, value in outputs.items()}), flush=True)
"""
# Every task; those that read texts in their own way on every tokenizer; those that compute with
# more than the last layer in bfloat16, too.
COMBINATIONS = [
    *((kind, "wordpiece", None) for kind in every_kind.KINDS),
    *((kind, family, None) for family in ("byte_pair", "sentence_piece")
      for kind in ("embeddings", "pairs", "entities", "answers", "fills")),
    *((kind, "wordpiece", "bfloat16")
      for kind in ("multi_label", "embeddings", "entities", "answers", "fills")),
]  # fmt: skip
# One segment, a mask token of its own and the fewest signatures.
DEFAULT = ("embeddings", "byte_pair", None)
CASES = [
    pytest.param(*case, id="-".join(filter(None, case)),
                 marks=pytest.mark.long if case == DEFAULT else pytest.mark.slow)
    for case in COMBINATIONS
]  # fmt: skip


@pytest.fixture(scope="module")
def fresh(tmp_path_factory):
    """A function that asks a process which has TensorFlow and tensorflow-text only."""
    process = subprocess.Popen(
        [sys.executable, "-c", CLIENT],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=tmp_path_factory.mktemp("elsewhere"),
    )

    def ask(folder, inputs, signature="serving_default"):
        encoded = {
            key: c_api.encode(every_kind.string_array(value)) for key, value in inputs.items()
        }
        request = {"folder": str(folder), "signature": signature, "inputs": encoded}
        process.stdin.write(json.dumps(request) + "\n")
        process.stdin.flush()
        outputs = json.loads(process.stdout.readline())
        return {key: c_api.decode(value) for key, value in outputs.items()}

    yield ask
    process.stdin.close()
    process.wait()


@pytest.mark.parametrize(("kind", "family", "dtype"), CASES)
def test_every_client_gets_the_answers_of_the_task(kind, family, dtype, fresh, tmp_path):
    task = every_kind.make_task(kind, family, dtype)
    # Exporting runs every signature and warm-up request with the ops of 2.13.
    version = export_saved_model(task, tmp_path / "m", pairs=kind == "pairs")
    inputs = every_kind.inputs_of(kind, task, every_kind.TEXTS)
    clients = {"fresh": fresh(version, inputs)}
    for server in ("2.13", "2.20"):
        (clients[server],) = every_kind.run_by_c_api(version, [inputs], server)

    want = every_kind.answers_of_task(kind, task, inputs)
    # In bfloat16 a fused and an unfused sum differ by a unit in its last place, 2^-8.
    tolerance = 1e-6 if dtype is None else 1e-2
    if kind in ("entities", "answers"):
        tolerance = max(tolerance, 1e-5)  # they make batches of windows of their own
    for outputs in clients.values():
        got = every_kind.answers_of_outputs(kind, outputs)
        _, others = every_kind.largest_difference(got, want, tolerance)
        assert others == 0
        assert {value.dtype.name for value in outputs.values()} <= {"float32", "int32", "object"}
    answers = {(str(same), str(np.round(numbers, 3))) for same, numbers in want}
    assert len(answers) > 2, "the answers differ between the texts"


EXAMPLES = {"single_label": "classify", "multi_label": "classify", "regression": "regress",
            "pairs": "classify"}  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("kind", EXAMPLES)
def test_real_examples_are_classified_and_regressed(kind, tmp_path):
    task = every_kind.make_task(kind, "wordpiece")
    version = export_saved_model(task, tmp_path / "m", pairs=kind == "pairs", warm_up=False)
    inputs = every_kind.inputs_of(kind, task, every_kind.TEXTS)
    examples = []
    for row in zip(*inputs.values(), strict=True):
        example = tf.train.Example()
        for key, text in zip(inputs, row, strict=True):
            example.features.feature[key].bytes_list.value.append(text.encode())
        examples.append(example.SerializeToString())
    api = EXAMPLES[kind]
    (found,) = every_kind.run_by_c_api(version, [{"inputs": examples}], signature=api)
    want = [numbers for _, numbers in every_kind.answers_of_task(kind, task, inputs)]
    if api == "regress":
        assert set(found) == {"outputs"}
        np.testing.assert_allclose(found["outputs"][:, None], want, atol=1e-6)
    else:
        assert set(found) == {"classes", "scores"}
        names = [label.encode() for label in every_kind.LABELS]
        assert found["classes"].tolist() == [names] * len(examples)
        np.testing.assert_allclose(found["scores"], want, atol=1e-6)


# As the command `saved_model_cli` starts, which knows no ops of tensorflow-text by itself.
COMMAND = "import tensorflow_text; from tensorflow.python.tools.saved_model_cli import main; main()"


def saved_model_cli(*arguments):
    done = subprocess.run(
        [sys.executable, "-c", COMMAND, *map(str, arguments)], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["pairs", "entities"])
def test_saved_model_cli_shows_and_runs_it(kind, tmp_path):
    task = every_kind.make_task(kind, "wordpiece")
    version = export_saved_model(task, tmp_path / "m", pairs=kind == "pairs", warm_up=False)
    tag = ("--dir", version, "--tag_set", "serve")
    shown = saved_model_cli("show", *tag, "--signature_def", "serving_default")
    inputs = every_kind.inputs_of(kind, task, every_kind.TEXTS[:4])
    for key in inputs:
        assert f"inputs['{key}'] tensor_info:\n      dtype: DT_STRING\n      shape: (-1)" in shown
    columns = []
    for key, value in inputs.items():
        np.save(tmp_path / f"{key}.npy", np.array(value))
        columns.append(f"{key}={tmp_path / key}.npy")
    saved_model_cli(
        "run", *tag, "--signature_def", "serving_default", "--inputs", ";".join(columns),
        "--outdir", tmp_path / "out",
    )  # fmt: skip
    found = {
        path.stem: np.load(path, allow_pickle=True) for path in (tmp_path / "out").glob("*.npy")
    }
    rows = every_kind.answers_of_outputs(kind, found)
    want = every_kind.answers_of_task(kind, task, inputs)
    assert every_kind.largest_difference(rows, want, 1e-5)[1] == 0
