"""Configuration: strict validation, helpful errors, round trip through YAML."""

from __future__ import annotations

from pathlib import Path

import pytest

from jr2net.config import Config, load, to_yaml
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
