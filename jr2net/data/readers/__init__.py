"""Readers of datasets as they are published, one file a layout, and of the files that lie in them."""

from jr2net.data.readers.layout import Folder, Layout
from jr2net.data.readers.layouts import LAYOUTS, choose_layout

__all__ = ["LAYOUTS", "Folder", "Layout", "choose_layout"]
