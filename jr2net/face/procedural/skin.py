"""The skin of the left half: a smooth surface through the hand-placed points, and its triangulation.

The skin is star-shaped around ``anatomy.CENTRE``, so it is one function over the *chart*: the azimuthal equidistant
map of directions, 100 chart units per radian (about 1 mm in the front of the face). Rings of vertices follow eyelids,
lips and nostril; a Delaunay triangulation in the chart fills the rest.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.interpolate import CubicSpline, RBFInterpolator
from scipy.spatial import Delaunay, cKDTree

from jr2net.face.procedural import anatomy

Array = NDArray[np.float64]
Index = NDArray[np.int64]

EYE_POINTS, MOUTH_POINTS = 24, 19
_CHART = 100.0


@dataclass(frozen=True)
class Half:
    """One half of a mesh, x ≥ 0. ``marks`` names groups of vertices; vertices at x = 0 lie on the mirror plane."""

    vertices: Array
    faces: Index
    labels: NDArray[np.str_]
    marks: dict[str, Index]


def to_chart(points: Array) -> Array:
    """(n, 3) mm to (n, 2) chart units."""
    d = points - anatomy.CENTRE
    radius = np.hypot(d[:, 0], d[:, 1])
    angle = np.arctan2(radius, d[:, 2])
    return _CHART * (angle / np.maximum(radius, 1e-12))[:, None] * d[:, :2]


def from_chart(chart: Array, distance: Array) -> Array:
    """The points at a distance (n,) from the centre along the directions (n, 2)."""
    angle = np.hypot(chart[:, 0], chart[:, 1]) / _CHART
    sine = np.sinc(angle / np.pi)[:, None] * chart / _CHART
    return anatomy.CENTRE + distance[:, None] * np.concatenate([sine, np.cos(angle)[:, None]], 1)


def eye_ring(stations: Array) -> Array:
    """12 stations around the eye to a closed ring of ``EYE_POINTS``; z = 0 is put on the lids' sphere."""
    ring = stations.copy()
    free = ring[:, 2] == 0
    ring[free] = on_lid_sphere(ring[free])
    spline = CubicSpline(np.arange(13), np.concatenate([ring, ring[:1]]), bc_type="periodic")
    return spline(np.arange(EYE_POINTS) * 12 / EYE_POINTS)


def on_lid_sphere(points: Array, gap: float = anatomy.LID_GAP) -> Array:
    """Moves points along z to the front of the sphere around the eyeball that the lids slide on."""
    x, y, _ = (points - anatomy.EYE_CENTRE).T
    depth = np.sqrt(np.maximum((anatomy.EYE_RADIUS + gap) ** 2 - x**2 - y**2, 0.0))
    return np.stack([points[:, 0], points[:, 1], anatomy.EYE_CENTRE[2] + depth], 1)


def mouth_ring(stations: Array) -> Array:
    """13 stations from the upper lip's middle over the corner to the lower lip's middle, to ``MOUTH_POINTS``.

    The two halves of the lips meet in the corner at an angle, so each has its own spline.
    """
    t = np.linspace(0, 12, MOUTH_POINTS)
    upper = CubicSpline(np.arange(7), stations[:7])(t[t <= 6])
    lower = CubicSpline(np.arange(6, 13), stations[6:])(t[t > 6])
    ring = np.concatenate([upper, lower])
    ring[[0, -1], 0] = 0.0
    return ring


def midline(count: int = 400) -> tuple[Array, Array]:
    """The profile as (y, z) curves above and below the lips, finely sampled from top to bottom."""
    def curve(points: Array) -> Array:
        length = np.concatenate([[0], np.cumsum(np.linalg.norm(np.diff(points, axis=0), axis=1))])
        return CubicSpline(length, points)(np.linspace(0, length[-1], count))

    above = np.concatenate([anatomy.MIDLINE[anatomy.MIDLINE[:, 0] > -21], [anatomy.PERIORAL[0, 1:]]])
    below = np.concatenate([[anatomy.PERIORAL[-1, 1:]], anatomy.MIDLINE[anatomy.MIDLINE[:, 0] < -48]])
    return curve(above), curve(below)


