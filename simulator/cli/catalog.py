"""`scratchpipe list` and `scratchpipe explain`: what can be named, and what columns mean."""

from __future__ import annotations

import itertools
import re
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from simulator.errors import UsageError

_FIRST_SENTENCE = re.compile(r".*?[.](?= [A-Z]|$)|.*")
"""Of a comment."""
SHORTEST_WORD, STEM, MOST_COLUMNS = 3, 5, 6
"""Letters of a word that columns are searched for; of them in a meaning; what an error names."""


class Kind(StrEnum):
    """What `list` can list."""

    SYSTEMS = "systems"
    POLICIES = "policies"
    PLATFORMS = "platforms"
    PARTS = "parts"
    MEMORIES = "memories"
    MODELS = "models"
    TRACES = "traces"
    OPERATORS = "operators"
    PLACEMENTS = "placements"
    COLLECTIVES = "collectives"
    LOADERS = "loaders"
    EXPERIMENTS = "experiments"


def list_names(
    kind: Annotated[
        Kind | None, typer.Argument(help="What to list; all names without it.", show_default=False)
    ] = None,
    name: Annotated[
        str, typer.Argument(help="A platform: print its data sheet.", show_default=False)
    ] = "",
    as_json: Annotated[bool, typer.Option("--json", help="Print a JSON list of names.")] = False,
) -> None:
    """List what can be named in an experiment; with the name of a platform, its data sheet."""
    import json

    if kind is None:
        _list_all(as_json)
        return
    if name:
        _show(kind, name, as_json)
        return
    if kind is Kind.SYSTEMS and not as_json:
        _list_systems()
        return
    about = _about(kind)
    if as_json:
        typer.echo(json.dumps(list(about)))
        return
    width = max(map(len, about), default=0)
    for name, sentence in about.items():
        typer.echo(f"{name:<{width}}  {sentence}".rstrip())


def _show(kind: Kind, name: str, as_json: bool) -> None:
    """The data sheet of a platform: parts, peaks, routes, and the source of every number."""
    from simulator.cli.machine import show

    if kind is not Kind.PLATFORMS:
        raise UsageError(
            f"`list {kind} {name}`: a platform alone has a data sheet; "
            f"`scratchpipe explain {name}` tells of a column or a system"
        )
    show(name, as_json=as_json)


def _list_all(as_json: bool) -> None:
    """The names of every kind."""
    import json

    known = {kind.value: list(_about(kind)) for kind in Kind}
    if as_json:
        typer.echo(json.dumps(known))
        return
    for kind, names in known.items():
        typer.echo(f"{kind}: {', '.join(names)}")


_GROUPS = {
    "study": "The study",
    "baseline": "Baselines",
    "rival": "Rivals",
    "other": "Of other packages",
}


def _list_systems() -> None:
    """Systems group by group, each with a sentence and its source."""
    from simulator import systems

    width = max(map(len, systems.names()))
    for group, title in _GROUPS.items():
        members = [name for name in systems.names() if systems.group_of(name) == group]
        if members:
            typer.echo(f"{title}:")
        for name in members:
            typer.echo(f"  {name:<{width}}  {systems.summary(name)}")
            if source := systems.system_class(name).source:
                typer.echo(f"  {'':<{width}}  ({source})")


def _about(kind: Kind) -> dict[str, str]:
    """Names and a sentence on each, where there is one."""
    if kind is Kind.SYSTEMS:
        from simulator import systems

        return {name: systems.summary(name) for name in systems.names()}
    if kind is Kind.POLICIES:
        from simulator import caches

        return {name: _first_line(caches.policy_class(name)) for name in caches.policy_names()}
    if kind is Kind.PLACEMENTS:
        from simulator.systems.placement import PLANNERS

        return {name: _first_line(planner) for name, planner in PLANNERS.items()}
    return {name: _sentence(file) for name, file in _files(kind).items()}


def _files(kind: Kind) -> dict[str, Path]:
    """The files of the catalogue by name."""
    from simulator.config import catalogue
    from simulator.config.parts import part_files

    if kind not in (Kind.PARTS, Kind.MEMORIES):
        return catalogue.files(kind)
    folder = None if kind is Kind.PARTS else kind.value
    return {n: file for n, file in part_files().items() if folder in (None, file.parent.name)}


def _first_line(documented: object) -> str:
    return (documented.__doc__ or "").strip().partition("\n")[0]


def _sentence(file: Path) -> str:
    """The description that a catalogue file gives, else the first comment of it."""
    from simulator.config.reader import read_yaml

    data = read_yaml(file).data
    if isinstance(data, dict) and isinstance(data.get("description"), str):
        return " ".join(data["description"].split())
    lines = file.read_text(encoding="utf-8").splitlines()
    comment = itertools.takewhile(lambda line: line.startswith("# "), lines)
    text = " ".join(line.removeprefix("# ").strip() for line in comment)
    found = _FIRST_SENTENCE.match(text)
    return found.group() if found else ""


def explain(
    name: Annotated[
        str,
        typer.Argument(
            help="A column of any file of a run, a system or a policy.", show_default=False
        ),
    ] = "",
    markdown: Annotated[
        bool, typer.Option("--markdown", help="Print the page of all columns (docs/columns.md).")
    ] = False,
) -> None:
    """Explain a column of the results, a system, or a policy."""
    from simulator import systems
    from simulator.caches import policy_names
    from simulator.config.problems import did_you_mean
    from simulator.results import dictionary

    if markdown:
        typer.echo(dictionary.markdown(), nl=False)
        return
    if not name:
        typer.echo("\n".join(dictionary.names()))
        return
    columns = dictionary.describe(name)
    if not columns and (policy := _about_policy(name)):
        typer.echo(policy)
        return
    if not columns and name in systems.UsedKeys():
        from simulator.engine.explanation import explain_system

        typer.echo("\n".join(explain_system(name).lines()))
        return
    if not columns:
        hint = did_you_mean(name, (*dictionary.names(), *systems.names(), *policy_names()))
        hint = hint or _columns_that_say(name) or "`scratchpipe explain` without a name lists all"
        raise UsageError(f"there is no column, system or policy {name!r}: {hint}")
    for file, about in columns:
        unit = f", {about.unit}" if about.unit else ""
        typer.echo(f"{name} ({file}; {about.dtype}{unit})")
        typer.echo(f"  {about.meaning}")
        if not about.deterministic:
            typer.echo("  Wall-clock: differs from run to run.")


def _columns_that_say(word: str) -> str:
    """Columns in whose name a word is, singular or plural, else in whose meaning another form of
    it; empty: none."""
    from simulator.results import dictionary

    stem = word.lower().removesuffix("s")
    if len(stem) < SHORTEST_WORD:
        return ""
    names = dictionary.names()
    found = [name for name in names if stem in name.split("_")] or [
        name
        for name in names
        if any(stem[:STEM] in about.meaning.lower() for _, about in dictionary.describe(name))
    ]
    found = found[:MOST_COLUMNS]
    return f"columns that say so: {', '.join(found)}" if found else ""


def _about_policy(name: str) -> str:
    """What the policy called `name`, or that of a file, says of itself and of its module; empty
    where it is none."""
    import inspect

    from simulator._plugins import class_in_file
    from simulator.caches import Policy, policy_class, policy_names

    held = class_in_file(name)
    if name not in policy_names() and not (held and issubclass(held, Policy)):
        return ""
    policy = policy_class(name)
    module = inspect.getmodule(policy)
    texts = [inspect.cleandoc(each.__doc__ or "") for each in (policy, module) if each]
    return "\n\n".join([f"{name}: a replacement policy", *filter(None, texts)])
