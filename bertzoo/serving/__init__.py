"""From a task to what servers run: SavedModels with companions, a check of them, a server to try.

Importing this loads neither TensorFlow nor Keras: the check runs a SavedModel in a process that
has neither.
"""
