"""Configuration: strict validation, helpful errors, round trip through YAML."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from jr2net.config import Config, load, networks, to_yaml
from jr2net.config.gpus import scaled_to
from jr2net.face import landmarks
from jr2net.run.inputs import SETTINGS
from jr2net.settings import ConfigError, digest

CONFIGS = Path(__file__).parents[1] / "configs"
LAPTOP = CONFIGS / "laptop.yaml"


CASCADES = [path for path in sorted(CONFIGS.glob("*.yaml")) if not path.stem.startswith("serve")]


@pytest.mark.parametrize("path", CASCADES, ids=lambda path: path.stem)
def test_every_configuration_round_trips(path: Path, tmp_path: Path) -> None:
    config = load(path)
    printed = tmp_path / "printed.yaml"
    printed.write_text(to_yaml(config))
    assert load(printed) == config


def test_override_reaches_a_nested_field() -> None:
    config = load(LAPTOP, ["recnet.optimizer.steps=7", "storage=s3://bucket/run", "data.clips=null"])
    assert (config.recnet.optimizer.steps, config.storage, config.data.clips) == (7, "s3://bucket/run", None)


def test_unknown_key_suggests_the_closest() -> None:
    with pytest.raises(ConfigError, match=r"laptop\.yaml: unknown key 'recnet\.optimiser'; did you mean 'optimizer'\?"):
        load(LAPTOP, ["recnet.optimiser.steps=7"])


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("recnet.optimizer.steps=none", "recnet.optimizer.steps = 'none'"),
        ("image_size=50", "image_size = 50: Input should be a multiple of 16"),
        ("steps", "write key.sub=value"),
        ("storage.sub=1", "'storage' is a value, not a section"),
        ("seed=[", "the value is not YAML"),
    ],
)
def test_bad_override_names_the_field(override: str, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load(LAPTOP, [override])
    assert message in str(caught.value)


@pytest.mark.parametrize("setting", ["scaling.workers=9", "scaling.elastic=[1, 9]"])
def test_more_workers_than_samples_are_an_error(setting: str) -> None:
    field, _, value = setting.partition("=")
    small = r"\(dcnet\.optimizer\.batch_size = 8\)"
    message = rf"laptop\.yaml: .*{re.escape(f'{field} = {value}')}: more workers .*{small}.* at most 8 workers"
    with pytest.raises(ConfigError, match=message):
        load(LAPTOP, [setting])
    assert load(LAPTOP, [setting.replace("9", "8")])


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["etnet.films=0.01"], r"etnet\.films = 0\.01: 0 of a batch of 32 are films; choose a share"),
        (["etnet.backbone.side=48"], r"etnet\.backbone\.side = 48: is not a divisor of image_size = 64"),
        (["ablations=[recaugnet]"], r"ablations\.0 = 'recaugnet': Input should be 'reccopynet'"),
        (["ablations=[baseline, baseline]"], r"ablations .*: name each network once"),
        (
            ["ablations=[recdatanet]", "recdatanet.pair_share=0.01"],
            r"0 of a batch of 16 are synthesised; choose a share",
        ),
        (["ablations=[baseline]", "synthesis.reenact=true"], r"baseline .* set synthesis\.reenact=false"),
        (["ablations=[baseline]", "baseline.pair_share=0.07", "scaling.workers=2"], r"baseline: clips, pairs = 1"),
        (["rounds=3"], r"rounds = 3: Input should be 1 or 2"),
        (["baseline.expresion=3"], r"unknown key 'baseline\.expresion'; did you mean 'expression'\?"),
    ],
)
def test_ablations_that_cannot_be_trained_are_an_error(overrides: list[str], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        load(LAPTOP, overrides)
    assert load(LAPTOP, [f"recdatanet.pair_share={share}" for share in (0.01,)]), "what is not trained is not checked"


def test_a_detector_that_is_trained_limits_the_workers() -> None:
    small = ["scaling.workers=5", "detector.optimizer={steps: 9, batch_size: 4, learning_rate: 0.001}"]
    assert load(LAPTOP, small), "what is not trained is not checked"
    with pytest.raises(ConfigError, match=r"more workers .*\(detector\.optimizer\.batch_size = 4\)"):
        load(LAPTOP, [*small, "detector.train=true"])


def test_the_batch_of_the_other_reenactor_does_not_limit_the_workers() -> None:
    assert load(LAPTOP, ["scaling.workers=9", "reenactor=flow3d", "flow3d.optimizer.batch_size=9"])


@pytest.mark.parametrize("stem", ["paper", "paper-flow3d"])
def test_sizes_follow_the_number_of_gpus(stem: str) -> None:
    path = CONFIGS / f"{stem}.yaml"
    one, four = load(path), load(path, gpus=32)
    assert load(path, gpus=8) == one
    for name in ("recnet", "dcnet", "flow3d", "etnet", "recaugnet", "detector"):
        before, after = getattr(one, name).optimizer, getattr(four, name).optimizer
        assert after.batch_size == 4 * before.batch_size and after.warmup == before.warmup
        assert after.steps * after.batch_size == pytest.approx(before.steps * before.batch_size, rel=1e-3)
        assert after.learning_rate == pytest.approx(2 * before.learning_rate)
    assert four.dcnet.discriminator_learning_rate == pytest.approx(2 * one.dcnet.discriminator_learning_rate)
    assert four.flow3d.source_learning_rate == pytest.approx(2 * one.flow3d.source_learning_rate)
    assert four.dcnet.ema == pytest.approx(one.dcnet.ema**4, abs=1e-6)
    assert four.flow3d.ema == pytest.approx(one.flow3d.ema**4, abs=1e-6)
    assert (four.scaling.workers, four.scaling.synthesis_actors) == (32, 64)
    assert load(path, ["dcnet.optimizer.batch_size=40"], gpus=32).dcnet.optimizer.batch_size == 40


def test_every_moving_average_follows_the_number_of_gpus() -> None:
    tree = load(CONFIGS / "release.yaml").model_dump(mode="json")
    tree["scaling"]["workers"] = 2
    scaled = scaled_to(tree, 8)
    averages = [name for name in SETTINGS if "moving average" in (description_of(name) or "")]
    assert averages == ["dcnet.ema", "flow3d.ema", "etnet.average"]
    for name in averages:
        section, field = name.split(".")
        assert scaled[section][field] == pytest.approx(tree[section][field] ** 4, abs=1e-6)
        assert scaled[section][field] != tree[section][field]


def description_of(name: str) -> str | None:
    section: Any = Config
    *parents, field = name.split(".")
    for parent in parents:
        section = section.model_fields[parent].annotation
    return section.model_fields[field].description if hasattr(section, "model_fields") else None


def test_sizes_for_fewer_gpus() -> None:
    config = load(CONFIGS / "paper.yaml", gpus=2)
    assert (config.recnet.optimizer.batch_size, config.recnet.optimizer.steps) == (8, 750000)
    assert config.recnet.optimizer.learning_rate == 5e-5


def test_sizes_for_gpus_need_a_configuration_for_gpus() -> None:
    with pytest.raises(ConfigError, match=r"laptop\.yaml: scaling\.gpu is false"):
        load(LAPTOP, gpus=8)
    with pytest.raises(ConfigError, match="--gpus 0: give at least 1"):
        load(CONFIGS / "paper.yaml", gpus=0)


def test_the_documents_table_of_sizes_is_what_the_rule_gives() -> None:
    text = (CONFIGS.parent / "docs" / "training.md").read_text()
    rows = re.findall(r"^\| (\d+) \|(( [\d.e, -]+ \|){4})$", text, re.MULTILINE)
    assert [row[0] for row in rows] == ["8", "16", "32", "64"]
    for gpus, cells, _ in rows:
        config = load(CONFIGS / "paper.yaml", gpus=int(gpus))
        optimizers = [getattr(config, name).optimizer for name in ("recnet", "dcnet", "etnet", "recaugnet")]
        expected = [[each.batch_size, each.steps, each.learning_rate] for each in optimizers]
        assert [[float(number) for number in cell.split(",")] for cell in cells.strip(" |").split("|")] == expected


def test_a_bare_name_is_a_configuration_of_the_package() -> None:
    assert load("laptop") == load(CONFIGS / "laptop.yaml")
    with pytest.raises(ConfigError, match=r"'laptp': no such configuration .*laptop"):
        load("laptp")


def test_missing_file_lists_existing_files(tmp_path: Path) -> None:
    (tmp_path / "there.yaml").write_text("storage: runs/x")
    with pytest.raises(ConfigError, match=r"no such configuration file; files there: .*there\.yaml"):
        load(tmp_path / "not.yaml")


def test_digest_depends_on_the_section_only() -> None:
    assert digest(load(LAPTOP).recnet) == digest(load(LAPTOP, ["seed=5"]).recnet)
    assert digest(load(LAPTOP).recnet) != digest(load(LAPTOP, ["recnet.optimizer.steps=7"]).recnet)


def _fields(section: type) -> list[tuple[str, object]]:
    found = []
    for name, field in section.model_fields.items():  # type: ignore[attr-defined]
        found.append((f"{section.__name__}.{name}", field))
        if isinstance(field.annotation, type) and hasattr(field.annotation, "model_fields"):
            found += _fields(field.annotation)
    return found


def test_every_value_is_documented() -> None:
    undocumented = [
        name
        for name, field in _fields(Config)
        if field.description is None  # type: ignore[attr-defined]
        and not (isinstance(field.annotation, type) and hasattr(field.annotation, "model_fields"))  # type: ignore[attr-defined]
    ]
    assert undocumented == []


def test_the_configuration_and_the_faces_have_the_same_keypoints() -> None:
    assert networks.KEYPOINTS == landmarks.KEYPOINTS


def test_keypoints_need_films_and_points() -> None:
    with pytest.raises(ConfigError, match=r"etnet.keypoints needs films"):
        load(LAPTOP, ["etnet.keypoints=true"])
