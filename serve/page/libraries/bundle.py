"""Fetches the JavaScript libraries of the page and of /docs with npm and puts them into ``serve/page/vendor``.

    make page

npm takes the versions and digests of ``package-lock.json`` from whatever registry it is configured for, in a temporary
folder; no package's own scripts are run. Of three.js the bundle holds what the page uses. Without Node.js or a network
the page still works, but for its 3D view and the documentation's looks; the message says so.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

LIBRARIES = Path(__file__).parent
BUNDLE = LIBRARIES.parent / "vendor" / "three.js"
_ENTRY = ("package.json", "package-lock.json", ".npmrc", "three.js")
_COPIED = ("swagger-ui-bundle.js", "swagger-ui.css")
_SECONDS = 300


class BundleError(RuntimeError):
    """The libraries could not be had; the message names the remedy."""


def bundle(target: Path = BUNDLE) -> None:
    """Writes the bundle and, beside it, what /docs needs; what is there stays when this fails. Raises BundleError."""
    npm = shutil.which("npm")
    if npm is None:
        raise BundleError("npm is not installed; install Node.js 18 or newer")
    with tempfile.TemporaryDirectory() as folder:
        for name in _ENTRY:
            shutil.copy(LIBRARIES / name, folder)
        made = Path(folder) / "bundle.js"
        _run([npm, "ci"], folder)
        _run([npm, "run", "--silent", "bundle", "--", f"--outfile={made}"], folder)
        target.parent.mkdir(exist_ok=True)
        for name in _COPIED:
            shutil.copy(Path(folder) / "node_modules" / "swagger-ui-dist" / name, target.parent)
        shutil.copy(made, target)  # last: whoever sees it has everything


def _run(command: list[str], folder: str) -> None:
    try:
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=_SECONDS)
    except subprocess.TimeoutExpired:
        raise BundleError(f"npm got no answer in {_SECONDS} s; check the network and npm's registry setting") from None
    if done.returncode:
        said = [line for line in done.stderr.splitlines() if "error" in line.lower()]
        reason = said[0] if said else f"`{' '.join(command[1:])}` ended with status {done.returncode}"
        raise BundleError(f"{reason}; check the network and npm's registry setting")


def main() -> int:
    try:
        bundle()
    except BundleError as error:
        print(f"[page] no 3D view, no /docs: {error}, then run `make page`. Everything else works.", file=sys.stderr)
        return 1
    print(f"[page] {BUNDLE.name}: {BUNDLE.stat().st_size // 1024} KiB")
    return 0


if __name__ == "__main__":
    sys.exit(main())
