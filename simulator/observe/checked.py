"""What `observed.json` has to hold before anything is made of it."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

__all__ = ["problem_of"]

Time = Annotated[float, Field(gt=0)]


class _Checked(BaseModel):
    model_config = ConfigDict(extra="allow", strict=True, allow_inf_nan=False)


class _Point(_Checked):
    label: str
    system: str
    sweep: str
    batches: int = Field(ge=1)
    repeats: int = Field(ge=0)
    error: str | None = None
    iteration_us: Time | None = None
    repeats_us: list[Time] | None = None
    stages_us: dict[str, float] | None = None
    counts: dict[str, int] | None = None

    @model_validator(mode="after")
    def _measured(self) -> _Point:
        if self.error is None:
            for name in ("iteration_us", "repeats_us", "stages_us", "counts"):
                if getattr(self, name) is None:
                    raise ValueError(f"{name} is missing")
        return self


class _Observed(_Checked):
    name: str
    device: str
    threads: int = Field(ge=1)
    machine: dict[str, Any]
    experiment: dict[str, Any]
    points: list[_Point]


def problem_of(data: Any) -> str:
    """What is wrong with the data of `observed.json`, with its place; empty where nothing is."""
    try:
        _Observed.model_validate(data)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"])) or "the document"
        return f"{place}: {first['msg']}"
    return ""
