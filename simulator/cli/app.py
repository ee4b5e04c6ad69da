"""The `scratchpipe` command: its verbs, and how errors become messages and exit codes.

A verb's module is imported when the verb is used, so that `scratchpipe --help` stays quick.
"""

from __future__ import annotations

import contextlib
import importlib
import io
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from traceback import extract_tb
from typing import Annotated, Any, NoReturn

import typer
from typer.core import TyperGroup

from simulator._garbage import seldom_collected
from simulator._heap import keep_heap
from simulator.cli.beat import beating
from simulator.cli.interrupts import ending_in_order, word_and_code
from simulator.cli.numbers import with_numbers
from simulator.errors import ScratchPipeError

__all__ = ["main"]


@dataclass(frozen=True, slots=True)
class Verb:
    """A verb and where it lives: a function, or a `typer.Typer` with verbs of its own."""

    module: str
    attribute: str
    help: str


GROUPS: dict[str, dict[str, Verb]] = {
    "Simulate": {
        "run": Verb("simulator.cli.run", "run", "Simulate an experiment and write its results."),
        "whatif": Verb(
            "simulator.cli.whatif", "whatif", "Say what limits an experiment, and what would help."
        ),
        "optimize": Verb(
            "simulator.cli.optimize",
            "optimize",
            "Find the cheapest machine that holds a throughput.",
        ),
        "serve-plan": Verb(
            "simulator.cli.serve_plan",
            "serve_plan",
            "Plan containers, memory and price of a rate of queries.",
        ),
        "replay": Verb(
            "simulator.cli.replay", "replay", "Replay one trace through one cache policy."
        ),
        "hazards": Verb(
            "simulator.cli.hazards", "hazards", "Count the stale reads that a window allows."
        ),
        "reproduce": Verb(
            "simulator.cli.reproduce", "reproduce", "Run the studies of the paper and compare."
        ),
    },
    "Explore results": {
        "results": Verb(
            "simulator.cli.results", "app", "Show the results of a run again; compare two runs."
        ),
        "report": Verb("simulator.cli.report", "report", "Write a run as one HTML page."),
        "plot": Verb("simulator.cli.plot", "plot", "Draw a column of a run against another."),
        "timeline": Verb(
            "simulator.cli.timeline", "timeline", "Write the timeline of a run for Perfetto."
        ),
        "explain": Verb(
            "simulator.cli.catalog", "explain", "Explain a column of the results, or a system."
        ),
    },
    "Experiments, machines, traces": {
        "config": Verb(
            "simulator.cli.config", "app", "Check and show experiments; print their schema."
        ),
        "list": Verb(
            "simulator.cli.catalog", "list_names", "List what can be named in an experiment."
        ),
        "machine": Verb(
            "simulator.cli.machine", "app", "Show what a machine is made of, and what lies where."
        ),
        "memory": Verb("simulator.cli.memory", "app", "Ask the DRAM model about access patterns."),
        "trace": Verb(
            "simulator.cli.trace", "app", "Generate, describe, convert and validate traces."
        ),
    },
    "Against real hardware": {
        "observe": Verb(
            "simulator.cli.observe", "observe", "Really train an experiment here, and time it."
        ),
        "validate": Verb(
            "simulator.cli.validate", "validate", "Compare what was observed with the simulator."
        ),
        "calibrate": Verb(
            "simulator.cli.calibrate",
            "calibrate",
            "Fit a platform to micro-benchmarks of a machine.",
        ),
    },
}
"""Verbs as help shows them, in groups."""
VERBS: dict[str, Verb] = {name: verb for group in GROUPS.values() for name, verb in group.items()}


MOST_PROBLEMS = 50
"""Problems of one error that are printed."""


