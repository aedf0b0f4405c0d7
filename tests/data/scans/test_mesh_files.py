"""Mesh files of every form, against trimesh, and what is said of damaged ones."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import pytest

from jr2net.data.readers.problems import DatasetError
from jr2net.data.scans.blendshapes import read_bs
from jr2net.data.scans.files import MESH_FILES, read_mesh

trimesh = pytest.importorskip("trimesh")

CORNERS = ((0, 0), (1, 0), (1, 1), (0, 1))


def range_image(rows: int = 3, columns: int = 4, **changes: np.ndarray) -> str:
    """A slope of 1 mm steps in FRGC's form; ``changes``: other lines by name."""
    y, x = np.mgrid[:rows, :columns].astype(float)
    lines = {"flag": np.ones(x.shape), "x": x, "y": -y, "z": x / 2 - 1500} | changes
    numbers = [" ".join(f"{value:.6f}".rstrip("0").rstrip(".") for value in lines[key].ravel()) for key in lines]
    return "\n".join([f"{rows} rows", f"{columns} columns", "pixels (flag X Y Z):", *numbers]) + "\n"


@pytest.mark.parametrize("kind", ["obj", "ply", "ply_ascii"])
def test_meshes_are_those_that_trimesh_wrote(tmp_path: Path, kind: str) -> None:
    sphere = trimesh.creation.icosphere(2)
    path = tmp_path / f"scan.{kind[:3]}"
    sphere.export(path, **({"encoding": "ascii"} if kind == "ply_ascii" else {}))
    mesh = read_mesh(str(path))
    np.testing.assert_allclose(mesh.vertices, sphere.vertices, atol=1e-6)
    np.testing.assert_array_equal(mesh.faces, sphere.faces)
    (tmp_path / f"{path.name}.gz").write_bytes(gzip.compress(path.read_bytes()))
    np.testing.assert_array_equal(read_mesh(f"{path}.gz").faces, mesh.faces)


def test_polygons_colours_and_negative_indices_of_obj(tmp_path: Path) -> None:
    path = tmp_path / "a.obj"
    path.write_text("v 0 0 0 1 0 0\nv 1 0 0 0 1 0\nv 1 1 0 0 0 1\nv 0 1 0 0 0 0\nf 1/1 2/1 3//2 4\nf -4 -3 -1\n")
    mesh = read_mesh(str(path))
    assert mesh.faces.tolist() == [[0, 1, 2], [0, 2, 3], [0, 1, 3]] and mesh.vertices.shape == (4, 3)


def test_binary_ply_of_polygons_and_other_byte_order(tmp_path: Path) -> None:
    vertex = np.array([((x, y, 0), 9) for x, y in CORNERS], [("p", ">f8", 3), ("q", "u1")])
    faces = b"".join(bytes([len(f)]) + np.array(f, ">i4").tobytes() for f in ([0, 1, 2, 3], [0, 1, 3]))
    head = (
        "ply\nformat binary_big_endian 1.0\ncomment c\nelement vertex 4\nproperty double x\nproperty double y\n"
        "property double z\nproperty uchar q\nelement face 2\nproperty list uchar int vertex_indices\nend_header\n"
    )
    (tmp_path / "a.ply").write_bytes(head.encode() + vertex.tobytes() + faces)
    mesh = read_mesh(str(tmp_path / "a.ply"))
    assert mesh.vertices.tolist() == [[0, 0, 0], [1, 0, 0], [1, 1, 0], [0, 1, 0]]
    assert mesh.faces.tolist() == [[0, 1, 2], [0, 2, 3], [0, 1, 3]]


