"""Inception v3 (Szegedy et al. 2016) up to its pooled features, as the Fréchet Inception distance uses it.

Parameters have torchvision's names, which the published weights of FID have too (``pt_inception-2015-12-05-….pth`` of
pytorch-fid, ``weights-inception-2015-12-05-….pth`` of torch-fidelity). That network, TensorFlow's of 2015, differs from
torchvision's: averages leave out the padding, and the last block pools by maximum.
"""

from __future__ import annotations

from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from jr2net.networks.weights import WeightsError, read_weights

FEATURES = 2048
_SIDE = 299

_Size = int | tuple[int, int]


class _Conv(nn.Module):
    """Convolution without bias, batch normalisation, ReLU; padded to keep the size unless ``valid`` or strided."""

    def __init__(self, inputs: int, outputs: int, size: _Size, stride: int = 1, valid: bool = False) -> None:
        super().__init__()
        height, width = (size, size) if isinstance(size, int) else size
        padding = (0, 0) if valid or stride > 1 else (height // 2, width // 2)
        self.conv = nn.Conv2d(inputs, outputs, (height, width), stride, padding, bias=False)
        self.bn = nn.BatchNorm2d(outputs, eps=0.001)

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.bn(self.conv(x)))


class _Block(nn.Module):
    """Branches side by side. Subclasses name their convolutions ``branch…`` as torchvision does."""

    def _run(self, x: Tensor, *names: str) -> Tensor:
        for name in names:
            x = getattr(self, name)(x)
        return x


class _A(_Block):
    def __init__(self, inputs: int, pooled: int) -> None:
        super().__init__()
        self.branch1x1 = _Conv(inputs, 64, 1)
        self.branch5x5_1, self.branch5x5_2 = _Conv(inputs, 48, 1), _Conv(48, 64, 5)
        self.branch3x3dbl_1, self.branch3x3dbl_2 = _Conv(inputs, 64, 1), _Conv(64, 96, 3)
        self.branch3x3dbl_3 = _Conv(96, 96, 3)
        self.branch_pool = _Conv(inputs, pooled, 1)

    def forward(self, x: Tensor) -> Tensor:
        wide = self._run(x, "branch5x5_1", "branch5x5_2")
        double = self._run(x, "branch3x3dbl_1", "branch3x3dbl_2", "branch3x3dbl_3")
        return torch.cat([self.branch1x1(x), wide, double, self.branch_pool(_average(x))], 1)


class _B(_Block):
    def __init__(self, inputs: int) -> None:
        super().__init__()
        self.branch3x3 = _Conv(inputs, 384, 3, stride=2)
        self.branch3x3dbl_1, self.branch3x3dbl_2 = _Conv(inputs, 64, 1), _Conv(64, 96, 3)
        self.branch3x3dbl_3 = _Conv(96, 96, 3, stride=2)

    def forward(self, x: Tensor) -> Tensor:
        double = self._run(x, "branch3x3dbl_1", "branch3x3dbl_2", "branch3x3dbl_3")
        return torch.cat([self.branch3x3(x), double, F.max_pool2d(x, 3, 2)], 1)


class _C(_Block):
    def __init__(self, inputs: int, width: int) -> None:
        super().__init__()
        self.branch1x1 = _Conv(inputs, 192, 1)
        self.branch7x7_1, self.branch7x7_2 = _Conv(inputs, width, 1), _Conv(width, width, (1, 7))
        self.branch7x7_3 = _Conv(width, 192, (7, 1))
        self.branch7x7dbl_1, self.branch7x7dbl_2 = _Conv(inputs, width, 1), _Conv(width, width, (7, 1))
        self.branch7x7dbl_3, self.branch7x7dbl_4 = _Conv(width, width, (1, 7)), _Conv(width, width, (7, 1))
        self.branch7x7dbl_5 = _Conv(width, 192, (1, 7))
        self.branch_pool = _Conv(inputs, 192, 1)

    def forward(self, x: Tensor) -> Tensor:
        single = self._run(x, "branch7x7_1", "branch7x7_2", "branch7x7_3")
        double = self._run(x, *(f"branch7x7dbl_{number}" for number in range(1, 6)))
        return torch.cat([self.branch1x1(x), single, double, self.branch_pool(_average(x))], 1)


