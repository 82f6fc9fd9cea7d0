"""Find an encoder of the TensorFlow Model Garden and its heads in an object graph.

Three generations of attributes lead to the same variables: the class of 2019 (`embedding_lookup`),
functional encoders (`layer_with_weights-0`, -1, ...) and `BertEncoderV2` (`_embedding_layer`).
"""

from __future__ import annotations

import collections.abc

from bertzoo.checkpoints.object_graph import ObjectGraph

# Inside one encoder layer: our table's name -> where it has been, newest first.
BLOCK = {
    "self_attention/query": ("_attention_layer._query_dense", "attention_layer.query_dense"),
    "self_attention/key": ("_attention_layer._key_dense", "attention_layer.key_dense"),
    "self_attention/value": ("_attention_layer._value_dense", "attention_layer.value_dense"),
    "self_attention/attention_output": (
        "_attention_layer._output_dense",
        "_attention_output_dense",  # until TensorFlow 2.1
        "attention_output_dense",
    ),
    "self_attention_layer_norm": ("_attention_layer_norm", "attention_layer_norm"),
    "intermediate": ("_intermediate_dense", "intermediate_dense"),
    "output": ("_output_dense", "output_dense"),
    "output_layer_norm": ("_output_layer_norm", "output_layer_norm"),
}
TOKENS = "word_embeddings/embeddings"
POSITIONS = "position_embedding/embeddings"
SEGMENTS = "type_embeddings/embeddings"
DECODER = "cls/predictions/embedding_table"


