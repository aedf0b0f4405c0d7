"""Residual networks (He et al. 2016) with torchvision's parameter names, so that its weight files load by key.

Normalisation does not depend on other images of the batch, so results are the same on one worker or many. With
pretrained weights: batch normalisation with frozen statistics (scale and shift are trained); from scratch: group
normalisation. In both, scale and shift are called ``weight`` and ``bias``, as in torchvision.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from jr2net.config import BackboneConfig
from jr2net.device import constant
from jr2net.networks.precision import in_float32
from jr2net.networks.weights import WeightsError, read_weights

# Keypoints are predicted from the maps at 1/8 resolution: fine enough, with a receptive field of most of the face.
_POINTS_STAGE = 2

_STAGE_BLOCKS = {10: (1, 1, 1, 1), 18: (2, 2, 2, 2), 34: (3, 4, 6, 3), 50: (3, 4, 6, 3)}

# Normalisation of torchvision's pretrained networks, for images in [0, 1].
IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_DEVIATION = (0.229, 0.224, 0.225)


def normalize_imagenet(image: Tensor) -> Tensor:
    """Normalises RGB (B, 3, H, W) in [0, 1] to zero mean and unit standard deviation over ImageNet."""
    mean, deviation = (constant(values, image).view(3, 1, 1) for values in (IMAGENET_MEAN, IMAGENET_DEVIATION))
    return (image - mean) / deviation


class FrozenBatchNorm(nn.Module):
    """Batch normalisation with frozen running statistics; scale and shift are trained."""

    running_mean: Tensor
    running_var: Tensor

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))
        self.register_buffer("running_mean", torch.zeros(channels))
        self.register_buffer("running_var", torch.ones(channels))

    def forward(self, x: Tensor) -> Tensor:
        return F.batch_norm(x, self.running_mean, self.running_var, self.weight, self.bias, training=False)


def soft_argmax(maps: Tensor) -> Tensor:
    """Expected (x, y) in [-1, 1] under the softmax of each map: (B, C, H, W) -> (B, C, 2) (Levine et al. 2016)."""
    height, width = maps.shape[-2:]
    with in_float32(maps):
        weight = maps.float().flatten(2).softmax(-1).unflatten(2, (height, width))
        x, y = (torch.linspace(-1, 1, side, device=maps.device) for side in (width, height))
        return torch.stack([weight.sum(2) @ x, weight.sum(3) @ y], dim=-1)


def group_norm(channels: int) -> nn.GroupNorm:
    """Group normalisation with gcd(channels, 8) groups."""
    return nn.GroupNorm(math.gcd(channels, 8), channels)


class BasicBlock(nn.Module):
    """Two 3 × 3 convolutions with a shortcut (ResNet-10, -18 and -34)."""

    expansion = 1

    def __init__(self, inputs: int, width: int, stride: int, norm: Callable[[int], nn.Module]) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, width, 3, stride, 1, bias=False)
        self.bn1 = norm(width)
        self.conv2 = nn.Conv2d(width, width, 3, 1, 1, bias=False)
        self.bn2 = norm(width)
        self.downsample = _shortcut(inputs, width, stride, norm)

    def forward(self, x: Tensor) -> Tensor:
        y = F.relu(self.bn1(self.conv1(x)))
        y = self.bn2(self.conv2(y))
        return F.relu(y + (x if self.downsample is None else self.downsample(x)))


class Pointwise(nn.Conv2d):
    """A 1 × 1 convolution.

    With one CPU thread and batches below 16, PyTorch uses a slower path for it unless it is dilated, which has no
    effect on a 1 × 1 kernel. Saves a fifth of RecAugNet's time at the paper's sizes.
    """

    def forward(self, x: Tensor) -> Tensor:
        return F.conv2d(x, self.weight, self.bias, dilation=2 if x.device.type == "cpu" else 1)


class Bottleneck(nn.Module):
    """1 × 1, 3 × 3 (with the stride) and 1 × 1 convolutions with a shortcut (ResNet-50)."""

    expansion = 4

    def __init__(self, inputs: int, width: int, stride: int, norm: Callable[[int], nn.Module]) -> None:
        super().__init__()
        outputs = width * self.expansion
        self.conv1 = Pointwise(inputs, width, 1, bias=False)
        self.bn1 = norm(width)
        self.conv2 = nn.Conv2d(width, width, 3, stride, 1, bias=False)
        self.bn2 = norm(width)
        self.conv3 = Pointwise(width, outputs, 1, bias=False)
        self.bn3 = norm(outputs)
        self.downsample = _shortcut(inputs, outputs, stride, norm)

    def forward(self, x: Tensor) -> Tensor:
        y = F.relu(self.bn1(self.conv1(x)))
        y = F.relu(self.bn2(self.conv2(y)))
        y = self.bn3(self.conv3(y))
        return F.relu(y + (x if self.downsample is None else self.downsample(x)))


def max_pool(x: Tensor) -> Tensor:
    """3 × 3 max pooling of (B, C, H, W) with stride 2 and padding 1.

    In inference mode on a CPU, computed by element-wise maxima over rows and columns: the same values in an eighth of
    the time of PyTorch's own.
    """
    if x.device.type != "cpu" or torch.compiler.is_compiling() or not torch.is_inference_mode_enabled():
        return F.max_pool2d(x, 3, 2, 1)
    x = F.pad(x, (1, 1, 1, 1), value=-math.inf)
    x = torch.maximum(torch.maximum(x[..., :-2:2, :], x[..., 1:-1:2, :]), x[..., 2::2, :])
    return torch.maximum(torch.maximum(x[..., :-2:2], x[..., 1:-1:2]), x[..., 2::2])


class ResNet(nn.Module):
    """Image (B, 3, H, W) in [0, 1] to features (B, ``channels``).

    ResNet-10, -18 and -34 use basic blocks, ResNet-50 bottlenecks; ``width`` is the number of channels of the first
    stage (torchvision: 64). With ``config.weights`` the file is loaded and normalisation statistics are frozen;
    ``pretrained=False`` builds the same network without loading the file (for a checkpoint). Images larger than
    ``config.side`` are shrunk to it by averaging; it has to divide their side.

    The features are the global average of the last stage and, with ``config.points``, the coordinates of that many
    learnt keypoints (soft-argmax): pooled features lose positions, which a face's shape depends on.
    """

    def __init__(self, config: BackboneConfig, pretrained: bool = True) -> None:
        super().__init__()
        norm: Callable[[int], nn.Module] = FrozenBatchNorm if config.weights else group_norm
        block = Bottleneck if config.layers == 50 else BasicBlock
        self.side = config.side
        self.stage_channels = [config.width, *(config.width * 2**stage * block.expansion for stage in range(4))]
        self.conv1 = nn.Conv2d(3, config.width, 7, 2, 3, bias=False)
        self.bn1 = norm(config.width)
        inputs = config.width
        for stage, blocks in enumerate(_STAGE_BLOCKS[config.layers]):
            width = config.width * 2**stage
            layer = []
            for index in range(blocks):
                layer.append(block(inputs, width, 2 if stage > 0 and index == 0 else 1, norm))
                inputs = width * block.expansion
            setattr(self, f"layer{stage + 1}", nn.Sequential(*layer))
        self.points = nn.Conv2d(config.width * 2 * block.expansion, config.points, 1) if config.points else None
        self.channels = inputs + 2 * config.points
        self._initialize()
        if config.weights and pretrained:
            self.load_torchvision_weights(config.weights)

    def stages(self, image: Tensor) -> list[Tensor]:
        """Feature maps of the stem and the four stages, at 1/2, 1/4, 1/8, 1/16 and 1/32 of the side that it sees."""
        factor = 1 if self.side is None else image.shape[-1] // self.side
        x = image if factor <= 1 else F.avg_pool2d(image, factor)
        x = F.relu(self.bn1(self.conv1(normalize_imagenet(x))))
        maps = [x]
        x = max_pool(x)
        for stage in range(4):
            x = self.get_submodule(f"layer{stage + 1}")(x)
            maps.append(x)
        return maps

    def forward(self, image: Tensor) -> Tensor:
        maps = self.stages(image)
        pooled = maps[-1].mean(dim=(2, 3))
        if self.points is None:
            return pooled
        return torch.cat([pooled, 2 * self.find_points(maps).flatten(1)], dim=1)

    def find_points(self, maps: list[Tensor]) -> Tensor:
        """The keypoints (B, ``config.points``, 2) in the maps of ``stages``: x and y in [-1, 1]."""
        assert self.points is not None, "this network has no keypoints"
        return soft_argmax(self.points(maps[_POINTS_STAGE]))

    def load_torchvision_weights(self, path: str | Path) -> None:
        """Loads all parameters and statistics by name from a torchvision weight file.

        The classifier and batch counters in the file are ignored; the keypoint layer keeps its initialisation. Raises
        WeightsError if the file does not fit.
        """
        weights = read_weights(path)
        expected = {key: value for key, value in self.state_dict().items() if not key.startswith("points.")}
        for key, value in expected.items():
            if key not in weights:
                raise WeightsError(f"{path}: no {key!r}; give the weight file of the ResNet that `layers` names")
            if weights[key].shape != value.shape:
                raise WeightsError(
                    f"{path}: {key} has shape {tuple(weights[key].shape)}, the network's has {tuple(value.shape)}; "
                    "published files need width 64 and the same number of layers"
                )
        self.load_state_dict(self.state_dict() | {key: weights[key] for key in expected})

    def _initialize(self) -> None:
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
        # Each block is initialised to its shortcut, which helps deep networks to train (Goyal et al. 2017).
        for module in self.modules():
            if isinstance(module, BasicBlock | Bottleneck):
                last = "bn3.weight" if isinstance(module, Bottleneck) else "bn2.weight"
                nn.init.zeros_(module.get_parameter(last))


def _shortcut(inputs: int, outputs: int, stride: int, norm: Callable[[int], nn.Module]) -> nn.Sequential | None:
    """The projection shortcut of a block that changes resolution or channels, else None."""
    if inputs == outputs and stride == 1:
        return None
    return nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride, bias=False), norm(outputs))
