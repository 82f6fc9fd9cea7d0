"""The one encoder of the zoo: every BERT variant is this model with another config."""

import keras
from keras import ops

from bertzoo import checkpoints
from bertzoo.config import BackboneConfig
from bertzoo.layers.attention import AttentionMask, PackedAttentionMask
from bertzoo.layers.embeddings import Embeddings
from bertzoo.layers.encoder_layer import EncoderLayer
from bertzoo.layers.pooling import FirstToken, FirstTokens
from bertzoo.models import loading, quantization
from bertzoo.models.adapting import Adaptable, freeze, frozen_weights

# B batch  T length  R rows = B*T  D hidden_dim  N heads  H head_dim

TAPS = (
    "hidden_states",
    "attention_scores",
    "attention_probabilities",
    "query",
    "key",
    "value",
    "context",
    "intermediate",
)


@keras.saving.register_keras_serializable(package="bertzoo")
class Unflatten(keras.layers.Layer):
    """Token-major rows back to texts: `[B * T, D]`, `[B, T]` -> `[B, T, D]`."""

    def call(self, hidden, token_ids):
        """Return the rows as `[B, T, D]`."""
        return ops.reshape(hidden, (-1, ops.shape(token_ids)[1], hidden.shape[-1]))

    def compute_output_spec(self, hidden, token_ids):
        """Return the output's shape."""
        return keras.KerasTensor((*token_ids.shape, hidden.shape[-1]), dtype=hidden.dtype)


class IdsModel(keras.Model):
    """A functional model on a dict of ids: what may be left out is filled in."""

    def __call__(self, inputs, *args, **kwargs):
        """Call on a dict; `padding_mask` defaults to ones and `segment_ids` to zeros."""
        if isinstance(inputs, dict):
            if "token_ids" not in inputs:
                raise ValueError(
                    f"expected a dict with `token_ids`; got the keys {sorted(inputs)}."
                )
            wanted = self.input if isinstance(self.input, dict) else {}
            inputs = {
                key: ops.convert_to_tensor(value)
                for key, value in inputs.items()
                if key in wanted and value is not None
            }
            self._check_shapes(inputs)
            for key, fill in (("padding_mask", ops.ones_like), ("segment_ids", ops.zeros_like)):
                if key in wanted and key not in inputs:
                    inputs[key] = fill(inputs["token_ids"], dtype="int32")
        return super().__call__(inputs, *args, **kwargs)

    def _check_shapes(self, inputs):
        shape, limit = tuple(inputs["token_ids"].shape), self.max_sequence_length
        if len(shape) != 2:
            raise ValueError(f"token_ids must be [batch, length]; got the shape {shape}.")
        for name in ("padding_mask", "segment_ids"):
            other = tuple(inputs[name].shape) if name in inputs else shape
            if len(other) != 2 or any(
                ours != theirs
                for ours, theirs in zip(shape, other, strict=True)
                if isinstance(ours, int) and isinstance(theirs, int)
            ):
                raise ValueError(
                    f"{name} must have the shape of token_ids, {shape}; got the shape {other}."
                )
        if isinstance(shape[1], int) and not 1 <= shape[1] <= limit:
            raise ValueError(
                f"inputs may have 1 to at most {limit} tokens; got {shape[1]}. "
                "Truncate longer ones, or split long texts into windows."
            )


