"""Readers of published data files; errors name file, line and column."""

from bertzoo.readers.datasets import read_dataset
from bertzoo.readers.examples import Examples
from bertzoo.readers.glue import glue_labels, read_glue
from bertzoo.readers.labels import LabelSet, cpc_hierarchy, read_hedwig, read_labels
from bertzoo.readers.multiple_choice import read_codah, read_swag
from bertzoo.readers.tables import read_table

__all__ = [
    "Examples",
    "LabelSet",
    "cpc_hierarchy",
    "glue_labels",
    "read_codah",
    "read_dataset",
    "read_glue",
    "read_hedwig",
    "read_labels",
    "read_swag",
    "read_table",
]
