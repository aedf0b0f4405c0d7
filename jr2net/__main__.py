"""``python -m jr2net``: the ``jr2net`` command where its script is not on the path."""

import sys

from jr2net.cli import main

if __name__ == "__main__":
    sys.exit(main())
