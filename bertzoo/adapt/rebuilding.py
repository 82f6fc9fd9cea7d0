"""A new task from an old one with other sizes: weights by path, some of them changed."""

from bertzoo.models.backbone import Backbone
from bertzoo.models.loading import as_numpy, weights_of
from bertzoo.models.networks import build_network
from bertzoo.preprocessing.preprocessor import Preprocessor


def plain_weights(task):
    """Return {path: array} of a task; one with an adapter or int8 kernels raises."""
    if task.backbone.lora is not None:
        raise ValueError("this task has a LoRA adapter; call merge_lora() first.")
    if task.backbone.quantized is not None:
        raise ValueError("this task is quantized; adapt it first and quantize the result.")
    return {path: as_numpy(weight) for path, weight in weights_of(task.network).items()}


def rebuild(
    task, weights, *, config=None, head=None, tokenizer=None, sequence_length=None, note=""
):
    """Return a task of the same class.

    Args:
        task: The old one, which stays as it is.
        weights: {path: array} for every weight of the new network.
        config: `BackboneConfig`; None for the old one.
        head: `HeadConfig`; None for the old one.
        tokenizer: None for the old one.
        sequence_length: Longest row; None for the old one.
        note: What was done, for the model card.
    """
    config = task.backbone.config if config is None else config
    backbone = Backbone(config, dtype=task.backbone.dtype_policy, initializer="zeros")
    network = build_network(backbone, head or task.network.head, initializer="zeros")
    new = weights_of(network)
    assert new.keys() == weights.keys(), "one array for every weight"
    for path, weight in new.items():
        weight.assign(weights[path])
    preprocessor = task.preprocessor
    if preprocessor is not None:
        preprocessor = Preprocessor(
            preprocessor.tokenizer if tokenizer is None else tokenizer,
            sequence_length=sequence_length or preprocessor.sequence_length,
            padding=preprocessor.padding,
            # 0 where the encoder has none any more.
            num_segments=min(preprocessor.num_segments, config.num_segments),
        )
    rebuilt = type(task)(network, preprocessor)
    rebuilt.note_origin(task, note)
    return rebuilt