def fit_surface(eye_rings: list[Array], mouth_rings: list[Array]) -> RBFInterpolator:
    """Distance from the centre as a function of the chart: a thin-plate spline through all hand-placed points."""
    profile = np.concatenate([np.zeros((len(anatomy.MIDLINE), 1)), anatomy.MIDLINE], 1)
    points = np.concatenate([anatomy.SURFACE, anatomy.BOUNDARY[1:-1], *[r[::2] for r in eye_rings], *[r[1:-1:2] for r in mouth_rings]])
    points = np.concatenate([points, points * [-1, 1, 1], profile])
    points = _thin(points, 1.5)
    return RBFInterpolator(to_chart(points), np.linalg.norm(points - anatomy.CENTRE, axis=1), smoothing=0.5, kernel="thin_plate_spline")


def _thin(points: Array, distance: float) -> Array:
    """Drops points that lie within ``distance`` of an earlier one."""
    keep = np.ones(len(points), bool)
    for i, j in sorted(cKDTree(points).query_pairs(distance)):
        if keep[i]:
            keep[j] = False
    return points[keep]


def build_skin() -> Half:
    """Skin, lips, lid rims and the inside of the mouth of the left half, as one connected surface."""
    eye = [eye_ring(r) for r in (anatomy.LID_MARGIN, anatomy.LID_PLATE, anatomy.LID_CREASE, anatomy.LID_FOLD, anatomy.ORBIT)]
    mouth = [mouth_ring(r) for r in (anatomy.PERIORAL, anatomy.LIP_BORDER, anatomy.LIP_OUTER, anatomy.LIP_CREST, anatomy.LIP_INNER,
                                     anatomy.LIP_CONTACT, anatomy.MOUTH_WALL, anatomy.MOUTH_POUCH, anatomy.MOUTH_MIDDLE, anatomy.MOUTH_BACK)]
    surface = fit_surface(eye[3:], mouth[:1])

    def lift(chart: Array) -> Array:
        return from_chart(chart, surface(chart))

    nostril_chart = _nostril_chart(surface)
    nostril = lift(nostril_chart)
    pit = (nostril - nostril.mean(0)) * 0.7 + nostril.mean(0) + anatomy.NOSTRIL_DEPTH
    pit_end = pit.mean(0) + 0.6 * anatomy.NOSTRIL_DEPTH

    towards = eye[0] - anatomy.EYE_CENTRE
    rim = anatomy.EYE_CENTRE + towards * ((anatomy.EYE_RADIUS - 0.7) / np.linalg.norm(towards, axis=1))[:, None]

    landmarks = np.array(list(anatomy.SKIN_LANDMARKS.values()), float)
    open_chart = triangulation_points(landmarks, eye[-1], mouth[0], nostril_chart)
    blocks = {"skin": lift(open_chart)}
    blocks["skin"][open_chart[:, 0] == 0, 0] = 0.0
    names = ["orbit", "lid_fold", "lid_crease", "lid_plate", "lid_margin", "lid_rim"]
    blocks |= dict(zip(names, [*eye[::-1], rim]))
    names = ["perioral", "lip_border", "lip_outer", "lip_crest", "lip_inner", "lip_contact", "mouth_wall", "mouth_pouch", "mouth_middle", "mouth_back"]
    blocks |= dict(zip(names, mouth))
    blocks |= {"mouth_end": anatomy.MOUTH_END[None], "nostril": nostril, "nostril_pit": pit, "nostril_end": pit_end[None]}

    marks: dict[str, Index] = {}
    start = 0
    for name, points in blocks.items():
        marks[name] = np.arange(start, start + len(points))
        start += len(points)
    vertices = np.concatenate(list(blocks.values()))
    for number, index in zip(anatomy.SKIN_LANDMARKS, range(len(landmarks))):
        marks[f"landmark{number}"] = marks["skin"][index : index + 1]

    in_chart = np.concatenate([marks["skin"], marks["orbit"], marks["perioral"], marks["nostril"]])
    chart = np.concatenate([open_chart, to_chart(eye[-1]), to_chart(mouth[0]), nostril_chart])
    faces = [in_chart[_triangulate(chart, [to_chart(eye[-1]), _mouth_hole(mouth[0]), nostril_chart])]]
    rings = ["orbit", "lid_fold", "lid_crease", "lid_plate", "lid_margin", "lid_rim"]
    faces += [strip(marks[a], marks[b], closed=True) for a, b in zip(rings, rings[1:])]
    rings = names
    faces += [strip(marks[b], marks[a], closed=False) for a, b in zip(rings, rings[1:])]
    faces += [fan(marks["mouth_back"], marks["mouth_end"][0], closed=False)[:, ::-1]]
    faces += [strip(marks["nostril"], marks["nostril_pit"], closed=True), fan(marks["nostril_pit"], marks["nostril_end"][0], closed=True)]

    labels = np.full(len(vertices), "skin", dtype="<U12")
    labels[marks["lid_rim"]] = "eye_socket"
    for name in ("lip_border", "lip_outer", "lip_crest", "lip_inner", "lip_contact"):
        labels[marks[name]] = "lips"
    for name in ("mouth_wall", "mouth_pouch", "mouth_middle", "mouth_back", "mouth_end"):
        labels[marks[name]] = "mouth_socket"
    return Half(vertices, np.concatenate(faces), labels, marks)


