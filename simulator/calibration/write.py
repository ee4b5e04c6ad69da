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

from simulator.calibration.blocks import BLOCKS
from simulator.calibration.points import Point, Residual
from simulator.calibration.quantities import written
from simulator.calibration.sockets import CPU, GPU
from simulator.config.catalogue import directory
from simulator.config.machine import MachineConfig, Part
from simulator.errors import UsageError
from simulator.streams import read_text

__all__ = [
    "by_operator",
    "dumped",
    "entry_file",
    "machine_text",
    "profile_text",
    "residuals_csv",
    "set_at",
    "yaml_editor",
]

_WIDTH = 200
"""No folding: a source is one line, however long."""


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
    yaml = yaml_editor()
    document = yaml.load(read_text(base, UsageError))
    if not isinstance(document, dict) or "base" in document:
        raise UsageError(f"{base}: starts from another entry; name that one as the base")
    document["name"] = name
    own: dict[str, dict[str, str]] = {}
    for path, value in values.items():
        room, operator, *keys = path.split(".")
        if room == "operators":
            set_at(document[operator], keys, written(path, value))
            own.setdefault(operator, {})[".".join(keys)] = sources[path]
    for operator, origins in own.items():
        document[operator]["source"] = _together(origins)
    return dumped(yaml, document)


def _together(origins: Mapping[str, str]) -> str:
    """One text for the sources of several keys: what they share once, then each key with the rest
    (the last clause: how well it is known)."""
    shared = {text.rpartition("; ")[0] for text in origins.values()}
    if len(shared) > 1 or "" in shared:
        return "; ".join(f"{key}: {text}" for key, text in origins.items())
    rest = (f"{key} {text.rpartition('; ')[2]}" for key, text in origins.items())
    return "; ".join((*shared, *rest))


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
    said = {path: (written(path, v), "said by the machine itself") for path, v in facts.items()}
    measured = {
        path: (written(path, value), sources[path])
        for path, value in values.items()
        if path.startswith("platform.")
    }
    parts: dict[tuple[str, ...], dict[str, str]] = {}
    for path, (text, source) in (said | measured).items():
        keys = path.split(".")[1:]
        set_at(document, keys, text)
        holder = _holder(base, keys)
        parts.setdefault(holder, {})[".".join(keys[len(holder) :])] = source
    for holder, own in parts.items():
        set_at(document, (*holder, "sources"), own)
    return dumped(yaml_editor(), document)


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


def yaml_editor() -> YAML:
    """What reads and writes YAML without touching its comments, quotes and order."""
    yaml = YAML()
    yaml.width = _WIDTH
    yaml.preserve_quotes = True
    yaml.indent(mapping=2, sequence=4, offset=2)
    yaml.representer.add_representer(type(None), _null)
    yaml.representer.add_representer(float, _float)
    return yaml


def dumped(yaml: YAML, document: Any) -> str:
    """The text of a document."""
    text = io.StringIO()
    yaml.dump(document, text)
    return text.getvalue()


def _null(representer: Any, _: None) -> Any:
    return representer.represent_scalar("tag:yaml.org,2002:null", "null")


def _float(representer: Any, value: float) -> Any:
    """Rates as people write them: 153.8e9."""
    text = f"{value / 1e9:.7g}e9" if abs(value) >= 1e9 else repr(value)
    return representer.represent_scalar("tag:yaml.org,2002:float", text)


def set_at(document: Any, keys: Sequence[str], value: Any, before: str = "") -> None:
    """Set a value, the mappings on the way to it made where they lack; a new key stands at the end,
    or before the key `before`."""
    *parents, last = keys
    for key in parents:
        if document.get(key) is None:
            _put(document, key, {}, before)
        document = document[key]
    if last in document:
        document[last] = value
    else:
        _put(document, last, value, before)


def _put(document: Any, key: str, value: Any, before: str) -> None:
    keys = list(document)
    if before in keys and hasattr(document, "insert"):
        document.insert(keys.index(before), key, value)
    else:
        document[key] = value


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
                "yes" if _fitted(point) else "no",
            ]
        )
    return text.getvalue()


def _fitted(point: Point) -> bool:
    """Whether a fit heeds it: some block asks for its operator."""
    asked = (block.operators + block.beside for block in BLOCKS)
    return bool(point.weight) and any(point.operator in operators for operators in asked)


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
