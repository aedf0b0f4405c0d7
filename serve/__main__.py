"""Serves on this machine, or on the cluster that ``RAY_ADDRESS`` names.

python -m serve SETTINGS.yaml [key.sub=value …]
"""

import os
import sys

from jobs.signals import stop_quietly

if __name__ == "__main__":
    stop_quietly()
from jobs.ray_settings import SERVE_SETTINGS

if sys.platform == "linux":  # Ray ships HAProxy for Linux only
    for name, value in SERVE_SETTINGS.items():
        os.environ.setdefault(name, value)  # Ray Serve reads them when it is imported

from serve.app import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
