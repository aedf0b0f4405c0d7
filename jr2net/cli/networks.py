"""The networks that a command works with, as its options choose them."""

from __future__ import annotations

import argparse
import re
from typing import TYPE_CHECKING

from jr2net.cli.photos import CommandError

if TYPE_CHECKING:
    from jr2net.images.face_detector import FaceDetector
    from jr2net.inference.reconstruction import Reconstructor
    from jr2net.inference.reenactment import Reenactor
    from jr2net.inference.tracker import Tracker


def check_device(name: str) -> None:
    """Raises CommandError unless this machine has the device and PyTorch can use it."""
    import torch

    if name == "cpu":
        return
    if not re.fullmatch(r"cuda(:\d+)?", name):
        raise CommandError(f"--device {name}: give cpu, cuda or cuda:NUMBER")
    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if int(name.partition(":")[2] or 0) >= count:
        raise CommandError(f"--device {name}: PyTorch finds {count} CUDA devices on this machine; use --device cpu")


def load_detector(options: argparse.Namespace) -> FaceDetector | None:
    """The face detector that ``--detector`` names; None: the default. Raises DetectorError if it is not installed."""
    from jr2net.images.face_detector import load_face_detector

    return None if options.detector is None else load_face_detector(options.detector)


def check_precision(options: argparse.Namespace) -> None:
    """Raises CommandError for a precision that the runtime does not have."""
    if options.precision == "int8" and options.runtime != "openvino":
        raise CommandError("--precision int8: needs --runtime openvino")


def load_reconstructor(options: argparse.Namespace) -> Reconstructor:
    from jr2net.inference.reconstruction import Reconstructor
    from jr2net.process import use_threads

    use_threads(1)
    check_device(options.device)
    return Reconstructor.load(
        options.weights,
        face_model=options.face_model,
        device=options.device,
        precision=options.precision,
        runtime=options.runtime,
    )


def load_tracker(options: argparse.Namespace) -> Tracker:
    from jr2net.inference.photo import installed_detector
    from jr2net.inference.tracker import Tracker

    detector = load_detector(options) or installed_detector()
    return Tracker(load_reconstructor(options), detector)


def load_reenactor(options: argparse.Namespace) -> Reenactor:
    from jr2net.inference.reenactment import Reenactor
    from jr2net.process import use_threads

    use_threads(1)
    check_device(options.device)
    return Reenactor.load(
        options.weights,
        face_model=options.face_model,
        device=options.device,
        precision=options.precision,
        reenactor=options.reenactor,
    )
