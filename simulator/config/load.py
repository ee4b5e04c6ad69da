"""Read an experiment file, apply `--set`, and report every mistake at once."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter

from simulator.config.assign import (
    REFERENCES,
    Assignment,
    apply,
    assignments,
    keys_of,
    swept_values,
)
from simulator.config.catalogue import files
from simulator.config.expand import check
from simulator.config.experiment import Experiment, Names, Origin
from simulator.config.problems import did_you_mean, validate
from simulator.config.reader import Document, KeyPath, Mark, Marks, dotted, read_yaml
from simulator.config.software import software_that_changed
from simulator.errors import ConfigError, Problem
from simulator.text import shown

__all__ = ["load_experiment", "parse_experiment"]

SWEEPABLE = (
    *("platform", "model", "trace", "cache", "tables", "operators"),
    *("load", "checkpoint", "pipeline", "run"),
)
"""Keys under which a sweep may choose values."""

_ADAPTER: TypeAdapter[Experiment] = TypeAdapter(Experiment)
_CHOOSES_KIND = frozenset({"trace", "trace.kind", "trace.locality"})


def load_experiment(
    path: str | Path,
    overrides: Iterable[str] = (),
    names: Names | None = None,
    over: Iterable[str] = (),
) -> Experiment:
    """The experiment in the YAML file `path`, after `overrides` ("path=value"); a name alone
    (`quickstart`) is that of one that ships, unless a file here is called so.

    `names` are the systems and policies that exist; without it their names are not checked.
    `over`: values to sweep, as the option of that name gives them ("path=a,b").
    Raises `ConfigError` with every problem found.
    """
    file = _file_of(path)
    document = read_yaml(file)
    stem = re.sub(r"[^A-Za-z0-9._-]+", "-", file.stem).strip("-._") or "experiment"
    given = _given(overrides, over)
    return _build(document, given, Origin(folder=file.parent, names=names or Names()), stem)


def _file_of(path: str | Path) -> Path:
    file = Path(path)
    if file.suffix or len(file.parts) != 1 or file.exists():
        return file
    known = files("experiments")
    if file.name in known:
        return known[file.name]
    hint = did_you_mean(file.name, known) or "`scratchpipe list experiments` lists those that ship"
    raise ConfigError(Problem(str(path), "", "there is no such file", hint))


def parse_experiment(
    data: dict[str, Any],
    overrides: Iterable[str] = (),
    names: Names | None = None,
    place: str = "experiment",
    over: Iterable[str] = (),
) -> Experiment:
    """The experiment that plain `data` says: what `load_experiment` does without a file.

    `place`: where the data stands, as problems call it.
    """
    here = Marks(dict.fromkeys(_paths(data), Mark(place, place)))
    origin = Origin(names=names or Names())
    return _build(Document(data, here), _given(overrides, over), origin, "experiment")


def _paths(data: Any, prefix: KeyPath = ()) -> Iterator[KeyPath]:
    """The path of every value of plain data."""
    yield prefix
    inner = data.items() if isinstance(data, dict) else ()
    for key, value in enumerate(data) if isinstance(data, list) else inner:
        yield from _paths(value, (*prefix, key))


_Given = tuple[list[Assignment], list[Problem]]
"""What the command line changes, and what of it cannot be read."""


def _given(overrides: Iterable[str], over: Iterable[str]) -> _Given:
    changes, problems = assignments(overrides)
    swept, mistakes = swept_values(over)
    return [*changes, *swept], [*problems, *mistakes]


def _build(document: Document, given: _Given, origin: Origin, stem: str) -> Experiment:
    data, marks = document.data, document.marks
    problems = list(document.problems)
    if not isinstance(data, dict):
        message = f"is {shown(data)}: an experiment is a mapping (key: value)"
        raise ConfigError(*(problems or [Problem(marks.value(()), "", message)]))
    changes, mistakes = given
    problems += mistakes
    data, marks, mistakes = _with_overrides(data, marks, changes)
    problems += mistakes
    data = {"name": stem, **data}
    data = _with_swept_references(data)
    origin = Origin(marks, origin.folder, origin.names)
    experiment, mistakes = validate(_ADAPTER, data, marks, ())
    if experiment is not None:  # before the check: what that reads is kept with the origin
        software = software_that_changed(document, Document(data, marks), origin)
        origin = replace(origin, software=software)
    problems += [_about_version(p) for p in mistakes if not p.key.startswith("sweep.")]
    problems += _sweep_problems(data, marks)
    problems += _label_problems(experiment, marks)
    problems += _unused_platform(data, marks)
    problems += check(data, origin)
    if problems:
        raise ConfigError(*sorted(_one_for_each_key(problems), key=_reading_order))
    loaded: Experiment = experiment.with_origin(origin)
    return loaded


def _one_for_each_key(problems: Iterable[Problem]) -> list[Problem]:
    """The first problem of each key in each place: points share what is wrong with them."""
    first: dict[tuple[str, str], Problem] = {}
    for problem in problems:
        first.setdefault((problem.where, problem.key or problem.message), problem)
    return list(first.values())


def _reading_order(problem: Problem) -> tuple[str, int, int]:
    """By file, line and column; `--set` first."""
    file, *numbers = problem.where.rsplit(":", 2)
    if len(numbers) == 2 and all(number.isdecimal() for number in numbers):
        return file, int(numbers[0]), int(numbers[1])
    return problem.where, 0, 0


def _with_overrides(
    data: dict[str, Any], marks: Marks, changes: Iterable[Assignment]
) -> tuple[dict[str, Any], Marks, list[Problem]]:
    """The data after `--set`, and what could not be set."""
    problems: list[Problem] = []
    for change in sorted(changes, key=lambda a: a.rank):
        try:
            data, marks = apply(data, marks, [change])
            data, marks = _replace_sweeps(data, marks, change)
        except ValueError as error:
            problems.append(Problem(change.marks.value(()), dotted(change.path), str(error)))
    return data, marks, problems


def _replace_sweeps(
    data: dict[str, Any], marks: Marks, change: Assignment
) -> tuple[dict[str, Any], Marks]:
    """A swept key given to `--set` loses its sweep; a key below a swept one changes each value."""
    sweep = data.get("sweep")
    key = ".".join(map(str, change.path))
    if not isinstance(sweep, dict) or change.path[0] == "sweep":
        return data, marks
    gone = {key} | (_CHOOSES_KIND if key in _CHOOSES_KIND else frozenset())
    kept = {swept: values for swept, values in sweep.items() if swept not in gone}
    for swept, values in kept.items():
        if not key.startswith(f"{swept}.") or not isinstance(values, list):
            continue
        kept[swept] = changed = list(values)
        for index, value in enumerate(values):
            at: KeyPath = ("sweep", swept, index)
            outer = Assignment(keys_of(swept), value, marks.below(at))
            inner, inner_marks = apply({}, Marks(), [outer, change])
            for part in outer.path:
                inner = inner[part]
            changed[index] = inner
            marks = marks.grafted(at, inner_marks.below(outer.path))
    return {**data, "sweep": kept}, marks


def _with_swept_references(data: dict[str, Any]) -> dict[str, Any]:
    """A reference that only the sweep gives stands for its first value."""
    sweep = data.get("sweep")
    swept = sweep if isinstance(sweep, dict) else {}
    given = {
        key: swept[key][0]
        for key in REFERENCES
        if key not in data and isinstance(swept.get(key), list) and swept[key]
    }
    return {**data, **given}


def _about_version(problem: Problem) -> Problem:
    """A plain sentence where `config_version` is missing or unknown."""
    if problem.key != "config_version":
        return problem
    hint = "this release reads version 1: write `config_version: 1`"
    message = problem.message.partition(": expected")[0]
    if message != "is missing":
        message += ": not a version that can be read"
    return Problem(problem.where, problem.key, message, hint)


def _label_problems(experiment: Experiment | None, marks: Marks) -> list[Problem]:
    """Entries of `systems` that results could not tell apart."""
    problems: list[Problem] = []
    first: dict[str, str] = {}
    for index, entry in enumerate(experiment.systems if experiment else ()):
        label = entry.called
        where = marks.value(("systems", index))
        if label in first:
            message = f"two entries are called {label!r}: here and at {first[label]}"
            hint = f"give one of them a name of its own: {{name: {entry.name}, label: ...}}"
            problems.append(Problem(where, f"systems[{index}]", message, hint))
        first.setdefault(label, where)
    return problems


def _unused_platform(data: dict[str, Any], marks: Marks) -> list[Problem]:
    """Changed or swept keys of a platform on which no system runs, for each has one of its own."""
    systems, platform, sweep = (data.get(key) for key in ("systems", "platform", "sweep"))
    entries = systems if isinstance(systems, list) else [systems]
    if not all(isinstance(entry, dict) and entry.get("platform") for entry in entries):
        return []
    changed = platform if isinstance(platform, dict) and "base" in platform else {}
    paths = [("platform", key) for key in changed if key not in ("base", "name", "description")]
    swept = [str(key) for key in sweep] if isinstance(sweep, dict) else []
    paths += [("sweep", key) for key in swept if key.partition(".")[0] == "platform"]
    hint = "change that of an entry: {name: gpu_only, platform: {base: hgx_h100, hosts: 2}}"
    message = "changes nothing: each entry of systems has a platform of its own"
    return [Problem(marks.key(path), ".".join(path), message, hint) for path in paths]


def _sweep_problems(data: dict[str, Any], marks: Marks) -> list[Problem]:
    sweep = data.get("sweep")
    problems: list[Problem] = []
    for key, values in sweep.items() if isinstance(sweep, dict) else ():
        head = key.partition(".")[0]
        where = marks.key(("sweep", key))
        name = f"sweep.{key}"
        if head not in SWEEPABLE:
            hint = f"{did_you_mean(head, SWEEPABLE)} these can: {', '.join(SWEEPABLE)}".strip()
            if key == "systems":
                hint = "`systems` is a list already: name all of them there"
            elif key == "gpus":
                hint = (
                    "sweep `platform.host.gpu.count` for machines with more of them, or list a "
                    "system several times: `systems: [{name: gpu_only, gpus: 2, label: two}, ...]`"
                )
            problems.append(Problem(where, name, "cannot be swept", hint))
        elif isinstance(values, dict):
            inner = next(iter(values), "KEY")
            hint = f"write the whole path: `{key}.{inner}: [...]`"
            problems.append(Problem(where, name, "expected a list of values", hint))
        elif not isinstance(values, list):
            hint = f"write `{key}: [{shown(values)}]`"
            problems.append(Problem(where, name, "expected a list of values", hint))
        elif not values:
            problems.append(Problem(where, name, "is an empty list: nothing would be simulated"))
    return problems
