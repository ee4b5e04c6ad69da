"""Integers with units: picoseconds, bytes, bytes per second; and the strings that people write.

Inside the simulator time is an integer number of picoseconds (`0.1 + 0.2` must not finish after
`0.3`) and sizes are integer bytes. `GB` is 1e9 bytes, `GiB` is 2**30 bytes.
"""

from __future__ import annotations

import re
from decimal import Decimal, InvalidOperation

from simulator.text import quoted

__all__ = [
    "PS_PER_MS",
    "PS_PER_NS",
    "PS_PER_S",
    "PS_PER_US",
    "UNITS",
    "format_bytes",
    "format_quantity",
    "parse_quantity",
    "whole_number",
]

PS_PER_NS = 1_000
PS_PER_US = 1_000_000
PS_PER_MS = 1_000_000_000
PS_PER_S = 1_000_000_000_000

_DECIMAL = {"": 1, "k": 10**3, "K": 10**3, "M": 10**6, "G": 10**9, "T": 10**12, "P": 10**15}
_BINARY = {"Ki": 2**10, "Mi": 2**20, "Gi": 2**30, "Ti": 2**40}

UNITS: dict[str, dict[str, int | float]] = {
    "bytes": {f"{p}B": f for p, f in (_DECIMAL | _BINARY).items()},
    "bytes/s": {f"{p}B/s": f for p, f in (_DECIMAL | _BINARY).items()},
    "time": {"ps": 1, "ns": PS_PER_NS, "us": PS_PER_US, "ms": PS_PER_MS, "s": PS_PER_S},
    "FLOP/s": {f"{p}FLOP/s": f for p, f in _DECIMAL.items()},
    "Hz": {f"{p}Hz": f for p, f in _DECIMAL.items()},
    "power": {"W": 1.0, "mW": 1e-3, "kW": 1e3},
    "energy": {"pJ": 1.0, "nJ": 1e3, "uJ": 1e6, "mJ": 1e9, "J": 1e12},
}
"""Spellings of each dimension and their factor to the unit kept inside (bytes, bytes/s,
picoseconds, FLOP/s, Hz, watt, picojoule)."""

_QUANTITY = re.compile(r"\s*([+-]?(?:\d[\d_]*)(?:\.\d*)?(?:[eE][+-]?\d+)?)\s*([A-Za-z/]*)\s*")


def parse_quantity(text: object, dimension: str) -> float:
    """The value of `text` (such as "32 GiB" or "16 GB/s") in the unit kept inside.

    `dimension` is a key of `UNITS`. A bare number has no unit and is refused.
    Raises `ValueError` with what was seen and what is allowed.
    """
    units = UNITS[dimension]
    allowed = ", ".join(units)
    if isinstance(text, bool) or not isinstance(text, str):
        raise ValueError(f"{quoted(text)} has no unit: write a number with one of {allowed}")
    match = _QUANTITY.fullmatch(text)
    if match is None:
        raise ValueError(f"{quoted(text)} is not a number with a unit ({allowed})")
    number, unit = match.groups()
    if unit not in units:
        given = f"the unit {unit!r}" if unit else "no unit"
        raise ValueError(f"{quoted(text)} has {given}: expected one of {allowed}")
    return float(number.replace("_", "")) * units[unit]


def whole_number(text: str) -> int:
    """The whole number that `text` is, however it is written: "20000", "2e4", "1_000_000", "7.0".

    Raises `ValueError` for any other number, for more than 20 digits and for what is no number.
    """
    try:
        number = Decimal(text)
    except InvalidOperation:
        raise ValueError(f"{quoted(text)} is not a whole number") from None
    if not number.is_finite() or number.adjusted() >= 20 or number != number.to_integral_value():
        raise ValueError(f"{quoted(text)} is not a whole number of at most 20 digits")
    return int(number)


def format_bytes(size: float) -> str:
    """`size` in bytes as people read it: "40.96 GB"."""
    for prefix, factor in (("TB", 10**12), ("GB", 10**9), ("MB", 10**6), ("kB", 10**3)):
        if abs(size) >= factor:
            return f"{size / factor:.4g} {prefix}"
    return f"{size:.0f} B"


def format_quantity(text: str) -> str:
    """A number with the unit kept inside ("63015000000 B/s") as people write it: "63.015 GB/s".

    In the unit that leaves 1 to 1024 of it and needs the fewest digits, nine at most; what is no
    such quantity stays as it is.
    """
    match = _QUANTITY.fullmatch(text)
    number, unit = match.groups() if match else ("", "")
    units = next((u for u in UNITS.values() if unit in u and u[unit] == 1), None)
    if units is None:
        return text
    value = float(number)
    fitting = [name for name, factor in units.items() if factor <= value < 1024 * factor] or [unit]
    spelled = [(f"{value / units[name]:.9g}", name) for name in fitting]
    digits, name = min(spelled, key=lambda text: len(text[0]))
    return f"{digits} {name}"
