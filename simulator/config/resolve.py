"""Resolve one point: follow its references, apply what its system changes, check it as a whole."""

from __future__ import annotations

import json
from pathlib import PurePath
from typing import Any

from pydantic import TypeAdapter

from simulator.config import catalogue
from simulator.config.assign import Assignment, apply
from simulator.config.experiment import (
    CacheConfig,
    Origin,
    PipelineConfig,
    PointConfig,
    RunConfig,
    SystemConfig,
    SystemEntry,
    canonical_json,
)
from simulator.config.memory import MemoryConfig
from simulator.config.platform import MemoryPartConfig, PlatformConfig
from simulator.config.problems import did_you_mean, shown, validate
from simulator.config.reader import Document, KeyPath, Marks, dotted
from simulator.errors import ConfigError, Problem

__all__ = ["Resolver", "locality_of"]

_KIND_OF = {
    "platform": "platforms",
    "model": "models",
    "trace": "traces",
    "operators": "operators",
}
_SECTIONS: dict[str, TypeAdapter[Any]] = {
    "cache": TypeAdapter(CacheConfig),
    "pipeline": TypeAdapter(PipelineConfig),
    "run": TypeAdapter(RunConfig),
}
_ENTRY: TypeAdapter[SystemEntry] = TypeAdapter(SystemEntry)


class Resolver:
    """Resolves the points of one experiment; sections that repeat are validated once."""

    def __init__(self, origin: Origin) -> None:
        self._origin = origin
        self._memories: dict[str, MemoryConfig] = {}
        self._known: dict[tuple[str, str], tuple[Any, list[Problem]]] = {}

    @property
    def marks(self) -> Marks:
        return self._origin.marks

    def systems(self, data: Any) -> range:
        """The indices of the entries of `systems`."""
        systems = data.get("systems")
        return range(len(systems)) if isinstance(systems, list) else range(min(1, bool(systems)))

    def point(
        self, data: Any, marks: Marks, index: int, swept: dict[str, Any]
    ) -> tuple[PointConfig | None, list[Problem]]:
        """The point of system `index`, or None and what is wrong with it."""
        entry, problems = self._entry(data, marks, index)
        if entry is None:
            return None, problems
        try:
            data, marks = apply(data, marks, _changes(entry, marks, index))
        except ValueError as error:
            return None, [Problem(marks.value(("systems", index)), "systems", str(error))]
        parts: dict[str, Any] = {}
        for key in ("platform", "model", "trace"):
            parts[key] = self._reference(key, data, marks, problems)
        if data.get("operators") is None:
            data, marks = _with_default_profile(data, marks, parts["platform"])
        parts["operators"] = self._reference("operators", data, marks, problems)
        for key in _SECTIONS:
            parts[key] = self._section(key, data, marks, problems)
        problems += self._names(entry, parts, marks, index)
        if problems or any(part is None for part in parts.values()):
            return None, problems
        label = entry.label or entry.name
        system = SystemConfig(name=entry.name, label=label, gpus=entry.gpus)
        platform: PlatformConfig = parts["platform"]
        parts["memories"] = {
            part: self._memories[_memory_key(getattr(platform, part).memory)]
            for part in ("cpu", "gpu")
        }
        point = PointConfig(
            system=system, locality=locality_of(parts["trace"]), swept=swept, **parts
        )
        wrong = _misfits(point, marks, index)
        return (None if wrong else point), wrong

    def _entry(
        self, data: Any, marks: Marks, index: int
    ) -> tuple[SystemEntry | None, list[Problem]]:
        systems = data["systems"]
        listed = isinstance(systems, list)
        raw = systems[index] if listed else systems
        path: KeyPath = ("systems", index) if listed else ("systems",)
        if isinstance(raw, str):
            raw = {"name": raw}
        return validate(_ENTRY, raw, marks.below(path), path)

    def _reference(self, key: str, data: Any, marks: Marks, problems: list[Problem]) -> Any:
        if data.get(key) is None:
            return None
        kind = _KIND_OF[key]
        places = marks.below((key,))
        known = (key, json.dumps([data[key], places.value(())]))
        if known not in self._known:
            document = catalogue.resolve(
                kind, Document(data[key], places), self._origin.folder, key
            )
            value, wrong = None, list(document.problems)
            if not wrong:
                value, wrong = validate(
                    catalogue.adapter(kind), document.data, document.marks, (key,)
                )
            if isinstance(value, PlatformConfig):
                wrong = self._load_memories(value, document.marks)
            self._known[known] = (value, wrong)
        value, wrong = self._known[known]
        problems += wrong
        return value

    def _load_memories(self, platform: PlatformConfig, marks: Marks) -> list[Problem]:
        """Read the memory devices that a platform names; what is wrong with them."""
        found = []
        for part in ("cpu", "gpu"):
            memory = getattr(platform, part).memory
            try:
                self._memories[_memory_key(memory)] = memory.load()
            except ConfigError as error:
                place: KeyPath = (part, "memory", "device")
                for problem in error.problems:
                    message = f"is {shown(memory.device)}: {problem.message}"
                    if problem.key and memory.overrides:
                        place = (part, "memory", "overrides", problem.key)
                        message = problem.message
                    key = dotted(("platform", *place))
                    found.append(Problem(marks.key(place), key, message, problem.hint))
        return found

    def _section(self, key: str, data: Any, marks: Marks, problems: list[Problem]) -> Any:
        value, wrong = validate(_SECTIONS[key], data.get(key) or {}, marks.below((key,)), (key,))
        problems += wrong
        return value

    def _names(
        self, entry: SystemEntry, parts: dict[str, Any], marks: Marks, index: int
    ) -> list[Problem]:
        """Systems and policies that nothing above offers."""
        names = self._origin.names
        found = []
        cache = parts["cache"]
        for seen, known, path in (
            (entry.name, names.systems, ("systems", index, "name")),
            (cache.policy if cache else None, names.policies, ("cache", "policy")),
        ):
            if seen is None or known is None or seen in known:
                continue
            key = ".".join(str(part) for part in path if part not in (index, "name"))
            hint = f"{did_you_mean(seen, known)} known: {', '.join(known)}".strip()
            what = "system" if key == "systems" else "policy"
            message = f"is {shown(seen)}: there is no such {what}"
            found.append(Problem(marks.value(path), key, message, hint))
        return found


