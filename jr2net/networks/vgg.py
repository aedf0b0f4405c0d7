"""VGG-19 features (Simonyan and Zisserman 2015), Θ of Eq. 4, with torchvision's parameter names."""

from __future__ import annotations

from pathlib import Path

import torch.nn.functional as F
from torch import Tensor, nn

from jr2net.networks.resnet import normalize_imagenet
from jr2net.networks.weights import WeightsError, read_weights

# Channels of each convolution, "pool" between them, up to relu5_1: the last layer that perceptual losses use.
_LAYERS = (64, 64, "pool", 128, 128, "pool", 256, 256, 256, 256, "pool", 512, 512, 512, 512, "pool", 512)


class VGG19Features(nn.Module):
    """Image (B, 3, H, W) in [0, 1] to the activations relu1_1, 2_1, 3_1, 4_1 and 5_1. Frozen.

    weight_file: torchvision's ``vgg19-*.pth`` or the same as ``.safetensors``; ``None`` keeps random weights (tests).
    Raises WeightsError if the file does not fit.
    """

    def __init__(self, weight_file: str | Path | None) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        inputs = 3
        for outputs in _LAYERS:
            if isinstance(outputs, int):
                # ReLU is not in place, because activations are returned.
                layers += [nn.Conv2d(inputs, outputs, 3, padding=1), nn.ReLU()]
                inputs = outputs
            else:
                layers.append(nn.MaxPool2d(2))
        self.features = nn.Sequential(*layers)
        if weight_file is not None:
            self._load(weight_file)
        self.requires_grad_(False)
        self.eval()

    def forward(self, image: Tensor) -> list[Tensor]:
        x = normalize_imagenet(image)
        activations = []
        first_of_block = True
        for layer in self.features:
            if isinstance(layer, nn.MaxPool2d):
                x = F.max_pool2d(x, 2, ceil_mode=True)  # images smaller than 16 pixels keep at least one pixel
                first_of_block = True
                continue
            x = layer(x)
            if isinstance(layer, nn.ReLU) and first_of_block:
                activations.append(x)
                first_of_block = False
        return activations

    def _load(self, path: str | Path) -> None:
        weights = read_weights(path)
        for key, value in self.state_dict().items():
            if key not in weights or weights[key].shape != value.shape:
                raise WeightsError(
                    f"{path}: no {key!r} of shape {tuple(value.shape)}; give torchvision's VGG-19 (without bn)"
                )
        self.load_state_dict({key: weights[key] for key in self.state_dict()})
