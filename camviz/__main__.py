"""camviz on the command line: `python -m camviz --help`."""

import sys

from camviz.cli import main

if __name__ == "__main__":
    sys.exit(main())
