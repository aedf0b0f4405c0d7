"""The pretrained files of a run, local or ``s3://…``: those that are named exist, before anything is made with them."""

from __future__ import annotations

from operator import attrgetter

from jr2net import storage
from jr2net.config import Config, ConfigError


def pretrained_files(config: Config) -> dict[str, str]:
    """The settings that name the pretrained files of a run, and what each file is."""
    return {
        "recnet.backbone.weights": f"torchvision's ResNet-{config.recnet.backbone.layers} (.pth or .safetensors)",
        "recnet.embedder": "a face recognition network as TorchScript, from an image in [0, 1] to its embedding",
        f"{config.reenactor}.vgg19": "torchvision's VGG-19 without batch normalisation (.pth or .safetensors)",
        "etnet.backbone.weights": f"torchvision's ResNet-{config.etnet.backbone.layers} (.pth or .safetensors)",
    }


JUDGES = {
    "evaluation.inception": "Inception's weights for FID (pt_inception-2015-12-05-6726825d.pth)",
    "evaluation.embedder": "a face recognition network as TorchScript, from an image in [0, 1] to its embedding",
}
"""The settings that name files of the evaluation, which no training needs."""


def check_pretrained(config: Config) -> None:
    """Raises ConfigError with every file that is named and missing, or not named, if ``config.require_pretrained``."""
    missing = []
    for field, what in JUDGES.items():
        if (path := attrgetter(field)(config)) is not None and (problem := _problem(path)):
            missing.append(f"  {field}: {problem}; {what}")
    for field, what in pretrained_files(config).items():
        path = attrgetter(field)(config)
        if path is None:
            if config.require_pretrained:
                missing.append(f"  {field}: not set; {what}")
        elif problem := _problem(path):
            missing.append(f"  {field}: {problem}; {what}")
    if not missing:
        return
    required = config.require_pretrained
    raise ConfigError(
        f"{'require_pretrained is true, and these' if required else 'these'} pretrained files are missing:\n"
        + "\n".join(missing)
        + "\nPut them where every machine can read them, a folder or a bucket, and add FIELD=/folder/FILE or "
        "FIELD=s3://bucket/weights/FILE for each (cluster/README.md); "
        + ("require_pretrained=false" if required else "FIELD=null")
        + " trains without them"
    )


def _problem(path: str) -> str | None:
    """Why a file cannot be read, None if it is there."""
    try:
        return None if storage.exists(path) else f"no file {path}"
    except storage.StorageError as error:
        return str(error)