def _memory_key(part: MemoryPartConfig) -> str:
    return canonical_json(part.model_dump(mode="json", exclude={"sources"}))


def _changes(entry: SystemEntry, marks: Marks, index: int) -> list[Assignment]:
    """What an entry of `systems` changes, as assignments."""
    at: KeyPath = ("systems", index)
    changes = [
        Assignment((key,), value, marks.below((*at, key)))
        for key, value in (("platform", entry.platform), ("operators", entry.operators))
        if value is not None
    ]
    for section, keys in (("cache", entry.cache), ("pipeline", entry.pipeline)):
        for key, value in keys.items():
            place = marks.below((*at, section, key))
            changes.append(Assignment((section, key), value, place))
    return changes


def _with_default_profile(data: Any, marks: Marks, platform: Any) -> tuple[Any, Marks]:
    """The operator profile that the platform names, where the experiment names none."""
    if platform is None:
        return data, marks
    return {**data, "operators": platform.operators}, marks.grafted(
        ("operators",), Marks({(): marks.mark(("platform",))})
    )


def locality_of(trace: Any) -> str:
    """What results call a trace: its class, the data set, or its kind and main number."""
    if trace.kind == "locality":
        return str(trace.locality)
    if getattr(trace, "curve", ""):
        return str(trace.curve) if trace.kind == "curve" else f"{trace.curve}-{trace.kind}"
    if getattr(trace, "path", ""):
        return PurePath(trace.path).stem
    alpha = getattr(trace, "alpha", None)
    return str(trace.kind) if alpha is None else f"{trace.kind}-{alpha:g}"


def _misfits(point: PointConfig, marks: Marks, index: int) -> list[Problem]:
    """Keys that are right on their own and wrong together."""
    found = []
    platform, threads, gpus = point.platform, point.run.cpu_threads, point.system.gpus
    if threads is not None and threads > platform.cpu.cores:
        message = f"is {threads}: {platform.name} has {platform.cpu.cores} cores"
        found.append(Problem(marks.value(("run", "cpu_threads")), "run.cpu_threads", message))
    if gpus is not None and gpus > platform.gpu.count:
        message = f"is {gpus}: {platform.name} has {platform.gpu.count}"
        where = marks.value(("systems", index, "gpus"))
        found.append(Problem(where, f"systems[{index}].gpus", message))
    peaks = platform.gpu.peak.model_dump()
    precision = point.model.mlp_precision
    if peaks.get(precision) is None:
        offered = ", ".join(name for name, peak in peaks.items() if peak is not None)
        message = f"is {precision!r}: {platform.gpu.name} offers {offered}"
        where = marks.value(("model", "mlp_precision"))
        found.append(Problem(where, "model.mlp_precision", message))
    return found