class _Verbs(TyperGroup):
    """A group whose commands are placeholders until one of them is used."""

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        name, command, rest = super().resolve_command(ctx, args)
        return name, (command if name is None else _loaded(name)), rest

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt as interrupt:
            word, code = word_and_code(interrupt)
            typer.echo(word, err=True)
            raise typer.Exit(code) from None
        except EOFError as error:  # nothing here asks for input: the library would say "Aborted"
            frame = extract_tb(error.__traceback__)[-1]
            where = f"{frame.filename}:{frame.lineno}, in {frame.name}"
            raise ScratchPipeError(f"a file ends too early: {error} ({where})") from error


def _loaded(name: str) -> Any:
    verb = VERBS[name]
    command = with_numbers(getattr(importlib.import_module(verb.module), verb.attribute))
    if isinstance(command, typer.Typer):
        return typer.main.get_group(command)
    alone = typer.Typer(add_completion=False)
    alone.command(name, help=verb.help)(command)
    return typer.main.get_command(alone)


def _version(asked: bool) -> None:
    if asked:
        from importlib import metadata

        try:
            version = metadata.version("scratchpipe-sim")
        except metadata.PackageNotFoundError:
            version = "(not installed: running from its folder)"
        typer.echo(f"scratchpipe {version}")
        raise typer.Exit


def _root(
    version: Annotated[
        bool,
        typer.Option("--version", callback=_version, is_eager=True, help="Print the version."),
    ] = False,
) -> None:
    """Simulate embedding training of recommendation models on CPU-GPU servers."""


def _app() -> typer.Typer:
    help_too = {"help_option_names": ["--help", "-h"]}
    app = typer.Typer(cls=_Verbs, no_args_is_help=True, context_settings=help_too)
    app.callback()(_root)
    for title, group in GROUPS.items():
        for name, verb in group.items():
            app.command(name, help=verb.help, rich_help_panel=title)(_placeholder)
    return app


def _placeholder() -> None:
    """Stands for a verb until it is used."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Entry point: run the command line and exit with its code."""
    _show_anything()
    try:
        try:
            asked = sys.argv[1:] if arguments is None else arguments
            keep_heap()
            with ending_in_order(), seldom_collected(), beating(_verb_of(asked)):
                typer.main.get_command(_app())(args=arguments, prog_name="scratchpipe")
        finally:
            sys.stdout.flush()
    except ScratchPipeError as error:
        _fail(str(error), error.exit_code)
    except KeyboardInterrupt as interrupt:
        word, code = word_and_code(interrupt)
        typer.echo(word, err=True)
        sys.exit(code)
    except BrokenPipeError:
        # Whoever read our output has gone: nobody is left to tell.
        _drop_output()
        sys.exit(1)
    except MemoryError:
        _fail("there is not enough memory: use a smaller model, trace or batch", 1)
    except OSError as error:
        _drop_output()
        _fail(f"{error.filename or 'standard output'}: {error.strerror or error}", 1)


def _verb_of(arguments: Sequence[str]) -> str:
    """The verb that is asked for, for signs of life."""
    return next((word for word in arguments if word in VERBS), "scratchpipe")


def _show_anything() -> None:
    """Let a terminal that lacks a character (`µ` in ASCII) show its number instead, and a stream
    that was closed (`>&-`) take what is written to it."""
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:
            setattr(sys, name, io.StringIO())
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper) and stream.errors in ("strict", "surrogateescape"):
            stream.reconfigure(errors="backslashreplace")


def _fail(message: str, code: int) -> NoReturn:
    """One `error:` a problem: problems start at the margin, their hints are indented."""
    told = 0
    for number, line in enumerate(message.splitlines()):
        hint = number > 0 and line.startswith(" ")
        told += not hint
        if told <= MOST_PROBLEMS:
            typer.echo(line if hint else f"error: {line}", err=True)
    if told > MOST_PROBLEMS:
        typer.echo(f"... and {told - MOST_PROBLEMS:,} more", err=True)
    sys.exit(code)


def _drop_output() -> None:
    """Let the interpreter's last flush succeed."""
    with contextlib.suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
