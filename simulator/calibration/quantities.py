"""Numbers of parts and profiles as people write them: with a unit that follows from their key."""

from __future__ import annotations

from typing import Any

__all__ = ["told", "written"]

_UNITS: dict[str, tuple[tuple[float, str], ...]] = {
    "time": ((1e9, "ms"), (1e6, "us"), (1e3, "ns"), (1.0, "ps")),
    "bandwidth": ((1e9, "GB/s"), (1e6, "MB/s"), (1.0, "B/s")),
    "size": ((2**30, "GiB"), (2**20, "MiB"), (2**10, "KiB"), (1.0, "B")),
    "arithmetic": ((1e12, "TFLOP/s"), (1e9, "GFLOP/s"), (1.0, "FLOP/s")),
    "number": ((1.0, ""),),
}
_TIMES = {
    "latency",
    "access",
    "time",
    "start",
    "synchronize",
    "piece",
    "launch",
    "submission",
    "call",
}
_TIMES |= {"collective"}
_SIZES = {"cache", "capacity", "queue"}
_BANDWIDTHS = {"bandwidth", "read", "write", "back"}
"""Last word of a key that holds such a quantity."""


def written(path: str, value: float | str) -> Any:
    """What a YAML file holds for the value (in ps, bytes, bytes/s, FLOP/s) at a dotted path: the
    largest unit that leaves it above 1; whole numbers stay whole."""
    if isinstance(value, str):
        return value
    units = _UNITS[_quantity(path)]
    scale, unit = next((step for step in units if value >= step[0]), units[-1])
    shown = float(f"{value / scale:.4g}")
    whole = shown.is_integer() and (unit or isinstance(value, int))
    number = int(shown) if whole else shown
    return f"{number} {unit}" if unit else number


def told(path: str, value: float) -> str:
    """The same for a sentence or a table."""
    text = written(path, value)
    return text if isinstance(text, str) else f"{text:.4g}"


def _quantity(path: str) -> str:
    word = path.rpartition(".")[2].rpartition("_")[2]
    if word in _SIZES:
        return "size"
    if word in _TIMES:
        return "time"
    if word in _BANDWIDTHS:
        return "bandwidth"
    return "arithmetic" if word == "batched" else "number"
