"""NoW: distance of a scan to a reconstruction of the neutral face, over photos of one person in many conditions.

S. Sanyal, T. Bolkart, H. Feng and M. J. Black, *Learning to Regress 3D Face Shape and Expression from an Image without
3D Supervision*, CVPR 2019. The reconstruction is aligned by the similarity of seven landmarks; scale, rotation and
translation are then refined so that the scan's distances are least; the distance of every scan vertex around the
face's centre to the nearest point of the reconstruction's surface is taken; and median, mean and standard deviation
are those of all vertices of all photos together.

Layout (validation set): ``imagepathsvalidation.txt`` with ``person/challenge/photo.jpg`` a line,
``NoW_Dataset/final_release_version/iphone_pictures/person/challenge/photo.jpg``, ``scans/person/*.obj`` and
``scans_lmks_onlypp/person/*.pp``; answers as ``person/challenge/photo.obj`` with ``photo.npy``, its seven landmarks.
The boxes of ``detected_face`` are pickled and not read; photos are detected, or have boxes in ``boxes.csv``.
"""

from __future__ import annotations

import posixpath
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from jr2net import storage
from jr2net.evaluation.metrics.scans import align_landmarks, crop, now_region, scan_to_mesh
from jr2net.evaluation.protocols.answers import Answer, methods_of
from jr2net.evaluation.protocols.on_scans import OnScans, comparisons, estimates, measure_scans
from jr2net.evaluation.protocols.protocol import Protocol, ProtocolError, Systems
from jr2net.evaluation.protocols.result import Figure, Result, Table
from jr2net.evaluation.protocols.scan_set import PHOTOS, Scan, ScanSet, ScanSettings, Truth
from jr2net.evaluation.statistics import Statistic

Array = NDArray[np.float64]

CHALLENGES = ("multiview_neutral", "multiview_expressions", "multiview_occlusions", "selfie")
_PHOTOS = "NoW_Dataset/final_release_version/iphone_pictures"
_TITLE = "NoW: scan-to-mesh distance of the neutral face"

_BIN, _BINS = 0.005, 8000
"""Distances are kept as a histogram of bins of 5 µm to 40 mm, whose median is exact to half a bin, beside their number,
sum and sum of squares."""


def summarise(distances: Array) -> Array:
    """(_BINS + 3,): the histogram, number, sum and sum of squares of a photo's distances; summaries can be added."""
    counts = np.bincount(np.minimum(distances / _BIN, _BINS - 1).astype(np.int64), minlength=_BINS)
    return np.concatenate([counts, [len(distances), distances.sum(), (distances**2).sum()]])


def median(summaries: Array) -> float:
    counts = summaries[:, :_BINS].sum(0).cumsum()
    place = int(np.searchsorted(counts, counts[-1] / 2))
    before = counts[place - 1] if place else 0.0
    return float((place + (counts[-1] / 2 - before) / (counts[place] - before)) * _BIN)


def mean(summaries: Array) -> float:
    count, total, _ = summaries[:, _BINS:].sum(0)
    return float(total / count)


def deviation(summaries: Array) -> float:
    count, total, squares = summaries[:, _BINS:].sum(0)
    return float(np.sqrt(max(squares / count - (total / count) ** 2, 0)))


_FIGURES: dict[Figure, Statistic] = {
    Figure("median", "Median", "mm"): median,
    Figure("mean", "Mean", "mm"): mean,
    Figure("std", "STD", "mm"): deviation,
}


def find_scans(scans: ScanSet) -> list[Scan]:
    """The photos of the dataset's list, else all that are there, with the scan of their person."""
    meshes = {file.split("/")[1]: file for file in sorted(scans.files) if _lies_in(file, "scans", (".obj", ".ply"))}
    marks = {
        file.split("/")[1]: file
        for file in sorted(scans.files)
        if _lies_in(file, "scans_lmks", (".pp", ".npy", ".txt"))
    }
    found = []
    for name in _photos(scans):
        person = name.split("/")[0]
        found.append(
            Scan(
                name,
                person,
                scans.path(meshes.get(person, f"scans/{person}/*.obj")),
                scans.path(marks[person]) if person in marks else None,
                scans.photo_of(f"{_PHOTOS}/{name}"),
            )
        )
    return found


