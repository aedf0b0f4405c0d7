"""The networks of Table 4: each starts where it should, and trains what it should and nothing else."""

from __future__ import annotations

from pathlib import Path

import pytest
import small_trainings as small
import torch

from jr2net.config import Config
from jr2net.face.camera import Camera
from jr2net.face.model import FaceModel
from jr2net.networks.checkpoint import CheckpointError, save_network
from jr2net.networks.dcnet import DCNet
from jr2net.networks.etnet import ETNet
from jr2net.networks.recaugnet import RecAugNet
from jr2net.networks.recnet import RecNet
from jr2net.run.trainings import build
from jr2net.training import Training, losses
from jr2net.training.recnet import RecNetTraining, exchange_identity

SAMPLES = 4


@pytest.fixture
def config() -> Config:
    """RecNet and ETNet have the same backbone, so that one can start from the other."""
    backbone = small.BACKBONE.model_dump()
    tree = small.configuration(SAMPLES).model_dump()
    tree["recnet"]["backbone"] = tree["etnet"]["backbone"] = backbone
    return Config.model_validate(tree | {"ablations": ["reccopynet", "recdatanet", "baseline"]})


@pytest.fixture
def upstream(config: Config, toy_model: FaceModel, tmp_path: Path) -> dict[str, Path]:
    """A RecNet and an ETNet with weights of their own."""
    torch.manual_seed(7)
    networks = {"recnet": RecNet(toy_model.sizes, small.BACKBONE), "etnet": ETNet(small.BACKBONE)}
    for name, network in networks.items():
        with torch.no_grad():
            for parameter in network.parameters():
                parameter.add_(0.01 * torch.randn(parameter.shape))
        save_network(network, tmp_path / name, {"image_size": 32, "focal_ratio": 5.0}, toy_model.digest, {})
    return {name: tmp_path / name for name in networks}


