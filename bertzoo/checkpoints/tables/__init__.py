"""One file per format: its tensor names, its configuration keys, its heads."""
