"""Encoder layers in `keras.ops` only: embeddings, attention, encoder layer, pooling, heads."""
