"""`scratchpipe whatif`: what limits an experiment, and what would help."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from simulator.cli.options import ExperimentFile, Overrides

if TYPE_CHECKING:
    from rich.table import Table

    from simulator.config.point import PointConfig
    from simulator.engine.whatif import Answer, Change, WhatIf

__all__ = ["whatif"]

NOTHING = 5e-4
"""Levers that change less than this share are not listed."""


def whatif(
    experiment: ExperimentFile,
    overrides: Overrides = None,
    factor: Annotated[
        float, typer.Option(min=1.001, max=1000, help="How many times as fast, and as slow.")
    ] = 2.0,
    keys: Annotated[
        bool, typer.Option("--keys", help="Every key alone, not a part or an operator at a time.")
    ] = False,
    pair: Annotated[
        bool, typer.Option("--pair", help="Find the two that help most together, too.")
    ] = False,
    out: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Write tornado charts and tables there.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON and nothing else.")] = False,
) -> None:
    """Make each part of the machine and each cost of the software faster, slower, and free.

    Told for each point: iterations a second gained at FACTOR times the speed and where it takes no
    time, lost at 1/FACTOR, the elasticity, and what the bottleneck is then.
    """
    import json

    from simulator._extras import require
    from simulator.cli.beat import at_point
    from simulator.cli.progress import announce
    from simulator.config.expand import expand
    from simulator.engine import load_experiment
    from simulator.engine.whatif import what_if
    from simulator.files import check_folder
    from simulator.results.seeds import require_one_seed

    loaded = load_experiment(experiment, tuple(overrides or ()))
    if out is not None:
        require("figures", "--out draws charts")
        check_folder(out)
    announce(loaded)
    found = []
    points = expand(loaded)
    require_one_seed(points, "whatif")
    for answer in what_if(points, factor, single=keys, pair=pair, progress=at_point):
        found.append(answer)
        if not as_json:
            _show(answer, factor)
    if as_json:
        typer.echo(json.dumps([_document(each) for each in found], allow_nan=False, indent=1))
    if out is not None:
        _write(found, factor, out, as_json)


def _title(answer: WhatIf) -> str:
    from simulator.results.extension import extension_mark

    point, mark = answer.point, extension_mark(answer.base.training_is_ours)
    swept = f", {text}" if (text := point.sweep_text()) else ""
    where = f"{point.platform.name}, {point.operators.name} operators"
    return f"{point.system.label}{mark}, {point.locality}{swept} on {where}"


def _note(answer: WhatIf) -> str:
    """A line on training that is ours; empty where it is not."""
    from simulator.results.extension import extension_note

    row = {"system": answer.point.system.title, "training_is_ours": answer.base.training_is_ours}
    return extension_note([row])


def _show(answer: WhatIf, factor: float) -> None:
    from simulator.cli.terminal import console
    from simulator.results.resources import title_of

    base = answer.base
    typer.echo(
        f"\n{_title(answer)}: {base.time_us / 1e3:.4g} ms an iteration, "
        f"bottleneck {title_of(base.bottleneck)}"
    )
    shown = [change for change in answer.changes if _matters(change)]
    console().print(_table([*shown, *filter(None, [answer.pair])], factor))
    rest = len(answer.changes) - len(shown)
    if rest:
        typer.echo(f"{rest} others change less than {NOTHING:.2%} whichever way")
    typer.echo(_reading(answer, factor))
    if note := _note(answer):
        typer.echo(note)


def _matters(change: Change) -> bool:
    effects = (change.gain, change.most, change.loss)
    return any(abs(effect) >= NOTHING for effect in effects if not math.isnan(effect))


def _table(changes: Sequence[Change], factor: float) -> Table:
    from rich.table import Table

    from simulator.results.resources import title_of

    table = Table("what", f"{factor:g}x as fast", "bottleneck then", "free", f"{factor:g}x as slow")
    table.add_column("elasticity")
    for column in (table.columns[1], *table.columns[3:]):
        column.justify = "right"
    for change in changes:
        then = title_of(change.faster.bottleneck) if change.faster else "-"
        effects = (_percent(each) for each in (change.gain, change.most, change.loss))
        gain, most, loss = effects
        elasticity = "-" if math.isnan(change.elasticity) else f"{change.elasticity:.2f}"
        table.add_row(change.name, gain, then, most, loss, elasticity)
    return table


def _percent(share: float) -> str:
    return "refused" if math.isnan(share) else f"{share:+.1%}"


def _reading(answer: WhatIf, factor: float) -> str:
    """The table in a sentence."""
    best = next((change for change in answer.changes if change.gain >= NOTHING), None)
    if best is None:
        return (
            f"Nothing that is {factor:g} times as fast helps alone: what runs beside it holds it."
        )
    text = f"{best.name} {factor:g} times as fast gives {best.gain:+.1%} iterations a second"
    if answer.pair is not None:
        text += f"; {answer.pair.name} together {answer.pair.gain:+.1%}"
    return f"{text}."


def _number(value: float) -> float | None:
    return None if math.isnan(value) else value


def _document(answer: WhatIf) -> dict[str, Any]:
    point = answer.point
    return {
        "system": point.system.title,
        "label": point.system.label,
        "training_is_ours": answer.base.training_is_ours,
        "locality": point.locality,
        "platform": point.platform.name,
        "operators": point.operators.name,
        "sweep": point.sweep_text(),
        **_told("", answer.base),
        "changes": [_change(change, point) for change in answer.changes],
        "pair": None if answer.pair is None else _change(answer.pair, point),
    }


def _told(prefix: str, answer: Answer | None) -> dict[str, Any]:
    return {
        f"{prefix}iteration_time_us": answer.time_us if answer else None,
        f"{prefix}bottleneck": answer.bottleneck if answer else None,
    }


def _change(change: Change, point: PointConfig) -> dict[str, Any]:
    """With the keys as they are in the experiment, and what to set them to for the faster one."""
    from simulator.engine.levers import with_speed

    settings: dict[str, str] = {}
    if change.faster:
        for lever in change.levers:
            settings |= lever.settings(with_speed(point, lever, change.factor))
    return {
        "lever": change.name,
        "factor": change.factor,
        **_told("faster_", change.faster),
        **_told("free_", change.free),
        **_told("slower_", change.slower),
        "gain": _number(change.gain),
        "free_gain": _number(change.most),
        "loss": _number(change.loss),
        "elasticity": _number(change.elasticity),
        "settings": settings,
    }


def _write(found: Sequence[WhatIf], factor: float, folder: Path, quiet: bool) -> None:
    import pandas as pd

    from simulator.figures.files import write_figure
    from simulator.figures.tornado import tornado

    for number, answer in enumerate(found):
        rows = [
            {
                "lever": change.name,
                "gain": change.gain,
                "most": change.most,
                "loss": change.loss,
                "elasticity": change.elasticity,
                "bottleneck": change.faster.bottleneck if change.faster else None,
            }
            for change in answer.changes
        ]
        data = pd.DataFrame(rows)
        weight = data[["gain", "most", "loss"]].abs().max(axis=1)
        drawn = data[weight >= NOTHING]
        title = "\n".join(filter(None, (_title(answer), _note(answer))))
        figure = tornado(drawn if len(drawn) else data, factor, title)
        for file in write_figure(f"whatif_{number}", figure, data, folder):
            if not quiet:
                typer.echo(f"  {file}")
