"""Looking into a model: attention maps, token similarity layer by layer, vectors for TensorBoard.

```python
import bertzoo as bz

internals = bz.looking.look("bert_toy", "the cat sat on the mat")
internals.attention.shape  # (2 layers, 4 heads, 8 tokens, 8 tokens)
bz.looking.save_page(internals, "page.html")
```
"""

from bertzoo.looking.internals import Internals, look
from bertzoo.looking.page import page, save_page
from bertzoo.looking.plots import plot_attention, plot_similarity
from bertzoo.looking.projector import save_projector

__all__ = [
    "Internals",
    "look",
    "page",
    "plot_attention",
    "plot_similarity",
    "save_page",
    "save_projector",
]
