"""FaceWarehouse: point-to-plane error of faces with expressions, as in the paper's Table 4.

C. Cao, Y. Weng, S. Zhou, Y. Tong and K. Zhou, *FaceWarehouse: A 3D Facial Expression Database for Visual Computing*,
IEEE TVCG 2014: 150 people with 20 expressions. The protocol is the paper's ("Evaluation Datasets and Metrics"): the
true mesh is cropped to 85 mm around the tip of the nose, aligned by the similarity of 3D landmarks and by iterated
closest points, and the root mean square of its points' distances to the planes of the reconstruction is taken. Of the
meshes' RMSE the mean (RMSE), the standard deviation (STD), the median and the 80th percentile are given: the text's
"largest 80 % of RMSE", since that is what the printed rows look like: mean + 0.84 STD to 0.03 mm, as of a normal
distribution. Two rows are lower, RecCopyNet (2.04, not 2.18) and RecDataNet (2.14, not 2.21).

Other than in the text the reconstruction is scaled to the true mesh: errors are millimetres of the true face.
"""

from __future__ import annotations

import re
from typing import Literal

import numpy as np
from pydantic import Field

from jr2net.data.scans.blendshapes import read_bs
from jr2net.errors import UserError
from jr2net.evaluation.paper import TABLE_4
from jr2net.evaluation.protocols.answers import methods_of
from jr2net.evaluation.protocols.on_scans import RMSE, measure_scans, plane_errors, plane_table
from jr2net.evaluation.protocols.protocol import Protocol, ProtocolError, Systems
from jr2net.evaluation.protocols.result import Figure, Result
from jr2net.evaluation.protocols.scan_set import Scan, ScanSet, ScanSettings
from jr2net.evaluation.statistics import Statistic

VERTICES = 11_510
"""Of the dataset's own topology: only beside such scans are the paper's rows shown."""

_FIGURES: dict[Figure, Statistic] = {
    Figure("rmse", "RMSE", "mm"): np.mean,
    Figure("std", "STD", "mm"): np.std,
    Figure("median", "Median", "mm"): np.median,
    Figure("p80", "80 %", "mm"): lambda rmse: float(np.percentile(rmse, 80)),
}
_TITLE = "FaceWarehouse: point-to-plane error with expressions, 85 mm around the tip of the nose"


class FaceWarehouseSettings(ScanSettings):
    crop_mm: float = Field(85.0, gt=0, description="radius around the tip of the nose that is measured")
    truth: Literal["meshes", "blendshapes"] = Field(
        "meshes", description="TrainingPose/pose_*.obj, which have photos, or the shapes of Blendshape/shape.bs"
    )


def find_scans(scans: ScanSet, truth: str) -> list[Scan]:
    """The dataset's meshes or shapes; of a folder of another layout every mesh, by the person's folder."""
    if truth == "blendshapes":
        return [
            Scan(f"{name}/{number:02d}", _person(name), scans.path(file), scans.landmarks_of(name), shape=number)
            for name, file in scans.meshes((".bs",))
            for number in range(_count(scans.path(file)))
        ]
    meshes = scans.meshes((".obj", ".ply", ".abs", ".abs.gz"))
    poses = [(name, file) for name, file in meshes if re.search(r"(^|/)Tester_\d+/TrainingPose/pose_\d+$", name)]
    return [
        Scan(name, _person(name), scans.path(file), scans.landmarks_of(name), scans.photo_of(name))
        for name, file in poses or meshes
    ]


def measure(data: str, systems: Systems, settings: FaceWarehouseSettings) -> Result:
    """Raises ProtocolError where nothing can be measured."""
    scans = ScanSet(data, settings)
    chosen = find_scans(scans, settings.truth)
    if not chosen:
        raise ProtocolError(
            f"{data}: has neither Tester_*/TrainingPose/pose_*.obj nor other meshes; give the dataset's folder"
        )
    found = measure_scans(scans, chosen, methods_of(systems, scans), plane_errors(settings.crop_mm))
    original = scans.shapes == {(VERTICES,)} and settings.crop_mm == 85 and settings.truth == "meshes"
    table = plane_table(found, RMSE, _FIGURES, settings, TABLE_4 if original else None)
    return Result(
        "facewarehouse",
        _TITLE.replace("85", f"{settings.crop_mm:g}"),
        data,
        (table,),
        found.measured,
        found.quarantined,
        found.missing,
        ("Mean, standard deviation, median and 80th percentile of the meshes' RMSE.",),
        settings.model_dump(mode="json"),
    )


def _person(name: str) -> str:
    """``Tester_3`` of its path; elsewhere the first folder, or the file itself."""
    found = re.search(r"(^|/)(Tester_\d+)/", name)
    return found[2] if found else name.partition("/")[0]


def _count(path: str) -> int:
    """Shapes of a ``.bs`` file; of a damaged one a single scan, which is then quarantined."""
    try:
        return len(read_bs(path))
    except UserError:
        return 1


PROTOCOL = Protocol("facewarehouse", _TITLE, measure, FaceWarehouseSettings)
