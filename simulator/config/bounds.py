"""Bounds of numbers, each with its reason; JSON Schemas show them: every key can be audited.


Numbers that nobody means are refused where they are read: what comes after (64-bit times, arrays,
compiled code, which checks nothing) holds whatever lies within.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, core_schema

from simulator.units import UNITS, parse_quantity

__all__ = ["AtMost", "Within"]


@dataclass(frozen=True, slots=True)
class AtMost:
    """Refuses larger numbers, and says why."""

    most: int
    reason: str

    def __get_pydantic_core_schema__(
        self, source: Any, handler: GetCoreSchemaHandler
    ) -> CoreSchema:
        return _followed_by(self._check, handler(source))

    def __get_pydantic_json_schema__(
        self, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        shown = handler(schema)
        key = "maximum" if shown.get("type") in ("integer", "number") else "most"
        return {**shown, key: self.most}

    def _check(self, value: Any) -> Any:
        if value > self.most:
            raise ValueError(f"must be at most {self.most:,}: {self.reason}")
        return value


@dataclass(frozen=True, slots=True)
class Within:
    """Refuses quantities that no machine has: they would make a rate nothing or a time endless.

    Inside the bounds (`least`, `most`: text with a unit) 64 bits hold the time of any run that can
    be waited for. `example` is for the JSON Schema, which shows the bounds as `least` and `most`.
    """

    least: str
    most: str
    dimension: str
    example: str

    def __get_pydantic_core_schema__(
        self, source: Any, handler: GetCoreSchemaHandler
    ) -> CoreSchema:
        low = parse_quantity(self.least, self.dimension)
        high = parse_quantity(self.most, self.dimension)

        def check(value: Any) -> Any:
            if value < low:
                raise ValueError(f"must be at least {self.least}")
            if value > high:
                raise ValueError(f"must be at most {self.most}")
            return value

        return _followed_by(check, handler(source))

    def __get_pydantic_json_schema__(
        self, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        del schema, handler  # people write text
        spellings = "|".join(unit.replace("/", "\\/") for unit in UNITS[self.dimension])
        number = "[0-9][0-9_]*(\\.[0-9]*)?([eE][+-]?[0-9]+)?"
        return {
            "type": "string",
            "pattern": f"^\\s*{number}\\s*({spellings})\\s*$",
            "examples": [self.example],
            "least": self.least,
            "most": self.most,
        }


def _followed_by(check: Callable[[Any], Any], schema: CoreSchema) -> CoreSchema:
    return core_schema.no_info_after_validator_function(check, schema)
