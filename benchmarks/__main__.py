"""``python -m benchmarks [name …]``: runs bench_<name>.py (default: all), prints and records the measurements."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path

from benchmarks.results import RESULTS, machine, record
from jr2net.process import use_threads


def main(names: list[str]) -> int:
    known = sorted(path.stem.removeprefix("bench_") for path in Path(__file__).parent.glob("bench_*.py"))
    unknown = [name for name in names if name not in known]
    if unknown:
        print(f"no benchmark named {', '.join(unknown)}; available: {', '.join(known)}", file=sys.stderr)
        return 2
    use_threads(1)  # as in the project's processes
    print(f"on {machine()}")
    for name in names or known:
        for measurement in importlib.import_module(f"benchmarks.bench_{name}").measure():
            peer = f"  against {measurement.peer}" if measurement.peer else ""
            print(f"{measurement.name:<64} {measurement.value:>10.2f} {measurement.unit}{peer}", flush=True)
            record([measurement])
    print(f"recorded in {RESULTS}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
