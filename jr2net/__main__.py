"""``python -m jr2net``: the command ``jr2net``."""

import sys

from jr2net.cli import main

sys.exit(main())
