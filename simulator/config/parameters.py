"""Parameters of a system: keys of its entry in `systems` that the system itself declares.

A system names a model of them (`System.Parameters`): a field a key, with type, bounds, default, a
docstring, and where the default comes from (`Given`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any, Literal, NamedTuple

from pydantic import TypeAdapter

from simulator.config.meanings import meaning_of
from simulator.config.types import Frozen

__all__ = ["Given", "Parameter", "Parameters", "SystemKeys", "adapter_of", "parameters_of"]

Label = Literal["verified", "second-hand", "recalled", "derived", "assumed"]


@dataclass(frozen=True, slots=True)
class Given:
    """Where the default of a parameter comes from: metadata of its type.

    `verified`: read in the source that is named; `second-hand`: another source says that one says
    so; `recalled`: from memory, unchecked; `derived`: by arithmetic; `assumed`: the source leaves
    it open.
    """

    label: Label
    source: str = ""

    def __str__(self) -> str:
        return f"{self.label}: {self.source}" if self.source else self.label


class Parameters(Frozen):
    """Base of the parameters of a system; by itself none."""

    def without_use(self) -> frozenset[str]:
        """Keys that its system uses in general, but not with these values."""
        return frozenset()


class SystemKeys(NamedTuple):
    """The keys of an entry of `systems` that a system uses.

    `uses`: those that all systems share (`gpus`, `cache`, `cache.fraction`, `pipeline`); None:
    not said, all are allowed. `parameters`: its own. `refused`: why it does not use others, by key.
    """

    uses: frozenset[str] | None = None
    parameters: type[Parameters] = Parameters
    refused: Mapping[str, str] = {}

    @property
    def own(self) -> tuple[str, ...]:
        """Names of its parameters."""
        return tuple(self.parameters.model_fields)


class Parameter(NamedTuple):
    """One parameter for people: name, default and range as in YAML, meaning, and source."""

    name: str
    default: Any
    allowed: str
    meaning: str
    given: Given | None


def parameters_of(model: type[Parameters]) -> Iterator[Parameter]:
    """The parameters that a model declares, in order."""
    schema = model.model_json_schema()
    for name, field in model.model_fields.items():
        given = next((item for item in field.metadata if isinstance(item, Given)), None)
        meaning = " ".join((meaning_of(model, name) or "").split())
        allowed = _allowed(schema["properties"][name])
        yield Parameter(name, field.default, allowed, meaning, given)


_BOUNDS = {
    "minimum": "at least",
    "exclusiveMinimum": "greater than",
    "maximum": "at most",
    "exclusiveMaximum": "less than",
}
_TYPES = {
    "integer": "a whole number",
    "number": "a number",
    "boolean": "true or false",
    "string": "text",
    "null": "null",
}


def _allowed(schema: Mapping[str, Any]) -> str:
    """What a value may be, in words."""
    if "anyOf" in schema:
        return " or ".join(_allowed(member) for member in schema["anyOf"])
    if "enum" in schema:
        return "one of " + ", ".join(map(str, schema["enum"]))
    if "pattern" in schema and schema.get("examples"):
        return f"such as {schema['examples'][0]}"
    words = _TYPES.get(schema.get("type", ""), "a value")
    bounds = [f"{text} {_bound(schema[key])}" for key, text in _BOUNDS.items() if key in schema]
    return ", ".join([words, *bounds])


def _bound(value: float) -> str:
    """A bound with all its digits, unless a power of ten says more."""
    return f"{value:,.0f}" if 1000 <= value < 1e10 else f"{value:g}"


@cache
def adapter_of(model: type[Parameters]) -> TypeAdapter[Any]:
    """What validates the parameters of one system."""
    return TypeAdapter(model)