class _D(_Block):
    def __init__(self, inputs: int) -> None:
        super().__init__()
        self.branch3x3_1, self.branch3x3_2 = _Conv(inputs, 192, 1), _Conv(192, 320, 3, stride=2)
        self.branch7x7x3_1, self.branch7x7x3_2 = _Conv(inputs, 192, 1), _Conv(192, 192, (1, 7))
        self.branch7x7x3_3, self.branch7x7x3_4 = _Conv(192, 192, (7, 1)), _Conv(192, 192, 3, stride=2)

    def forward(self, x: Tensor) -> Tensor:
        large = self._run(x, *(f"branch7x7x3_{number}" for number in range(1, 5)))
        return torch.cat([self._run(x, "branch3x3_1", "branch3x3_2"), large, F.max_pool2d(x, 3, 2)], 1)


class _E(_Block):
    def __init__(self, inputs: int, by_maximum: bool) -> None:
        super().__init__()
        self.by_maximum = by_maximum
        self.branch1x1 = _Conv(inputs, 320, 1)
        self.branch3x3_1 = _Conv(inputs, 384, 1)
        self.branch3x3_2a, self.branch3x3_2b = _Conv(384, 384, (1, 3)), _Conv(384, 384, (3, 1))
        self.branch3x3dbl_1, self.branch3x3dbl_2 = _Conv(inputs, 448, 1), _Conv(448, 384, 3)
        self.branch3x3dbl_3a, self.branch3x3dbl_3b = _Conv(384, 384, (1, 3)), _Conv(384, 384, (3, 1))
        self.branch_pool = _Conv(inputs, 192, 1)

    def forward(self, x: Tensor) -> Tensor:
        single, double = self.branch3x3_1(x), self._run(x, "branch3x3dbl_1", "branch3x3dbl_2")
        pooled = F.max_pool2d(x, 3, 1, 1) if self.by_maximum else _average(x)
        branches = [self.branch1x1(x), self.branch3x3_2a(single), self.branch3x3_2b(single)]
        branches += [self.branch3x3dbl_3a(double), self.branch3x3dbl_3b(double), self.branch_pool(pooled)]
        return torch.cat(branches, 1)


class Inception(nn.Module):
    """Images (B, 3, H, W) in [0, 1] to features (B, 2048). Frozen.

    weight_file: the published weights, ``.pth`` or the same as ``.safetensors``, local or ``s3://``; None keeps random
    weights (tests). Raises WeightsError if the file does not fit.
    """

    def __init__(self, weight_file: str | Path | None) -> None:
        super().__init__()
        self.Conv2d_1a_3x3 = _Conv(3, 32, 3, stride=2)
        self.Conv2d_2a_3x3 = _Conv(32, 32, 3, valid=True)
        self.Conv2d_2b_3x3 = _Conv(32, 64, 3)
        self.Conv2d_3b_1x1 = _Conv(64, 80, 1)
        self.Conv2d_4a_3x3 = _Conv(80, 192, 3, valid=True)
        self.Mixed_5b, self.Mixed_5c, self.Mixed_5d = _A(192, 32), _A(256, 64), _A(288, 64)
        self.Mixed_6a = _B(288)
        self.Mixed_6b, self.Mixed_6c, self.Mixed_6d, self.Mixed_6e = (_C(768, width) for width in (128, 160, 160, 192))
        self.Mixed_7a = _D(768)
        self.Mixed_7b, self.Mixed_7c = _E(1280, by_maximum=False), _E(2048, by_maximum=True)
        if weight_file is not None:
            self._load(weight_file)
        self.requires_grad_(False)
        self.eval()

    def forward(self, images: Tensor) -> Tensor:
        x = 2 * F.interpolate(images, (_SIDE, _SIDE), mode="bilinear", align_corners=False) - 1
        for name, layer in self.named_children():
            if name in ("Conv2d_3b_1x1", "Mixed_5b"):
                x = F.max_pool2d(x, 3, 2)
            x = layer(x)
        return x.mean((2, 3))

    def _load(self, path: str | Path) -> None:
        weights = read_weights(path)
        own = {key: value for key, value in self.state_dict().items() if not key.endswith("num_batches_tracked")}
        for key, value in own.items():
            if key not in weights or weights[key].shape != value.shape:
                raise WeightsError(
                    f"{path}: no {key!r} of shape {tuple(value.shape)}; give Inception's weights for FID "
                    "(pytorch-fid's pt_inception-2015-12-05-6726825d.pth)"
                )
        self.load_state_dict({key: weights[key] for key in own}, strict=False)


def _average(x: Tensor) -> Tensor:
    return F.avg_pool2d(x, 3, 1, 1, count_include_pad=False)
