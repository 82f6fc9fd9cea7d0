"""Heads on the backbone: functional models from ids to float32 logits."""

import keras
from keras import ops

from bertzoo import checkpoints
from bertzoo.config import HeadConfig
from bertzoo.layers.heads import ClassifierHead, MaskedLMHead
from bertzoo.layers.pooling import EmbedderHead, FirstToken
from bertzoo.models import loading
from bertzoo.models.adapting import Adaptable, freeze, frozen_weights
from bertzoo.models.backbone import Backbone, IdsModel, truncated_normal

# B batch  T length  P predictions  D hidden_dim  V vocabulary  C classes


@keras.saving.register_keras_serializable(package="bertzoo")
class Network(Adaptable, IdsModel):
    """A backbone and one head as a functional model.

    Args:
        backbone: A `Backbone`.
        head: A `HeadConfig`.
        initializer: Of the head's kernels; None for the backbone's truncated normal.
        name: Of the model.

    Call with the backbone's dict of ids (`masked_lm` also takes `mask_positions`, int32
    `[B, P]`). Returns float32: `masked_lm` `[B, P, V]`; `next_sentence` and `text_classifier`
    `[B, C]`; `token_classifier` `[B, T, C]`; `question_answerer` a dict of `start_logits` and
    `end_logits` `[B, T]`; `discriminator` `[B, T]`; `text_embedder` `[B, width]`;
    `multiple_choice` one score a row, `[B]`.

    Example:
    >>> network = Network(Backbone.from_preset("bert_toy"),
    ...                   HeadConfig("text_classifier", num_outputs=3))
    >>> network({"token_ids": np.array([[2, 7, 9, 3]])}).shape
    TensorShape([1, 3])
    """

    def __init__(self, backbone, head, *, initializer=None, name=None, trainable=True):
        if isinstance(head, dict):
            head = HeadConfig.from_dict(head)
        if head.reads_pooled_output and not backbone.config.pooler:
            raise ValueError(
                f"a {head.kind} head with input=`pooled` needs a backbone with a pooler, and this "
                "one has none; use HeadConfig(input=`first_token`, hidden_activation=`tanh`)."
            )
        initializer = initializer or truncated_normal(backbone.config)
        inputs = {
            name: keras.Input((None,), dtype="int32", name=name)
            for name, tensor in backbone.input.items()
        }
        encoded = backbone(inputs)
        if head.kind == "masked_lm":
            inputs["mask_positions"] = keras.Input((None,), dtype="int32", name="mask_positions")
        outputs = head_output(backbone, head, initializer, inputs, encoded)
        super().__init__(inputs=inputs, outputs=outputs, name=name)
        self._encoded = encoded
        self.backbone = backbone
        self.head = head
        self.max_sequence_length = backbone.max_sequence_length
        self.trainable = trainable

    def tap(self, *names):
        """Return a `keras.Model` on the same variables that also gives inner tensors.

        Args:
            names: As for `Backbone.tap`.

        Returns:
            A model with the network's inputs and a dict: the backbone's outputs and taps, and
            the head's output as `logits` (of a text embedder `embedding`; of a question answerer
            `start_logits` and `end_logits`).

        Example:
        >>> network = Network(Backbone.from_preset("bert_toy"), HeadConfig("question_answerer"))
        >>> sorted(network.tap("value")({"token_ids": np.array([[2, 7, 9, 3]])}))
        ['end_logits', 'pooled_output', 'sequence_output', 'start_logits', 'value']
        """
        outputs, found = self._on(self.backbone.tap(*names))
        if not isinstance(found, dict):
            found = {"embedding" if self.head.kind == "text_embedder" else "logits": found}
        tapped = IdsModel(self.input, {**outputs, **found}, name=f"{self.name}_tapped")
        tapped.max_sequence_length = self.max_sequence_length
        return tapped

    def without_padding(self):
        """Return a `keras.Model` on the same variables that runs real tokens alone.

        See `Backbone.without_padding`. The output is the network's own, but at padding.

        Example:
        >>> network = Network(Backbone.from_preset("bert_toy"), HeadConfig("text_embedder"))
        >>> ids = {"token_ids": np.array([[2, 7, 3, 0]]), "padding_mask": np.array([[1, 1, 1, 0]])}
        >>> np.allclose(network.without_padding()(ids), network(ids), atol=1e-5)
        True
        """
        _, found = self._on(self.backbone.without_padding())
        model = IdsModel(self.input, found, name=f"{self.name}_without_padding")
        model.max_sequence_length = self.max_sequence_length
        return model

    def _on(self, backbone):
        """Return the outputs of another layout of the backbone, and this head's on them."""
        outputs = backbone({name: self.input[name] for name in self.backbone.input})
        # A list: Keras wants the keys of a dict to be the names of inner tensors.
        inner = [*self.input.values(), *self._encoded.values()]
        head = keras.Model(inner, self.output, name=f"{self.name}_head")
        return outputs, head([*self.input.values(), *(outputs[name] for name in self._encoded)])

    def get_config(self):
        """Return what `from_config` needs; weights are not in it."""
        return {
            "backbone": keras.saving.serialize_keras_object(self.backbone),
            "head": self.head.to_dict(),
            "name": self.name,
            "trainable": self.trainable,
            "frozen": frozen_weights(self),
        }

    @classmethod
    def from_config(cls, config, custom_objects=None):
        """Build from `get_config`'s dict."""
        config = dict(config)
        config["backbone"] = keras.saving.deserialize_keras_object(
            config["backbone"], custom_objects=custom_objects
        )
        frozen = config.pop("frozen", ())
        network = cls(**config)
        freeze(network, frozen)
        return network


