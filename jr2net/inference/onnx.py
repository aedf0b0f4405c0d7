"""RecAugNet and DCNet as ONNX files, for runtimes other than PyTorch. An extra: ``pip install 'jr2net[onnx]'``.

Rasterising and view synthesis stay outside of the graphs: their work depends on the mesh, not on the pixels. DCNet's
inputs are therefore the maps of a scene (``SCENE_INPUTS``); ``jr2net.render.scene.set_scene`` makes them.
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
from jr2net.face.parameters import FaceParameters
from jr2net.inference.messages import ModelInfo
from jr2net.inference.reconstruction import Reconstructor
from jr2net.inference.reenactment import Reenactor
from jr2net.render.conditions import Conditions
from jr2net.render.scene import Scene, recombine
from jr2net.render.view_synthesis import View

FACE_OUTPUTS = tuple(field.name for field in fields(FaceParameters))
CONDITIONS = tuple(field.name for field in fields(Conditions))
SCENE_INPUTS = ("source_image", "source_light", "source_normal", "source_mask", "position", *CONDITIONS)
"""Each (B, C, S, S) float32, but ``position`` (B, S, S, 2); what they are is said at ``Scene`` and ``Conditions``."""

TOLERANCE = 1e-4
_OPSET = 18


class ExportError(UserError, RuntimeError):
    """A network that cannot be exported here; the message names the remedy."""


@dataclass(frozen=True)
class Exported:
    """An ONNX file, and the largest difference of its outputs to PyTorch's, relative to the outputs' size."""

    path: Path
    difference: float


def export_reconstructor(reconstructor: Reconstructor, path: str | Path) -> Exported:
    """Writes RecAugNet (or RecNet): ``image`` (B, 3, S, S) in [0, 1] to the fields of ``FaceParameters``.

    The file is checked with onnxruntime on two batches. Raises ExportError where a package is missing or outputs differ
    by more than ``TOLERANCE``.
    """
    size = reconstructor.camera.size
    examples = [torch.rand(count, 3, size, size, generator=torch.Generator().manual_seed(count)) for count in (2, 3)]
    network = _FaceAsTuple(reconstructor.network)
    return _export(network, [(image,) for image in examples], ("image",), FACE_OUTPUTS, path, reconstructor.info)


def export_reenactor(reenactor: Reenactor, path: str | Path) -> Exported:
    """Writes DCNet: the maps ``SCENE_INPUTS`` to ``generated`` (B, 3, S, S) in [0, 1]. Checked and raises as above."""
    network, examples = _SceneFromMaps(reenactor.network), [scene_maps(_example(reenactor, count)) for count in (2, 3)]
    return _export(network, examples, SCENE_INPUTS, ("generated",), path, reenactor.info)


def scene_maps(scene: Scene) -> tuple[Tensor, ...]:
    """The inputs of the exported DCNet, in the order of ``SCENE_INPUTS``."""
    source = scene.source
    conditions = (getattr(scene.conditions, name) for name in CONDITIONS)
    return (scene.source_image, source.light, source.normal, source.mask, scene.view.position, *conditions)


@dataclass(frozen=True)
class _Maps:
    """What DCNet reads of the source's rendering."""

    light: Tensor
    normal: Tensor
    mask: Tensor


_NO_FACES: Any = (None, None)  # DCNet reads renderings alone


class _SceneFromMaps(nn.Module):
    """DCNet with plain tensors as inputs."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, source_image: Tensor, light: Tensor, normal: Tensor, mask: Tensor, *maps: Tensor) -> Tensor:
        position, conditions = maps[0], Conditions(*maps[1:])
        source: Any = _Maps(light, normal, mask)
        view = View(position, conditions.warped_image, conditions.covisible, conditions.mask)
        scene = Scene(source_image, source, source, view, conditions, *_NO_FACES)
        return self.network(scene).picture


class _FaceAsTuple(nn.Module):
    """RecAugNet with a tuple of tensors as output."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, image: Tensor) -> tuple[Tensor, ...]:
        face = self.network(image)
        return tuple(getattr(face, name) for name in FACE_OUTPUTS)


def _example(reenactor: Reenactor, count: int) -> Scene:
    """A scene of ``count`` faces that open their mouths and turn."""
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
    """The exporter warns of packages that it could also export and of its own deprecations."""
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
            tuple(each.clone() for each in examples[0]),
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
    for example, truth in zip(examples, expected, strict=True):
        found = session.run(list(outputs), {name: value.numpy() for name, value in zip(inputs, example, strict=True)})
        truths = truth if isinstance(truth, tuple) else (truth,)
        for one, other in zip(found, truths, strict=True):
            scale = max(1.0, float(other.abs().max()))
            difference = max(difference, float(np.abs(one - other.numpy()).max()) / scale)
    if not difference <= TOLERANCE:
        target.unlink()
        raise ExportError(
            f"{path}: onnxruntime's outputs differ from PyTorch's by {difference:.2g}, more than {TOLERANCE:g}; use "
            "other versions of torch and onnxruntime"
        )
    return Exported(target, difference)
