"""`python -m simulator.observe.microbench DIR`: measure this machine, without a fit."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Annotated

import typer

from simulator.errors import ScratchPipeError
from simulator.observe.microbench import measure_machine


def main(
    out: Annotated[Path, typer.Argument(metavar="DIR", help="Folder for the files.")],
    quick: Annotated[bool, typer.Option("--quick", help="Fewer sizes and repetitions.")] = False,
    only: Annotated[
        list[str] | None,
        typer.Option(metavar="TEXT", help="Only subjects or files with this in their names."),
    ] = None,
    minutes: Annotated[
        float | None, typer.Option(help="Begin nothing after so many minutes.", min=0)
    ] = None,
    replace: Annotated[
        bool, typer.Option("--replace", help="Lose measurements that DIR holds.")
    ] = False,
) -> None:
    """Measure this machine into DIR; seconds of each subject go to standard error."""
    begin = time.monotonic()

    def tell(text: str) -> None:
        print(f"[{time.monotonic() - begin:6.1f} s] {text}", file=sys.stderr, flush=True)

    try:
        measure_machine(out, quick, tell, tuple(only or ()), minutes, replace)
    except ScratchPipeError as error:
        print(f"error: {error}", file=sys.stderr)
        raise SystemExit(error.exit_code) from error
    finally:
        tell("done")


if __name__ == "__main__":
    typer.run(main)