def build_network(backbone, head, *, initializer=None, name=None):
    """Return a `Network` of `backbone` and the head that `head` describes."""
    return Network(backbone, head, initializer=initializer, name=name)


def new_head(config, kind, **fields):
    """Return the `HeadConfig` of a new head that fits a backbone.

    A text classifier reads the pooled output where there is one; else it has a tanh layer on
    the first token, which is what a pooler is.

    >>> new_head(BackboneConfig(pooler=False), "text_classifier", num_outputs=2).input
    'first_token'
    """
    if kind in ("text_classifier", "multiple_choice") and not config.pooler:
        fields = {"input": "first_token", "hidden_activation": "tanh", **fields}
    if kind == "masked_lm":
        epsilon = config.layer_norm_epsilon
        fields = {"hidden_activation": config.activation, "layer_norm_epsilon": epsilon, **fields}
    return HeadConfig(kind=kind, **{"dropout": config.dropout, **fields})


def network_from_preset(source, kind, *, head=None, load_weights=True, dtype=None, format=None):
    """Load a backbone with a head of `kind`.

    Args:
        source: Preset name, directory, archive, or address such as `hf://user/repo`.
        kind: Kind of head.
        head: A function from `BackboneConfig` to the `HeadConfig` of a new, random head; None
            to load the head that the checkpoint carries.
        load_weights: Whether to read weights.
        dtype: Dtype policy.
        format: Checkpoint format where it should not be found by inspection.

    Returns:
        The `Network` and the `Checkpoint` that it came from.

    Raises:
        ValueError: If no new head is asked for and the checkpoint has none of this kind.
    """
    checkpoint = checkpoints.open_source(source, format=format)
    if head is not None:
        backbone = Backbone.from_checkpoint(checkpoint, load_weights, dtype)
        return Network(backbone, head(checkpoint.config)), checkpoint
    if kind not in checkpoint.heads:
        raise ValueError(loading.missing_head_message(checkpoint, kind))
    initializer = "zeros" if load_weights else None
    backbone = Backbone(checkpoint.config, dtype=dtype, initializer=initializer)
    network = Network(backbone, checkpoint.heads[kind], initializer=initializer)
    if load_weights:
        loading.load_weights(network, checkpoint)
    return network, checkpoint


def head_output(backbone, head, initializer, inputs, encoded):
    """Put a head's layers on an encoded input; return its symbolic output."""
    return _OUTPUTS[head.kind](backbone, head, initializer, inputs, encoded)


def _masked_lm(backbone, head, initializer, inputs, encoded):
    layer = MaskedLMHead(
        backbone.embeddings.token,
        hidden_dim=backbone.config.hidden_dim,
        activation=head.hidden_activation,
        layer_norm_epsilon=head.layer_norm_epsilon,
        tie_embeddings=head.tie_embeddings,
        initializer=initializer,
        dtype=backbone.dtype_policy,
        name=head.kind,
    )
    return layer(encoded["sequence_output"], inputs["mask_positions"])


def _classifier(backbone, head, initializer, num_outputs):
    return ClassifierHead(
        num_outputs,
        hidden_activation=head.hidden_activation,
        dropout=head.dropout,
        initializer=initializer,
        dtype=backbone.dtype_policy,
        name=head.kind,
    )


def _pooled(backbone, head, initializer, inputs, encoded):
    layer = _classifier(backbone, head, initializer, head.num_outputs)
    if head.input == "pooled":
        return layer(encoded["pooled_output"])
    if head.input == "mean":
        mean = EmbedderHead(dtype=backbone.dtype_policy, name="mean")
        return layer(mean(encoded["sequence_output"], inputs["padding_mask"]))
    first = FirstToken(dtype=backbone.dtype_policy, name="first_token")
    return layer(first(encoded["sequence_output"]))


def _choice(backbone, head, initializer, inputs, encoded):
    head = head.replace(num_outputs=1)
    return Column(0, name="score")(_pooled(backbone, head, initializer, inputs, encoded))  # (B,)


def _tokens(backbone, head, initializer, inputs, encoded):
    layer = _classifier(backbone, head, initializer, head.num_outputs)
    return layer(encoded["sequence_output"])


def _spans(backbone, head, initializer, inputs, encoded):
    logits = _classifier(backbone, head, initializer, 2)(encoded["sequence_output"])  # (B, T, 2)
    return {
        "start_logits": Column(0, name="start_logits")(logits),
        "end_logits": Column(1, name="end_logits")(logits),
    }


def _discriminator(backbone, head, initializer, inputs, encoded):
    logits = _classifier(backbone, head, initializer, 1)(encoded["sequence_output"])  # (B, T, 1)
    return Column(0, name="replaced")(logits)


def _embedder(backbone, head, initializer, inputs, encoded):
    layer = EmbedderHead(
        pooling=head.pooling,
        normalize=head.normalize,
        projections=head.projections,
        initializer=initializer,
        dtype=backbone.dtype_policy,
        name=head.kind,
    )
    return layer(encoded["sequence_output"], inputs["padding_mask"])


@keras.saving.register_keras_serializable(package="bertzoo")
class Column(keras.layers.Layer):
    """One column of the last axis: `[..., C]` -> `[...]`, in float32."""

    def __init__(self, index, **kwargs):
        super().__init__(dtype="float32", **kwargs)
        self.index = index

    def call(self, logits):
        """Return the column."""
        return ops.squeeze(logits[..., self.index : self.index + 1], axis=-1)


_OUTPUTS = {
    "masked_lm": _masked_lm,
    "next_sentence": _pooled,
    "text_classifier": _pooled,
    "token_classifier": _tokens,
    "question_answerer": _spans,
    "discriminator": _discriminator,
    "text_embedder": _embedder,
    "multiple_choice": _choice,
}
