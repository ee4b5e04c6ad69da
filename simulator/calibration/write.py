"""Writes what a calibration found: platform and profile as YAML, residuals as CSV.

The YAML starts from the text of the base entry, so that its comments and its unfitted numbers
with their sources stay as people wrote them.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Any

from ruamel.yaml import YAML

from simulator.calibration.points import Residual
from simulator.config.catalogue import directory
from simulator.errors import UsageError

__all__ = ["by_operator", "entry_file", "entry_text", "residuals_csv"]

_WIDTH = 200
"""No folding: a source is one line, however long."""

_UNITS: dict[str, tuple[tuple[float, str], ...]] = {
    "time": ((1e9, "ms"), (1e6, "us"), (1e3, "ns"), (1.0, "ps")),
    "bandwidth": ((1e9, "GB/s"), (1e6, "MB/s"), (1.0, "B/s")),
    "size": ((2**30, "GiB"), (2**20, "MiB"), (2**10, "KiB"), (1.0, "B")),
    "arithmetic": ((1e12, "TFLOP/s"), (1e9, "GFLOP/s"), (1.0, "FLOP/s")),
    "number": ((1.0, ""),),
}
_TIMES = {"latency", "access", "time", "start", "synchronize", "piece"}
_SIZES = {"cache", "capacity"}
_BANDWIDTHS = {"bandwidth", "read", "write", "back"}
"""Last word of a key that holds such a quantity; under `interference` all are factors."""


def entry_file(kind: str, name_or_path: str) -> Path:
    """The file of a catalogue entry."""
    if name_or_path.endswith((".yaml", ".yml")):
        return Path(name_or_path)
    return directory(kind) / f"{name_or_path}.yaml"


def entry_text(
    base: Path,
    room: str,
    values: Mapping[str, float],
    sources: Mapping[str, str],
    name: str,
    facts: Mapping[str, int | str] | None = None,
) -> str:
    """The YAML of `base` under another `name`, with every number under `room.` that was found.

    `facts`: what the machine said of itself, by the same paths; the description names it. Raises
    `UsageError` where the base is no mapping of its own (it starts from another entry).
    """
    yaml = YAML()
    yaml.width = _WIDTH
    yaml.preserve_quotes = True
    yaml.indent(mapping=2, sequence=4, offset=2)
    yaml.representer.add_representer(type(None), _null)
    document = yaml.load(base.read_text(encoding="utf-8"))
    if not isinstance(document, dict) or "base" in document:
        raise UsageError(f"{base}: starts from another entry; name that one as the base")
    document["name"] = name
    if facts:
        document["description"] = _description(facts, base.stem)
    for path, fact in (facts or {}).items():
        text = fact if isinstance(fact, str) else _text(path, fact)
        _put(document, path.split(".")[1:], text, "said by the machine itself")
    for path, value in values.items():
        first, *keys = path.split(".")
        if first == room:
            _put(document, keys, _text(path, value), sources[path])
    text = io.StringIO()
    yaml.dump(document, text)
    return text.getvalue()


def _description(facts: Mapping[str, int | str], base: str) -> str:
    cpu, gpu = facts.get("platform.cpu.name", "CPU"), facts.get("platform.gpu.name")
    if gpu:
        return f"measured: {cpu}, {gpu}; data-sheet numbers are those of {base}"
    return f"CPU measured: {cpu}; GPU and link, not measured, are those of {base}"


def _null(representer: Any, _: None) -> Any:
    return representer.represent_scalar("tag:yaml.org,2002:null", "null")


def _put(document: Any, keys: Sequence[str], text: Any, source: str) -> None:
    """Set the value, and say where it comes from beside it."""
    *parents, last = keys
    place = document
    for key in parents:
        if place.get(key) is None:
            place[key] = {}
        place = place[key]
    place[last] = text
    part = document[keys[0]]
    if "sources" in part:
        part["sources"][".".join(keys[1:])] = source
    else:
        place["source"] = source


def _text(path: str, value: float) -> Any:
    """A number with the largest unit that leaves it above 1; whole numbers stay whole."""
    units = _UNITS[_quantity(path)]
    scale, unit = next((one for one in units if value >= one[0]), units[-1])
    shown = float(f"{value / scale:.4g}")
    whole = shown.is_integer() and (unit or isinstance(value, int))
    number = int(shown) if whole else shown
    return f"{number} {unit}" if unit else number


def _quantity(path: str) -> str:
    word = path.rpartition(".")[2].rpartition("_")[2]
    if ".interference." in path:
        return "number"
    if word in _SIZES:
        return "size"
    if word in _TIMES:
        return "time"
    if word in _BANDWIDTHS:
        return "bandwidth"
    return "arithmetic" if word == "batched" else "number"


def residuals_csv(found: Iterable[Residual]) -> str:
    """Every point: measured, modelled, relative error, spread between hosts, whether fitted."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(
        [
            "operator",
            "file",
            "condition",
            "unit",
            "measured",
            "modelled",
            "error",
            "spread",
            "fitted",
        ]
    )
    for one in found:
        point = one.point
        writer.writerow(
            [
                point.operator,
                point.file,
                point.condition,
                point.unit,
                f"{point.measured:.4g}",
                f"{one.modelled:.4g}",
                f"{one.error:.4f}",
                f"{point.spread:.3f}",
                "yes" if point.weight else "no",
            ]
        )
    return text.getvalue()


def by_operator(found: Iterable[Residual]) -> list[dict[str, Any]]:
    """Points, median and worst absolute error, bias and largest spread of each operator."""
    groups: dict[str, list[Residual]] = {}
    for one in found:
        groups.setdefault(one.point.operator, []).append(one)
    return [
        {
            "operator": operator,
            "points": len(each),
            "median_error": median(abs(one.error) for one in each),
            "worst_error": max(abs(one.error) for one in each),
            "bias": median(one.error for one in each),
            "spread": max(one.point.spread for one in each),
        }
        for operator, each in groups.items()
    ]
