"""What `scratchpipe calibrate` prints: numbers and how well they are known, residuals, files."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import typer

if TYPE_CHECKING:
    from simulator.calibration.calibrate import Calibration
    from simulator.calibration.fit import BlockFit
    from simulator.calibration.points import Residual

__all__ = ["as_json", "show"]


def as_json(fitted: Calibration, unseen: Sequence[Residual]) -> str:
    """The same as `show`: numbers, blocks, residuals by operator, files."""
    from simulator.calibration.write import by_operator

    said: dict[str, Any] = {
        "numbers": [_number(block, number) for block in fitted.blocks for number in block.numbers],
        "blocks": [_block(block) for block in fitted.blocks],
        "fitted": by_operator(fitted.residuals),
        "held_out": by_operator(unseen),
        "files": fitted.files,
    }
    return json.dumps(said, indent=1)


def _number(block: BlockFit, number: Any) -> dict[str, Any]:
    return {
        "path": number.path,
        "block": block.name,
        "value": number.value,
        "standard_error": number.error,
        "correlation": number.correlation,
        "with": number.partner,
        "at_limit": number.at_limit,
    }


def _block(block: BlockFit) -> dict[str, Any]:
    return {
        "block": block.name,
        "points": block.points,
        "condition": block.condition if math.isfinite(block.condition) else None,
        "starts": block.tried,
        "starts_agreed": block.agreed,
        "kept": {fault.parameter.path: fault.why for fault in block.kept},
        "skipped": block.skipped or None,
    }


def show(fitted: Calibration, unseen: Sequence[Residual]) -> None:
    """Print everything that a reader needs to judge a calibration."""
    from simulator.calibration.write import by_operator

    _show_numbers(fitted.blocks)
    _show_blocks(fitted.blocks)
    _show_residuals("Model against measurement, by operator", by_operator(fitted.residuals))
    if unseen:
        title = "The same for points that the fit did not see"
        _show_residuals(title, by_operator(unseen))
    for block in fitted.blocks:
        for fault in block.kept:
            typer.echo(f"KEPT {fault}")
    typer.echo(f"{len(fitted.values)} numbers from {len(fitted.residuals)} points. Files read:")
    for name, use in fitted.files.items():
        typer.echo(f"  {name}: {use}")


def _show_numbers(blocks: Sequence[BlockFit]) -> None:
    from simulator.calibration.quantities import told

    rows = [
        (
            block.name,
            number.path.removeprefix("platform.host."),
            told(number.path, number.value),
            "at its limit" if number.at_limit else f"{number.error:.1%}",
            f"{number.correlation:.2f} {number.partner}" if number.partner else "",
        )
        for block in blocks
        for number in block.numbers
    ]
    title = "Numbers: standard error (points taken as independent), largest correlation"
    _print(title, ("block", "number", "value", "+-", "r with"), rows, left=(0, 1, 4))


def _show_blocks(blocks: Sequence[BlockFit]) -> None:
    rows = [
        (
            block.name,
            str(block.points),
            str(len(block.numbers)),
            f"{block.agreed} of {block.tried}" if block.tried else "",
            f"{block.condition:.1f}" if block.numbers else "",
            block.skipped or (f"{len(block.kept)} kept" if block.kept else ""),
        )
        for block in blocks
    ]
    columns = ("block", "points", "numbers", "starts that agree", "condition", "remark")
    _print("How the numbers were found", columns, rows, left=(0, 5))


def _show_residuals(title: str, summary: Sequence[dict[str, Any]]) -> None:
    rows = [
        (
            row["operator"],
            str(row["points"]),
            f"{row['median_error']:.1%}",
            f"{row['worst_error']:.1%}",
            f"{row['bias']:+.1%}",
            f"{row['spread'] - 1.0:.0%}",
        )
        for row in summary
    ]
    columns = ("operator", "points", "median", "worst", "bias", "hosts differ by")
    _print(title, columns, rows, left=(0,))


def _print(
    title: str, columns: Sequence[str], rows: Sequence[tuple[str, ...]], left: Sequence[int]
) -> None:
    from rich.table import Table

    from simulator.cli.terminal import console

    table = Table(title=title, title_justify="left")
    for place, name in enumerate(columns):
        table.add_column(name, justify="left" if place in left else "right", overflow="fold")
    for row in rows:
        table.add_row(*row)
    console().print(table)
