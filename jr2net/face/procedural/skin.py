"""The skin of the left half with lips, lid rims, nostril and the inside of the mouth, as one connected surface.

Rings of vertices surround eye, mouth and nostril; the rest is filled by Delaunay triangulation.
"""

from __future__ import annotations

from itertools import pairwise

import numpy as np

from jr2net.face.procedural import anatomy
from jr2net.face.procedural.half import Array, Half, Index, fan, strip
from jr2net.face.procedural.surface import Surface, brow_rows, eye_ring, mouth_ring, to_chart
from jr2net.face.procedural.triangulation import place_skin_vertices, triangulate

_RIM_DEPTH = 0.7  # mm that the rims of the lids reach into the eyeball, so that there is no visible gap
_EYE_RINGS = ("orbit", "lid_fold", "lid_crease", "lid_plate", "lid_margin")
_LIP_RINGS = ("lip_border", "lip_outer", "lip_crest", "lip_inner", "lip_contact")
_MOUTH_RINGS = ("mouth_wall", "mouth_pouch", "mouth_middle", "mouth_back")


def build_skin() -> Half:
    """Marks: every ring by its name, ``skin`` (the open skin) and ``landmark<iBUG index>`` for landmarks on it."""
    rings = {name: eye_ring(getattr(anatomy, name.upper())) for name in _EYE_RINGS}
    rings["lid_rim"] = _lid_rim(rings["lid_margin"])
    rings |= {name: mouth_ring(getattr(anatomy, name.upper())) for name in ("perioral", *_LIP_RINGS, *_MOUTH_RINGS)}
    surface = Surface([rings["lid_fold"][::2], rings["orbit"][::2], rings["perioral"][1:-1:2]])
    rings |= _nostril(surface)

    landmarks = np.array(list(anatomy.SKIN_LANDMARKS.values()), float)
    brow = surface.chart_of_xy(brow_rows().reshape(-1, 2), 95.0)
    holes = [to_chart(rings["orbit"]), _mouth_hole(rings["perioral"]), to_chart(rings["nostril"])]
    chart = place_skin_vertices(landmarks, brow, holes)
    skin = surface.lift(chart)
    skin[chart[:, 0] == 0, 0] = 0.0

    blocks = {"skin": skin, **rings, "mouth_end": anatomy.MOUTH_END[None]}
    ends = np.cumsum([len(points) for points in blocks.values()])
    marks = {name: np.arange(end - len(points), end) for (name, points), end in zip(blocks.items(), ends)}
    marks |= {f"landmark{number}": marks["skin"][[k]] for k, number in enumerate(anatomy.SKIN_LANDMARKS)}

    vertices = np.concatenate(list(blocks.values()))
    labels = np.full(len(vertices), "skin", dtype="<U12")
    for label, names in (("eye_socket", ("lid_rim",)), ("lips", _LIP_RINGS), ("mouth_socket", _MOUTH_RINGS)):
        for name in names:
            labels[marks[name]] = label
    labels[marks["mouth_end"]] = "mouth_socket"
    return Half(vertices, _faces(chart, vertices, holes, marks), labels, marks)


def _faces(chart: Array, vertices: Array, holes: list[Array], marks: dict[str, Index]) -> Index:
    outer = np.concatenate([marks["orbit"], marks["perioral"], marks["nostril"]])
    in_chart = np.concatenate([marks["skin"], outer])
    faces = [in_chart[triangulate(np.concatenate([chart, to_chart(vertices[outer])]), holes)]]
    eye = [marks[name] for name in (*_EYE_RINGS, "lid_rim")]
    faces += [strip(a, b, closed=True) for a, b in pairwise(eye)]
    mouth = [marks[name] for name in ("perioral", *_LIP_RINGS, *_MOUTH_RINGS)]
    faces += [strip(b, a, closed=False) for a, b in pairwise(mouth)]
    faces += [fan(mouth[-1], marks["mouth_end"][0], closed=False)[:, ::-1]]
    faces += [strip(marks["nostril"], marks["nostril_pit"], closed=True)]
    faces += [fan(marks["nostril_pit"], marks["nostril_end"][0], closed=True)]
    return np.concatenate(faces)


def _lid_rim(margin: Array) -> Array:
    """The inner edge of the lids: the margin moved towards the centre of the eye, slightly into the eyeball."""
    towards = margin - anatomy.EYE_CENTRE
    radius = anatomy.EYE_RADIUS - _RIM_DEPTH
    return anatomy.EYE_CENTRE + towards * (radius / np.linalg.norm(towards, axis=1))[:, None]


def _nostril(surface: Surface) -> dict[str, Array]:
    ring = surface.lift(surface.chart_of_xy(anatomy.NOSTRIL[::-1], 117.0))
    middle = ring.mean(0)
    pit = middle + 0.7 * (ring - middle) + anatomy.NOSTRIL_DEPTH
    end = middle + 1.6 * anatomy.NOSTRIL_DEPTH
    return {"nostril": ring, "nostril_pit": pit, "nostril_end": end[None]}


def _mouth_hole(perioral: Array) -> Array:
    """Polygon (m, 2) of the mouth's hole in the chart, closed on the other side of the mirror plane."""
    chart = to_chart(perioral)
    return np.concatenate([chart, [[-20.0, chart[-1, 1]], [-20.0, chart[0, 1]]]])