def errors(scan: Scan, truth: Truth, answer: Answer) -> Array:
    """The summary of the distances of one photo's reconstruction."""
    centre, radius = now_region(truth.landmarks, scan.mesh)
    points = crop(truth.mesh, centre, radius, scan.mesh)
    vertices = align_landmarks(answer.vertices, answer.landmarks, truth.landmarks, scan.name)
    return summarise(scan_to_mesh(points, vertices, answer.faces))


def measure(data: str, systems: Systems, settings: ScanSettings) -> Result:
    """Raises ProtocolError where nothing can be measured."""
    scans = ScanSet(data, settings)
    chosen = find_scans(scans)
    if not chosen:
        raise ProtocolError(f"{data}: has neither imagepathsvalidation.txt nor {_PHOTOS}; give NoW's folder")
    found = measure_scans(scans, chosen, methods_of(systems, scans, neutral=True), errors)
    found = replace(found, measured=replace(found.measured, samples="photos"))
    kinds = np.array([_challenge(scan.name) for scan in found.scans])
    tables = [_table("all", "All photos", found, np.ones(len(kinds), bool), settings)]
    tables += [
        _table(kind, kind.replace("_", " "), found, kinds == kind, settings) for kind in sorted(set(kinds) - {""})
    ]
    return Result(
        "now",
        _TITLE,
        data,
        tuple(tables),
        found.measured,
        found.quarantined,
        found.missing,
        ("Of the distances of all scan vertices of all photos together.",),
        settings.model_dump(mode="json"),
    )


def _table(key: str, title: str, found: OnScans, chosen: NDArray[np.bool_], settings: ScanSettings) -> Table:
    people = [scan.identity for scan, taken in zip(found.scans, chosen) if taken]
    samples, identities = _by_person({name: values[chosen] for name, values in found.methods.items()}, people)
    return Table(
        key,
        title.capitalize(),
        tuple(_FIGURES),
        estimates(samples, identities, _FIGURES, settings),
        comparisons(samples, identities, _FIGURES, settings),
    )


def _by_person(methods: Mapping[str, Array], people: Sequence[str]) -> tuple[dict[str, Array], list[str]]:
    """Summaries added up for each person, which draws of people are made of."""
    names, person = list(dict.fromkeys(people)), np.array(people)
    return {
        method: np.array([values[person == name].sum(0) for name in names]) for method, values in methods.items()
    }, names


def _photos(scans: ScanSet) -> list[str]:
    """``person/challenge/photo`` without the ending, in an order in which a person's photos follow each other."""
    lists = sorted(file for file in scans.files if file.startswith("imagepaths") and file.endswith(".txt"))
    if lists:
        lines = storage.read_bytes(scans.path(lists[0])).decode("utf-8", "replace").splitlines()
        names = ["/".join(line.strip().split("/")[-3:]) for line in lines if line.strip()]
    else:
        photos = [file for file in scans.files if file.startswith(_PHOTOS) and file.lower().endswith(PHOTOS)]
        names = [file.removeprefix(f"{_PHOTOS}/") for file in photos]
    return sorted({posixpath.splitext(name)[0] for name in names if name.count("/") == 2})


def _challenge(name: str) -> str:
    kind = name.split("/")[1]
    return kind if kind in CHALLENGES else ""


def _lies_in(file: str, folder: str, endings: tuple[str, ...]) -> bool:
    """Whether it is ``folder…/person/name.ending``; NoW calls its landmarks' folder ``scans_lmks_onlypp``."""
    parts = file.split("/")
    inside = parts[0] == folder if folder == "scans" else parts[0].startswith(folder)
    return len(parts) == 3 and inside and file.lower().endswith(endings)


PROTOCOL = Protocol("now", _TITLE, measure, ScanSettings)
