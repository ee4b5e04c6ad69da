"""Writes what a calibration found: machine and profile as YAML, residuals as CSV.

A machine says what differs from its base, part by part, with sources. A profile starts from the
text of its base, so that its comments and its unfitted numbers stay as people wrote them.
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
from simulator.calibration.sockets import CPU, GPU
from simulator.config.catalogue import directory
from simulator.config.machine import MachineConfig, Part
from simulator.errors import UsageError

__all__ = ["by_operator", "entry_file", "machine_text", "profile_text", "residuals_csv"]

_WIDTH = 200
"""No folding: a source is one line, however long."""

_UNITS: dict[str, tuple[tuple[float, str], ...]] = {
    "time": ((1e9, "ms"), (1e6, "us"), (1e3, "ns"), (1.0, "ps")),
    "bandwidth": ((1e9, "GB/s"), (1e6, "MB/s"), (1.0, "B/s")),
    "size": ((2**30, "GiB"), (2**20, "MiB"), (2**10, "KiB"), (1.0, "B")),
    "arithmetic": ((1e12, "TFLOP/s"), (1e9, "GFLOP/s"), (1.0, "FLOP/s")),
    "number": ((1.0, ""),),
}
_TIMES = {"latency", "access", "time", "start", "synchronize", "piece", "launch"}
_SIZES = {"cache", "capacity", "queue"}
_BANDWIDTHS = {"bandwidth", "read", "write", "back"}
"""Last word of a key that holds such a quantity; under `interference` all are factors."""


def entry_file(kind: str, name_or_path: str) -> Path:
    """The file of a catalogue entry."""
    if name_or_path.endswith((".yaml", ".yml")):
        return Path(name_or_path)
    return directory(kind) / f"{name_or_path}.yaml"


def profile_text(
    base: Path, values: Mapping[str, float], sources: Mapping[str, str], name: str
) -> str:
    """The YAML of the operator profile `base` under another `name`, with every number under
    `operators.` that was found.

    Raises `UsageError` where the base is no mapping of its own (it starts from another entry).
    """
    yaml = _yaml()
    document = yaml.load(base.read_text(encoding="utf-8"))
    if not isinstance(document, dict) or "base" in document:
        raise UsageError(f"{base}: starts from another entry; name that one as the base")
    document["name"] = name
    for path, value in values.items():
        room, operator, *keys = path.split(".")
        if room == "operators":
            _set(document[operator], keys, _text(path, value))
            document[operator]["source"] = sources[path]
    return _dumped(yaml, document)


def machine_text(
    base: MachineConfig,
    reference: str,
    values: Mapping[str, float],
    sources: Mapping[str, str],
    name: str,
    facts: Mapping[str, int | str],
) -> str:
    """The YAML of the machine called `name` that differs from `base` in every number under
    `platform.` that was found, and in `facts` (what the machine said of itself, by such paths).

    `reference`: how the file names its base.
    """
    document: dict[str, Any] = {"base": reference, "name": name}
    if facts:
        document["description"] = _description(facts, base.name)
    said = {path: (_text(path, v), "said by the machine itself") for path, v in facts.items()}
    measured = {
        path: (_text(path, value), sources[path])
        for path, value in values.items()
        if path.startswith("platform.")
    }
    parts: dict[tuple[str, ...], dict[str, str]] = {}
    for path, (text, source) in (said | measured).items():
        keys = path.split(".")[1:]
        _set(document, keys, text)
        holder = _holder(base, keys)
        parts.setdefault(holder, {})[".".join(keys[len(holder) :])] = source
    for holder, own in parts.items():
        _set(document, (*holder, "sources"), own)
    return _dumped(_yaml(), document)


def _holder(machine: MachineConfig, keys: Sequence[str]) -> tuple[str, ...]:
    """The keys that lead to the innermost part around a value."""
    socket = machine.socket(keys[1])
    value: Any = None if socket is None else socket.part
    holder = tuple(keys[:2])
    for depth, key in enumerate(keys[2:-1], start=3):
        value = getattr(value, key, None)
        if isinstance(value, Part):
            holder = tuple(keys[:depth])
    return holder


def _description(facts: Mapping[str, int | str], base: str) -> str:
    cpu, gpu = facts.get(f"{CPU}.name", "CPU"), facts.get(f"{GPU}.name")
    if gpu:
        return f"measured: {cpu}, {gpu}; data-sheet numbers are those of {base}"
    return f"CPU measured: {cpu}; GPU and link, not measured, are those of {base}"


def _yaml() -> YAML:
    yaml = YAML()
    yaml.width = _WIDTH
    yaml.preserve_quotes = True
    yaml.indent(mapping=2, sequence=4, offset=2)
    yaml.representer.add_representer(type(None), _null)
    return yaml


def _dumped(yaml: YAML, document: Any) -> str:
    text = io.StringIO()
    yaml.dump(document, text)
    return text.getvalue()


def _null(representer: Any, _: None) -> Any:
    return representer.represent_scalar("tag:yaml.org,2002:null", "null")


def _set(document: Any, keys: Sequence[str], value: Any) -> None:
    """Set a value, the mappings on the way to it made where they lack."""
    *parents, last = keys
    for key in parents:
        if document.get(key) is None:
            document[key] = {}
        document = document[key]
    document[last] = value


def _text(path: str, value: float | str) -> Any:
    """A number with the largest unit that leaves it above 1; whole numbers stay whole."""
    if isinstance(value, str):
        return value
    units = _UNITS[_quantity(path)]
    scale, unit = next((step for step in units if value >= step[0]), units[-1])
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


def residuals_csv(residuals: Iterable[Residual]) -> str:
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
    for residual in residuals:
        point = residual.point
        writer.writerow(
            [
                point.operator,
                point.file,
                point.condition,
                point.unit,
                f"{point.measured:.4g}",
                f"{residual.modelled:.4g}",
                f"{residual.error:.4f}",
                f"{point.spread:.3f}",
                "yes" if point.weight else "no",
            ]
        )
    return text.getvalue()


def by_operator(residuals: Iterable[Residual]) -> list[dict[str, Any]]:
    """Points, median and worst absolute error, bias and largest spread of each operator."""
    groups: dict[str, list[Residual]] = {}
    for residual in residuals:
        groups.setdefault(residual.point.operator, []).append(residual)
    return [
        {
            "operator": operator,
            "points": len(each),
            "median_error": median(abs(residual.error) for residual in each),
            "worst_error": max(abs(residual.error) for residual in each),
            "bias": median(residual.error for residual in each),
            "spread": max(residual.point.spread for residual in each),
        }
        for operator, each in groups.items()
    ]