@keras.saving.register_keras_serializable(package="bertzoo")
class Backbone(Adaptable, IdsModel):
    """Ids to hidden states, by a `BackboneConfig`.

    Args:
        config: A `BackboneConfig`.
        dtype: Dtype policy: `mixed_bfloat16` for training, `bfloat16` to store the weights
            so for inference; None for Keras's global policy.
        initializer: Of kernels and tables; None for a normal distribution of standard
            deviation `config.initializer_range`, truncated at two of them (Devlin et al. 2018).
        name: Of the model.

    Call with a dict of int32 `[B, T]`: `token_ids`; `padding_mask` (1 for real tokens, 0 for
    padding; all ones where left out); `segment_ids` (where the config has segments; zeros where
    left out). Returns a dict: `sequence_output` `[B, T, D]` and, where the config has a pooler,
    `pooled_output` `[B, D]`.

    Raises:
        ValueError: For inputs longer than `config.max_sequence_length`.

    Example:
    >>> config = BackboneConfig(vocabulary_size=31, num_layers=2, hidden_dim=20, num_heads=4,
    ...                         intermediate_dim=37, max_sequence_length=16)
    >>> outputs = Backbone(config)({"token_ids": np.array([[2, 7, 9, 3]])})
    >>> outputs["sequence_output"].shape, outputs["pooled_output"].shape
    (TensorShape([1, 4, 20]), TensorShape([1, 20]))
    """

    def __init__(self, config, *, dtype=None, initializer=None, name=None, trainable=True):
        if isinstance(config, dict):
            config = BackboneConfig.from_dict(config)
        # === Layers ===
        if initializer is None:
            initializer = truncated_normal(config)
        embeddings = Embeddings(
            vocabulary_size=config.vocabulary_size,
            max_sequence_length=config.max_sequence_length,
            table_dim=config.table_dim,
            projection_dim=None if config.embedding_dim is None else config.hidden_dim,
            num_segments=config.num_segments,
            position_offset=config.position_offset,
            dropout=config.dropout,
            layer_norm_epsilon=config.layer_norm_epsilon,
            initializer=initializer,
            dtype=dtype,
            name="embeddings",
        )
        encoder_layers = [
            EncoderLayer(
                hidden_dim=config.hidden_dim,
                num_heads=config.num_heads,
                intermediate_dim=config.intermediate_dim,
                activation=config.activation,
                dropout=config.dropout,
                attention_dropout=config.attention_dropout,
                layer_norm_epsilon=config.layer_norm_epsilon,
                initializer=initializer,
                head_dim=config.head_dim,
                dtype=dtype,
                name=f"layer_{index}",
            )
            for index in range(config.num_distinct_layers)
        ]
        unflatten = Unflatten(dtype=dtype, name="unflatten")

        # === Functional model ===
        inputs = {
            name: keras.Input((None,), dtype="int32", name=name) for name in input_names(config)
        }
        mask = AttentionMask(dtype=dtype, name="attention_mask")(inputs["padding_mask"])
        hidden = embeddings(**inputs)
        taps = {name: [] for name in TAPS}
        taps["hidden_states"].append(hidden)
        for index in config.layer_schedule:
            result = encoder_layers[index](hidden, mask)
            hidden = result.pop("hidden_state")
            taps["hidden_states"].append(hidden)
            for key, tensor in result.items():
                taps[key].append(tensor)
        outputs = {"sequence_output": unflatten(hidden, inputs["token_ids"])}
        if config.pooler:
            pooler = keras.layers.Dense(
                config.hidden_dim,
                activation="tanh",
                kernel_initializer=initializer,
                dtype=dtype,
                name="pooler",
            )
            first = FirstToken(dtype=dtype, name="first_token")
            outputs["pooled_output"] = pooler(first(outputs["sequence_output"]))
        super().__init__(inputs=inputs, outputs=outputs, name=name)

        # === Config ===
        self.config = config
        self.max_sequence_length = config.max_sequence_length
        self.dtype_policy = keras.dtype_policies.get(dtype or keras.config.dtype_policy())
        self.trainable = trainable
        self.embeddings = embeddings
        self.encoder_layers = encoder_layers
        self._unflatten = unflatten
        self._taps = taps

        # === What `Adaptable` does to it ===
        self.lora = None
        self.quantized = None

    def tap(self, *names):
        """Return a `keras.Model` on the same variables that also gives inner tensors.

        Args:
            names: Any of `hidden_states` (L + 1 of `[B, T, D]`, the first from the embeddings),
                `attention_scores` and `attention_probabilities` (L of `[B, N, T, T]`; scores
                are scaled and have the mask added), `query`, `key`, `value`
                (L of `[B, N, T, H]`); token-major, as they run and as gradients can be taken to
                them, `context` (what the heads give, L of `[B * T, N * H]`) and `intermediate`
                (of the feed-forward layer, L of `[B * T, F]`).

        Returns:
            A model with the backbone's inputs and a dict of its outputs and one list a name.
        """
        outputs = dict(self.output)
        for name in names:
            if name not in TAPS:
                raise ValueError(f"a tap must be one of {', '.join(TAPS)}; got {name!r}.")
            tensors = list(self._taps[name])
            if name == "hidden_states":
                tensors = [self._unflatten(x, self.input["token_ids"]) for x in tensors]
            outputs[name] = tensors
        tapped = IdsModel(inputs=self.input, outputs=outputs, name=f"{self.name}_tapped")
        tapped.max_sequence_length = self.max_sequence_length
        return tapped

    def packed(self, num_texts=None):
        """Return a `keras.Model` on the same variables for rows that hold several texts.

        `padding_mask` counts the texts of a row (1 for the tokens of the first one, 2 for those of
        the second, 0 for padding). A text attends to itself alone and has positions of its own, so
        its vectors are those that it has in a row by itself (Krell et al. 2021). Ordinary rows
        have one text; the backbone itself does not pay for what they do not need.

        Args:
            num_texts: K, of how many texts a row `pooled_output` is wanted; None for none.

        Returns:
            A model with the backbone's inputs and a dict: `sequence_output` `[B, T, D]` and, for
            `num_texts`, `pooled_output` `[B, K, D]` (without meaning where there is no k-th text).

        Raises:
            ValueError: If `num_texts` is given and the backbone has no pooler.

        Example:
        >>> packed = Backbone.from_preset("bert_toy").packed(num_texts=2)
        >>> outputs = packed({"token_ids": np.array([[2, 7, 3, 2, 9, 3, 0]]),
        ...                   "padding_mask": np.array([[1, 1, 1, 2, 2, 2, 0]])})
        >>> outputs["sequence_output"].shape, outputs["pooled_output"].shape
        (TensorShape([1, 7, 20]), TensorShape([1, 2, 20]))
        """
        if num_texts is not None and not self.config.pooler:
            raise ValueError("this backbone has no pooler; use packed() without num_texts.")
        inputs = {
            name: keras.Input((None,), dtype="int32", name=name)
            for name in input_names(self.config)
        }
        dtype = self.dtype_policy
        mask = PackedAttentionMask(dtype=dtype, name="packed_mask")(inputs["padding_mask"])
        hidden = self.embeddings(**inputs, packed=True)
        for index in self.config.layer_schedule:
            hidden = self.encoder_layers[index](hidden, mask)["hidden_state"]
        outputs = {"sequence_output": self._unflatten(hidden, inputs["token_ids"])}
        if num_texts is not None:
            first = FirstTokens(num_texts, dtype=dtype, name="first_tokens")
            first = first(outputs["sequence_output"], inputs["padding_mask"])
            outputs["pooled_output"] = self.get_layer("pooler")(first)
        packed = IdsModel(inputs=inputs, outputs=outputs, name=f"{self.name}_packed")
        packed.max_sequence_length = self.max_sequence_length
        return packed

    @classmethod
    def from_preset(cls, source, load_weights=True, dtype=None, format=None):
        """Load the encoder of a preset name or of a checkpoint directory in any known format.

        Args:
            source: Preset name, directory, archive, or address such as `hf://user/repo`.
            load_weights: Whether to read the weights; without, they are random and no file
                is needed for a preset name.
            dtype: Dtype policy; `bfloat16` stores the weights so.
            format: Name of the checkpoint format, where it should not be found by inspection.

        Raises:
            ValueError: If files are missing, or variables and tensors do not match one to one.

        Example:
        >>> backbone = Backbone.from_preset("bert_toy")
        >>> backbone.config.num_layers
        2
        """
        checkpoint = checkpoints.open_source(source, format=format, download=load_weights)
        return cls.from_checkpoint(checkpoint, load_weights=load_weights, dtype=dtype)

    @classmethod
    def from_checkpoint(cls, checkpoint, load_weights=True, dtype=None):
        """Build from an open `Checkpoint`; see `from_preset`."""
        # Zeros where a checkpoint fills every weight: drawing 110 million normals takes seconds.
        initializer = "zeros" if load_weights else None
        backbone = cls(checkpoint.config, dtype=dtype, initializer=initializer)
        if load_weights:
            loading.load_weights(backbone, checkpoint)
        return backbone

    def save_to_preset(self, directory):
        """Write config and weights to a preset directory, atomically; see `from_preset`."""
        loading.save_preset(directory, self.config, {}, loading.weights_of(self))

    def get_config(self):
        """Return what `from_config` needs; weights are not in it."""
        return {
            "config": self.config.to_dict(),
            "dtype": keras.dtype_policies.serialize(self.dtype_policy),
            "name": self.name,
            "trainable": self.trainable,
            "quantized": self.quantized,
            "frozen": frozen_weights(self),
        }

    @classmethod
    def from_config(cls, config, custom_objects=None):
        """Build from `get_config`'s dict."""
        config = dict(config)
        quantized, frozen = config.pop("quantized", None), config.pop("frozen", ())
        if isinstance(config.get("dtype"), dict):
            config["dtype"] = keras.dtype_policies.deserialize(config["dtype"])
        backbone = cls(**config)
        if quantized is not None:  # so that a file with int8 kernels finds its variables
            quantization.quantize(backbone, quantized)
        freeze(backbone, frozen)
        return backbone


def input_names(config):
    """Return the names of a backbone's inputs."""
    names = ["token_ids", "padding_mask"]
    return [*names, "segment_ids"] if config.num_segments else names


def truncated_normal(config):
    """Return the initialiser of kernels and tables, cut at two standard deviations.

    Serialized, so that each weight makes an initialiser, and with it a seed, of its own: one
    Keras initialiser object gives equal values to all weights of one shape.
    """
    initializer = keras.initializers.TruncatedNormal(stddev=config.initializer_range)
    return keras.initializers.serialize(initializer)
