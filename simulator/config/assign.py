"""Put a value at a dotted path: what `--set`, the sweep and the entries of `systems` do."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from simulator.config.arrivals import RATE_KEYS
from simulator.config.assign_machine import machine_path, with_change
from simulator.config.loading import LoadKeys
from simulator.config.machine import CHOOSERS
from simulator.config.reader import MOST_LEVELS, KeyPath, Mark, Marks, read_text
from simulator.config.sections import SIZE_KEYS
from simulator.config.trace import with_key
from simulator.errors import Problem
from simulator.text import shown

__all__ = ["REFERENCES", "Assignment", "apply", "assign", "assignments", "keys_of", "swept_values"]

REFERENCES = ("platform", "model", "trace", "operators")
"""Keys whose value may be the name of a catalogue entry."""
_INNER_REFERENCES = {("load", "profile"): LoadKeys.model_fields["profile"].default}
"""Paths further in whose value may be one, and its name where none is given."""


@dataclass(frozen=True, slots=True)
class Assignment:
    """`value` belongs at `path`; `marks` are the places of the value, rooted at ()."""

    path: KeyPath
    value: Any
    marks: Marks

    @property
    def rank(self) -> tuple[int, bool]:
        """Outer values go in before what changes them; the kind of a trace and the part of a
        socket before the keys beside them. `hosts: 4` is `host.count`, and as deep."""
        last = self.path[-1] if self.path else ""
        first = self.path in (("trace", "kind"), ("trace", "locality")) or last in CHOOSERS
        counts = last == "hosts" and isinstance(self.value, int)
        return len(self.path) + counts, not first


def keys_of(text: str) -> KeyPath:
    """`systems.0.cache.fraction` as keys; what follows `sweep.` is one key (a dotted path)."""
    head, _, rest = text.partition(".")
    if head == "sweep" and rest:
        return (head, rest)
    return tuple(int(p) if p.isdecimal() and len(p) < 10 else p for p in text.split("."))


def assignments(texts: Iterable[str], within: str = "") -> tuple[list[Assignment], list[Problem]]:
    """What lines such as `model.dim=64` assign, and the problems of lines that assign nothing.

    Values with commas between them are a sweep (`cache.fraction=0.1,0.2`), of `systems` its list.
    `within`: a key that all paths start with, whether they say so or not.
    """
    changes: list[Assignment] = []
    problems: list[Problem] = []
    for text in texts:
        key, value, mistakes = _key_and_value(text, "--set", "path=value, such as model.dim=64")
        if mistakes:
            problems += mistakes
            continue
        path = keys_of(key)
        path = path if not within or path[0] == within else (within, *path)
        changes = [change for change in changes if change.path != ("sweep", key)]
        if not within and _lists_values(path, value):
            value = f"[{value}]"
            path = path if path == ("systems",) else ("sweep", key)
        document = read_text(value, f"--set {key}", fixed=True)
        problems += document.problems
        if not document.problems:
            changes.append(Assignment(path, document.data, document.marks))
    return changes, problems


_ASKED_AS = {"machine": "platform", "policy": "cache.policy", "system": "systems"}
"""Words of `--over` for keys."""


def swept_values(texts: Iterable[str]) -> tuple[list[Assignment], list[Problem]]:
    """What lines of `--over` such as `cache.fraction=0.1,0.2` put into the sweep (of `systems`:
    into its list), and the problems of lines that put nothing there."""
    changes: list[Assignment] = []
    problems: list[Problem] = []
    for text in texts:
        key, value, mistakes = _key_and_value(
            text, "--over", "PATH=A,B, such as cache.fraction=0.02,0.1"
        )
        place = f"--over {key}"
        key = _ASKED_AS.get(key, key)
        path: KeyPath = ("systems",) if key == "systems" else ("sweep", key)
        if not mistakes and any(change.path == path for change in changes):
            mistakes = [Problem(place, "", "is given twice: list all of its values once")]
        if not mistakes:
            listed = value if value.strip().startswith("[") else f"[{value}]"
            document = read_text(listed, place, fixed=True)
            mistakes = list(document.problems)
        if not mistakes:
            changes.append(Assignment(path, document.data, document.marks))
        problems += mistakes
    return changes, problems


def _key_and_value(text: str, option: str, form: str) -> tuple[str, str, list[Problem]]:
    """Key and value of `KEY=VALUE`, and the problem of a text that is none."""
    key, equals, value = text.partition("=")
    key, problems = key.strip(), []
    if not equals or not all(key.split(".")) or (option == "--over" and not value.strip()):
        problems = [Problem(f"{option} {text}", "", f"is not {form}")]
    elif key.count(".") >= MOST_LEVELS:
        message = f"is a path of {key.count('.') + 1:,} keys: {MOST_LEVELS} at most"
        problems = [Problem(f"{option} {shown(key)}", "", message)]
    return key, value, problems


def _lists_values(path: KeyPath, text: str) -> bool:
    """Whether a value is several, as `0.1,0.2` is; texts and files may have commas of their own."""
    plain = not text.lstrip().startswith(("[", "{", '"', "'"))
    free = path[0] in ("name", "description", "sweep") or str(path[-1]).endswith("path")
    return "," in text and plain and not free


def apply(data: Any, marks: Marks, changes: Iterable[Assignment]) -> tuple[Any, Marks]:
    """`data` and `marks` with every assignment, outer ones first; the arguments stay as they are.

    Raises `ValueError` where a path leads through a value that cannot hold keys, and where two of
    them give what one key alone may give (the size of a cache).
    """
    ordered = sorted(changes, key=lambda a: a.rank)
    if ordered:
        data = _copied(data)
    sizes: dict[KeyPath, str | int] = {}
    for change in ordered:
        *section, last = change.path or ("",)
        first = sizes.setdefault(tuple(section), last) if _alternatives(change.path) else last
        if first != last:
            name = section[-1]
            raise ValueError(f"{name}.{first} and {name}.{last} are both set: set one")
        data, marks = assign(data, marks, change)
    return data, marks


def _copied(data: Any) -> Any:
    """Plain data anew; much quicker than `copy.deepcopy`, which has to know every type."""
    if isinstance(data, dict):
        return {key: _copied(value) for key, value in data.items()}
    return [_copied(item) for item in data] if isinstance(data, list) else data


_ALTERNATIVES: dict[str | int, tuple[str, ...]] = {"cache": SIZE_KEYS, "arrivals": RATE_KEYS}
"""Keys of a section of which one takes the place of the one that was given."""


def _alternatives(path: KeyPath) -> tuple[str, ...]:
    """The keys whose place the last of `path` takes, itself among them; none for most keys."""
    keys = _ALTERNATIVES.get(path[-2], ()) if len(path) > 1 else ()
    return keys if path[-1] in keys else ()


def assign(data: Any, marks: Marks, change: Assignment) -> tuple[Any, Marks]:
    """One assignment, into `data` itself."""
    path = change.path
    if not path:
        return change.value, change.marks
    if path[0] == "trace" and len(path) == 2 and isinstance(data.get("trace"), dict):
        data["trace"] = with_key(data["trace"], str(path[1]), change.value)
        return data, marks.grafted(path, change.marks)
    machine = path[: machine_path(path)]
    here = data
    for depth, key in enumerate((machine or path)[:-1]):
        key = str(key) if isinstance(here, dict) else key
        marks = _opened(here, key, marks, path[: depth + 1], change.marks)
        here = here[key]
    if machine:
        _check(here, machine[-1], machine)
        below = marks.below(machine)
        old, rest = here.get(machine[-1]), path[len(machine) :]
        here[machine[-1]], below = with_change(old, below, rest, change.value, change.marks)
        return data, marks.grafted(machine, below)
    _check(here, path[-1], path)
    for other in _alternatives(path):
        here.pop(other, None)
    last = str(path[-1]) if isinstance(here, dict) else path[-1]
    here[last] = _copied(change.value)
    return data, marks.grafted(path, change.marks)


def _opened(here: Any, part: str | int, marks: Marks, path: KeyPath, new: Marks) -> Marks:
    """Make sure that `here[part]` can hold keys; a name becomes the base of a mapping."""
    _check(here, part, path)
    inner = here[part] if isinstance(part, int) else here.get(part)
    if path == ("systems",) and isinstance(inner, str | dict):
        here[part] = [inner]
    elif inner is None:
        here[part] = {"base": _INNER_REFERENCES[path]} if path in _INNER_REFERENCES else {}
        return marks.grafted(path, Marks({(): new.mark(())}))
    elif isinstance(inner, str):
        key = _key_of_a_name(path)
        if key:
            here[part] = {key: inner}
            name = Mark(marks.key(path), marks.value(path))
            return marks.overlaid((*path, key), Marks({(): name}))
    return marks


def _key_of_a_name(path: KeyPath) -> str:
    """The key that a bare name at `path` stands for, where it may become a mapping."""
    if path[0] == "systems" and len(path) == 2:
        return "name"
    is_reference = path[-1] in REFERENCES and (len(path) == 1 or path[0] == "systems")
    return "base" if is_reference or path in _INNER_REFERENCES else ""


def _check(here: Any, part: str | int, path: KeyPath) -> None:
    """Refuse a path that leads through something without keys."""
    around = ".".join(str(p) for p in path[:-1]) or "the experiment"
    if isinstance(here, list):
        if not isinstance(part, int) or part >= len(here):
            last = f"0 to {len(here) - 1}" if here else "none, it is empty"
            raise ValueError(f"{around} is a list whose entries are numbered from 0 ({last})")
    elif not isinstance(here, dict):
        raise ValueError(f"{around} is a single value: it has no keys")
