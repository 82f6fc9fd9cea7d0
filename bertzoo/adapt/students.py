"""Smaller models out of larger ones, as a student begins: fewer layers, no segments, no pooler.

DistilBERT began as layers 0, 2, 4, 7, 9 and 11 of BERT without segments and pooler (Sanh et al.
2019, section 3; `extract_distilbert.py`).
"""

from bertzoo.adapt.rebuilding import plain_weights, rebuild

POSITIONS = "embeddings/position/embeddings"
SEGMENTS = "embeddings/segment/embeddings"


def even_layers(num_student, num_teacher):
    """Return which layers, from 0, a student takes over: first, last, and evenly in between.

    Args:
        num_student: Layers of the student.
        num_teacher: Layers of the teacher.

    Returns:
        A tuple of layer numbers.

    Raises:
        ValueError: If the student would have more layers than the teacher.

    Example:
    >>> even_layers(6, 12)  # DistilBERT's
    (0, 2, 4, 7, 9, 11)
    """
    if not 1 <= num_student <= num_teacher:
        raise ValueError(
            f"a student takes over 1 to {num_teacher} layers of this teacher; got {num_student}."
        )
    if num_student == 1:
        return (0,)
    step = (num_teacher - 1) / (num_student - 1)
    return tuple(int(layer * step + 0.5) for layer in range(num_student))


def select_layers(task, layers):
    """Return a task with some of the layers of another one, in the order given.

    Embeddings and head stay as they are.

    Args:
        task: Any task whose layers have weights of their own; it stays as it is.
        layers: Their numbers from 0, or how many: first, last, and evenly in between.

    Returns:
        A task of the same class.

    Raises:
        ValueError: For a layer that is not there, or a model whose layers share weights (ALBERT).

    Example:
    >>> student = select_layers(TextEmbedder.from_preset("bert_toy"), [1])
    >>> student.backbone.config.num_layers
    1
    """
    config = task.backbone.config
    if config.num_distinct_layers != config.num_layers:
        raise ValueError(
            f"the {config.num_layers} steps of this model share {config.num_distinct_layers} "
            "layers: there are none to choose; give the student num_layers instead."
        )
    if isinstance(layers, int):
        layers = even_layers(layers, config.num_layers)
    layers = tuple(layers)
    for layer in layers:
        if type(layer) is not int or not 0 <= layer < config.num_layers:
            raise ValueError(
                f"layers are numbers from 0 to {config.num_layers - 1}; got {layer!r}."
            )
    if not layers:
        raise ValueError("layers must name at least one layer; got none.")
    old = plain_weights(task)
    new = {path: array for path, array in old.items() if not path.startswith("layer_")}
    for number, layer in enumerate(layers):
        prefix = f"layer_{layer}/"
        for path, array in old.items():
            if path.startswith(prefix):
                new[f"layer_{number}/{path.removeprefix(prefix)}"] = array
    named = ", ".join(map(str, layers))
    return rebuild(
        task,
        new,
        config=config.replace(num_layers=len(layers), num_groups=None),
        note=f"Of {config.num_layers} layers these are left: {named}.",
    )


def drop_segments(task, fold=True):
    """Return a task without segment embeddings, as DistilBERT has none.

    Args:
        task: Any task; it stays as it is.
        fold: Whether the first segment's vector is added to every position's: texts of one
            segment then give the same outputs. DistilBERT's script leaves it out.

    Returns:
        A task of the same class; its preprocessor makes no `segment_ids`.

    Raises:
        ValueError: If it has none already.

    Example:
    >>> drop_segments(TextEmbedder.from_preset("bert_toy")).backbone.config.num_segments
    0
    """
    config = task.backbone.config
    if not config.num_segments:
        raise ValueError("this model has no segments already.")
    weights = plain_weights(task)
    first = weights.pop(SEGMENTS)[0]  # (E,)
    if fold:
        weights[POSITIONS] = weights[POSITIONS] + first
    return rebuild(
        task, weights, config=config.replace(num_segments=0), note="Segments were dropped."
    )


def drop_pooler(task):
    """Return a task whose backbone has no pooler.

    A text classifier that read the pooler keeps it as the hidden layer of its head, and gives the
    same outputs.

    Args:
        task: Any task; it stays as it is.

    Returns:
        A task of the same class.

    Raises:
        ValueError: If there is no pooler, or a head needs it.

    Example:
    >>> drop_pooler(MaskedLM.from_preset("bert_toy")).backbone.config.pooler
    False
    """
    config, head = task.backbone.config, task.network.head
    if not config.pooler:
        raise ValueError("this model has no pooler already.")
    weights = plain_weights(task)
    pooler = {name: weights.pop(f"pooler/{name}") for name in ("kernel", "bias")}
    if head.reads_pooled_output:
        if head.kind != "text_classifier" or head.hidden_activation is not None:
            raise ValueError(f"this {head.kind} head reads the pooler; it cannot be dropped.")
        head = head.replace(input="first_token", hidden_activation="tanh")
        for name, array in pooler.items():
            weights[f"text_classifier/hidden/{name}"] = array
    return rebuild(
        task,
        weights,
        config=config.replace(pooler=False),
        head=head,
        note="The pooler was dropped.",
    )
