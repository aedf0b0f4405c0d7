"""FRGC v2.0: point-to-plane error on range images, as in the paper's Table 3.

P. J. Phillips et al., *Overview of the Face Recognition Grand Challenge*, CVPR 2005. The protocol is the paper's: the
scan is cropped to 95 mm around the tip of the nose, aligned as in ``facewarehouse``, and the mean absolute
point-to-plane distance of each scan is taken, after Y. Chen et al., *Self-supervised Learning of Detailed 3D Face
Reconstruction*, IEEE TIP 2020. MAE is its mean over the scans, STD its standard deviation.
"""

from __future__ import annotations

import re

import numpy as np
from pydantic import Field

from jr2net.evaluation.paper import TABLE_3
from jr2net.evaluation.protocols.answers import methods_of
from jr2net.evaluation.protocols.on_scans import MAE, measure_scans, plane_errors, plane_table
from jr2net.evaluation.protocols.protocol import Protocol, ProtocolError, Systems
from jr2net.evaluation.protocols.result import Figure, Result
from jr2net.evaluation.protocols.scan_set import Scan, ScanSet, ScanSettings
from jr2net.evaluation.statistics import Statistic

_RECORDING = re.compile(r"^(?P<person>\d{5})d(?P<number>\d+)$")
"""``04203d351.abs`` is recording 351 of person 04203; its photo is the recording of the next number."""

PIXELS = (480, 640)
"""Rows and columns of the dataset's range images: only beside such scans are the paper's rows shown."""

_FIGURES: dict[Figure, Statistic] = {
    Figure("mae", "MAE", "mm"): np.mean,
    Figure("std", "STD", "mm"): np.std,
}
_TITLE = "FRGC v2.0: point-to-plane error on range images, 95 mm around the tip of the nose"


class FRGCSettings(ScanSettings):
    crop_mm: float = Field(95.0, gt=0, description="radius around the tip of the nose that is measured")


def find_scans(scans: ScanSet) -> list[Scan]:
    """Every range image and mesh; people by FRGC's names, else by the first folder."""
    found = []
    for name, file in scans.meshes((".abs", ".abs.gz", ".obj", ".ply")):
        folder, _, stem = name.rpartition("/")
        recording = _RECORDING.match(stem)
        person = recording["person"] if recording else name.partition("/")[0]
        names = [name]
        if recording:
            names.append(f"{folder}/{person}d{int(recording['number']) + 1}".lstrip("/"))
        found.append(Scan(name, person, scans.path(file), scans.landmarks_of(name), scans.photo_of(*names)))
    return found


def measure(data: str, systems: Systems, settings: FRGCSettings) -> Result:
    """Raises ProtocolError where nothing can be measured."""
    scans = ScanSet(data, settings)
    chosen = find_scans(scans)
    if not chosen:
        raise ProtocolError(f"{data}: has no .abs, .obj or .ply; give the folder with FRGC's range images")
    found = measure_scans(scans, chosen, methods_of(systems, scans), plane_errors(settings.crop_mm))
    original = scans.shapes == {PIXELS} and settings.crop_mm == 95
    table = plane_table(found, MAE, _FIGURES, settings, TABLE_3 if original else None)
    return Result(
        "frgc",
        _TITLE.replace("95", f"{settings.crop_mm:g}"),
        data,
        (table,),
        found.measured,
        found.quarantined,
        found.missing,
        ("Mean and standard deviation of the scans' MAE.",),
        settings.model_dump(mode="json"),
    )


PROTOCOL = Protocol("frgc", _TITLE, measure, FRGCSettings)
