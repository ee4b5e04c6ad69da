"""The README's table of how far to trust it, out of the summary: nothing in it is set by hand."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from simulator.validation.summary import Row

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["trust_table"]

_OF_SYSTEM = "iterations of "
"""Kinds that become the range of biases of the row of all systems."""
_ALL = "whole iterations"


def trust_table(rows: Iterable[Row]) -> pd.DataFrame:
    """A line a kind of number and machine, those of machines first: cells as text, errors in
    percent."""
    import pandas as pd

    kept = sorted(rows, key=_importance)
    shown = [row for row in kept if not row.kind.startswith(_OF_SYSTEM)]
    return pd.DataFrame([_cells(row, _biases(row, kept)) for row in shown])


def _importance(row: Row) -> tuple[bool, bool]:
    """Pages of whole iterations come first, then other rows of machines."""
    return not row.page.endswith("validation.md"), not row.page.startswith("experiments/")


def _biases(row: Row, rows: Sequence[Row]) -> list[float]:
    """Of each system, for the row of all of them."""
    if row.kind != _ALL:
        return []
    of_page = (r for r in rows if r.page == row.page and r.kind.startswith(_OF_SYSTEM))
    return [r.bias for r in of_page if r.bias is not None]


def _cells(row: Row, biases: Sequence[float]) -> dict[str, str]:
    bias = _signed(row.bias)
    if biases:
        bias += f" (systems {_signed(min(biases))} to {_signed(max(biases))})"
    median = _share(row.median) if row.agree is None else f"{row.agree} agree"
    spreads = [_share(spread) for spread in (row.repeats, row.sessions)]
    return {
        "predicted": f"[{row.kind}]({row.page})",
        "measured on": row.machine,
        "by": row.platform,
        "fitted on": row.fitted_on,
        "n": str(row.n),
        "median": median,
        "worst": _signed(row.worst),
        "bias": bias,
        "spread of repeats / sessions": "-" if set(spreads) == {"-"} else " / ".join(spreads),
    }


def _share(value: float | None) -> str:
    return _signed(value).lstrip("+")


def _signed(value: float | None) -> str:
    """Two digits below 0.1 %, so that a small error is not nothing; one above."""
    if value is None:
        return "-"
    digits = 2 if abs(value) < 0.001 else 1
    return f"{100 * value:+.{digits}f} %" if abs(value) >= 5e-5 else "0 %"
