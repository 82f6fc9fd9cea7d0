"""Fine-tune a preset by a recipe: `python recipes/finetune.py finetune/glue_rte --dry-run`.

The same as `bertzoo train`; here so that a checkout can be run without being installed.
"""

import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).parent.parent))

from bertzoo.cli import main

if __name__ == "__main__":
    sys.exit(main(["train", *sys.argv[1:]]))
