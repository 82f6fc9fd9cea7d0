"""Text to ids and back, in TensorFlow graphs, with offsets into the original text."""
