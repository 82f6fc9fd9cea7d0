"""Distil by a recipe: `python recipes/distill.py distill/distilbert --set output=FOLDER`.

The same as `bertzoo train`; the recipes are in `configs/distill`, and `--smoke` runs any of them
in seconds on data of bertzoo's own.
"""

import sys

from bertzoo.cli import main

if __name__ == "__main__":
    sys.exit(main(["train", *sys.argv[1:]]))