def strip(inner: Index, outer: Index, closed: bool) -> Index:
    """Triangles between two rings of equal length, each quad cut along its first diagonal."""
    n = len(inner)
    i = np.arange(n if closed else n - 1)
    j = (i + 1) % n
    a, b, c, d = inner[i], inner[j], outer[j], outer[i]
    return np.concatenate([np.stack([a, b, c], 1), np.stack([a, c, d], 1)])


def fan(ring: Index, tip: int, closed: bool) -> Index:
    n = len(ring)
    i = np.arange(n if closed else n - 1)
    return np.stack([ring[i], ring[(i + 1) % n], np.full(len(i), tip)], 1)


def _nostril_chart(surface: RBFInterpolator) -> Array:
    """The nostril's (x, y) outline on the surface, in the chart."""
    target = anatomy.NOSTRIL[::-1]
    chart = to_chart(np.concatenate([target, np.full((len(target), 1), 117.0)], 1))
    for _ in range(30):
        chart = chart + 0.8 * (target - from_chart(chart, surface(chart))[:, :2])
    return chart


def _mouth_hole(perioral: Array) -> Array:
    """The mouth's hole in the chart, closed well beyond the mirror plane."""
    chart = to_chart(perioral)
    return np.concatenate([chart, [[-20.0, chart[-1, 1]], [-20.0, chart[0, 1]]]])


def spacing(chart: Array) -> Array:
    """Wanted distance of neighbouring vertices (n,), chart units: fine at nose, eyes, mouth and brow."""
    def distance(points: Array) -> Array:
        return cKDTree(points).query(chart)[0]

    brow = to_chart(np.concatenate([anatomy.BROW, np.linspace(106, 80, 6)[:, None]], 1))
    nose = np.array([(0, y) for y in range(-12, 14, 3)] + [(x, y) for x in (6, 12, 17) for y in (-10, -4, 2)], float)
    outlines = to_chart(np.concatenate([eye_ring(anatomy.ORBIT), mouth_ring(anatomy.PERIORAL)]))
    wanted = np.minimum(2.5 + 0.22 * np.maximum(distance(nose) - 3, 0), 3.2 + 0.2 * distance(outlines))
    wanted = np.minimum(wanted, 3.2 + 0.3 * np.maximum(distance(brow) - 5, 0))
    return np.minimum(wanted, 8.0)


def _walk(curve: Array) -> Array:
    """Points along a finely sampled chart curve, both ends included, at the wanted spacing."""
    step = np.linalg.norm(np.diff(curve, axis=0), axis=1)
    density = np.concatenate([[0], np.cumsum(step / spacing(0.5 * (curve[1:] + curve[:-1])))])
    count = max(int(round(density[-1])), 1)
    at = np.linspace(0, density[-1], count + 1)
    return np.stack([np.interp(at, density, curve[:, 0]), np.interp(at, density, curve[:, 1])], 1)


