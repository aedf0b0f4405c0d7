"""Exports RecAugNet and DCNet to ONNX. An optional extra: ``pip install 'jr2net[onnx]'``.

Rasterisation and view synthesis are not part of the graphs, because their cost depends on the mesh and not on the
pixels. So DCNet's inputs are the maps of a scene (``SCENE_INPUTS``), which ``jr2net.render.scene.set_scene`` computes.
"""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from jr2net.errors import UserError
from jr2net.inference.messages import ModelInfo
from jr2net.inference.reconstruction import Reconstructor
from jr2net.inference.reenactment import Reenactor
from jr2net.networks.recnet import FACE_OUTPUTS, FaceAsTuple
from jr2net.render.conditions import Conditions
from jr2net.render.scene import Scene, recombine
from jr2net.render.view_synthesis import View

CONDITIONS = tuple(field.name for field in fields(Conditions))
SCENE_INPUTS = ("source_image", "source_light", "source_normal", "source_mask", "position", *CONDITIONS)
"""Each (B, C, S, S) float32, except ``position`` (B, S, S, 2). See ``Scene`` and ``Conditions``."""

TOLERANCE = 1e-4
"""Largest difference to PyTorch's outputs, relative to their magnitude (at least 1)."""
_OPSET = 18


class ExportError(UserError, RuntimeError):
    """A network cannot be exported in this environment. The message names the remedy."""


@dataclass(frozen=True)
class Exported:
    """An ONNX file, and the largest difference of its outputs to PyTorch's (see ``TOLERANCE``)."""

    path: Path
    difference: float


def export_reconstructor(reconstructor: Reconstructor, path: str | Path) -> Exported:
    """Exports RecAugNet (or RecNet): ``image`` (B, 3, S, S) in [0, 1] to the fields of ``FaceParameters``.

    The file is checked with onnxruntime on two batches. Raises ExportError if a package is missing or outputs differ
    by more than ``TOLERANCE``.
    """
    size = reconstructor.camera.size
    examples = [torch.rand(count, 3, size, size, generator=torch.Generator().manual_seed(count)) for count in (2, 3)]
    network = FaceAsTuple(reconstructor.network)
    return _export(network, [(image,) for image in examples], ("image",), FACE_OUTPUTS, path, reconstructor.info)


def export_reenactor(reenactor: Reenactor, path: str | Path) -> Exported:
    """Exports DCNet: the maps ``SCENE_INPUTS`` to ``generated`` (B, 3, S, S) in [0, 1]; checked in the same way.

    Raises ExportError for flow3d, which samples volumes: ONNX has that from opset 20 on, and the exporter does not
    write it.
    """
    if reenactor.info.kind != "dcnet":
        raise ExportError(f"{reenactor.info.kind}: only DCNet can be exported to ONNX; run this network with PyTorch")
    network, examples = _SceneFromMaps(reenactor.network), [scene_maps(_example(reenactor, count)) for count in (2, 3)]
    return _export(network, examples, SCENE_INPUTS, ("generated",), path, reenactor.info)


def scene_maps(scene: Scene) -> tuple[Tensor, ...]:
    """The inputs of an exported DCNet, in the order of ``SCENE_INPUTS``."""
    source = scene.source
    conditions = (getattr(scene.conditions, name) for name in CONDITIONS)
    return (scene.source_image, source.light, source.normal, source.mask, scene.view.position, *conditions)


@dataclass(frozen=True)
class _SourceMaps:
    """The maps of the source's rendering that DCNet uses."""

    light: Tensor
    normal: Tensor
    mask: Tensor


_NO_FACES: Any = (None, None)  # DCNet uses the renderings only


class _SceneFromMaps(nn.Module):
    """DCNet with plain tensors as inputs."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, source_image: Tensor, light: Tensor, normal: Tensor, mask: Tensor, *maps: Tensor) -> Tensor:
        position, conditions = maps[0], Conditions(*maps[1:])
        source: Any = _SourceMaps(light, normal, mask)
        view = View(position, conditions.warped_image, conditions.covisible, conditions.mask)
        scene = Scene(source_image, source, source, view, conditions, *_NO_FACES)
        return self.network(scene).picture


def _example(reenactor: Reenactor, count: int) -> Scene:
    """A scene of ``count`` random faces with random driving expressions and rotations."""
    model, size = reenactor.model, reenactor.camera.size
    generator = torch.Generator().manual_seed(count)
    source = model.neutral(count).replace(
        identity=0.5 * torch.randn(count, model.sizes["identity"], generator=generator)
    )
    driving = source.replace(
        expression=0.4 * torch.rand(source.expression.shape, generator=generator),
        rotation=source.rotation + 0.2 * torch.randn(count, 3, generator=generator),
    )
    images = torch.rand(count, 3, size, size, generator=generator)
    return reenactor.generate(images, source, recombine(source, driving))[1]


@contextmanager
def _without_exporter_warnings() -> Iterator[None]:
    """Silences the exporter's warnings about optional packages and its own deprecations."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)


def _export(
    network: nn.Module,
    examples: list[tuple[Tensor, ...]],
    inputs: tuple[str, ...],
    outputs: tuple[str, ...],
    path: str | Path,
    info: ModelInfo,
) -> Exported:
    try:
        import onnx
        import onnxruntime
    except ImportError:
        raise ExportError("exporting needs onnx and onnxruntime: pip install 'jr2net[onnx]'") from None
    target = Path(path)
    target.parent.mkdir(parents=True, exist_ok=True)
    batch = torch.export.Dim("batch", min=1, max=4096)
    shapes: Any = tuple({0: batch} for _ in inputs)
    if isinstance(network, _SceneFromMaps):
        shapes = (*shapes[:4], shapes[4:])
    with torch.no_grad(), _without_exporter_warnings():
        torch.onnx.export(
            network.cpu().eval(),
            tuple(tensor.clone() for tensor in examples[0]),
            str(target),
            input_names=list(inputs),
            output_names=list(outputs),
            dynamic_shapes=shapes,
            opset_version=_OPSET,
            dynamo=True,
            external_data=False,
            verbose=False,
        )
        expected = [network(*example) for example in examples]
    model = onnx.load(str(target))
    description = {
        "kind": info.kind,
        "digest": info.digest,
        "size": str(info.size),
        "focal_ratio": str(info.focal_ratio),
    }
    onnx.helper.set_model_props(model, {f"jr2net.{name}": value for name, value in description.items()})
    onnx.save(model, str(target))
    session = onnxruntime.InferenceSession(str(target), providers=["CPUExecutionProvider"])
    difference = 0.0
    for example, reference in zip(examples, expected, strict=True):
        computed = session.run(
            list(outputs), {name: value.numpy() for name, value in zip(inputs, example, strict=True)}
        )
        references = reference if isinstance(reference, tuple) else (reference,)
        for actual, desired in zip(computed, references, strict=True):
            scale = max(1.0, float(desired.abs().max()))
            difference = max(difference, float(np.abs(actual - desired.numpy()).max()) / scale)
    if not difference <= TOLERANCE:
        target.unlink()
        raise ExportError(
            f"{path}: onnxruntime's outputs differ from PyTorch's by {difference:.2g}, more than {TOLERANCE:g}; use "
            "other versions of torch and onnxruntime"
        )
    return Exported(target, difference)