class GardenVariables:
    """The variables of one encoder and its heads.

    Args:
        graph: Of the checkpoint.
        shapes: Stored key -> shape.
        where: For messages.

    Attributes:
        keys: The table's name -> the stored key.
        unnamed_tables: {key: rows} of tables that are the positions' or the segments'.
        untrained: Keys that a trained variable stands in for.

    Raises:
        ValueError: No encoder, or several.
    """

    def __init__(
        self,
        graph: ObjectGraph,
        shapes: collections.abc.Mapping[str, tuple[int, ...]],
        where: str,
    ):
        self.graph, self.shapes, self.where = graph, shapes, where
        self.unnamed_tables: dict[str, int] = {}
        self.untrained: set[str] = set()
        found = [keys for node in graph.walk() if (keys := self._read_encoder(node))]
        if not found:
            raise ValueError(f"{where} has no BERT encoder of the Model Garden in its objects.")
        # One encoder may be reached as several objects, such as a model and its inner network.
        if any(keys != found[0] for keys in found):
            raise ValueError(f"{where} holds several encoders; bertzoo reads checkpoints of one.")
        self.keys = found[0]
        self._find_masked_lm()
        self._find_classification_heads()

    @property
    def num_blocks(self) -> int:
        """How many encoder layers have weights of their own."""
        return sum(name.endswith("/self_attention/query/kernel") for name in self.keys)

    def shape(self, name: str) -> tuple[int, ...]:
        """Return the stored shape of a variable that must be there."""
        if name not in self.keys:
            raise ValueError(f"{self.where}: its encoder has no `{name}`.")
        return self.shapes[self.keys[name]]

    def name_tables(self, num_positions: int, num_segments: int) -> None:
        """Tell tables without a name by their rows; otherwise positions come first."""
        for name, rows in ((POSITIONS, num_positions), (SEGMENTS, num_segments)):
            if name not in self.keys and self.unnamed_tables:
                left = self.unnamed_tables
                key = next((key for key in left if left[key] == rows), next(iter(left)))
                self.keys[name] = key
                del left[key]

    def _layer(self, name: str, node: int | None) -> dict[str, str]:
        """Return {name: key} of a dense layer or a layer normalization."""
        found: dict[str, str] = {}
        for variable in ("kernel", "bias", "gamma", "beta"):
            found |= self._variable(f"{name}/{variable}", self.graph.follow(node, variable))
        return found

    def _variable(self, name: str, node: int | None) -> dict[str, str]:
        key = None if node is None else self.graph.nodes[node].key
        return {} if key is None else {name: key}

    def _read_encoder(self, node: int) -> dict[str, str]:
        """Return {name: key} where a node is an encoder, nothing where it is something else."""
        children = self.graph.nodes[node].children
        if "_embedding_layer" in children and "_transformer_layers" in children:
            return self._read_class(node)
        if "embedding_lookup" in children and "embedding_postprocessor" in children:
            return self._read_2019(node)
        layers = self.graph.numbered(node, "layer_with_weights-")
        first = self.graph.follow(node, "layer_with_weights-0.embeddings")
        if first is not None and any(self._is_block(layer) for layer in layers):
            return self._read_functional(layers)
        return {}

    def _is_block(self, node: int) -> bool:
        places = BLOCK["self_attention/query"]
        return any(self.graph.follow(node, place) is not None for place in places)

    def _read_class(self, node: int) -> dict[str, str]:
        follow = self.graph.follow
        return {
            **self._variable(TOKENS, follow(node, "_embedding_layer.embeddings")),
            **self._variable(POSITIONS, follow(node, "_position_embedding_layer.embeddings")),
            **self._variable(SEGMENTS, follow(node, "_type_embedding_layer.embeddings")),
            **self._layer("embeddings/layer_norm", follow(node, "_embedding_norm_layer")),
            **self._layer("embedding_projection", follow(node, "_embedding_projection")),
            **self._blocks(self.graph.numbered(follow(node, "_transformer_layers"))),
            **self._layer("pooler_transform", follow(node, "_pooler_layer")),
        }

    def _read_2019(self, node: int) -> dict[str, str]:
        follow = self.graph.follow
        after = follow(node, "embedding_postprocessor")
        return {
            **self._variable(TOKENS, follow(node, "embedding_lookup.embeddings")),
            **self._variable(POSITIONS, follow(after, "position_embeddings")),
            **self._variable(SEGMENTS, follow(after, "type_embeddings")),
            **self._layer("embeddings/layer_norm", follow(after, "output_layer_norm")),
            **self._blocks(self.graph.numbered(follow(node, "encoder.layers"))),
            **self._layer("pooler_transform", follow(node, "pooler_transform")),
        }

    def _read_functional(self, layers: list[int]) -> dict[str, str]:
        found: dict[str, str] = {}
        blocks: list[int] = []
        for layer in layers:
            children = self.graph.nodes[layer].children
            if self._is_block(layer):
                blocks.append(layer)
            elif "embeddings" in children:
                found |= self._table(children["embeddings"], first=TOKENS not in found)
            elif "gamma" in children:
                found |= self._layer("embeddings/layer_norm", layer)
            else:
                # A projection stands before the layers, the pooler after them.
                found |= self._layer(
                    "pooler_transform" if blocks else "embedding_projection", layer
                )
        return found | self._blocks(blocks)

    def _table(self, node: int, first: bool) -> dict[str, str]:
        """Return which table this is; the number of its layer differs between versions."""
        full_name = self.graph.nodes[node].full_name
        if first:
            return self._variable(TOKENS, node)
        if "position" in full_name:
            return self._variable(POSITIONS, node)
        if "type" in full_name:
            return self._variable(SEGMENTS, node)
        for key in self._variable("", node).values():
            self.unnamed_tables[key] = (*self.shapes[key], 0)[0]
        return {}

    def _blocks(self, blocks: list[int]) -> dict[str, str]:
        found: dict[str, str] = {}
        for index, block in enumerate(blocks):
            for name, places in BLOCK.items():
                nodes = (self.graph.follow(block, place) for place in places)
                node = next((node for node in nodes if node is not None), None)
                found |= self._layer(f"transformer/layer_{index}/{name}", node)
        return found

    def _find_masked_lm(self) -> None:
        for node in self.graph.walk():
            children = self.graph.nodes[node].children
            if "output_bias/bias" in children and {"dense", "layer_norm"} <= set(children):
                head = "cls/predictions/"
                self.keys |= self._layer(head + "transform/dense", children["dense"])
                self.keys |= self._layer(head + "transform/LayerNorm", children["layer_norm"])
                bias = children["output_bias/bias"]
                self.keys |= self._variable(head + "output_bias/bias", bias)
                decoder = self._variable(DECODER, children.get("embedding_table"))
                if decoder.get(DECODER) != self.keys.get(TOKENS):
                    self.keys |= decoder
                return

    def _find_classification_heads(self) -> None:
        taken = set()
        for node in self.graph.walk():
            logits = self.graph.follow(node, "out_proj")
            if logits is None:
                continue
            bias = self.graph.follow(logits, "bias")
            name = "" if bias is None else self.graph.nodes[bias].full_name
            kind = "next_sentence" if "next_sentence" in name else "sentence_prediction"
            if kind in taken:
                raise ValueError(f"{self.where} holds two {kind} heads; bertzoo reads one of each.")
            taken.add(kind)
            inner = self.graph.follow(node, "dense")
            if kind == "next_sentence":
                self.keys |= self._layer("next_sentence/logits", logits)
                self._replace_pooler(inner)
            else:
                last = "logits" if inner is None else "out_proj"
                self.keys |= self._layer("sentence_prediction/pooler_dense", inner)
                self.keys |= self._layer(f"sentence_prediction/{last}", logits)
        # BertPretrainerV2.checkpoint_items has the pooler of that head and not its logits.
        self._replace_pooler(self.graph.nodes[0].children.get("next_sentence.pooler_dense"))

    def _replace_pooler(self, node: int | None) -> None:
        """Take the dense layer of a next-sentence head for the pooler.

        BertPretrainerV2 gives that head a dense layer of its own; where a model was trained so,
        the encoder's pooler_transform still holds its random start values.
        """
        trained = self._layer("pooler_transform", node)
        self.untrained |= {self.keys[name] for name in trained if name in self.keys}
        self.untrained -= set(trained.values())
        self.keys |= trained
