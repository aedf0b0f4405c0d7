"""Evaluation of a trained cascade against ground truth and baselines: the metrics and images of the report."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from jr2net.config import Config
from jr2net.data.sets import test_clips, training_clips
from jr2net.evaluation.expression import expression_sweeps
from jr2net.evaluation.figures import Grid
from jr2net.evaluation.people import count_people
from jr2net.evaluation.reconstruction import mean_landmarks, measure_reconstruction
from jr2net.evaluation.reenactment import Cascade, measure_reenactment
from jr2net.face.model import FaceModel

__all__ = ["evaluate"]


@torch.inference_mode()
def evaluate(
    config: Config, model: FaceModel, folders: Mapping[str, str], device: torch.device | str = "cpu"
) -> tuple[dict[str, Any], list[Grid]]:
    """Evaluates the networks in ``folders`` (stage -> local folder; ``prepare`` may be a URI) on the run's test sets.

    Returns the metrics of the report (a tree, see ``jr2net.report.result``) and its image grids. Raises LeakError where
    a test set shows people of the training set.
    """
    cascade = Cascade.load(folders, config.reenactor, model, device)
    sets, training = test_clips(config, folders["prepare"]), training_clips(config, folders["prepare"])
    people = count_people(config, folders["prepare"], training, sets)
    baseline = mean_landmarks(training, config.image_size)

    result: dict[str, Any] = {"reconstruction": {}, "landmarks": {}, "expression": {}, "reenactment": {}, **people}
    grids: list[Grid] = []
    for name, clips in sets.items():
        metrics, grid = measure_reconstruction(name, clips, cascade, config.evaluation.crop_mm, baseline)
        for section, methods in metrics.items():
            result[section][name] = methods
        grids.append(grid)

    reenacted = sets["held_out"] if "held_out" in sets else sets["natural"]
    result["reenactment"], reenactment_grids = measure_reenactment(
        reenacted, cascade, config.evaluation.pairs, config.seed
    )
    grids += reenactment_grids
    grids.append(expression_sweeps(reenacted, cascade))
    result["ground"] = "studio" if config.data.clips is None else "clips"
    result["reenactor"] = config.reenactor
    vgg19 = getattr(config, config.reenactor).vgg19
    result["perceptual_features"] = "VGG-19" if vgg19 else "RecNet's backbone"
    return result, grids
