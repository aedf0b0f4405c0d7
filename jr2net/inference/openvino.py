"""RecNet and RecAugNet through OpenVINO on a CPU: the same numbers, sooner, or nearly the same, much sooner.

An optional extra (``pip install 'jr2net[openvino]'``). ``fp32`` changes coefficients by rounding only. ``bf16``
computes with eight bits of mantissa, and is fast where the processor has AMX or AVX-512 bf16. ``int8`` is NNCF's
post-training quantisation of the convolutions, its ranges taken from pictures; it is fast where the processor has VNNI.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn

from jr2net.config import StudioConfig
from jr2net.errors import UserError
from jr2net.face.model import FaceModel
from jr2net.face.parameters import FaceParameters
from jr2net.images.arrays import decode_image, to_tensor
from jr2net.inference.reconstruction import Reconstructor

Precision = Literal["fp32", "bf16", "int8"]
_HINT = {"fp32": "f32", "bf16": "bf16", "int8": "f32"}
_REMEDY = "pip install 'jr2net[openvino]'"
_FIELDS = tuple(field.name for field in dataclasses.fields(FaceParameters))


class OpenVINOError(UserError, RuntimeError):
    """OpenVINO is not installed or cannot take the network; the message names the remedy."""


def compile_reconstructor(
    reconstructor: Reconstructor, precision: str = "fp32", images: Tensor | None = None, threads: int = 1
) -> Reconstructor:
    """The same reconstructor, its network computed by OpenVINO with ``threads`` threads.

    ``int8`` needs some dozens of ``images`` (N, 3, S, S) in [0, 1] like those that it will see. Raises OpenVINOError.
    """
    if precision == "int8" and images is None:
        raise OpenVINOError("int8 needs images to take its ranges from; give some dozens of face crops")
    core, model = _convert(reconstructor)
    if precision == "int8":
        assert images is not None
        model = _quantize(model, images)
    options = {
        "INFERENCE_NUM_THREADS": threads,
        "NUM_STREAMS": 1,
        "PERFORMANCE_HINT": "LATENCY",
        "INFERENCE_PRECISION_HINT": _HINT[precision],
        "ENABLE_CPU_PINNING": False,
    }
    return dataclasses.replace(reconstructor, network=_Compiled(core.compile_model(model, "CPU", options)))


def studio_images(model: FaceModel, size: int, people: int = 16) -> Tensor:
    """(3 · people, 3, size, size): crops of synthetic people, some with large expressions, to take ranges from."""
    from jr2net.studio.film import film_people

    config = StudioConfig(test_frames=3)
    kinds: tuple[Literal["natural", "large"], ...] = ("natural", "large")
    rows = [row for kind in kinds for row in film_people(model, config, 0, 0, people // 2, kind, size)]
    decoded = [decode_image(content) for row in rows for content in row.images]
    return to_tensor([picture for picture in decoded if picture is not None])


class _Compiled(nn.Module):
    """Looks like the network it was made of."""

    def __init__(self, compiled: Any) -> None:
        super().__init__()
        self.compiled = compiled
        self.request = compiled.create_infer_request()

    def forward(self, image: Tensor) -> FaceParameters:
        answers = self.request.infer([np.ascontiguousarray(image.cpu().numpy())])
        # The request's own memory is written again by the next call.
        return FaceParameters(**{name: torch.from_numpy(answers[i].copy()) for i, name in enumerate(_FIELDS)})


class _AsTuple(nn.Module):
    """Tracing knows tuples, not dataclasses."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, image: Tensor) -> tuple[Tensor, ...]:
        face = self.network(image)
        return tuple(getattr(face, name) for name in _FIELDS)


def _convert(reconstructor: Reconstructor) -> tuple[Any, Any]:
    try:
        import openvino
    except ImportError:
        raise OpenVINOError(f"openvino is not installed; {_REMEDY}, or take runtime: torch") from None
    size = reconstructor.camera.size
    with torch.no_grad():  # not inference mode, in which pooling is written out (networks/resnet.py)
        model = openvino.convert_model(
            _AsTuple(reconstructor.network).cpu().eval(),
            example_input=torch.rand(2, 3, size, size),
            input=[openvino.PartialShape([-1, 3, size, size])],
        )
    return openvino.Core(), model


def _quantize(model: Any, pictures: Tensor) -> Any:
    try:
        import nncf
    except ImportError:
        raise OpenVINOError(f"int8 needs nncf; {_REMEDY}, or take precision: fp32 or bf16") from None

    def batches() -> Iterator[np.ndarray]:
        yield from pictures[:, None].numpy()

    samples: Sequence[np.ndarray] = list(batches())
    # Convolutions alone are nearly all of the work. With sums, means and places in eight bits too, it would take 8 %
    # less time at 224 pixels, and landmarks would move six times as far.
    others = {operation.get_type_name() for operation in model.get_ops()} - {"Convolution"}
    rest = nncf.IgnoredScope(types=sorted(others), validate=False)
    return nncf.quantize(model, nncf.Dataset(samples), subset_size=len(samples), ignored_scope=rest)
