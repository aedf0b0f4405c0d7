"""With the papers' configurations every network can be built at full size and trained for one step."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import safetensors.torch
import torch
from torch import nn

from jr2net import storage
from jr2net.config import BackboneConfig, Config, ConfigError, load
from jr2net.face.load import load_face_model
from jr2net.networks.checkpoint import save_network
from jr2net.networks.dcnet_paper import PaperDCNet
from jr2net.networks.recnet import RecNet
from jr2net.networks.resnet import ResNet
from jr2net.networks.vgg import VGG19Features
from jr2net.networks.weights import load_embedder
from jr2net.run import inputs
from jr2net.run.cascade import networks
from jr2net.run.pretrained import check_pretrained
from jr2net.run.trainings import build, save
from jr2net.training.dcnet import DCNetTraining
from jr2net.training.flow3d import Flow3DTraining, phase_starts

CONFIGS = Path(__file__).parents[1] / "configs"
PAPER = CONFIGS / "paper.yaml"
PRETRAINED = {
    "recnet.backbone.weights": "resnet50.safetensors",
    "recnet.embedder": "embedder.pt",
    "dcnet.vgg19": "vgg19.safetensors",
    "etnet.backbone.weights": "resnet34.safetensors",
}


class MeanColours(nn.Module):
    """An embedder: the mean colours of an 8 x 8 grid."""

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        return nn.functional.adaptive_avg_pool2d(image, [8, 8]).flatten(1)


@pytest.fixture(scope="module")
def pretrained(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Files with the shapes of the published ones and random weights, as overrides."""
    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("weights")
    for layers in (34, 50):
        backbone = ResNet(BackboneConfig(layers=layers, weights="random"), pretrained=False)
        safetensors.torch.save_file(backbone.state_dict(), folder / f"resnet{layers}.safetensors")
    safetensors.torch.save_file(VGG19Features(None).state_dict(), folder / "vgg19.safetensors")
    torch.jit.script(MeanColours()).save(folder / "embedder.pt")
    return [f"{field}={folder / name}" for field, name in PRETRAINED.items()]


