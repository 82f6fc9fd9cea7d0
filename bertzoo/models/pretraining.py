"""Several heads on one backbone, as pretraining needs them."""

import keras

from bertzoo import checkpoints
from bertzoo.config import HeadConfig
from bertzoo.models import loading, networks
from bertzoo.models.backbone import Backbone, IdsModel, truncated_normal

# B batch  P predictions  V vocabulary  C classes  K texts of a packed row

# Heads that answer for single tokens: the neighbours of a packed row are nothing to them.
TOKEN_KINDS = ("masked_lm", "token_classifier", "discriminator")


@keras.saving.register_keras_serializable(package="bertzoo")
class PretrainingNetwork(IdsModel):
    """A backbone and some heads as a functional model.

    Args:
        backbone: A `Backbone`.
        heads: `HeadConfig`s of different kinds.
        initializer: Of the heads' kernels; None for the backbone's truncated normal.
        name: Of the model.

    Call with the backbone's dict of ids and, for a `masked_lm`, `mask_positions`; returns a dict
    from kind of head to what a `Network` with it returns.

    Example:
    >>> network = PretrainingNetwork.from_preset("bert_toy", ["masked_lm", "next_sentence"])
    >>> outputs = network({"token_ids": np.array([[2, 7, 9, 3]]),
    ...                    "mask_positions": np.array([[1]])})
    >>> outputs["masked_lm"].shape, outputs["next_sentence"].shape
    (TensorShape([1, 1, 86]), TensorShape([1, 2]))
    """

    def __init__(self, backbone, heads, *, initializer=None, name=None):
        heads = [HeadConfig.from_dict(h) if isinstance(h, dict) else h for h in heads]
        for head in heads:
            if head.reads_pooled_output and not backbone.config.pooler:
                raise ValueError(
                    f"a {head.kind} head needs a backbone with a pooler; this one has none."
                )
        initializer = initializer or truncated_normal(backbone.config)
        inputs = {key: keras.Input((None,), dtype="int32", name=key) for key in backbone.input}
        encoded = backbone(inputs)
        if any(head.kind == "masked_lm" for head in heads):
            inputs["mask_positions"] = keras.Input((None,), dtype="int32", name="mask_positions")
        outputs = {
            head.kind: networks.head_output(backbone, head, initializer, inputs, encoded)
            for head in heads
        }
        super().__init__(inputs=inputs, outputs=outputs, name=name)
        self._encoded = encoded
        self.backbone = backbone
        self.heads = {head.kind: head for head in heads}
        self.max_sequence_length = backbone.max_sequence_length

    def packed(self, num_texts=None):
        """Return a `keras.Model` on the same variables for rows that hold several texts.

        Args:
            num_texts: K, of how many texts a row the heads on the pooled output answer; None where
                there is no such head. See `Backbone.packed`.

        Returns:
            A model with this network's inputs and outputs; of heads on the pooled output (as
            `next_sentence`) `[B, K, C]`.

        Raises:
            ValueError: For heads that have one answer a row.

        Example:
        >>> network = PretrainingNetwork.from_preset("bert_toy", ["masked_lm"])
        >>> outputs = network.packed()({"token_ids": np.array([[2, 4, 9, 3, 2, 4, 3, 0]]),
        ...                             "padding_mask": np.array([[1, 1, 1, 1, 2, 2, 2, 0]]),
        ...                             "mask_positions": np.array([[1, 5]])})
        >>> outputs["masked_lm"].shape
        TensorShape([1, 2, 86])
        """
        pooled = [kind for kind, head in self.heads.items() if head.reads_pooled_output]
        for kind in self.heads:
            if kind not in (*TOKEN_KINDS, *pooled):
                raise ValueError(
                    f"a {kind} head answers once a row, and packed rows hold several texts; heads "
                    f"for them are {', '.join(TOKEN_KINDS)} and those on the pooled output."
                )
        if pooled and num_texts is None:
            raise ValueError(
                f"the {pooled[0]} head answers for each text of a row; give num_texts, how many "
                "texts a row has at most."
            )
        ids = {name: self.input[name] for name in self.backbone.input}
        encoded = self.backbone.packed(num_texts)(ids)
        outputs = {kind: self.get_layer(kind)(encoded["pooled_output"]) for kind in pooled}
        tokens = {kind: self.output[kind] for kind in self.heads if kind not in pooled}
        if tokens:
            # Their layers as one model, on what another run of the encoder gives.
            heads = keras.Model([*self.input.values(), self._encoded["sequence_output"]], tokens)
            outputs |= heads([*self.input.values(), encoded["sequence_output"]])
        packed = IdsModel(inputs=self.input, outputs=outputs, name=f"{self.name}_packed")
        packed.max_sequence_length = self.max_sequence_length
        return packed

    @classmethod
    def from_preset(cls, source, kinds, load_weights=True, dtype=None, format=None):
        """Load an encoder with the heads that it has of `kinds`, and new ones for the others.

        Args:
            source: Preset name, directory, archive, or address such as `hf://user/repo`.
            kinds: Kinds of heads.
            load_weights: Whether to read the weights; without, they are random.
            dtype: Dtype policy.
            format: Name of the checkpoint format, where it should not be found by inspection.
        """
        checkpoint = checkpoints.open_source(source, format=format, download=load_weights)
        return cls.from_checkpoint(checkpoint, kinds, load_weights, dtype)

    @classmethod
    def from_checkpoint(cls, checkpoint, kinds, load_weights=True, dtype=None):
        """Build from an open `Checkpoint`; see `from_preset`."""
        backbone = Backbone(checkpoint.config, dtype=dtype)
        heads = [checkpoint.heads.get(kind) or new_head(checkpoint.config, kind) for kind in kinds]
        network = cls(backbone, heads)
        if load_weights:
            found = {kind for kind in kinds if kind in checkpoint.heads}
            has_pooler = checkpoint.config.pooler
            loading.load_weights(
                network, checkpoint, {"backbone", *found, *(["pooler"] if has_pooler else [])}
            )
        return network

    def save_to_preset(self, directory, tokenizer=None, sequence_length=None, info=None):
        """Write config, weights and vocabulary to a directory that every task loads, atomically."""
        config, files = None, {}
        if tokenizer is not None:
            config = tokenizer.config.replace(sequence_length=sequence_length)
            files = tokenizer.files()
        return loading.save_preset(
            directory,
            self.backbone.config,
            self.heads,
            loading.weights_of(self),
            tokenizer=config,
            files=files,
            info=info,
        )

    def get_config(self):
        """Return what `from_config` needs; weights are not in it."""
        return {
            "backbone": keras.saving.serialize_keras_object(self.backbone),
            "heads": [head.to_dict() for head in self.heads.values()],
            "name": self.name,
        }

    @classmethod
    def from_config(cls, config, custom_objects=None):
        """Build from `get_config`'s dict."""
        config = dict(config)
        config["backbone"] = keras.saving.deserialize_keras_object(
            config["backbone"], custom_objects=custom_objects
        )
        return cls(**config)


def new_head(config, kind):
    """Return the `HeadConfig` of a new head for pretraining.

    >>> new_head(checkpoints.open_source("bert_toy").config, "next_sentence").num_outputs
    2
    """
    fields = {"num_outputs": 2} if kind == "next_sentence" else {}
    if kind == "discriminator":
        fields = {"hidden_activation": config.activation}
    return networks.new_head(config, kind, **fields)
