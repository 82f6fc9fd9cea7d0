"""Network outputs to final answers, in the TensorFlow graph: the same for Python and a server."""