def test_holes_of_a_range_image_are_left_out(tmp_path: Path) -> None:
    flag, z = np.ones((3, 4)), np.full((3, 4), -1500.0)
    flag[0, 0], z[1, 1], z[2, 3] = 0, np.nan, -999999
    (tmp_path / "04203d1.abs").write_text(range_image(flag=flag, z=z))
    mesh = read_mesh(str(tmp_path / "04203d1.abs"))
    assert mesh.vertices.shape == (9, 3) and np.isfinite(mesh.vertices).all() and mesh.grid is not None
    assert mesh.grid.tolist() == [[-1, 0, 1, 2], [3, -1, 4, 5], [6, 7, 8, -1]]
    assert mesh.vertices[3].tolist() == [0, -1, -1500]


def test_shapes_of_facewarehouse(tmp_path: Path) -> None:
    shapes = np.random.default_rng(0).normal(size=(3, 5, 3)).astype("<f4")
    (tmp_path / "shape.bs").write_bytes(np.array([2, 5, 6], "<i4").tobytes() + shapes.tobytes())
    found = read_bs(str(tmp_path / "shape.bs"))
    np.testing.assert_array_equal([shape.vertices for shape in found], shapes)


DAMAGED = {
    "a.obj": (b"v 0 0 0\nv 1 0 0\nv 0 1 0\nv 0 0 1\nf 1 2 9\n", "faces refer to missing vertices"),
    "b.obj": (b"v 0 0 0\nv 1 0 zero\n", "not a readable .obj"),
    "c.obj": (b"", "has 0 vertices"),
    "d.obj": (b"v 0 0 0\nv 1 0 0\nv nan 1 0\nv 0 0 1\nf 1 2 4\n", "1 of 4 vertices are NaN"),
    "e.obj": (b"<!DOCTYPE html><html>quota</html>", "is a web page"),
    "a.ply": (b"ply\nformat ascii 1.0\nelement vertex 9\nproperty float x\nend_header\n1\n", "1 of 9 rows"),
    "b.ply": (
        b"ply\nformat binary_little_endian 1.0\nelement vertex 9\nproperty float x\nend_header\n1\n",
        "truncated",
    ),
    "c.ply": (b"solid\n", "no header"),
    "a.abs": (range_image()[:-40].encode(), "truncated"),
    "b.abs": (range_image(flag=np.zeros((3, 4))).encode(), "0 of 12 pixels were seen"),
    "c.abs": (b"P5 640 480\n", "not a readable .abs"),
    "a.abs.gz": (gzip.compress(b"x" * 999)[:20], "is damaged or truncated"),
    "a.stl": (b"solid", f"give one of {', '.join(MESH_FILES)}"),
    "a.npy": (b"\x93NUMPY", "not a readable .npy"),
}


@pytest.mark.parametrize("name", DAMAGED)
def test_a_damaged_file_is_named_with_its_remedy(tmp_path: Path, name: str) -> None:
    content, message = DAMAGED[name]
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DatasetError, match=message) as raised:
        read_mesh(str(tmp_path / name))
    assert str(tmp_path / name) in str(raised.value) and raised.value.reason


@pytest.mark.parametrize("content", [b"", b"\0" * 4, np.array([46, 11510, 11400], "<i4").tobytes() + b"\0" * 99])
def test_a_truncated_bs(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "shape.bs").write_bytes(content)
    with pytest.raises(DatasetError, match=r"truncated or no \.bs"):
        read_bs(str(tmp_path / "shape.bs"))


def test_the_samples_in_the_datasets_layouts(real_ground: Path) -> None:
    folder = real_ground / "data" / "datasets" / "scans"
    if not folder.is_dir():
        pytest.skip(f"no samples of scans: {folder} does not exist (set JR2NET_REAL_GROUND)")
    shapes = read_bs(str(folder / "facewarehouse_like_shape.bs"))
    assert len(shapes) == 47 and shapes[0].vertices.shape == (100, 3)
    scan = read_mesh(str(folder / "frgc_like.abs"))
    assert scan.vertices.shape == (1497, 3) and scan.grid is not None and scan.grid.shape == (48, 64)
    assert np.abs(scan.vertices).max() < 2000
