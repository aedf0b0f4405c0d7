"""RecNet and RecAugNet with OpenVINO, for fast inference on a CPU.

An optional extra: ``pip install 'jr2net[openvino]'``. ``fp32`` differs from PyTorch by rounding only. ``bf16`` has an
8-bit significand and is fast on processors with AMX or AVX-512 BF16. ``int8`` is NNCF's post-training quantisation of
the convolutions, calibrated with images; it is fast on processors with VNNI.
"""

from __future__ import annotations

import logging
import warnings
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
from jr2net.networks.recnet import FACE_OUTPUTS, FaceAsTuple

Precision = Literal["fp32", "bf16", "int8"]
_PRECISION_HINTS = {"fp32": "f32", "bf16": "bf16", "int8": "f32"}
_INSTALL_COMMAND = "pip install 'jr2net[openvino]'"


class OpenVINOError(UserError, RuntimeError):
    """OpenVINO is not installed, or an argument is missing. The message names the remedy."""


def compile_network(
    network: nn.Module, size: int, precision: str = "fp32", images: Tensor | None = None, threads: int = 1
) -> nn.Module:
    """A RecNet or RecAugNet for crops of side ``size``, compiled by OpenVINO for ``threads`` threads.

    ``int8`` is calibrated with a few dozen ``images`` (N, 3, S, S) in [0, 1], similar to those that it will get. Raises
    OpenVINOError.
    """
    if precision == "int8" and images is None:
        raise OpenVINOError("int8 needs images for calibration; give a few dozen face crops")
    core, model = _convert(network, size)
    if precision == "int8":
        assert images is not None
        model = _quantize(model, images)
    options = {
        "INFERENCE_NUM_THREADS": threads,
        "NUM_STREAMS": 1,
        "PERFORMANCE_HINT": "LATENCY",
        "INFERENCE_PRECISION_HINT": _PRECISION_HINTS[precision],
        "ENABLE_CPU_PINNING": False,
    }
    return _Compiled(core.compile_model(model, "CPU", options))


def studio_images(model: FaceModel, size: int, people: int = 16) -> Tensor:
    """(3 · people, 3, size, size) in [0, 1]: crops of synthetic people, half of them with large expressions."""
    from jr2net.studio.film import film_people

    config = StudioConfig(test_frames=3)
    kinds: tuple[Literal["natural", "large"], ...] = ("natural", "large")
    rows = [row for kind in kinds for row in film_people(model, config, 0, 0, people // 2, kind, size)]
    decoded = [decode_image(content) for row in rows for content in row.images]
    return to_tensor([image for image in decoded if image is not None])


class _Compiled(nn.Module):
    """A compiled network with the interface of the original one."""

    def __init__(self, compiled: Any) -> None:
        super().__init__()
        self.compiled = compiled
        self.request = compiled.create_infer_request()

    def forward(self, image: Tensor) -> FaceParameters:
        outputs = self.request.infer([np.ascontiguousarray(image.cpu().numpy())])
        # Copies, because the next call overwrites the output buffers.
        return FaceParameters(**{name: torch.from_numpy(outputs[i].copy()) for i, name in enumerate(FACE_OUTPUTS)})


def _convert(network: nn.Module, size: int) -> tuple[Any, Any]:
    try:
        import openvino
    except ImportError:
        raise OpenVINOError(f"openvino is not installed; {_INSTALL_COMMAND}, or use runtime: torch") from None
    # Not inference mode, which uses another pooling (networks/resnet.py). The side is fixed, and branches by it too.
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore", torch.jit.TracerWarning)
        model = openvino.convert_model(
            FaceAsTuple(network).cpu().eval(),
            example_input=torch.rand(2, 3, size, size),
            input=[openvino.PartialShape([-1, 3, size, size])],
        )
    return openvino.Core(), model


def _quantize(model: Any, images: Tensor) -> Any:
    try:
        import nncf
    except ImportError:
        raise OpenVINOError(f"int8 needs nncf; {_INSTALL_COMMAND}, or use precision: fp32 or bf16") from None

    def batches() -> Iterator[np.ndarray]:
        yield from images[:, None].numpy()

    samples: Sequence[np.ndarray] = list(batches())
    # Convolutions are nearly all of the work. Quantising the other operations too would save 8 % of the time at 224
    # pixels, but increase the error of the landmarks sixfold.
    nncf.set_log_level(logging.WARNING)  # it lists every operation
    others = {operation.get_type_name() for operation in model.get_ops()} - {"Convolution"}
    ignored = nncf.IgnoredScope(types=sorted(others), validate=False)
    return nncf.quantize(model, nncf.Dataset(samples), subset_size=len(samples), ignored_scope=ignored)
