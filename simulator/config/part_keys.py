"""The keys of a kind of part, and the short form of those whose last word only one of them has."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, get_args

from pydantic import BaseModel

from simulator.config.machine import Part
from simulator.config.problems import did_you_mean

__all__ = ["by_dotted_key", "full_key", "keys_of_kind", "parts_in"]


def keys_of_kind(model: type[BaseModel], prefix: str = "") -> Iterator[str]:
    """The dotted keys of a model that hold single values, where its numbers come from left out."""
    for name, field in model.model_fields.items():
        if name == "calibrated":
            continue
        inner = next(_models_in(field.annotation), None)
        if inner is None:
            yield f"{prefix}{name}"
        else:
            yield from keys_of_kind(inner, f"{prefix}{name}.")


def full_key(key: str, model: type[Part]) -> tuple[str, str]:
    """The dotted key that `key` names: itself, or the only one whose last word it is.

    Empty where it names none, with a hint.
    """
    known = list(keys_of_kind(model))
    if key.partition(".")[0] in model.model_fields:
        return key, ""
    same = [name for name in known if name.rpartition(".")[2] == key]
    if len(same) == 1:
        return same[0], ""
    if same:
        return "", f"write one of {', '.join(same)}"
    words = [*known, *(name.rpartition(".")[2] for name in known)]
    return "", did_you_mean(key, dict.fromkeys(words)) or f"keys: {', '.join(known)}"


def parts_in(annotation: Any) -> tuple[type[Part], ...]:
    """The models of parts that a field of that type can hold."""
    return tuple(model for model in _models_in(annotation) if issubclass(model, Part))


def _models_in(annotation: Any) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for inner in get_args(annotation):
        yield from _models_in(inner)


def by_dotted_key(data: Mapping[str, object], prefix: str = "") -> Iterator[tuple[str, object]]:
    """Keys and values of nested mappings, each value by its dotted key."""
    for key, value in data.items():
        if isinstance(value, Mapping):
            yield from by_dotted_key(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value
