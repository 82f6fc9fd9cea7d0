"""Encoder layers that run again on the way back: memory for time (Chen et al. 2016, 1604.06174).

Ordinarily all that a layer computes is kept until its gradient is; here only what goes into a layer
is kept, and the layer computes the rest once more: a third more work. It is for rows that are long,
or models that are large, where a batch would otherwise not fit.
"""

import keras
import tensorflow as tf

from bertzoo.layers.encoder_layer import EncoderLayer
from bertzoo.models.row_layouts import IdsModel
from bertzoo.training import keyed_randomness

# R rows = batch * length  D hidden_dim


def recomputed(model):
    """Return a model on the same layers, of whose encoder layers only the inputs are kept.

    It runs in `keyed_randomness.keyed` alone: dropout must be a function of a key to be the same
    when a layer runs again.

    Args:
        model: A functional model with `max_sequence_length`, as a `Backbone`, a
            `PretrainingNetwork` or a layout of one.

    Returns:
        An `IdsModel` with the model's inputs and outputs.
    """
    found = _on_the_same_layers(model)
    found = IdsModel(inputs=found.input, outputs=found.output, name=f"{model.name}_recomputed")
    found.max_sequence_length = model.max_sequence_length
    return found


class Recomputed(keras.layers.Layer):
    """One run of an encoder layer; of its outputs there is `hidden_state` alone.

    Args:
        layer: An `EncoderLayer`.
        run: Which of the layer's runs it is, from 0; ALBERT's one layer has twelve, and each drops
            other units.
    """

    def __init__(self, layer, run=0, **kwargs):
        super().__init__(autocast=False, **kwargs)  # the layer casts what it wants cast
        self.layer = layer
        self.run = run
        self.built = True

    def call(self, hidden, mask, real=None, training=None):
        """Return the outputs of the layer, all but `hidden_state` None."""
        weights, seeds = self.layer.weights, keyed_randomness.seeds_of([self.layer])
        states = [tf.add(seed.value, [self.run, 0]) for seed in seeds]

        def forward(hidden, *values):
            # On the way back the scope that this is called in has ended: all that the layer reads
            # comes in.
            mapping = [*zip(weights, values, strict=True), *zip(seeds, states, strict=True)]
            with keras.StatelessScope(mapping, initialize_variables=False):
                return self.layer(hidden, mask, real, training=training)["hidden_state"]

        values = [tf.convert_to_tensor(weight.value) for weight in weights]
        hidden = tf.recompute_grad(forward)(hidden, *values)
        return {name: None for name in self._spec(hidden, mask)} | {"hidden_state": hidden}

    def compute_output_spec(self, hidden, mask, real=None, training=None):
        """Return the shapes of the layer's outputs."""
        return self._spec(hidden, mask)

    def _spec(self, hidden, mask):
        return self.layer.compute_output_spec(hidden, mask)


def _on_the_same_layers(model):
    runs = {}

    def call(layer, *args, **kwargs):
        if not isinstance(layer, EncoderLayer):
            return layer(*args, **kwargs)
        run = runs[layer.name] = runs.get(layer.name, -1) + 1
        name = f"{layer.name}_recomputed_{run}"
        return Recomputed(layer, run, name=name, dtype=layer.dtype_policy)(*args, **kwargs)

    def same(layer):
        if not isinstance(layer, keras.Model):
            return layer
        found = _on_the_same_layers(layer)
        if hasattr(layer, "max_sequence_length"):
            found.max_sequence_length = layer.max_sequence_length
        return found

    return keras.models.clone_model(model, clone_function=same, call_function=call)
