"""A run directory belongs to one experiment: what another one would write into it is refused.

What only picks points (the sweep, the list of systems) and what a sweep sets does not count: a
narrower, wider or other sweep of the same experiment goes into the same directory, and takes the
finished points that it shares. The answer of a search is of one space: there the sweep and the
systems count, too.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from simulator.config.experiment import Experiment
from simulator.config.point import short
from simulator.errors import UsageError
from simulator.results.finished import FinishedPoints
from simulator.results.store import MANIFEST, POINTS, UNFINISHED

__all__ = ["require_owned"]

_SPACE = ("sweep", "systems")
_PICKING = (*_SPACE, "description")
_UNSET: Any = object()
"""The value of a key that is not set."""
_MOST_TOLD = 5
"""Keys that an error names."""


def require_owned(out_dir: Path, experiment: Experiment, *, space: bool = False) -> None:
    """Raise `UsageError` where `out_dir` holds results or finished points of another experiment;
    `space`: or of another sweep or other systems."""
    held, asked = _held(out_dir), experiment.model_dump(mode="json")
    if held is None:
        return
    differences = list(_differences(held, asked))
    if space:
        differences += _of_space(held, asked)
    if not differences:
        return
    told = differences[:_MOST_TOLD]
    if len(differences) > len(told):
        told.append(f"and {len(differences) - len(told)} more keys")
    points = FinishedPoints(out_dir / POINTS).count()
    raise UsageError(
        f"{out_dir} holds {points} finished points of another configuration "
        f"({'; '.join(told)}): choose another --out, or --replace to lose them"
    )


def _held(out_dir: Path) -> Mapping[str, Any] | None:
    """The experiment whose work is in `out_dir`; None where there is none, or no telling which.

    Then nothing is lost either: finished points stay, whoever asks for others.
    """
    if not (out_dir / MANIFEST).is_file() and not FinishedPoints(out_dir / POINTS).count():
        return None
    for name in (UNFINISHED, MANIFEST):
        try:
            experiment = json.loads((out_dir / name).read_text(encoding="utf-8"))["experiment"]
        except (OSError, ValueError, KeyError, TypeError):
            continue
        if isinstance(experiment, dict):
            return experiment
    return None


def _differences(held: Mapping[str, Any], asked: Mapping[str, Any]) -> Iterator[str]:
    """`KEY there VALUE, here VALUE` for each key that makes it another experiment."""
    swept = {path for experiment in (held, asked) for path in experiment.get("sweep") or {}}
    old, new = dict(_flat(held, "")), dict(_flat(asked, ""))
    for key in dict.fromkeys([*old, *new]):
        picked = key.partition(".")[0] in _PICKING
        set_by_sweep = any(key == path or key.startswith(f"{path}.") for path in swept)
        if not picked and not set_by_sweep:
            yield from _told([(key, old.get(key, _UNSET), new.get(key, _UNSET))])


def _of_space(held: Mapping[str, Any], asked: Mapping[str, Any]) -> Iterator[str]:
    """Swept keys with other values there than here, then the systems where they are others."""
    old, new = (dict(experiment.get("sweep") or {}) for experiment in (held, asked))
    keys = dict.fromkeys([*old, *new])
    yield from _told((f"sweep.{k}", old.get(k, _UNSET), new.get(k, _UNSET)) for k in keys)
    there, here = (list(map(_entry, data.get("systems") or ())) for data in (held, asked))
    yield from _told([("systems", there, here)])


def _entry(system: Mapping[str, Any]) -> Any:
    """An entry of `systems` without the keys that say nothing; its name alone where that is all."""
    said = {key: value for key, value in system.items() if value}
    return said["name"] if set(said) == {"name"} else said


def _told(values: Iterable[tuple[str, Any, Any]]) -> Iterator[str]:
    """Keys with other values there than here."""
    for key, *pair in values:
        if pair[0] != pair[1]:
            there, here = ("not set" if value is _UNSET else short(value) for value in pair)
            yield f"{key} is {there} there, {here} here"


def _flat(data: Mapping[str, Any], above: str) -> Iterator[tuple[str, Any]]:
    """Dotted key and value of everything in nested `data`."""
    for key, value in data.items():
        path = f"{above}{key}"
        if isinstance(value, dict) and value:
            yield from _flat(value, f"{path}.")
        else:
            yield path, value