def triangulation_points(landmarks: Array, orbit: Array, perioral: Array, nostril: Array) -> Array:
    """Chart points of the open skin: landmarks first, then midline, boundary and an even filling of the rest."""
    fixed = to_chart(landmarks)
    fixed[landmarks[:, 0] == 0, 0] = 0.0
    lines = [_walk(to_chart(np.concatenate([np.zeros((len(c), 1)), c], 1))) for c in midline()]
    lines[0], lines[1] = lines[0][1:-1], lines[1][1:-1]
    length = np.arange(len(anatomy.BOUNDARY))
    boundary = to_chart(CubicSpline(length, anatomy.BOUNDARY)(np.linspace(0, length[-1], 500)))
    border = _walk(boundary)
    border[[0, -1], 0] = 0.0
    line = np.concatenate(lines)
    line[:, 0] = 0.0
    line = line[cKDTree(fixed).query(line)[0] > 0.45 * spacing(line)]
    fixed = np.concatenate([fixed, border, line])
    rings = np.concatenate([to_chart(orbit), to_chart(perioral), nostril])
    holes = [to_chart(orbit), _mouth_hole(perioral), nostril]

    u, v = np.meshgrid(np.arange(0.75, 140, 1.0), np.arange(130, -130, -1.0))
    u[1::2] += 0.5
    grid = np.stack([u.ravel(), v.ravel()], 1)
    outline = np.concatenate([boundary, [[0.0, boundary[-1, 1]], [0.0, boundary[0, 1]]]])
    grid = grid[_inside(grid, outline)]
    grid = grid[~np.any([_inside(grid, hole) for hole in holes], axis=0)]
    wanted = spacing(grid)
    grid_keep = cKDTree(np.concatenate([fixed, rings])).query(grid)[0] > 0.72 * wanted
    grid, wanted = grid[grid_keep], wanted[grid_keep]
    free = grid[_spread(grid, wanted)]
    for _ in range(12):
        free = _relax(free, np.concatenate([fixed, rings]), holes)
    return np.concatenate([fixed, free])


def _spread(points: Array, wanted: Array) -> Index:
    """Greedy choice of points no two of which are nearer than wanted (Poisson disc), in the order given."""
    tree = cKDTree(points)
    alive = np.ones(len(points), bool)
    chosen = []
    order = np.argsort(np.hypot(points[:, 0], points[:, 1]), kind="stable")
    for i in order:
        if alive[i]:
            chosen.append(i)
            alive[tree.query_ball_point(points[i], 0.92 * wanted[i])] = False
    return np.array(chosen)


def _relax(free: Array, fixed: Array, holes: list[Array]) -> Array:
    """One step of moving free points to the mean of their neighbours."""
    points = np.concatenate([free, fixed])
    triangles = _triangulate(points, holes)
    total, count = np.zeros_like(points), np.zeros(len(points))
    for a, b in ((0, 1), (1, 2), (2, 0), (1, 0), (2, 1), (0, 2)):
        np.add.at(total, triangles[:, a], points[triangles[:, b]])
        np.add.at(count, triangles[:, a], 1.0)
    n = len(free)
    return 0.5 * free + 0.5 * total[:n] / np.maximum(count[:n], 1)[:, None]


def _triangulate(points: Array, holes: list[Array]) -> Index:
    """Delaunay triangles counter-clockwise in the chart, without those in a hole or beyond the boundary."""
    triangles = Delaunay(points).simplices.astype(np.int64)
    a, b, c = points[triangles].transpose(1, 0, 2)
    area = 0.5 * ((b[:, 0] - a[:, 0]) * (c[:, 1] - a[:, 1]) - (c[:, 0] - a[:, 0]) * (b[:, 1] - a[:, 1]))
    longest = np.max([np.hypot(*(a - b).T), np.hypot(*(b - c).T), np.hypot(*(c - a).T)], axis=0)
    triangles[area < 0] = triangles[area < 0][:, ::-1]
    middle = points[triangles].mean(1)
    keep = (np.abs(area) > 0.02 * longest**2) & ~np.any([_inside(middle, hole) for hole in holes], axis=0)
    return triangles[keep]


def _inside(points: Array, polygon: Array) -> NDArray[np.bool_]:
    """Which points lie in a closed polygon (even-odd rule)."""
    a, b = polygon, np.roll(polygon, -1, 0)
    x, y = points[:, :1], points[:, 1:]
    crosses = (a[:, 1] > y) != (b[:, 1] > y)
    with np.errstate(divide="ignore", invalid="ignore"):
        at = a[:, 0] + (y - a[:, 1]) * (b[:, 0] - a[:, 0]) / (b[:, 1] - a[:, 1])
    return (np.sum(crosses & (x < at), axis=1) % 2).astype(bool)
