"""What a run leaves behind: numbers, predictions in official formats, pictures, mistakes to read.

```python
from bertzoo import reports

reports.write_glue("predictions", "RTE", ["entailment", "not_entailment"])
reports.write_json("metrics.json", {"accuracy": 0.5})
```
"""

from bertzoo.reports.card import training_passage
from bertzoo.reports.figures import can_plot
from bertzoo.reports.plots import plot_confusion, plot_curves
from bertzoo.reports.predictions import GLUE_FILES, write_conll, write_glue, write_squad
from bertzoo.reports.tables import write_errors, write_json, write_jsonl, write_tsv

__all__ = [
    "GLUE_FILES",
    "can_plot",
    "plot_confusion",
    "plot_curves",
    "training_passage",
    "write_conll",
    "write_errors",
    "write_glue",
    "write_json",
    "write_jsonl",
    "write_squad",
    "write_tsv",
]
