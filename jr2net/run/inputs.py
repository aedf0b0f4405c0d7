"""What decides the output of a stage: a record of its settings and of the digests of what it uses.

``DECIDED_BY`` names the sections of each stage; a field's ``Effect``, declared with it in ``jr2net/config/``, says how
it counts. A field that a record does not know had its default: a setting that is added with a default changes nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from operator import attrgetter
from typing import Any

from pydantic import BaseModel, TypeAdapter

from jr2net import storage
from jr2net.config import Config
from jr2net.config.stages import first_round
from jr2net.settings import Effect

_JSON = TypeAdapter(Any)

CODE_VERSIONS = {"synthesis": "5", "films": "2"}
"""Version of a stage's code, "1" if not listed. Raise it when a stage's output changes its meaning or format."""

STILL_VALID = {"synthesis": ("2", "3", "4")}
"""Versions of the code whose finished output remains valid, though it cannot be continued."""

COMMON = ("seed", "image_size", "face.focal_ratio")
"""Settings that decide the output of every stage. The other settings of ``face`` count by the face model's digest."""

_AS_RECNET = ("recnet.clips", "recnet.loss", "recnet.exchange_identity", "recnet.embedder", "recnet.jitter")

DECIDED_BY: Mapping[str, tuple[str, ...]] = {
    "prepare": ("data", "evaluation.turned", "recnet.clips", "dcnet.clips"),
    "mattes": (),
    "recnet": ("recnet",),
    "dcnet": ("dcnet",),
    "flow3d": ("flow3d",),
    "synthesis": ("synthesis",),
    "films": ("films", "data.studio.detector_shrink", "data.studio.detector_noise"),
    "etnet": ("etnet",),
    "recaugnet": ("recaugnet", *_AS_RECNET),
    "reccopynet": (
        "reccopynet",
        "recaugnet.optimizer",
        "etnet.backbone",
        "etnet.from_recnet",
        "etnet.keypoints",
        *_AS_RECNET,
    ),
    "pair_clips": ("data.studio.detector_shrink", "data.studio.detector_noise"),
    "recdatanet": ("recdatanet", "recnet"),
    "baseline": ("baseline", "recnet"),
    "portraits": ("portraits",),
    "detector": ("detector",),
    "evaluation": ("evaluation",),
}
"""Stage -> the sections and settings that decide its output, besides ``COMMON`` and the stages that it uses.

A stage of the second round is decided by the settings of the first."""

Record = Mapping[str, Any]
"""``stage``, ``code``: its version; ``face_model``: digest; ``settings``: value by dotted name; ``upstream``: digest by
stage; ``grown_from``, if the stage was continued: the smaller extents that it had before."""

_SUFFIXES = {"data.clips": ".parquet", "data.test_clips": ".parquet"}
_NONE = "none"


@dataclass(frozen=True)
class Setting:
    """A field of the configuration: its effect (None: it decides) and its default (``...`` if it has none)."""

    effect: Effect | None
    default: Any


@dataclass(frozen=True)
class Difference:
    """A field of two records, as recorded and as it would be now."""

    field: str
    old: Any
    new: Any

    def __str__(self) -> str:
        text = f"{self.field}: {_brief(self.old)} -> {_brief(self.new)}"
        if not (_are_files(self.old) and _are_files(self.new)):
            return text
        changed = {name for name, _ in self.old.items() ^ self.new.items()}
        return f"{text}; added, removed or changed: {first_names(sorted(changed))}"

    @property
    def is_extent(self) -> bool:
        return self.field in SETTINGS and SETTINGS[self.field].effect is Effect.EXTENT


def record(config: Config, stage: str, face_model: str) -> dict[str, Any]:
    """The record of ``stage`` as this configuration would make it, without ``upstream``; face_model: its digest.

    Raises StorageError where files that count cannot be listed.
    """
    return {
        "stage": stage,
        "code": CODE_VERSIONS.get(first_round(stage), "1"),
        "face_model": face_model,
        "settings": {name: _value(config, name) for name in deciding(config, stage)},
    }


def deciding(config: Config, stage: str) -> list[str]:
    """Dotted names of the settings that decide the output of a stage in this run."""
    data = config.data
    unused = {"data.studio", "evaluation.turned"} if data.clips is not None and stage != "films" else set()
    if data.clips is None or data.test_clips is not None:
        unused.add("data.hold_out")
    if stage == "reccopynet" and config.reccopynet.optimizer is not None:
        unused.add("recaugnet.optimizer")
    return [
        name
        for name, setting in SETTINGS.items()
        if setting.effect is not Effect.NONE
        and _within(name, (*COMMON, *DECIDED_BY[first_round(stage)]))
        and not _within(name, unused)
    ]