def batch_for(stage: str, config: Config) -> dict:
    """One pair of noise images of the paper's size."""
    generator = torch.Generator().manual_seed(0)
    size = config.image_size
    image, landmarks = (1, 3, size, size), (1, 68, 2)
    if stage == "etnet":
        return {"image": torch.rand(image, generator=generator), "expression": torch.rand(1, 51, generator=generator)}
    return {
        "source_image": torch.rand(image, generator=generator),
        "driving_image": torch.rand(image, generator=generator),
        "source_landmarks": torch.rand(landmarks, generator=generator) * size,
        "driving_landmarks": torch.rand(landmarks, generator=generator) * size,
        "sample_id": ["noise"],
        "source_matte": person(size, size // 4),
        "driving_matte": person(size, size // 3),
    }


def person(size: int, left: int) -> torch.Tensor:
    """A matte (1, 1, size, size) of a rectangle."""
    matte = torch.zeros(1, 1, size, size)
    matte[..., size // 4 :, left : left + size // 2] = 1
    return matte


def test_every_network_trains_one_step_at_the_papers_size(pretrained: list[str], tmp_path: Path) -> None:
    config = load(PAPER, ["face.model=procedural", *pretrained])
    assert (config.image_size, config.recnet.backbone.layers, config.etnet.backbone.layers) == (224, 50, 34)
    model = load_face_model(config.face)
    assert model.sizes == {"identity": 80, "expression": 51, "albedo": 64}
    folders: dict[str, str] = {}
    terms = {}
    for stage in networks(config):
        training = build(stage, config, model, folders)
        losses = training.step(batch_for(stage, config))
        assert all(map(math.isfinite, losses.values()))
        terms[stage] = {name for name in losses if not name.endswith(("_gradient", "_deviation"))}
        if isinstance(training, DCNetTraining):
            assert isinstance(training.average, PaperDCNet) and isinstance(training.perceptual, VGG19Features)
        folders[stage] = str(tmp_path / stage)
        save(stage, training, config, model, {}, tmp_path / stage)
        assert (tmp_path / stage / "model.safetensors").exists()
    assert terms["dcnet"] == {"l1", "perceptual", "adversarial", "discriminator"}
    assert "identity_feature" in terms["recnet"] and "identity_feature" in terms["recaugnet"]
    assert terms["etnet"] == {"activation"}


def test_losses_are_those_of_the_paper() -> None:
    dcnet = load(PAPER).dcnet
    assert (dcnet.generator, dcnet.conditions, dcnet.warped_image) == ("paper", "dense", True)
    assert (dcnet.adversarial_from, dcnet.loss.face_emphasis) == (0, 0)


def test_missing_pretrained_files_are_one_error_with_every_field(pretrained: list[str], tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        check_pretrained(load(PAPER))
    for field in PRETRAINED:
        assert f"{field}: not set" in str(caught.value)
    assert "ResNet-50" in str(caught.value) and "ResNet-34" in str(caught.value)
    assert "s3://bucket/weights" in str(caught.value)

    with pytest.raises(ConfigError) as caught:
        check_pretrained(load(PAPER, [*pretrained, f"dcnet.vgg19={tmp_path}/absent.pth"]))
    assert f"dcnet.vgg19: no file {tmp_path}/absent.pth" in str(caught.value)
    assert not any(field in str(caught.value) for field in PRETRAINED if field != "dcnet.vgg19")

    check_pretrained(load(PAPER, pretrained))
    check_pretrained(load(PAPER, ["require_pretrained=false"]))


def test_a_file_that_is_named_has_to_exist(pretrained: list[str]) -> None:
    """Whether or not the configuration requires it; a field that is not set stays unset."""
    for field in PRETRAINED:
        with pytest.raises(ConfigError) as caught:
            check_pretrained(load(PAPER, ["require_pretrained=false", f"{field}=/absent/file.pt"]))
        assert f"  {field}: no file /absent/file.pt; " in str(caught.value) and "FIELD=null" in str(caught.value)
        assert not any(other in str(caught.value) for other in PRETRAINED if other != field)


def test_flow3d_requires_its_own_vgg19(pretrained: list[str]) -> None:
    given = [override for override in pretrained if not override.startswith("dcnet.vgg19")]
    with pytest.raises(ConfigError) as caught:
        check_pretrained(load(PAPER, ["reenactor=flow3d", *given]))
    assert "  flow3d.vgg19: not set; torchvision's VGG-19" in str(caught.value) and "dcnet" not in str(caught.value)
    with pytest.raises(ConfigError, match=r"flow3d\.vgg19: not set"):  # its losses are weighted for it
        check_pretrained(load(CONFIGS / "paper-flow3d.yaml", given))
    vgg19 = next(override for override in pretrained if override.startswith("dcnet.vgg19"))
    check_pretrained(load(PAPER, ["reenactor=flow3d", *given, vgg19.replace("dcnet", "flow3d")]))


def test_pretrained_files_in_a_bucket(pretrained: list[str], s3_server: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each file is read from there, counts by its name and size, and is named by its field if it is missing."""
    for name in ("ACCESS_KEY_ID", "SECRET_ACCESS_KEY"):
        monkeypatch.setenv(f"AWS_{name}", "test")
    monkeypatch.setenv("AWS_ENDPOINT_URL", s3_server)
    files = dict(override.split("=") for override in pretrained)
    remote = {field: f"s3://bucket/weights/{Path(path).name}" for field, path in files.items()}
    for field, uri in remote.items():
        storage.write_bytes(uri, Path(files[field]).read_bytes())
    config = load(PAPER, ["face.model=procedural", *(f"{field}={uri}" for field, uri in remote.items())])
    check_pretrained(config)
    assert VGG19Features(remote["dcnet.vgg19"])(torch.zeros(1, 3, 32, 32))[0].shape == (1, 64, 32, 32)
    assert load_embedder(remote["recnet.embedder"])(torch.zeros(1, 3, 32, 32)).shape == (1, 192)
    for layers, field in ((50, "recnet.backbone.weights"), (34, "etnet.backbone.weights")):
        ResNet(BackboneConfig(layers=layers, weights=remote[field]))
    counted = inputs.record(config, "recnet", "f" * 64)["settings"]["recnet.embedder"]
    assert counted == {"embedder.pt": Path(files["recnet.embedder"]).stat().st_size}
    for field in PRETRAINED:
        absent = ["require_pretrained=false", f"{field}=s3://bucket/weights/absent"]
        with pytest.raises(
            ConfigError, match=rf"{field}: no file s3://bucket/weights/absent; .*\n.*s3://bucket/weights"
        ):
            check_pretrained(load(PAPER, absent))
    with pytest.raises(ConfigError, match=r"recnet\.embedder: ftp://host/file: cannot be opened"):
        check_pretrained(load(PAPER, ["require_pretrained=false", "recnet.embedder=ftp://host/file"]))


def test_trainings_need_the_pretrained_files() -> None:
    config = load(PAPER, ["face.model=procedural"])
    with pytest.raises(ConfigError, match=r"dcnet\.vgg19: not set"):
        build("recnet", config, load_face_model(config.face), {})


def test_flow3d_trains_one_step_of_each_phase_at_its_papers_size(pretrained: list[str], tmp_path: Path) -> None:
    files = [override.replace("dcnet.vgg19", "flow3d.vgg19") for override in pretrained]
    config = load(CONFIGS / "paper-flow3d.yaml", ["face.model=procedural", *files])
    assert (config.image_size, config.reenactor) == (256, "flow3d")
    model = load_face_model(config.face)
    torch.manual_seed(0)
    recnet = RecNet(model.sizes, BackboneConfig(layers=10, width=8))
    save_network(recnet, tmp_path / "recnet", {}, model.digest, {})
    training = build("flow3d", config, model, {"recnet": tmp_path / "recnet"})
    assert isinstance(training, Flow3DTraining) and isinstance(training.perceptual, VGG19Features)
    starts = phase_starts(config.flow3d)
    for step in (0, round(config.flow3d.adversarial_from * training.steps), starts[1]):
        training.step_number = step
        losses = training.step(batch_for("flow3d", config))
        assert all(map(math.isfinite, losses.values()))
        assert ("feature_matching" in losses) == (starts[0] <= step < starts[1])
    save("flow3d", training, config, model, {}, tmp_path / "flow3d")
    assert (tmp_path / "flow3d" / "model.safetensors").exists()
