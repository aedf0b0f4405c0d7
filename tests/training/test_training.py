"""One step per network: it learns, it resumes exactly, and it stops at the first number that is none."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from jr2net.config import BackboneConfig, Config, load
from jr2net.face.camera import Camera
from jr2net.face.model import FaceModel
from jr2net.networks.dcnet import DCNet
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
    """Two pictures each of four faces that the model can show exactly."""
    generator = torch.Generator().manual_seed(1)
    view = Camera.from_config(config)
    made: dict = {"sample_id": [f"sample-{i}" for i in range(4)], "expression": torch.rand(4, 51, generator=generator)}
    faces = toy_model.neutral(4).replace(identity=torch.randn(4, 4, generator=generator))
    for role in ("source", "driving"):
        face = faces.replace(expression=0.3 * torch.rand(4, 51, generator=generator))
        picture = render(toy_model, face, view)
        made[f"{role}_image"] = (picture.image + 0.2 * (1 - picture.mask)).clamp(0, 1)
        made[f"{role}_landmarks"] = landmarks_2d(toy_model, face, view)
    made["image"] = made["source_image"]
    return made


def recnet_training(config: Config, model: FaceModel) -> Training:
    torch.manual_seed(0)
    network = RecNet(model.sizes, SMALL)
    loss = config.recnet.loss.model_copy(update={"photometric_geometry": True})
    return RecNetTraining(network, model, Camera.from_config(config), config.recnet.optimizer, loss)


def dcnet_training(config: Config, model: FaceModel) -> Training:
    torch.manual_seed(0)
    recnet = RecNet(model.sizes, SMALL)
    judge = PatchDiscriminator(8)
    return DCNetTraining(
        DCNet(config.dcnet), judge, recnet, recnet.features, model, Camera.from_config(config), config.dcnet
    )


def etnet_training(config: Config, model: FaceModel) -> Training:
    torch.manual_seed(0)
    return ETNetTraining(ETNet(SMALL), config.etnet.optimizer)


BUILDERS = {"recnet": recnet_training, "dcnet": dcnet_training, "etnet": etnet_training}


@pytest.fixture(params=sorted(BUILDERS))
def build(request: pytest.FixtureRequest, config: Config, toy_model: FaceModel) -> Build:
    return lambda: BUILDERS[request.param](config, toy_model)


@pytest.mark.parametrize("name", ["recnet", "etnet"])
def test_learns_a_batch_by_heart(name: str, config: Config, toy_model: FaceModel, batch: dict) -> None:
    training = BUILDERS[name](config, toy_model)
    term = {"recnet": "photometric", "etnet": "activation"}[name]
    losses = [training.step(batch)[term] for _ in range(training.steps)]
    assert losses[-1] < 0.75 * losses[0]


def test_dcnet_enters_the_adversarial_phase(config: Config, toy_model: FaceModel, batch: dict) -> None:
    training = dcnet_training(config, toy_model)
    logs = [training.step(batch) for _ in range(training.steps)]
    assert ["discriminator" in log for log in logs] == [step >= 4 for step in range(8)]
    assert ["adversarial" in log for log in logs] == [step >= 4 for step in range(8)]


def test_generator_step_leaves_no_gradient_in_the_discriminator(
    config: Config, toy_model: FaceModel, batch: dict
) -> None:
    training = dcnet_training(config, toy_model)
    training.step(batch)
    assert all(parameter.grad is None for parameter in training.networks["discriminator"].parameters())


def test_resumes_to_the_byte(build: Build, batch: dict) -> None:
    straight = build()
    for _ in range(6):
        straight.step(batch)
    first = build()
    for _ in range(3):
        first.step(batch)
    state = copy.deepcopy(first.state_dict())
    second = build()
    second.load_state_dict(state)
    for _ in range(3):
        second.step(batch)
    for name, network in straight.networks.items():
        for key, value in network.state_dict().items():
            assert torch.equal(value, second.networks[name].state_dict()[key]), (name, key)


def test_a_number_that_is_none_stops_before_the_weights_change(build: Build, batch: dict) -> None:
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


def test_exchange_gives_every_second_pair_the_other_frames_identity(toy_model: FaceModel) -> None:
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


def test_same_shape_and_expression_is_the_same_picture(config: Config, toy_model: FaceModel, batch: dict) -> None:
    face = toy_model.neutral(4)
    scene = set_scene(toy_model, Camera.from_config(config), batch["source_image"], face, face)
    inside = scene.view.covisible.bool().expand(-1, 3, -1, -1)
    assert inside.float().mean() > 0.2
    torch.testing.assert_close(scene.view.image[inside], batch["source_image"][inside], atol=1e-4, rtol=0)


def test_colour_leaves_the_geometry_alone_where_that_is_wanted(config: Config, toy_model: FaceModel) -> None:
    face = toy_model.neutral(2)
    view = Camera.from_config(config)
    landmarks = landmarks_2d(toy_model, face, view)
    images = torch.rand(2, 3, view.size, view.size, generator=torch.Generator().manual_seed(0))
    reached = {}
    for moves in (True, False):
        loss = config.recnet.loss.model_copy(update={"photometric_geometry": moves})
        training = RecNetTraining(RecNet(toy_model.sizes, SMALL), toy_model, view, config.recnet.optimizer, loss)
        parameters = face.map(lambda value: value.clone().requires_grad_())
        training.losses(parameters, images, landmarks)["photometric"].backward()
        reached[moves] = {name for name, value in parameters.state().items() if value.grad is not None}
    assert reached[False] == {"albedo", "light"}
    assert reached[True] > reached[False]


def test_etnet_learns_with_squared_error_first(config: Config, batch: dict) -> None:
    optimizer = config.etnet.optimizer.model_copy(update={"steps": 4})
    training = ETNetTraining(ETNet(SMALL), optimizer, squared_until=0.5)
    assert ["squared" in training.step(batch) for _ in range(4)] == [True, True, False, False]
