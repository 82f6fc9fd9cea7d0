"""`python -m bertzoo`: the command line without its script."""

import sys

from bertzoo.cli import main

if __name__ == "__main__":
    sys.exit(main())
