"""Resolve one point: follow its references, apply what its system changes, check it as a whole."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from dataclasses import replace
from pathlib import Path, PurePath
from typing import Any

from pydantic import TypeAdapter

from simulator._plugin_files import anchored, from_file
from simulator.config import catalogue
from simulator.config.assign import Assignment, apply, keys_of
from simulator.config.checkpoint import CheckpointConfig
from simulator.config.experiment import Origin, SystemEntry
from simulator.config.loading import LoadConfig, LoadKeys
from simulator.config.machine import MachineConfig
from simulator.config.machine_file import Alike, read_machine
from simulator.config.parameters import SystemKeys, adapter_of
from simulator.config.point import PointConfig, SystemConfig
from simulator.config.problems import did_you_mean, validate
from simulator.config.reader import Document, KeyPath, Marks, dotted
from simulator.config.sections import CacheConfig, PipelineConfig, RunConfig
from simulator.config.tables import TablesConfig
from simulator.errors import Problem, UsageError
from simulator.text import shown

__all__ = ["Resolver", "locality_of", "unbased"]

_KIND_OF = {
    "model": "models",
    "trace": "traces",
    "operators": "operators",
}
_SECTIONS: dict[str, TypeAdapter[Any]] = {
    "cache": TypeAdapter(CacheConfig),
    "pipeline": TypeAdapter(PipelineConfig),
    "run": TypeAdapter(RunConfig),
    "tables": TypeAdapter(TablesConfig),
}
_LOAD: TypeAdapter[LoadConfig] = TypeAdapter(LoadConfig)
_CHECKPOINT: TypeAdapter[CheckpointConfig] = TypeAdapter(CheckpointConfig)
_CHANGED = ("cache", "pipeline", "tables")
"""Sections that an entry of `systems` may change keys of."""
_ENTRY_KEYS = ("gpus",)
"""Keys of a point that stand in its entry of `systems` alone."""
_ENTRY: TypeAdapter[SystemEntry] = TypeAdapter(SystemEntry)


class Resolver:
    """Resolves the points of one experiment; sections that repeat are validated once."""

    def __init__(self, origin: Origin) -> None:
        self._origin = origin
        self._known: dict[tuple[str, str], tuple[Any, list[Problem]]] = {}
        self._machines = Alike()

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
        listed = isinstance(data["systems"], list)
        at: KeyPath = ("systems", index) if listed else ("systems",)
        raw = data["systems"][index] if listed else data["systems"]
        raw = {"name": raw} if isinstance(raw, str) else raw
        entry, problems = validate(_ENTRY, raw, marks.below(at), at)
        if entry is None:
            return None, problems + _misspelt(raw, marks, at)
        changes = _changes(entry, marks, at)
        try:
            data, marks = apply(data, marks, changes)
        except ValueError as error:
            return None, [Problem(marks.value(at), "systems", str(error))]
        entry = entry.model_copy(update={"name": self._anchored(entry.name, marks, (*at, "name"))})
        sections: dict[str, Any] = {}
        for key in ("platform", "model", "trace"):
            sections[key] = self._reference(key, data, marks, problems)
        if data.get("operators") is None or unbased(data["operators"]):
            data, marks = _with_default_profile(data, marks, sections["platform"])
        sections["operators"] = self._reference("operators", data, marks, problems)
        for key in _SECTIONS:
            sections[key] = self._section(key, data, marks, problems)
        load = self._load(data, marks, problems)
        checkpoint = self._checkpoint(data, marks, problems)
        sections["cache"] = self._with_policy(sections["cache"], marks)
        problems += self._names(entry, sections, marks, at)
        parameters = self._parameters(entry, marks, at, problems)
        if problems or any(section is None for section in sections.values()):
            return None, [_as_typed(problem, changes, at) for problem in problems]
        system = SystemConfig(
            name=entry.name,
            label=entry.called,
            gpus=entry.gpus,
            parameters=parameters,
            where=marks.value(at),
        )
        locality = locality_of(sections["trace"])
        sections |= {"load": load, "checkpoint": checkpoint}
        swept = {path: value for path, value in swept.items() if not _replaced(path, changes)}
        point = PointConfig(system=system, locality=locality, swept=swept, **sections)
        problems = self._misfits(point, marks, at)
        return (None if problems else point), problems

    def with_profile_of_platform(self, data: Any) -> Any:
        """`data` that names the operator profile of its platform, unless it names one."""
        if data.get("operators") is not None:
            return data
        platform = self._reference("platform", data, self.marks, [])
        return data if platform is None else {**data, "operators": platform.operators}

    def _misfits(self, point: PointConfig, marks: Marks, at: KeyPath) -> list[Problem]:
        """Keys that are right on their own and wrong together, as the rooms above see them."""
        if self._origin.names.misfits is None:
            return []
        problems = []
        for problem in self._origin.names.misfits(point):
            path: KeyPath = tuple(problem.key.split("."))
            if path[0] in _ENTRY_KEYS:
                path = (*at, *path)
            where = marks.value(path)
            problems.append(Problem(where, dotted(path), problem.message, problem.hint))
        return problems

    def _reference(self, key: str, data: Any, marks: Marks, problems: list[Problem]) -> Any:
        if data.get(key) is None:
            return None
        below = marks.below((key,))
        known = (key, json.dumps([data[key], below.value(())]))
        if known not in self._known:
            self._known[known] = self._read(key, Document(data[key], below))
        value, mistakes = self._known[known]
        problems += mistakes
        return value

    def _read(self, key: str, reference: Document) -> tuple[Any, list[Problem]]:
        """The validated entry that a reference stands for, or None and what is wrong with it."""
        if key == "platform":
            return self._read_machine(reference)
        document = catalogue.resolve(_KIND_OF[key], reference, self._origin.folder, key)
        if document.problems:
            return None, list(document.problems)
        adapter = catalogue.adapter(_KIND_OF[key])
        return validate(adapter, document.data, document.marks, (key,))

    def _read_machine(self, reference: Document) -> tuple[MachineConfig | None, list[Problem]]:
        kinds = self._origin.names.parts
        if kinds is None:
            message = "cannot be read: the kinds of parts are not known"
            hint = "read experiments with `simulator.engine`, which knows them"
            return None, [Problem(reference.marks.value(()), "platform", message, hint)]
        return read_machine(reference, self._origin.folder, kinds, alike=self._machines)

    def _section(self, key: str, data: Any, marks: Marks, problems: list[Problem]) -> Any:
        below = marks.below((key,))
        value, mistakes = validate(_SECTIONS[key], data.get(key) or {}, below, (key,))
        problems += mistakes
        return value

    def _load(self, data: Any, marks: Marks, problems: list[Problem]) -> LoadConfig | None:
        """The section `load`, its profile read; None where there is none, or a mistake in it."""
        raw, below = data.get("load"), marks.below(("load",))
        if raw is None:
            return None
        if isinstance(raw, dict):
            profile = raw.get("profile", LoadKeys.model_fields["profile"].default)
            reference = Document(profile, below.below(("profile",)))
            document = catalogue.resolve("loaders", reference, self._origin.folder, "load.profile")
            if document.problems:
                problems += document.problems
                return None
            raw = {**raw, "profile": document.data}
            below = below.overlaid(("profile",), document.marks)
        value, mistakes = validate(_LOAD, raw, below, ("load",))
        problems += mistakes
        loaded: LoadConfig | None = value
        return loaded

    def _checkpoint(
        self, data: Any, marks: Marks, problems: list[Problem]
    ) -> CheckpointConfig | None:
        """The section `checkpoint`; None where there is none, or a mistake in it."""
        if data.get("checkpoint") is None:
            return None
        at: KeyPath = ("checkpoint",)
        value, mistakes = validate(_CHECKPOINT, data["checkpoint"], marks.below(at), at)
        problems += mistakes
        checkpoint: CheckpointConfig | None = value
        return checkpoint

    def _anchored(self, name: str, marks: Marks, path: KeyPath) -> str:
        """A name; a reference to a file as seen from where the simulator runs."""
        typed = marks.value(path).startswith("--set")
        return anchored(name, Path() if typed else self._origin.folder)

    def _with_policy(self, cache: CacheConfig | None, marks: Marks) -> CacheConfig | None:
        """The cache with its policy found, where that is in a file."""
        if cache is None or from_file(cache.policy) is None:
            return cache
        policy = self._anchored(cache.policy, marks, ("cache", "policy"))
        return cache.model_copy(update={"policy": policy})

    def _names(
        self, entry: SystemEntry, sections: dict[str, Any], marks: Marks, at: KeyPath
    ) -> list[Problem]:
        """Systems and policies that nothing above offers."""
        names = self._origin.names
        problems = []
        cache = sections["cache"]
        policy = cache.policy if cache else None
        for name, known, path, key, what in (
            (entry.name, names.systems, (*at, "name"), "systems", "system"),
            (policy, names.policies, ("cache", "policy"), "cache.policy", "policy"),
        ):
            if name is None or known is None:
                continue
            where = marks.value(path)
            if from_file(name) is not None:
                broken = _broken(known, name)
                problems += [Problem(where, key, broken)] if broken else []
            elif name not in known:
                hint = f"{did_you_mean(name, known)} known: {', '.join(known)}".strip()
                message = f"is {shown(name)}: there is no such {what}"
                problems.append(Problem(where, key, message, hint))
        return problems

    def _parameters(
        self, entry: SystemEntry, marks: Marks, at: KeyPath, problems: list[Problem]
    ) -> dict[str, Any]:
        """All parameters of an entry's system, as in JSON; unknown keys, and those that the system
        does not use, are problems."""
        known = self._origin.names.systems
        given = entry.model_extra or {}
        if known is None or entry.name not in known or _broken(known, entry.name):
            return dict(given)
        keys = known[entry.name]
        allowed = (*SystemEntry.model_fields, *keys.own)
        unknown = [name for name in given if name not in keys.own]
        for name in unknown:
            hint = f"{did_you_mean(name, allowed)} allowed here: {', '.join(allowed)}".strip()
            path = (*at, name)
            problems.append(Problem(marks.key(path), dotted(path), "unknown key", hint))
        data = {name: value for name, value in given.items() if name not in unknown}
        own, mistakes = validate(adapter_of(keys.parameters), data, marks.below(at), at)
        problems += mistakes
        if keys.uses is not None:
            idle = frozenset() if own is None else own.without_use()
            problems += _unused(entry, keys._replace(uses=keys.uses - idle), marks, at)
        return {} if own is None else dict(own.model_dump(mode="json"))


def _broken(known: Collection[str], name: str) -> str:
    """Why a class of a file cannot be used; empty where it can."""
    if isinstance(known, Mapping) and from_file(name) is not None:
        try:
            known[name]
        except UsageError as error:
            return str(error)
    return ""


def _misspelt(raw: Any, marks: Marks, at: KeyPath) -> list[Problem]:
    """Keys of an entry without a name that no system would take."""
    if not isinstance(raw, dict) or "name" in raw:
        return []
    known = list(SystemEntry.model_fields)
    return [
        Problem(
            marks.key((*at, key)),
            dotted((*at, key)),
            "unknown key",
            f"{did_you_mean(key, known)} allowed here: {', '.join(known)}".strip(),
        )
        for key in raw
        if key not in known
    ]


def _unused(entry: SystemEntry, keys: SystemKeys, marks: Marks, at: KeyPath) -> list[Problem]:
    """Keys of an entry that its system does not use, with the reason where it has one."""
    uses = keys.uses or frozenset()
    given: list[KeyPath] = [] if entry.gpus is None else [("gpus",)]
    given += [(section, key) for section in _CHANGED for key in getattr(entry, section)]
    always = ("label", "operators", "platform")
    hint = f"{entry.name} uses {', '.join(sorted({*uses, *always}))}"
    message = f"is not used by {entry.name}"
    why = keys.refused
    return [
        Problem(
            marks.key((*at, *path)),
            dotted((*at, *path)),
            f"{message}: {why[dotted(path)]}" if dotted(path) in why else message,
            hint,
        )
        for path in given
        if path[0] not in uses and dotted(path) not in uses
    ]


def _changes(entry: SystemEntry, marks: Marks, at: KeyPath) -> list[Assignment]:
    """What an entry of `systems` changes, as assignments."""
    changes = [
        Assignment((key,), value, marks.below((*at, key)))
        for key, value in (("platform", entry.platform), ("operators", entry.operators))
        if value is not None
    ]
    for section in _CHANGED:
        for key, value in getattr(entry, section).items():
            below = marks.below((*at, section, key))
            changes.append(Assignment((section, key), value, below))
    return changes


def _as_typed(problem: Problem, changes: list[Assignment], at: KeyPath) -> Problem:
    """A problem of a key that an entry of `systems` gives, with the path of the entry."""
    for change in changes:
        key = dotted(change.path)
        if problem.key == key or problem.key.startswith((f"{key}.", f"{key}[")):
            return replace(problem, key=f"{dotted(at)}.{problem.key}")
    return problem


def _replaced(swept: str, changes: list[Assignment]) -> bool:
    """Whether an entry has a value of its own where the sweep would put one."""
    path = keys_of(swept)
    return any(change.path == path[: len(change.path)] for change in changes)


def unbased(operators: Any) -> bool:
    """Whether it is some keys of a profile, and no profile is named that they change."""
    return isinstance(operators, dict) and not {"base", "name"} & operators.keys()


def _with_default_profile(data: Any, marks: Marks, platform: Any) -> tuple[Any, Marks]:
    """The operator profile that the platform names, where the experiment names none, with the keys
    that it changes."""
    if platform is None:
        return data, marks
    if data.get("operators") is not None:
        changed = {"base": platform.operators, **data["operators"]}
        return {**data, "operators": changed}, marks
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
