"""All layouts, and which one a folder has."""

from __future__ import annotations

from jr2net.data.readers import celeba, footage, ibug, livelink, ls3d, voxceleb2, w300lp
from jr2net.data.readers.layout import Folder, Layout
from jr2net.data.readers.problems import DatasetError

LAYOUTS = {
    layout.name: layout
    for layout in (
        celeba.LAYOUT,
        voxceleb2.LAYOUT,
        w300lp.LAYOUT,
        ls3d.LAYOUT,
        ibug.LAYOUT,
        livelink.LAYOUT,
        footage.LAYOUT,
    )
}
"""By name, in the order in which a folder is compared with them: the most particular first."""


def choose_layout(folder: Folder, name: str | None = None) -> Layout:
    """The layout of this name, or, without one, the first that the folder has. Raises DatasetError."""
    if name is not None:
        if name not in LAYOUTS:
            raise DatasetError("unknown layout", f"--layout {name}: give one of {', '.join(LAYOUTS)}")
        return LAYOUTS[name]
    layout = next((layout for layout in LAYOUTS.values() if layout.recognises(folder)), None)
    if layout is None:
        kinds = ", ".join(sorted(kind for kind in folder.endings if kind)[:8]) or "without endings"
        raise DatasetError(
            "unknown layout",
            f"{folder.uri}: its files ({kinds}) are of no known layout; name one with --layout "
            f"({', '.join(LAYOUTS)}), or convert them to .mp4 or .jpg",
        )
    return layout
