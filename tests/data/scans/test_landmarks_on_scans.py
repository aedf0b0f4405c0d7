"""3D landmark files in the usual forms, which points they are, and what two of them have in common."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from jr2net.data.readers.problems import DatasetError
from jr2net.data.scans.mesh import NO_FACES, Mesh
from jr2net.data.scans.points import POINT_FILES, read_points
from jr2net.data.scans.schemes import NOW_POINTS, SCHEMES, Landmarks, in_common

POINTS = np.arange(21.0).reshape(7, 3) / 2
LINES = [" ".join(map(str, row)) for row in POINTS.tolist()]
PICKED = "".join(
    f'<point z="{z}" active="1" y="{y}" name="{n}" x="{x}"/>\n' for n, (x, y, z) in enumerate(POINTS.tolist())
)
FORMS: dict[str, str] = {
    "a.txt": "\n".join(LINES),
    "b.txt": "\n".join(f"point{n} {line}" for n, line in enumerate(LINES)),
    "a.csv": "name,x,y,z\n" + "\n".join(f"p,{line.replace(' ', ',')}" for line in LINES) + "\n",
    "b.csv": "x;y;z\n" + "\n".join(line.replace(" ", ";") for line in LINES),
    "a.bnd": "\n".join(f"{100 + n} {line}" for n, line in enumerate(LINES)),
    "a.lmk": "# picked\n" + "\n".join(LINES),
    "a.pts": "version: 1\nn_points: 7\n{\n" + "\n".join(LINES) + "\n}\n",
    "a.pp": f"<!DOCTYPE PickedPoints><PickedPoints><DocumentData/>\n{PICKED}</PickedPoints>",
    "a.json": json.dumps(POINTS.tolist()),
    "b.json": json.dumps({"landmarks": POINTS.tolist()}),
}


@pytest.mark.parametrize("name", FORMS)
def test_the_usual_forms(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text(FORMS[name])
    np.testing.assert_array_equal(read_points(str(tmp_path / name)).values, POINTS)


def test_arrays_and_named_points(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", POINTS)
    np.testing.assert_array_equal(read_points(str(tmp_path / "a.npy")).values, POINTS)
    (tmp_path / "a.json").write_text(json.dumps({"36": [1, 2, 3], "45": [4, 5, 6], "30": [7, 8, 9]}))
    found = read_points(str(tmp_path / "a.json"))
    assert found.ibug == (36, 45, 30) and found.values[1].tolist() == [4, 5, 6]


def test_vertices_of_the_mesh_and_pixels_of_a_range_image(tmp_path: Path) -> None:
    mesh = Mesh(np.arange(30.0).reshape(10, 3), NO_FACES, np.array([[-1, 0, 1, 2], [3, 4, 5, 6], [7, 8, 9, -1]]))
    (tmp_path / "v.txt").write_text("3\n1\n9\n")
    np.save(tmp_path / "v.npy", np.array([3, 1, 9]))
    for name in ("v.txt", "v.npy"):
        found = read_points(str(tmp_path / name)).on(mesh, name, unit=10)
        np.testing.assert_array_equal(found, mesh.vertices[[3, 1, 9]])
    (tmp_path / "p.txt").write_text("1 1\n0 0\n3 2\n40 40\n")
    found = read_points(str(tmp_path / "p.txt")).on(mesh, "p.txt")
    np.testing.assert_array_equal(found[0], mesh.vertices[4])
    assert found[1].tolist() in mesh.vertices[[0, 3]].tolist()  # a hole: the nearest pixel that was seen
    assert np.isnan(found[3]).all()
    with pytest.raises(DatasetError, match=r"only \.abs files have"):
        read_points(str(tmp_path / "p.txt")).on(Mesh(mesh.vertices, NO_FACES), "p.txt")
    with pytest.raises(DatasetError, match="vertex 9 of a mesh of 5"):
        read_points(str(tmp_path / "v.txt")).on(Mesh(mesh.vertices[:5], NO_FACES), "v.txt")


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.txt", "1 2 3\n4 5\n", "lines of different lengths"),
        ("a.txt", "", "cannot be read"),
        ("a.txt", "1 2 3\n", "an array of shape"),
        ("a.txt", "<html><body>quota exceeded", "is a web page"),
        ("a.pts", "version: 1\nn_points: 68\n{\n1 2 3\n}\n", "n_points is 68, but 1 lines"),
        ("a.pts", "n_points: 3\n{\n1 2 3\n", "no points in braces"),
        ("a.pp", '<point x="1" y="2"/>', "cannot be read"),
        ("a.json", '{"nose": [1, 2, 3]}', "cannot be read"),
        ("a.npy", "nothing", "cannot be read"),
        ("a.doc", "1 2 3", f"give one of {', '.join(POINT_FILES)}"),
    ],
)
def test_a_damaged_file_is_named(tmp_path: Path, name: str, content: str, message: str) -> None:
    (tmp_path / name).write_text(content)
    with pytest.raises(DatasetError, match=message) as raised:
        read_points(str(tmp_path / name))
    assert str(tmp_path / name) in str(raised.value)


def test_an_object_is_not_unpickled(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.array([{"left": 1}]), allow_pickle=True)
    with pytest.raises(DatasetError, match="cannot be read"):
        read_points(str(tmp_path / "a.npy"))


@pytest.mark.parametrize("count", SCHEMES)
def test_every_scheme_is_found_in_the_68(count: int) -> None:
    full = Landmarks(np.random.default_rng(0).normal(size=(68, 3)), SCHEMES[68])
    points = np.array([full.points[list(numbers)].mean(0) for numbers in SCHEMES[count]])
    ours, theirs = in_common(Landmarks.of(points, None, "a"), full, "b")
    np.testing.assert_allclose(ours, theirs)
    assert len(ours) >= count
    assert [len(found) for found in in_common(full, Landmarks.of(points, None, "a"), "b")] == [len(ours)] * 2


def test_points_that_are_not_known_by_their_number_are_told() -> None:
    points = np.arange(27.0).reshape(9, 3)
    with pytest.raises(DatasetError, match=r"9 landmarks, which are not known by their number .* --set ibug="):
        Landmarks.of(points, None, "a.bnd")
    told = Landmarks.of(points, [*NOW_POINTS, 30, -1], "a.bnd")
    assert told.find((30,)).tolist() == points[7].tolist() and told.find(()) is None
    with pytest.raises(DatasetError, match="iBUG numbers of 3"):
        Landmarks.of(points, [1, 2, 3], "a.bnd")


def test_unknown_points_are_not_compared_and_four_are_needed() -> None:
    points = np.arange(21.0).reshape(7, 3)
    points[0] = np.nan
    seven = Landmarks.of(points, None, "a")
    full = Landmarks(np.zeros((68, 3)), SCHEMES[68])
    assert len(in_common(seven, full, "b")[0]) == 6
    points[1:4] = np.nan
    with pytest.raises(DatasetError, match="b: has 3 landmarks in common with the scan"):
        in_common(Landmarks.of(points, None, "a"), full, "b")
