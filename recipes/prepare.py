"""Text files to records: `python recipes/prepare.py bert_base_en_uncased records corpus/*.txt`.

The same as `bertzoo prepare`; here so that a checkout can be run without being installed.
docs/pretraining-data.md says what there is to choose.
"""

import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).parent.parent))

from bertzoo.cli import main

if __name__ == "__main__":
    sys.exit(main(["prepare", *sys.argv[1:]]))
