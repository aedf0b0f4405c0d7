"""Scans and meshes of faces as they are published, of any topology, and the 3D landmarks that lie beside them."""
