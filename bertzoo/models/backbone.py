"""The one encoder of the zoo: every BERT variant is this model with another config."""

import keras

from bertzoo import checkpoints
from bertzoo.config import BackboneConfig
from bertzoo.layers.attention import AttentionMask
from bertzoo.layers.dense import Dense
from bertzoo.layers.embeddings import Embeddings
from bertzoo.layers.encoder_layer import EncoderLayer
from bertzoo.layers.pooling import FirstToken
from bertzoo.models import loading, quantization, row_layouts
from bertzoo.models.adapting import Adaptable, freeze, frozen_weights
from bertzoo.models.row_layouts import IdsModel, Unflatten, id_inputs

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
        inputs = id_inputs(config)
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
            pooler = Dense(
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
        self.unflatten = unflatten
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
                tensors = [self.unflatten(x, self.input["token_ids"]) for x in tensors]
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
        return row_layouts.packed(self, num_texts)

    def without_padding(self):
        """Return a `keras.Model` on the same variables that runs real tokens alone.

        All layers but attention work on the rows of real tokens (see `layers/real_rows.py`): a
        batch costs what its tokens cost, not what its longest text does. Real tokens, and the
        first token of every text, get the vectors that the backbone itself gives; padding gets
        zeros. How many rows there are is known when it runs: not for XLA, nor for JAX.

        Returns:
            A model with the backbone's inputs and outputs.

        Example:
        >>> model = Backbone.from_preset("bert_toy").without_padding()
        >>> outputs = model({"token_ids": np.array([[2, 7, 3], [2, 3, 0]]),
        ...                  "padding_mask": np.array([[1, 1, 1], [1, 1, 0]])})
        >>> outputs["sequence_output"].shape, float(outputs["sequence_output"][1, 2, 0])
        (TensorShape([2, 3, 20]), 0.0)
        """
        return row_layouts.without_padding(self)

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


def truncated_normal(config):
    """Return the initialiser of kernels and tables, cut at two standard deviations.

    Serialized, so that each weight makes an initialiser, and with it a seed, of its own: one
    Keras initialiser object gives equal values to all weights of one shape.
    """
    initializer = keras.initializers.TruncatedNormal(stddev=config.initializer_range)
    return keras.initializers.serialize(initializer)
