"""Strict settings from YAML files and command lines; errors name the file, the field and the remedy."""

from __future__ import annotations

import difflib
import hashlib
import json
from collections.abc import Iterable, Mapping
from enum import Enum
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError

from jr2net.errors import UserError


class ConfigError(UserError, ValueError):
    """An invalid configuration; the message names the file or override, the field and the remedy."""


class Effect(Enum):
    """What a setting is to the files that are made with it, beside its type: ``x: Annotated[int, Effect.NONE] = …``.

    Without an effect a setting decides what is made: with another value it would be something else.
    """

    NONE = "none"
    """Where, how fast and with how much memory it is made."""
    EXTENT = "extent"
    """How much of it is made. With more, what exists stays as it is and the rest is added."""
    CONTENT = "content"
    """A path whose files decide, by their names and sizes, wherever they lie."""


class Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


S = TypeVar("S", bound=BaseModel)


def validate(kind: type[S], tree: Any, source: str) -> S:
    """A tree as settings of one kind. Raises ConfigError with one line for each field that is wrong.

    source: what the messages call the file. An unknown key is an error that suggests the closest known one.
    """
    try:
        return kind.model_validate(tree)
    except ValidationError as error:
        raise ConfigError("\n".join(_explain(kind, source, item) for item in error.errors())) from None


def digest(section: BaseModel | Mapping[str, Any]) -> str:
    """SHA-256 of a section: equal settings have equal digests, whichever file they came from."""
    content = section.model_dump(mode="json") if isinstance(section, BaseModel) else section
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def apply_override(tree: dict[str, Any], override: str, example: str) -> None:
    """Sets ``key.sub=value`` in a tree of sections, in place; the value is YAML. Raises ConfigError.

    example: a valid override, for the error message.
    """
    key, separator, text = override.partition("=")
    if not separator or not key:
        raise ConfigError(f"override {override!r}: write key.sub=value, e.g. {example}")
    try:
        value = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ConfigError(f"override {override!r}: the value is not YAML: {error}") from None
    set_value(tree, key, value, f"override {override!r}")


def set_value(tree: dict[str, Any], key: str, value: Any, source: str) -> None:
    """Sets the dotted ``key`` in a tree of sections, in place. source: what messages call it. Raises ConfigError."""
    *parents, leaf = key.split(".")
    node = tree
    for parent in parents:
        child = node.setdefault(parent, {})
        if not isinstance(child, dict):
            raise ConfigError(f"{source}: {parent!r} is a value, not a section")
        node = child
    node[leaf] = value


def absolute_paths(section: S, fields: Iterable[str], base: str | Path) -> S:
    """A copy in which relative paths are absolute, so that workers in other folders can use them.

    fields: dotted names of settings that are paths; None, URIs and ``procedural`` are kept. base: where relative paths
    start.
    """
    tree = section.model_dump(mode="json", exclude_unset=True)
    for field in fields:
        *parents, leaf = field.split(".")
        node: dict[str, Any] = tree
        for parent in parents:
            node = node.get(parent, {})
        value = node.get(leaf)
        if isinstance(value, list):  # sets, each with a `uri`
            for part in value:
                if "://" not in part["uri"]:
                    part["uri"] = str(Path(base, Path(part["uri"]).expanduser()).absolute())
            continue
        if value is None or value == "procedural" or "://" in value or Path(value).expanduser().is_absolute():
            continue
        node[leaf] = str(Path(base, value).absolute())
    return type(section).model_validate(tree)


def _explain(kind: type[BaseModel], source: str, item: Mapping[str, Any]) -> str:
    location = ".".join(str(part) for part in item["loc"])
    if item["type"] == "extra_forbidden":
        known = _known_keys(kind, item["loc"][:-1])
        close = difflib.get_close_matches(str(item["loc"][-1]), known, n=1)
        hint = f"did you mean {close[0]!r}?" if close else f"known keys there: {', '.join(known)}"
        return f"{source}: unknown key {location!r}; {hint}"
    if item["type"] == "missing":
        return f"{source}: {location} is missing; add it"
    if item["type"] == "value_error":  # of a section as a whole
        return f"{source}: {location}: {item['msg']}" if location else f"{source}: {item['msg']}"
    return f"{source}: {location} = {item['input']!r}: {item['msg']}"


def _known_keys(kind: type[BaseModel], location: Iterable[str | int]) -> list[str]:
    section = kind
    for part in location:
        annotation = section.model_fields[str(part)].annotation if str(part) in section.model_fields else None
        if not (isinstance(annotation, type) and issubclass(annotation, BaseModel)):
            return []
        section = annotation
    return list(section.model_fields)
