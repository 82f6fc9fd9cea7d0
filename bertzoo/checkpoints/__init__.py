"""Foreign checkpoints and our own presets as arrays by variable path; never a model class.

`open_checkpoint` opens a directory in any known format, `open_source` a preset name too,
`write_preset` writes bertzoo's own directory, `export_checkpoint` another library's, and
`upload_preset` publishes one.
"""

from bertzoo.checkpoints.checkpoint import Checkpoint
from bertzoo.checkpoints.export import export_checkpoint
from bertzoo.checkpoints.opening import (
    FORMATS,
    import_checkpoint,
    open_checkpoint,
    open_source,
)
from bertzoo.checkpoints.preset_directory import write_preset
from bertzoo.checkpoints.shapes import part_of, variable_shapes
from bertzoo.checkpoints.upload import upload_preset

__all__ = [
    "FORMATS",
    "Checkpoint",
    "export_checkpoint",
    "import_checkpoint",
    "open_checkpoint",
    "open_source",
    "part_of",
    "upload_preset",
    "variable_shapes",
    "write_preset",
]