def differences(old: Record, new: Record, finished: bool = False) -> list[Difference]:
    """In which fields ``new`` differs from a recorded ``old``. finished: whether ``old`` is complete."""
    found = []
    valid = (new["code"], *(STILL_VALID.get(first_round(new["stage"]), ()) if finished else ()))
    if old["code"] not in valid:
        found.append(Difference("version of the code", old["code"], new["code"]))
    if old["face_model"] != new["face_model"]:
        found.append(Difference("face model", old["face_model"], new["face_model"]))
    known = _settings(old)
    for name, value in new["settings"].items():
        before = _look_up(known, name)
        if before is ...:
            before = SETTINGS[name].default
        if before != value and not _same_files(before, value):
            found.append(Difference(name, None if before is ... else before, value))
    for name in sorted({*old["upstream"], *new["upstream"]}):
        before, after = (side["upstream"].get(name) for side in (old, new))
        if before != after:
            found.append(Difference(f"upstream.{name}", before, after))
    return found


def first_names(names: Sequence[str]) -> str:
    """The first five of some names, for a message."""
    return ", ".join(names[:5]) + (" …" if len(names) > 5 else "")


def _walk(kind: type[BaseModel], prefix: str = "", default: BaseModel | None = None) -> Iterator[tuple[str, Setting]]:
    """The settings of a section by dotted name. default: the section, if its parent has one for it."""
    for name, field in kind.model_fields.items():
        value = getattr(default, name) if default is not None else ... if field.is_required() else field.default
        effect = next((found for found in field.metadata if isinstance(found, Effect)), None)
        inner = field.annotation
        if effect is None and isinstance(inner, type) and issubclass(inner, BaseModel):
            yield from _walk(inner, f"{prefix}{name}.", None if value is ... else value)
        elif isinstance(value, BaseModel):
            yield f"{prefix}{name}", Setting(effect, None)
        else:
            yield f"{prefix}{name}", Setting(effect, value if value is ... else _JSON.dump_python(value, mode="json"))


SETTINGS: Mapping[str, Setting] = dict(_walk(Config))
"""All settings of a run by dotted name; a section with an effect is one entry."""


def _value(config: Config, name: str) -> Any:
    value = _JSON.dump_python(attrgetter(name)(config), mode="json")
    if isinstance(value, list) and SETTINGS[name].effect is Effect.CONTENT:  # sets of clips
        return [{"files": storage.file_sizes(part["uri"], ".parquet"), "weight": part["weight"]} for part in value]
    if SETTINGS[name].effect is Effect.CONTENT and value is not None:
        return storage.file_sizes(value, _SUFFIXES.get(name, ""))
    return value


def _within(name: str, sections: Iterable[str]) -> bool:
    return any(name == section or name.startswith(f"{section}.") for section in sections)


def _settings(recorded: Record) -> Mapping[str, Any]:
    """The settings of a record. Version 0.1 recorded whole sections, those of ``data`` without their name."""
    if "seed" not in recorded:
        return recorded["settings"]
    sections = dict(recorded["settings"])
    data = {name: sections.pop(name) for name in ("studio", "clips", "test_clips", "hold_out") if name in sections}
    if "turned" in sections:
        sections["evaluation"] = {"turned": sections.pop("turned")}
    common = {"seed": recorded["seed"], "image_size": recorded["image_size"]}
    return common | {"face": {"focal_ratio": recorded["focal_ratio"]}, "data": data} | sections


def _look_up(settings: Mapping[str, Any], name: str) -> Any:
    """A setting by its dotted name, ``...`` if the record does not know it."""
    if name in settings:
        return settings[name]
    first, _, rest = name.partition(".")
    inner = settings.get(first)
    return _look_up(inner, rest) if rest and isinstance(inner, Mapping) else ...


def _same_files(old: Any, new: Any) -> bool:
    """Whether a path, as version 0.1 recorded it, may be that of these files."""
    return isinstance(old, str) and isinstance(new, Mapping) and list(new) == [storage.base_name(old)]


def _are_files(value: Any) -> bool:
    """Whether a recorded value is sizes of files by name."""
    return isinstance(value, Mapping) and bool(value) and all(isinstance(size, int) for size in value.values())


def _brief(value: Any) -> str:
    if _are_files(value):
        return f"{len(value)} {'file' if len(value) == 1 else 'files'} of {sum(value.values())} bytes"
    if isinstance(value, str) and len(value) == 64:  # a digest
        return f"{value[:12]}…"
    return _NONE if value is None else str(value).lower() if isinstance(value, bool) else str(value)
