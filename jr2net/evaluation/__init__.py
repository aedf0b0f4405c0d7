"""Evaluation of a trained cascade against ground truth and baselines: the metrics and images of the report."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import islice
from typing import Any

import torch

from jr2net.config import Config, ProtocolConfig
from jr2net.data.sets import test_clips, training_clips
from jr2net.evaluation.bench import Bench, Measurement
from jr2net.evaluation.expression import expression_sweeps
from jr2net.evaluation.figures import Grid
from jr2net.evaluation.people import count_people
from jr2net.evaluation.protocols import LoadedCascade, Result, measure_chosen
from jr2net.evaluation.reconstruction import baseline_parts, frame_parts, mean_landmarks, summarize_frames
from jr2net.evaluation.reenactment import PairValues, mean_over_pairs, pair_parts, pair_samples
from jr2net.evaluation.samples import Samples, add_uncertainty
from jr2net.face.model import FaceModel

__all__ = ["Bench", "Evaluation", "Findings", "evaluate"]


@dataclass(frozen=True)
class Findings:
    """What an evaluation found.

    metrics    of the report: a tree, see ``jr2net.report.result``
    grids      its images
    samples    what its means are made of
    protocols  results of ``evaluation.protocols``, by the names of their folders
    """

    metrics: dict[str, Any]
    grids: list[Grid]
    samples: list[Samples]
    protocols: dict[str, Result] = field(default_factory=dict)


class Evaluation:
    """The evaluation of a run in parts, which any number of workers measure in any order, and their summary.

    prepare: folder or URI of that stage. Raises LeakError where a test set shows people of the training set.
    """

    def __init__(self, config: Config, prepare: str) -> None:
        sets, training = test_clips(config, prepare), training_clips(config, prepare)
        self._config, self._sets = config, list(sets)
        self._people = count_people(config, prepare, training, sets)
        reenacted = "held_out" if "held_out" in sets else "natural"
        groups: dict[str, list[Measurement]] = {"baseline": baseline_parts(training, config.image_size)}
        groups |= {f"frames of {name}": frame_parts(clips, name) for name, clips in sets.items()}
        groups |= pair_parts(sets[reenacted], reenacted, config.evaluation.pairs, config.seed)
        groups["grids"].append(partial(expression_sweeps, name=reenacted))
        groups["protocols"] = [partial(_by_protocol, chosen=chosen) for chosen in config.evaluation.protocols]
        self._sizes = {name: len(parts) for name, parts in groups.items()}
        self.parts: list[Measurement] = [part for parts in groups.values() for part in parts]

    def report(self, measured: Sequence[Any]) -> Findings:
        """What the report shows. measured: what each of the parts returned, in their order."""
        config, found = self._config, iter(measured)
        by_group = {name: list(islice(found, size)) for name, size in self._sizes.items()}
        baseline = mean_landmarks(by_group["baseline"])
        result: dict[str, Any] = {"reconstruction": {}, "landmarks": {}, "expression": {}, "reenactment": {}}
        result |= self._people
        grids: list[Grid] = []
        samples: list[Samples] = []
        for name in self._sets:
            summary = summarize_frames(by_group[f"frames of {name}"], name, baseline, config.seed)
            for section, methods in summary.metrics.items():
                result[section][name] = methods
            grids += summary.grids
            samples += summary.samples
        for name in ("same_identity", "cross_identity"):
            pairs = PairValues.join(by_group[name])
            result["reenactment"][name] = mean_over_pairs(pairs)
            samples += pair_samples(pairs, name)
            for figure, why in pairs.missing.items():
                result.setdefault("not_measured", {})[figure] = why
        add_uncertainty(result, samples, config.seed)
        result["ground"] = "studio" if config.data.clips is None else "clips"
        result["reenactor"] = config.reenactor
        vgg19 = getattr(config, config.reenactor).vgg19
        result["perceptual_features"] = "VGG-19" if vgg19 else "RecNet's backbone"
        names = _folder_names(chosen.name for chosen in config.evaluation.protocols)
        protocols = dict(zip(names, by_group["protocols"]))
        result |= {"protocols": {name: each.to_tree() for name, each in protocols.items()}} if protocols else {}
        return Findings(result, grids + by_group["grids"], samples, protocols)


def _by_protocol(bench: Bench, chosen: ProtocolConfig) -> Result:
    return measure_chosen(chosen, LoadedCascade(cascade=bench.cascade, device=bench.cascade.model.mean.device))


def _folder_names(protocols: Iterable[str]) -> list[str]:
    """Each protocol's name; from the second time on with a number."""
    counts: Counter[str] = Counter()
    names = []
    for name in protocols:
        counts[name] += 1
        names.append(name if counts[name] == 1 else f"{name}-{counts[name]}")
    return names


def evaluate(
    config: Config, model: FaceModel, folders: Mapping[str, str], device: torch.device | str = "cpu"
) -> Findings:
    """Evaluates the networks in ``folders`` (stage -> local folder; ``prepare`` may be a URI) on the run's test sets.

    Returns what ``Evaluation.report`` does, measured by this process alone. Raises LeakError where a test set shows
    people of the training set.
    """
    evaluation, bench = Evaluation(config, folders["prepare"]), Bench.load(config, model, folders, device)
    with torch.inference_mode():
        return evaluation.report([part(bench) for part in evaluation.parts])