def batch_with_expressions(model: FaceModel) -> dict:
    """The first half are clips, whose expressions are not known."""
    batch = small.batch(model, SAMPLES)
    for role in ("source", "driving"):
        expression = batch["expression"].clone()
        expression[: SAMPLES // 2] = torch.nan
        batch[f"{role}_expression"] = expression
    return batch | {"position": torch.arange(SAMPLES)}


def changed(training: Training, batch: dict) -> set[str]:
    """The parts of the network, ``recnet.identity`` or ``etnet.backbone``, that two steps change.

    Heads that are zero have no gradient for what is before them: the first step is theirs alone.
    """
    before = small.weights(training)
    for _ in range(2):
        training.step(batch)
    after = small.weights(training)
    parts = {name for name in before if not torch.equal(before[name], after[name])}
    return {".".join(name.split(".")[1:3]) for name in parts}


HEADS = {"recnet.identity", "recnet.albedo", "recnet.rotation", "recnet.translation", "recnet.light"}


@pytest.mark.parametrize("train_etnet", [False, True])
def test_recaugnet_trains_its_etnet_only_if_it_should(
    config: Config, upstream: dict[str, Path], toy_model: FaceModel, train_etnet: bool
) -> None:
    recaugnet = config.recaugnet.model_copy(update={"train_etnet": train_etnet})
    training = build("recaugnet", config.model_copy(update={"recaugnet": recaugnet}), toy_model, upstream)
    etnet = {"etnet.backbone", "etnet.expression"} if train_etnet else set()
    assert changed(training, small.batch(toy_model, SAMPLES)) == HEADS | {"recnet.backbone"} | etnet


def test_reccopynet_is_recaugnet_with_an_etnet_that_saw_no_pair(
    config: Config, upstream: dict[str, Path], toy_model: FaceModel
) -> None:
    training = build("reccopynet", config, toy_model, {"recnet": upstream["recnet"]})  # it needs nothing else
    recaugnet = build("recaugnet", config, toy_model, upstream)
    network, other = training.networks["recnet"], recaugnet.networks["recnet"]
    assert isinstance(network, RecAugNet) and isinstance(other, RecAugNet)
    assert network.architecture == other.architecture
    assert _equal(network.recnet, other.recnet), "both begin with the trained RecNet"
    begun = build("etnet", config, toy_model, upstream).networks["etnet"]
    assert _equal(network.etnet.backbone, begun.backbone), "and with the ETNet as its own training begins"
    assert not _equal(network.etnet, other.etnet)
    trained = changed(training, small.batch(toy_model, SAMPLES))
    assert trained == HEADS | {"recnet.backbone", "etnet.backbone", "etnet.expression"}


def test_reccopynet_takes_recaugnets_steps_or_its_own(
    config: Config, upstream: dict[str, Path], toy_model: FaceModel
) -> None:
    assert build("reccopynet", config, toy_model, upstream).settings == config.recaugnet.optimizer
    own = config.recaugnet.optimizer.model_copy(update={"steps": 77})
    reccopynet = config.reccopynet.model_copy(update={"optimizer": own})
    assert build("reccopynet", config.model_copy(update={"reccopynet": reccopynet}), toy_model, upstream).steps == 77


def test_recdatanet_is_recnet_on_other_data(config: Config, upstream: dict[str, Path], toy_model: FaceModel) -> None:
    recnet, recdatanet = (build(stage, config, toy_model, {}) for stage in ("recnet", "recdatanet"))
    assert _equal(recnet.networks["recnet"], recdatanet.networks["recnet"]), "the same weights to begin with"
    batch = batch_with_expressions(toy_model)
    assert recnet.step(batch) == recdatanet.step(batch), "coefficients are not used"
    assert recnet.settings == recdatanet.settings


def test_baseline_adds_the_activation_loss_alone(config: Config, toy_model: FaceModel) -> None:
    recdatanet, baseline = (build(stage, config, toy_model, {}) for stage in ("recdatanet", "baseline"))
    assert _equal(recdatanet.networks["recnet"], baseline.networks["recnet"])
    batch = batch_with_expressions(toy_model)
    predicted = baseline.networks["recnet"](torch.cat([batch["source_image"], batch["driving_image"]])).expression
    truth = batch["expression"][SAMPLES // 2 :].repeat(2, 1)
    known = torch.cat([predicted[SAMPLES // 2 : SAMPLES], predicted[SAMPLES + SAMPLES // 2 :]])
    expected = config.baseline.expression * losses.activation(known, truth) / 2  # half of the faces count as 0
    without, terms = recdatanet.step(batch), baseline.step(batch)
    assert terms["activation"] == pytest.approx(expected.item(), rel=1e-5)
    for term in without.keys() - {"recnet_gradient"}:
        assert terms[term] == without[term]


def test_unknown_expressions_have_no_gradient() -> None:
    predicted = torch.full((2, 51), 0.5, requires_grad=True)
    truth = torch.stack([torch.full((51,), torch.nan), torch.ones(51)])
    loss = losses.known_activation(predicted, truth)
    loss.backward()
    assert loss.item() == pytest.approx(0.25)  # max(0.5, 1) · 0.5 of one face of two
    assert predicted.grad is not None
    assert predicted.grad[0].abs().sum() == 0 and predicted.grad[1].isfinite().all()


def test_which_identities_are_exchanged_depends_on_the_position(toy_model: FaceModel) -> None:
    identity = torch.arange(6.0)[:, None].expand(-1, toy_model.sizes["identity"])
    faces = toy_model.neutral(6).replace(identity=identity)
    for offset in (0, 1):
        one = exchange_identity(faces, offset)
        assert torch.equal(one.identity, exchange_identity(faces, torch.arange(3) + offset).identity)
    assert exchange_identity(faces, torch.tensor([1, 0, 2])).identity[:, 0].tolist() == [3, 1, 2, 0, 4, 5]


def test_the_second_rounds_reenactor_is_given_recaugnets_faces(
    config: Config, toy_model: FaceModel, tmp_path: Path
) -> None:
    torch.manual_seed(3)
    recaugnet = RecAugNet(RecNet(toy_model.sizes, small.BACKBONE), ETNet(small.BACKBONE))
    save_network(recaugnet, tmp_path, {"image_size": 32, "focal_ratio": 5.0}, toy_model.digest, {})
    training = build("dcnet_2", config, toy_model, {"recnet": tmp_path})
    assert isinstance(training.recnet, RecAugNet)  # type: ignore[attr-defined]
    before = {name: value.clone() for name, value in training.recnet.state_dict().items()}  # type: ignore[attr-defined]
    training.step(small.batch(toy_model, SAMPLES))
    assert all(torch.equal(before[k], v) for k, v in training.recnet.state_dict().items())  # type: ignore[attr-defined]


def test_a_dcnet_may_begin_from_another_of_the_same_architecture(
    config: Config, upstream: dict[str, Path], toy_model: FaceModel, tmp_path: Path
) -> None:
    """Of images of another side, too."""
    torch.manual_seed(5)
    begun = DCNet(config.dcnet)
    save_network(begun, tmp_path / "dcnet", {"image_size": 16, "focal_ratio": 5.0}, toy_model.digest, {})
    tree = config.model_dump()
    tree["dcnet"]["start"] = str(tmp_path / "dcnet")
    training = build("dcnet", Config.model_validate(tree), toy_model, upstream)
    assert _equal(training.networks["dcnet"], begun) and _equal(training.average, begun)  # type: ignore[attr-defined]
    tree["dcnet"]["blocks"] += 1
    with pytest.raises(CheckpointError, match="the architecture"):
        build("dcnet", Config.model_validate(tree), toy_model, upstream)


def test_the_weight_zero_needs_no_expressions(config: Config, toy_model: FaceModel) -> None:
    training = RecNetTraining(
        RecNet(toy_model.sizes, small.BACKBONE), toy_model, Camera.from_config(config),
        config.recnet.optimizer, config.recnet.loss,
    )  # fmt: skip
    assert "activation" not in training.step(small.batch(toy_model, SAMPLES))


def _equal(one: torch.nn.Module, other: torch.nn.Module) -> bool:
    theirs = other.state_dict()
    return all(torch.equal(value, theirs[name]) for name, value in one.state_dict().items())
