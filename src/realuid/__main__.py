"""`python -m realuid`: the command line, where the script `realuid` is not on the PATH."""

import sys

from realuid.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
