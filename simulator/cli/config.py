"""`scratchpipe config`: check an experiment, show what it stands for, print the schema."""

from __future__ import annotations

import json
from enum import StrEnum
from typing import Annotated, Any

import typer

from simulator.cli.options import ExperimentFile, Overrides

app = typer.Typer(
    help="Check and show experiments; print their schema.",
    no_args_is_help=True,
    add_completion=False,
)


class Schema(StrEnum):
    """What has a schema."""

    EXPERIMENT = "experiment"
    PLATFORM = "platform"
    MODEL = "model"
    TRACE = "trace"
    OPERATORS = "operators"
    LOADER = "loader"
    MEMORY = "memory"
    PART = "part"


@app.command()
def check(experiment: ExperimentFile, overrides: Overrides = None) -> None:
    """Check an experiment and all points of its sweep; report every mistake at once.

    Nothing is simulated: what only a run can find is listed.
    """
    from simulator.cli.progress import announce, announce_guesses
    from simulator.config.expand import expand
    from simulator.engine import check_points, load_experiment

    loaded = load_experiment(experiment, overrides or ())
    announce(loaded)
    points = expand(loaded)
    announce_guesses(loaded)
    unchecked = check_points(points)
    typer.echo(f"{experiment}: no mistakes, {_count(len(points), 'point')} to simulate")
    for line in unchecked:
        typer.echo(f"not checked: {line}")


@app.command()
def show(
    experiment: ExperimentFile,
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
    head = {"$schema": "https://json-schema.org/draft/2020-12/schema"}
    shared = {"patternProperties": {"^x-": {"description": "Pieces for aliases and merge keys."}}}
    typer.echo(json.dumps(head | _schema(of) | shared, indent=2, ensure_ascii=False))


def _schema(of: Schema) -> dict[str, Any]:
    from functools import reduce
    from operator import or_

    from pydantic import TypeAdapter

    from simulator.config.catalogue import adapter
    from simulator.config.experiment import Experiment
    from simulator.config.machine_file import MachineFile
    from simulator.hardware.devices import part_kinds

    kinds = {
        Schema.MODEL: "models",
        Schema.TRACE: "traces",
        Schema.OPERATORS: "operators",
        Schema.LOADER: "loaders",
    }
    if of in kinds:
        return adapter(kinds[of]).json_schema()
    if of is Schema.PLATFORM:
        return MachineFile.model_json_schema()
    if of is Schema.MEMORY:
        return part_kinds()["dram"].model_json_schema()
    if of is Schema.PART:
        models: Any = dict.fromkeys(part_kinds().values())
        return TypeAdapter(reduce(or_, models)).json_schema()
    return Experiment.model_json_schema()


def _count(number: int, word: str) -> str:
    return f"{number} {word}" if number == 1 else f"{number} {word}s"
