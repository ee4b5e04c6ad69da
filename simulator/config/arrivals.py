"""How queries come, in inference."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from simulator.config.types import Frozen, MisfitError

__all__ = ["RATE_KEYS", "ArrivalsConfig"]

RATE_KEYS = ("load", "rate_per_s")
"""Keys of which one says how many queries come."""
_DEFAULT_LOAD = 0.5


class ArrivalsConfig(Frozen):
    """Queries that come whether those before are answered or not (an open loop). A query is a
    mini-batch."""

    process: Literal["poisson", "even"] = "poisson"
    """`poisson`: each moment is as likely as another; `even`: one after a fixed time."""
    load: Annotated[float, Field(gt=0, le=100)] | None = None
    """Queries a second, as a share of those that the system answers with one always waiting. Where
    `rate_per_s` is not given, 0.5."""
    rate_per_s: Annotated[float, Field(gt=0, le=1e9)] | None = None
    """Queries a second, in place of `load`."""
    queries: Annotated[int, Field(ge=10, le=10**6)] = 1000
    """Queries that are simulated, the timed mini-batches over and over; the first tenth finds the
    system emptier than it stays, and does not count."""

    @model_validator(mode="before")
    @classmethod
    def _one_rate(cls, value: Any) -> Any:
        """Exactly one of `load` and `rate_per_s`: the default where none is given."""
        if not isinstance(value, Mapping):
            return value
        given = [key for key in RATE_KEYS if value.get(key) is not None]
        if len(given) > 1:
            raise MisfitError(given[1], f"and {given[0]} are both given: give one of them")
        return value if given else {**value, "load": _DEFAULT_LOAD}
