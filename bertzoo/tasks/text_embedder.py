"""Texts to vectors (Reimers & Gurevych 2019)."""

import keras

from bertzoo import checkpoints
from bertzoo.models import networks
from bertzoo.tasks.task import Task


@keras.saving.register_keras_serializable(package="bertzoo")
class TextEmbedder(Task):
    """One vector a text: pooled token vectors, projected and normalised where the model says so.

    `predict(texts)` gives float32 `[N, width]`; see `Task` for the arguments.

    Example:
    >>> embedder = TextEmbedder.from_preset("bert_toy")
    >>> vectors = embedder.predict(["the cat sat", "on the mat"])
    >>> vectors.shape
    (2, 20)
    """

    head_kind = "text_embedder"

    @classmethod
    def from_preset(
        cls,
        source,
        load_weights=True,
        dtype=None,
        format=None,
        sequence_length=None,
        padding="bucketed",
        pooling=None,
        normalize=None,
    ):
        """Load a preset name, or a checkpoint directory in any known format.

        A sentence-transformers directory says itself how its vectors are made. A plain encoder
        does not: its vectors are then the mean over the tokens, not normalised.

        Args:
            source: Preset name, directory, archive, or address such as `hf://user/repo`.
            load_weights: Whether to read the weights; without, they are random.
            dtype: Dtype policy; `bfloat16` stores the weights so, for inference.
            format: Name of the checkpoint format, where it should not be found by inspection.
            sequence_length: Longest row; None for what the checkpoint says.
            padding: Of the `Preprocessor`: `bucketed`, `longest` or `fixed`.
            pooling: Any of `cls`, `max`, `mean`, `mean_sqrt`, one or a list; None for the
                checkpoint's, or `mean` for a plain encoder.
            normalize: Whether vectors have length 1; None for the checkpoint's, or False.

        Raises:
            ValueError: If files are missing, or variables and tensors do not match one to one;
                if `pooling` is asked of a model whose projections need another one.
        """
        carried = checkpoints.open_source(source, format=format).heads.get(cls.head_kind)
        asked = {}
        if pooling is not None:
            asked["pooling"] = (pooling,) if isinstance(pooling, str) else tuple(pooling)
        if normalize is not None:
            asked["normalize"] = normalize
        head = None
        if carried is None:
            head = _new_head(asked)
        elif asked and carried.projections:
            raise ValueError(
                f"{source} has projections that were trained for pooling="
                f"{list(carried.pooling)}: pooling and normalize cannot be changed."
            )
        elif asked:
            head = _changed_head(carried, asked)
        return cls._load(source, head, load_weights, dtype, format, sequence_length, padding)

    def answers(self, outputs):
        """Return `embedding`, float32 `[B, width]`."""
        return {"embedding": outputs}


def _new_head(fields):
    return lambda config: networks.new_head(config, TextEmbedder.head_kind, **fields)


def _changed_head(head, fields):
    return lambda config: head.replace(**fields)
