"""Fetches the JavaScript libraries of the page and of /docs with npm and bundles them in ``serve/page/vendor``.

    make page

npm installs the versions and digests of ``package-lock.json`` from its configured registry into a temporary folder,
without running the packages' scripts. The bundle contains only the parts of three.js that the page uses. Without
Node.js or a network the page still works, except its 3D view and the style of /docs; a message says so.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

LIBRARIES = Path(__file__).parent
BUNDLE = LIBRARIES.parent / "vendor" / "three.js"
_INPUTS = ("package.json", "package-lock.json", ".npmrc", "three.js")
_SWAGGER_FILES = ("swagger-ui-bundle.js", "swagger-ui.css")
_TIMEOUT_S = 300


class BundleError(RuntimeError):
    """The libraries could not be installed. The message names the remedy."""


def bundle(target: Path = BUNDLE) -> None:
    """Writes the bundle and, next to it, the files of /docs. Existing files remain if it fails. Raises BundleError."""
    npm = shutil.which("npm")
    if npm is None:
        raise BundleError("npm is not installed; install Node.js 18 or newer")
    with tempfile.TemporaryDirectory() as folder:
        for name in _INPUTS:
            shutil.copy(LIBRARIES / name, folder)
        built = Path(folder) / "bundle.js"
        _run([npm, "ci"], folder)
        _run([npm, "run", "--silent", "bundle", "--", f"--outfile={built}"], folder)
        target.parent.mkdir(exist_ok=True)
        for name in _SWAGGER_FILES:
            shutil.copy(Path(folder) / "node_modules" / "swagger-ui-dist" / name, target.parent)
        shutil.copy(built, target)  # last, because its presence means that everything is there


def _run(command: list[str], folder: str) -> None:
    try:
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=_TIMEOUT_S)
    except subprocess.TimeoutExpired:
        raise BundleError(
            f"npm did not finish within {_TIMEOUT_S} s; check the network and npm's registry setting"
        ) from None
    if done.returncode:
        errors = [line for line in done.stderr.splitlines() if "error" in line.lower()]
        reason = errors[0] if errors else f"`{' '.join(command[1:])}` exited with status {done.returncode}"
        raise BundleError(f"{reason}; check the network and npm's registry setting")


def main() -> int:
    try:
        bundle()
    except BundleError as error:
        print(
            f"[page] no 3D view and no styled /docs: {error}, then run `make page`. Everything else works.",
            file=sys.stderr,
        )
        return 1
    print(f"[page] {BUNDLE.name}: {BUNDLE.stat().st_size // 1024} KiB")
    return 0


if __name__ == "__main__":
    sys.exit(main())
