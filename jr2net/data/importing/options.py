"""The plan that the options of an import mean; they are those of ``jr2net data import`` (``jr2net/cli/data.py``)."""

from __future__ import annotations

import argparse
import re

from jr2net import storage
from jr2net.data.importing.plan import Plan, make_plan
from jr2net.data.importing.settings import Gates, ImportSettings
from jr2net.data.readers import Folder, choose_layout
from jr2net.data.readers.problems import DatasetError
from jr2net.images.face_detector import DetectorError, load_face_detector
from jr2net.images.segmentation import SegmenterError, load_segmenter
from jr2net.settings import apply_override, validate


def plan_import(options: argparse.Namespace) -> Plan:
    """The import that the options mean. Raises UserError: an unknown layout, no detector where one is needed, …"""
    folder = Folder(options.folder)
    layout = choose_layout(folder, options.layout)
    tree = {
        "name": options.set_name
        or re.sub(r"[^\w.-]+", "-", storage.base_name(options.folder)).strip("-")
        or layout.name,
        "layout": layout.name,
        "size": options.size,
        "fps": options.fps,
        "licence": options.licence,
        "detector": layout.landmarks != 68 and _has_detector(needed=layout.landmarks == 0),
        "mattes": not options.no_mattes and _has_segmenter(),
    }
    for gate in options.gate:
        if gate.partition("=")[0] not in Gates.model_fields:
            raise DatasetError("option", f"--gate {gate}: write NAME=VALUE with one of {', '.join(Gates.model_fields)}")
        apply_override(tree, f"gates.{gate}", "gates.yaw=90")
    return make_plan(folder, options.output, validate(ImportSettings, tree, "the options of the import"))


def _has_detector(needed: bool) -> bool:
    try:
        load_face_detector("mediapipe")
    except DetectorError:
        if needed:
            raise
        return False
    return True


def _has_segmenter() -> bool:
    try:
        load_segmenter()
    except SegmenterError:
        return False
    return True
