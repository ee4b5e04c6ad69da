"""What the report page explores: the points of runs as one JSON object, bounded in size.

Tables go column by column, numbers with seven digits that count; what is left out is counted under
`left_out`, and the page says so.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from simulator.config.point import short
from simulator.figures.style import Look, distinct_looks, resource_entries, title
from simulator.results.dictionary import DEVICES, METRICS, STAGES
from simulator.results.resources import KINDS, Fold, fold, headings, title_of, title_of_all
from simulator.results.rows import Row, by_point

if TYPE_CHECKING:
    from simulator.results.reading import StoredRun

__all__ = ["as_script", "parts_of", "report_data"]

MOST_POINTS = 2_000
MOST_WITH_STAGES = 400
"""Points whose stages and resources are on the page."""
MOST_SPANS = 20_000
"""Spans of all timelines together."""
_MOST_SPANS_OF_POINT = 3_000
_NAMES = ("label", "locality", "policy", "platform", "model", "operators")
"""Columns that may tell points apart beside the swept keys."""
_HIDDEN = ("point", "sweep")
_SOURCES = 4
"""Sources of a part told beside a resource; the table of the machine has all."""


def report_data(runs: Sequence[StoredRun]) -> dict[str, Any]:
    """The points of `runs`, those of the first run first; JSON-ready.

    `points`: by column of the metrics, a value a point. `dims`: what points can be filtered by,
    each with its values a point. `stages`, `resources`, `spans`: of the first points, in order.
    """
    rows = [_Point(number, *row) for number, run in enumerate(runs) for row in _rows(run)]
    shown, detailed = rows[:MOST_POINTS], rows[:MOST_WITH_STAGES]
    spans, drawn = _spans(detailed)
    folds = [fold(point.devices) for point in detailed]
    return {
        "points": _columns([point.metrics for point in shown]),
        "columns": {c.name: {"unit": c.unit, "meaning": c.meaning} for c in _COLUMNS},
        "dims": list(_dimensions(shown, [_letter(n) for n in range(len(runs))])),
        "names": {"label": {p.metrics["label"]: title(str(p.metrics["label"])) for p in shown}},
        "stages": [[_stage(row) for row in point.stages] for point in detailed],
        "stage_titles": _titles(detailed),
        "families": _families(runs, folds),
        "kinds": {kind.name: kind.title for kind in KINDS.values()},
        "resources": [{f: _used(member) for f, member in point.items()} for point in folds],
        "bottlenecks": {b: title_of(b) for p in shown if (b := p.metrics["bottleneck"])},
        "spans": spans,
        "looks": _looks(shown, detailed),
        "left_out": {
            "points": len(rows) - len(shown),
            "stages": len(rows) - len(detailed),
            "timelines": sum(bool(point.spans) for point in rows) - drawn,
        },
    }


def as_script(data: Any) -> str:
    """`data` as JSON that may stand in a script element."""
    text = json.dumps(data, allow_nan=False, separators=(",", ":"), ensure_ascii=False)
    for letter in "<>&\u2028\u2029":
        text = text.replace(letter, f"\\u{ord(letter):04x}")
    return text


_COLUMNS = (*METRICS, *STAGES, *DEVICES)


class _Point:
    """A point of one of the runs, with its rows of all tables."""

    def __init__(
        self, run: int, metrics: Row, swept: Row, more: tuple[list[Row], list[Row], list[Row]]
    ) -> None:
        self.run = run
        self.metrics = metrics
        self.swept = swept
        stages, self.devices, self.spans = more
        self.stages = sorted(stages, key=lambda row: row["order"])


def _rows(run: StoredRun) -> Iterator[tuple[Row, Row, tuple[list[Row], list[Row], list[Row]]]]:
    metrics = run.metrics()
    tables = (by_point(metrics, rows) for rows in (run.stages(), run.devices(), run.timeline()))
    for row, swept, *more in zip(metrics, run.swept(), *tables, strict=True):
        yield row, swept, (more[0], more[1], more[2])


def _letter(number: int) -> str:
    return chr(ord("A") + number)


def _columns(rows: Sequence[Row]) -> dict[str, list[Any]]:
    """The metrics column by column; those that say nothing of any point are left out."""
    kept = [c.name for c in METRICS if c.deterministic and c.name not in _HIDDEN]
    columns = {name: [_short(row[name]) for row in rows] for name in kept}
    return {name: values for name, values in columns.items() if any(v is not None for v in values)}


def _short(value: Any) -> Any:
    return float(f"{value:.7g}") if isinstance(value, float) else value


def _dimensions(points: Sequence[_Point], runs: Sequence[str]) -> Iterator[dict[str, Any]]:
    """What points can be filtered by: run, system and trace, what differs between the points of
    one system of a run, and the swept keys."""
    if len(runs) > 1:
        values = [runs[point.run] for point in points]
        yield {"key": "run", "title": "run", "values": values}
    for name in _NAMES:
        values = [str(point.metrics[name] or "-") for point in points]
        own = {(p.run, p.metrics["label"], v) for p, v in zip(points, values, strict=True)}
        if name in ("label", "locality") or len(own) > len({pair[:2] for pair in own}):
            yield {"key": name, "title": "system" if name == "label" else name, "values": values}
    for path in dict.fromkeys(path for point in points for path in point.swept):
        if path.startswith("trace.locality") or path in ("platform", "cache.policy", "operators"):
            continue
        swept = [point.swept.get(path) for point in points]
        numbers = all(isinstance(v, int | float) and not isinstance(v, bool) for v in swept)
        yield {
            "key": path,
            "title": path.rpartition(".")[2].replace("_", " "),
            "values": ["-" if value is None else short(value) for value in swept],
            "numbers": swept if numbers else None,
        }


def _stage(row: Row) -> dict[str, Any]:
    moved = {kind: _short(row[f"{kind}_bytes"]) for kind in _MOVING if row[f"{kind}_bytes"]}
    times = {name: _short(row[f"{name}_us"]) for name in ("busy", "exposed", "hidden")}
    return {"stage": row["stage"], "role": row["role"], **times, "bytes": moved}


_MOVING = [kind.name for kind in KINDS.values() if kind.moves_bytes]


def _titles(points: Sequence[_Point]) -> dict[str, str]:
    return {row["stage"]: title(row["stage"]) for point in points for row in point.stages}


def _used(folded: Fold) -> dict[str, Any] | None:
    """The resources of a family: values of each, sorted out by the page."""
    if not folded.used:
        return None
    names = ("utilization", "bandwidth_gbps", "share_of_peak", "bytes", "energy_mj")
    values = {name: [_short(value) for value in folded.values(name)] for name in names}
    return {"name": title_of_all(row["resource"] for row in folded.rows)} | values


def _families(
    runs: Sequence[StoredRun], folds: Sequence[Mapping[str, Fold]]
) -> dict[str, dict[str, Any]]:
    """Title, kind and origin of each family of resources that some point uses."""
    parts = [part for run in runs for part in parts_of(run)]
    kinds = {family: member.kind for point in folds for family, member in point.items()}
    return {
        family: {
            "title": name,
            "kind": kinds[family],
            "meaning": KINDS[kinds[family]].meaning,  # type: ignore[index]
            "source": _source(family, kinds[family], parts),
        }
        for family, name in headings(folds).items()
    }


def parts_of(run: StoredRun) -> Iterator[tuple[str, str, str, Mapping[str, str]]]:
    """Machine, place (`cpu.memory`), name and sources of each part of the machines of a run."""
    for section in run.manifest["sections"].values():
        for host in section.get("hosts", ()) if isinstance(section, dict) else ():
            for socket, joined in host.get("sockets", {}).items():
                yield from _nested(section["name"], socket, joined.get("part"))


def _nested(
    machine: str, place: str, part: Any
) -> Iterator[tuple[str, str, str, Mapping[str, str]]]:
    if not isinstance(part, dict):
        return
    if "kind" in part and "name" in part:
        yield machine, place, str(part["name"]), part.get("sources") or {}
    for key, value in part.items():
        if isinstance(value, dict) and key != "sources":
            yield from _nested(machine, f"{place}.{key}", value)


def _source(
    family: str, kind: str, parts: Sequence[tuple[str, str, str, Mapping[str, str]]]
) -> str:
    """What the part of a resource is called, and where its first numbers come from."""
    words = family.split(".")
    wanted = [f"{word}.memory" for word in words] if kind in ("dram", "hbm") else words
    for _, place, name, sources in parts:
        if place in wanted:
            told = [f"{key}: {text}" for key, text in list(sources.items())[:_SOURCES]]
            return "; ".join([name, *told])
    return ""


def _spans(points: Sequence[_Point]) -> tuple[dict[int, list[list[Any]]], int]:
    """The spans of the first points that fit, by number, in us from the first; how many points."""
    kept: dict[int, list[list[Any]]] = {}
    room = MOST_SPANS
    for number, point in enumerate(points):
        spans = sorted(point.spans, key=lambda row: (row["batch"], row["start_ps"]))
        spans = spans[:_MOST_SPANS_OF_POINT]
        if not spans or len(spans) > room:
            continue
        room -= len(spans)
        begin = min(row["start_ps"] for row in spans)
        kept[number] = [
            [row["stage"], row["batch"], *(_us(row[key] - begin) for key in ("start_ps", "end_ps"))]
            for row in spans
        ]
    return kept, len(kept)


def _us(picoseconds: int) -> float:
    return round(picoseconds / 1e6, 3)


def _looks(shown: Sequence[_Point], detailed: Sequence[_Point]) -> dict[str, Any]:
    """Colour, hatch, marker and dash of systems, stages and kinds of resources."""
    stages = [row["stage"] for point in detailed for row in point.stages]
    kinds = resource_entries({f"x.{kind}": kind for kind in KINDS})
    return {
        "label": _plain(distinct_looks([str(point.metrics["label"]) for point in shown])),
        "stage": _plain(distinct_looks(stages)),
        "kind": _plain({name.partition(".")[2]: entry.look for name, entry in kinds.items()}),
    }


def _plain(looks: Mapping[str, Look]) -> dict[str, dict[str, Any]]:
    return {name: asdict(look) for name, look in looks.items()}
