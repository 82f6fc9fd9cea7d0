"""A task, or several on one encoder, as a SavedModel: strings in, answers out.

What a version directory holds and why is in docs/serving.md.
"""

import hashlib
import importlib.metadata

import keras
import numpy as np
import tensorflow as tf

import bertzoo
from bertzoo.models import loading, networks
from bertzoo.serving import companions, server_ops, signatures, versions

PAIRED_KINDS = ("question_answerer",)


class Servable(tf.Module):
    """What signatures read and a file must hold: the weights, each once, and tables of words.

    Keras models are not tracked, only their variables: of Keras nothing but the graph of a forward
    pass comes into the file. Nor are the functions, which would then be in it twice.

    Args:
        tasks: Tasks by name; those after the first share its encoder.
    """

    def __init__(self, tasks):
        super().__init__()
        self.weights = {}
        for name, task in tasks.items():
            weights = loading.weights_of(task.network)
            self.weights[name] = [weight.value for weight in weights.values()]
        self.resources = [task.tokenizer.resources for task in tasks.values()]


def signature_functions(tasks, pairs=(), input_names="bertzoo"):
    """Return the `tf.function` of every signature.

    `serving_default`, `serving_ids` and `tokenize` are those of the first task; where there are
    several, each also has one by its name and one by its name and `_ids`. `classify` and `regress`
    are those of the first task that can.
    """
    functions = {}
    for name, task in tasks.items():
        is_pair = name in pairs or task.head_kind in PAIRED_KINDS
        text = signatures.text_function(task, is_pair)
        ids = signatures.ids_function(task, input_names)
        functions.setdefault("serving_default", text)
        functions.setdefault("serving_ids", ids)
        functions.setdefault("tokenize", signatures.tokenize_function(task))
        if len(tasks) > 1:
            functions[name], functions[f"{name}_ids"] = text, ids
        for api, function in signatures.example_functions(task, text).items():
            functions.setdefault(api, function)
    return functions


def export_saved_model(
    tasks, directory, version=None, pairs=False, input_names="bertzoo", server="2.13", warm_up=True
):
    """Write a version directory that an unmodified TensorFlow Serving loads and answers from.

    The version is checked before it gets its number: every signature is run through TensorFlow's C
    API with the ops that servers have, in a process without Python's TensorFlow, and compared with
    the task; see `check_servable`.

    Args:
        tasks: A task; or several, a list or a dict by name, which then share one encoder.
        directory: Folder of the model; the version becomes a folder in it.
        version: Its number; None for the next one. One that exists is never replaced.
        pairs: Whether the tasks take pairs of texts, or the names of those that do. A question
            answerer always does.
        input_names: Names of the inputs of ids: `bertzoo` (`token_ids`, `segment_ids`; the mask is
            found from the ids), `keras_hub`, `hugging_face` or `garden`, which take a mask too.
        server: The oldest TensorFlow Serving that is to load it, 2.13 to 2.20.
        warm_up: Whether requests for every padded length are written that the server runs when it
            loads the version.

    Returns:
        The path of the version.

    Raises:
        ValueError: If a task has no tokenizer, tasks have different encoders, the version exists,
            or the check fails; nothing is written then.

    Example:
    >>> embedder = TextEmbedder.from_preset("bert_toy")
    >>> export_saved_model(embedder, "serving/embedder", warm_up=False).name
    '1'
    """
    if keras.backend.backend() != "tensorflow":
        raise ValueError(
            f"a SavedModel needs Keras on TensorFlow; here it is on {keras.backend.backend()}. "
            "Save the preset, and export it in a process with KERAS_BACKEND=tensorflow."
        )
    server_ops.number(server)
    tasks = named_tasks(tasks)
    for name, task in tasks.items():
        if task.tokenizer is None:
            raise ValueError(
                f"{name} has no tokenizer, and a server reads strings: load a checkpoint that "
                "comes with its vocabulary."
            )
    tasks = on_one_encoder(tasks)
    pairs = (tuple(tasks) if pairs else ()) if isinstance(pairs, bool) else tuple(pairs)
    for name in pairs:
        if name not in tasks:
            raise ValueError(f"pairs names {name!r}; the tasks are {', '.join(tasks)}.")
    functions = signature_functions(tasks, pairs, input_names)
    with versions.new_version(directory, version) as (folder, placed):
        save(Servable(tasks), functions, folder)
        first = next(iter(tasks.values()))
        facts = {
            "bertzoo": bertzoo.__version__,
            "tensorflow": tf.__version__,
            "tensorflow_text": importlib.metadata.version("tensorflow-text"),
            "keras": keras.__version__,
            "server": server,
            "dtype": first.backbone.dtype_policy.name,
            "input_names": input_names,
            "tasks": {name: _facts(task, name in pairs) for name, task in tasks.items()},
        }
        companions.write(folder, functions, first.preprocessor, facts, server, warm_up)
    path = placed[0]
    companions.write_beside(path)
    return path


