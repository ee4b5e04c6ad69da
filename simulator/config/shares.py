"""Shares, as people write them: `60 %` or 0.6."""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import BeforeValidator, Field

from simulator.text import quoted

__all__ = ["PositiveShare", "Share", "Written", "share_of"]

_PERCENT = re.compile(r"\s*(-?[0-9]+(?:\.[0-9]*)?)\s*%\s*")


def _share(value: object) -> object:
    """`60 %` as 0.6."""
    if not isinstance(value, str):
        return value
    match = _PERCENT.fullmatch(value)
    if match is None:
        raise ValueError(f"{quoted(value)} is no share: write 60 % or 0.6")
    share = float(match.group(1)) / 100.0
    if not 0.0 <= share <= 1.0:
        raise ValueError(f"{quoted(value)} is no share of anything: 0 to 100 %")
    return share


def share_of(text: str) -> float:
    """A share as `text` says it, `5 %` or 0.05.

    Raises `ValueError` for what is none.
    """
    try:
        share = float(text)
    except ValueError:
        share = float(str(_share(text)))
    if not 0.0 <= share <= 1.0:
        raise ValueError(f"{quoted(text)} is no share of anything: 0 to 1, or 0 to 100 %")
    return share


Written = (
    Annotated[float, Field(ge=0, le=1)]
    | Annotated[str, Field(pattern=r"^\s*[0-9]+(\.[0-9]*)?\s*%\s*$", examples=["60 %"])]
)
"""What stands in a file."""

Share = Annotated[float, BeforeValidator(_share, json_schema_input_type=Written), Field(ge=0, le=1)]
"""A share, in per cent or of 1."""

PositiveShare = Annotated[
    float, BeforeValidator(_share, json_schema_input_type=Written), Field(gt=0, le=1)
]
"""More than nothing."""
