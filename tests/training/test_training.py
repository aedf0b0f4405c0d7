"""Training steps of all networks: they learn, resume exactly, and stop at non-finite losses."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from jr2net.config import BackboneConfig, Config, load
from jr2net.face.camera import Camera
from jr2net.face.model import FaceModel
from jr2net.networks.dcnet import DCNet, condition_names
from jr2net.networks.discriminator import PatchDiscriminator
from jr2net.networks.etnet import ETNet
from jr2net.networks.recnet import RecNet
from jr2net.render.renderer import landmarks_2d, render
from jr2net.render.scene import set_scene
from jr2net.training import NonFiniteLoss, Training
from jr2net.training.dcnet import DCNetTraining
from jr2net.training.etnet import ETNetTraining
from jr2net.training.recnet import RecNetTraining, exchange_identity
from jr2net.training.schedule import learning_rate

SMALL = BackboneConfig(layers=10, width=8)
Build = Callable[[], Training]


@pytest.fixture(scope="module")
def config() -> Config:
    laptop = Path(__file__).parents[2] / "configs" / "laptop.yaml"
    return load(
        laptop,
        [
            "image_size=32",
            "recnet.optimizer={steps: 40, batch_size: 4, learning_rate: 0.002}",
            "dcnet.optimizer={steps: 8, batch_size: 2, learning_rate: 0.0002}",
            "dcnet.adversarial_from=0.5",
            "dcnet.width=8",
            "dcnet.scales=2",
            "etnet.optimizer={steps: 40, batch_size: 4, learning_rate: 0.002}",
        ],
    )


@pytest.fixture(scope="module")
def batch(config: Config, toy_model: FaceModel) -> dict:
    """Two images each of four faces, rendered by the model."""
    generator = torch.Generator().manual_seed(1)
    camera = Camera.from_config(config)
    result: dict = {
        "sample_id": [f"sample-{i}" for i in range(4)],
        "expression": torch.rand(4, 51, generator=generator),
    }
    faces = toy_model.neutral(4).replace(identity=torch.randn(4, 4, generator=generator))
    for role in ("source", "driving"):
        face = faces.replace(expression=0.3 * torch.rand(4, 51, generator=generator))
        rendering = render(toy_model, face, camera)
        result[f"{role}_image"] = (rendering.image + 0.2 * (1 - rendering.mask)).clamp(0, 1)
        result[f"{role}_landmarks"] = landmarks_2d(toy_model, face, camera)
    result["image"] = result["source_image"]
    return result


def recnet_training(config: Config, model: FaceModel) -> Training:
    torch.manual_seed(0)
    network = RecNet(model.sizes, SMALL)
    loss = config.recnet.loss.model_copy(update={"photometric_geometry": True})
    return RecNetTraining(network, model, Camera.from_config(config), config.recnet.optimizer, loss)


def dcnet_training(config: Config, model: FaceModel) -> DCNetTraining:
    torch.manual_seed(0)
    recnet = RecNet(model.sizes, SMALL)
    discriminator = PatchDiscriminator(8, conditions=condition_names(config.dcnet))
    return DCNetTraining(
        DCNet(config.dcnet), discriminator, recnet, recnet.features, model, Camera.from_config(config), config.dcnet
    )


def etnet_training(config: Config, model: FaceModel) -> Training:
    torch.manual_seed(0)
    return ETNetTraining(ETNet(SMALL), config.etnet.optimizer)


BUILDERS = {"recnet": recnet_training, "dcnet": dcnet_training, "etnet": etnet_training}


@pytest.fixture(params=sorted(BUILDERS))
def build(request: pytest.FixtureRequest, config: Config, toy_model: FaceModel) -> Build:
    return lambda: BUILDERS[request.param](config, toy_model)


@pytest.mark.parametrize("name", ["recnet", "etnet"])
def test_overfits_a_batch(name: str, config: Config, toy_model: FaceModel, batch: dict) -> None:
    training = BUILDERS[name](config, toy_model)
    term = {"recnet": "photometric", "etnet": "activation"}[name]
    losses = [training.step(batch)[term] for _ in range(training.steps)]
    assert losses[-1] < 0.75 * losses[0]


def test_dcnet_starts_adversarial_training(config: Config, toy_model: FaceModel, batch: dict) -> None:
    training = dcnet_training(config, toy_model)
    logs = [training.step(batch) for _ in range(training.steps)]
    assert ["discriminator" in log for log in logs] == [step >= 4 for step in range(8)]
    assert ["adversarial" in log for log in logs] == [step >= 4 for step in range(8)]


def test_the_papers_generator_trains_adversarially_from_the_first_step(
    config: Config, toy_model: FaceModel, batch: dict
) -> None:
    tree = config.model_dump(mode="json")
    del tree["dcnet"]["adversarial_from"], tree["dcnet"]["loss"]["face_emphasis"]
    tree["dcnet"]["generator"] = "paper"
    training = dcnet_training(Config.model_validate(tree), toy_model)
    assert {"l1", "perceptual", "adversarial", "discriminator"} <= training.step(batch).keys()
    source, driving = batch["source_image"], batch["driving_image"]
    scene = training.scene(source, driving)
    generated = training.networks["dcnet"](scene).picture
    l1 = training.generator_losses(generated, driving, scene)["l1"]
    assert float(l1.detach()) == pytest.approx(
        training.config.loss.l1 * float((generated.detach() - driving).abs().mean()), rel=1e-5
    )


def test_generator_step_leaves_no_gradient_in_the_discriminator(
    config: Config, toy_model: FaceModel, batch: dict
) -> None:
    training = dcnet_training(config, toy_model)
    training.step(batch)
    assert all(parameter.grad is None for parameter in training.networks["discriminator"].parameters())


def test_resumes_bit_identically(build: Build, batch: dict) -> None:
    uninterrupted = build()
    for _ in range(6):
        uninterrupted.step(batch)
    first = build()
    for _ in range(3):
        first.step(batch)
    state = copy.deepcopy(first.state_dict())
    second = build()
    second.load_state_dict(state)
    for _ in range(3):
        second.step(batch)
    for name, network in uninterrupted.networks.items():
        for key, value in network.state_dict().items():
            assert torch.equal(value, second.networks[name].state_dict()[key]), (name, key)


def test_non_finite_loss_raises_before_the_weights_change(build: Build, batch: dict) -> None:
    training = build()
    before = copy.deepcopy({name: network.state_dict() for name, network in training.networks.items()})
    broken = {k: v.clone() if isinstance(v, torch.Tensor) else v for k, v in batch.items()}
    for key in ("source_image", "driving_image", "image"):
        broken[key][0, 0, 3, 3] = torch.nan
    with pytest.raises(NonFiniteLoss, match=r"step 0: .* became NaN or infinite on samples sample-0, .*learning rate"):
        training.step(broken)
    for name, network in training.networks.items():
        for key, value in network.state_dict().items():
            assert torch.equal(value, before[name][key])


def test_non_finite_loss_of_the_discriminator_raises_before_any_weights_change(
    config: Config, toy_model: FaceModel, batch: dict, monkeypatch: pytest.MonkeyPatch
) -> None:
    training = dcnet_training(config, toy_model)
    training.step_number = training.steps // 2
    assert training.adversarial
    losses = training.discriminator_losses
    broken = lambda microbatch: {name: loss * torch.nan for name, loss in losses(microbatch).items()}  # noqa: E731
    monkeypatch.setattr(training, "discriminator_losses", broken)
    before = copy.deepcopy({name: network.state_dict() for name, network in training.networks.items()})
    with pytest.raises(NonFiniteLoss, match="step 4: discriminator became NaN or infinite on samples sample-0"):
        training.step(batch)
    for name, network in training.networks.items():
        for key, value in network.state_dict().items():
            assert torch.equal(value, before[name][key])


def test_exchange_swaps_identities_in_every_second_pair(toy_model: FaceModel) -> None:
    faces = toy_model.neutral(6).replace(identity=torch.arange(6.0)[:, None].expand(6, 4))
    assert exchange_identity(faces).identity[:, 0].tolist() == [0, 4, 2, 3, 1, 5]


def test_schedule_warms_up_and_decays(config: Config) -> None:
    optimizer = config.recnet.optimizer.model_copy(update={"warmup": 10, "steps": 100, "learning_rate": 1.0})
    rates = [learning_rate(step, optimizer) for step in range(100)]
    assert rates[0] == pytest.approx(0.1)
    assert max(rates) == rates[10] == pytest.approx(1.0)
    assert rates[-1] < 0.03
    assert learning_rate(50, optimizer.model_copy(update={"decay": "none"}), base=0.5) == 0.5
    stepwise = optimizer.model_copy(update={"decay": "step"})
    assert [learning_rate(step, stepwise) for step in (10, 49, 50, 99)] == pytest.approx([1.0, 1.0, 0.2, 0.2])


def test_scene_of_the_same_face_reproduces_the_image(config: Config, toy_model: FaceModel, batch: dict) -> None:
    face = toy_model.neutral(4)
    scene = set_scene(toy_model, Camera.from_config(config), batch["source_image"], face, face)
    inside = scene.view.covisible.bool().expand(-1, 3, -1, -1)
    assert inside.float().mean() > 0.2
    torch.testing.assert_close(scene.view.image[inside], batch["source_image"][inside], atol=1e-4, rtol=0)


def test_photometric_geometry_controls_gradients_of_the_geometry(config: Config, toy_model: FaceModel) -> None:
    face = toy_model.neutral(2)
    camera = Camera.from_config(config)
    landmarks = landmarks_2d(toy_model, face, camera)
    images = torch.rand(2, 3, camera.size, camera.size, generator=torch.Generator().manual_seed(0))
    with_gradient = {}
    for photometric_geometry in (True, False):
        loss = config.recnet.loss.model_copy(update={"photometric_geometry": photometric_geometry})
        training = RecNetTraining(RecNet(toy_model.sizes, SMALL), toy_model, camera, config.recnet.optimizer, loss)
        parameters = face.map(lambda value: value.clone().requires_grad_())
        training.losses(parameters, images, landmarks)["photometric"].backward()
        with_gradient[photometric_geometry] = {
            name for name, value in parameters.state().items() if value.grad is not None
        }
    assert with_gradient[False] == {"albedo", "light"}
    assert with_gradient[True] > with_gradient[False]


def test_skin_mask_leaves_unlabelled_vertices_out_of_the_photometric_loss(config: Config, toy_model: FaceModel) -> None:
    """The lower half of the dome is teeth; the image differs from the rendering there alone."""
    labels = (toy_model.mean[:, 1] < 0).long()
    model = replace(toy_model, labels=labels, label_names=("skin", "teeth_lower"))
    camera, face = Camera.from_config(config), model.neutral(2)
    rendering = render(model, face, camera)
    teeth = rendering.mask * (1 - rendering.mask_of(model.has_label("skin")))
    assert 0.2 < (teeth.sum() / rendering.mask.sum()) < 0.8
    images, landmarks = (rendering.image + 0.3 * teeth), landmarks_2d(model, face, camera)
    photometric = {}
    for skin_mask in (False, True):
        loss = config.recnet.loss.model_copy(update={"skin_mask": skin_mask})
        training = RecNetTraining(RecNet(model.sizes, SMALL), model, camera, config.recnet.optimizer, loss)
        photometric[skin_mask] = float(training.losses(face, images, landmarks)["photometric"])
    assert photometric[False] > 0.1 and photometric[True] < 0.01


def test_masks_of_all_and_of_no_vertices(config: Config, toy_model: FaceModel) -> None:
    rendering = render(toy_model, toy_model.neutral(1), Camera.from_config(config))
    everything = torch.ones(len(toy_model.mean), dtype=torch.bool)
    assert torch.equal(rendering.mask_of(everything), rendering.mask)
    assert not rendering.mask_of(~everything).any()


def test_etnet_starts_with_squared_error(config: Config, batch: dict) -> None:
    optimizer = config.etnet.optimizer.model_copy(update={"steps": 4})
    training = ETNetTraining(ETNet(SMALL), optimizer, squared_until=0.5)
    assert ["squared" in training.step(batch) for _ in range(4)] == [True, True, False, False]
