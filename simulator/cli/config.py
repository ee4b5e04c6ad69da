"""`scratchpipe config`: check an experiment, show what it stands for, print the schema."""

from __future__ import annotations

import json
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(
    help="Check and show experiments; print their schema.",
    no_args_is_help=True,
    add_completion=False,
)

File = Annotated[Path, typer.Argument(metavar="EXPERIMENT.yaml", show_default=False)]
Overrides = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="PATH=VALUE", help="Change a key (a YAML value); repeatable."),
]


class Schema(StrEnum):
    """What has a schema."""

    EXPERIMENT = "experiment"
    PLATFORM = "platform"
    MODEL = "model"
    TRACE = "trace"
    OPERATORS = "operators"
    MEMORY = "memory"


@app.command()
def check(experiment: File, overrides: Overrides = None) -> None:
    """Check an experiment and all points of its sweep; report every mistake at once."""
    from simulator.config.expand import expand
    from simulator.engine import check_points, load_experiment

    points = expand(load_experiment(experiment, overrides or ()))
    check_points(points)
    typer.echo(f"{experiment}: no mistakes, {_count(len(points), 'point')} to simulate")


@app.command()
def show(
    experiment: File,
    overrides: Overrides = None,
    resolved: Annotated[
        bool, typer.Option("--resolved", help="Show every point with all its keys.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Show an experiment after `--set`, with its defaults; or what each point resolves to."""
    from simulator.config.expand import expand
    from simulator.engine import load_experiment

    loaded = load_experiment(experiment, overrides or ())
    data = (
        [point.model_dump(mode="json") for point in expand(loaded)]
        if resolved
        else loaded.model_dump(mode="json")
    )
    if as_json:
        typer.echo(json.dumps(data, indent=2, ensure_ascii=False))
        return
    from simulator.config.writer import to_yaml

    typer.echo(to_yaml(data), nl=False)


@app.command()
def schema(
    of: Annotated[Schema, typer.Argument(help="Whose schema.")] = Schema.EXPERIMENT,
) -> None:
    """Print a JSON Schema (for editors that complete and check YAML)."""
    from simulator.config.catalogue import adapter
    from simulator.config.experiment import Experiment

    kinds = {
        Schema.PLATFORM: "platforms",
        Schema.MODEL: "models",
        Schema.TRACE: "traces",
        Schema.OPERATORS: "operators",
        Schema.MEMORY: "memories",
    }
    found = adapter(kinds[of]).json_schema() if of in kinds else Experiment.model_json_schema()
    head = {"$schema": "https://json-schema.org/draft/2020-12/schema"}
    typer.echo(json.dumps(head | found, indent=2, ensure_ascii=False))


def _count(number: int, word: str) -> str:
    return f"{number} {word}" if number == 1 else f"{number} {word}s"
