"""Readers of datasets as they are published, one file a layout, and of the files that lie in them."""