def save(servable, functions, folder):
    """Write a `Servable` as a SavedModel with a signature for each function."""
    options = tf.saved_model.SaveOptions(experimental_custom_gradients=False)
    concrete = {name: function.get_concrete_function() for name, function in functions.items()}
    tf.saved_model.save(servable, str(folder), signatures=concrete, options=options)


def named_tasks(tasks):
    """Return tasks by name; one without a name bears that of its kind.

    >>> list(named_tasks(TextEmbedder.from_preset("bert_toy")))
    ['text_embedder']
    """
    if not isinstance(tasks, dict):
        tasks = list(tasks) if isinstance(tasks, list | tuple) else [tasks]
        kinds = [getattr(task, "head_kind", None) for task in tasks]
        if len(set(kinds)) != len(kinds):
            raise ValueError(
                f"two tasks are of one kind ({', '.join(map(str, kinds))}): give them by name, as "
                "{'english': task, 'german': task}."
            )
        tasks = dict(zip(kinds, tasks, strict=True))
    if not tasks:
        raise ValueError("there is no task to export.")
    for name, task in tasks.items():
        if not hasattr(task, "respond"):
            raise ValueError(f"expected a task, as TextClassifier; got {type(task).__name__}.")
        reserved = ("serving_default", "serving_ids", "tokenize", "classify", "regress")
        if not name.isidentifier() or name in reserved:
            raise ValueError(f"{name!r} cannot be the name of a task: it names a signature.")
    return dict(tasks)


def on_one_encoder(tasks):
    """Return the tasks on the first one's backbone, so that its weights are stored once.

    Raises:
        ValueError: If their encoders differ in a weight.
    """
    names = list(tasks)
    first = tasks[names[0]]
    shared = {names[0]: first}
    ours = _encoder_weights(first)
    for name in names[1:]:
        task = tasks[name]
        if task.backbone is not first.backbone:
            theirs = _encoder_weights(task)
            different = sorted(
                path
                for path in ours.keys() | theirs.keys()
                if path not in ours
                or path not in theirs
                or not np.array_equal(ours[path], theirs[path])
            )
            if different or task.backbone.config != first.backbone.config:
                raise ValueError(
                    f"{names[0]} and {name} have different encoders ({len(different)} weights "
                    "differ): they cannot share one. Export each as a model of its own."
                )
            network = networks.build_network(first.backbone, task.network.head)
            weights = loading.weights_of(network)
            for path, weight in loading.weights_of(task.network).items():
                if path not in ours:
                    weights[path].assign(weight)
            task = _with_network(task, network)
        shared[name] = task
    return shared


def _with_network(task, network):
    """Return a task on another network, with what it has beside one: its origin, its windows."""
    made = type(task)(network, task.preprocessor)
    made._info = dict(task._info)
    if getattr(task, "windows", None):
        made.windows = task.windows
    return made


def _encoder_weights(task):
    weights = loading.weights_of(task.backbone)
    return {path: keras.ops.convert_to_numpy(weight) for path, weight in weights.items()}


def _digest(network):
    digest = hashlib.sha256()
    for path, weight in sorted(loading.weights_of(network).items()):
        digest.update(path.encode() + keras.ops.convert_to_numpy(weight).tobytes())
    return digest.hexdigest()


def _facts(task, is_pair):
    return {
        "kind": task.head_kind,
        "problem": getattr(task, "problem", None),
        "origin": dict(task._info),
        "weights_sha256": _digest(task.network),
        "labels": None if task.labels is None else list(task.labels),
        "mask_token": task.tokenizer.config.mask_token,
        "pair": is_pair or task.head_kind in PAIRED_KINDS,
        "sequence_length": task.preprocessor.sequence_length,
        "padding": task.preprocessor.padding,
        "parameters": task.backbone.config.parameter_count(),
    }
