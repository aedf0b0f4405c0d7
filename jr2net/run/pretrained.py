"""The pretrained files that ``require_pretrained`` asks for."""

from __future__ import annotations

from operator import attrgetter

from jr2net import storage
from jr2net.config import Config, ConfigError


def check_pretrained(config: Config) -> None:
    """Raises ConfigError with every missing file, if ``config.require_pretrained``."""
    if not config.require_pretrained:
        return
    files = {
        "recnet.backbone.weights": f"torchvision's ResNet-{config.recnet.backbone.layers} (.pth or .safetensors)",
        "recnet.embedder": "a face recognition network as TorchScript, from an image in [0, 1] to its embedding",
        "dcnet.vgg19": "torchvision's VGG-19 without batch normalisation (.pth or .safetensors)",
        "etnet.backbone.weights": f"torchvision's ResNet-{config.etnet.backbone.layers} (.pth or .safetensors)",
    }
    missing = []
    for field, what in files.items():
        path = attrgetter(field)(config)
        if path is None or not storage.exists(path):
            missing.append(f"  {field}: {'not set' if path is None else f'no file {path}'}; {what}")
    if missing:
        raise ConfigError(
            "require_pretrained is true, and these pretrained files are missing:\n" + "\n".join(missing) + "\n"
            "Put them where every machine can read them, a folder or a bucket, and add FIELD=/folder/FILE or "
            "FIELD=s3://bucket/weights/FILE for each (cluster/README.md); require_pretrained=false trains without them"
        )
