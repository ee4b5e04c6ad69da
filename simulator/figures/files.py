"""Figures as files: PDF, SVG and PNG with the same bytes each time, and the CSV behind them."""

from __future__ import annotations

import io
from pathlib import Path
from typing import TYPE_CHECKING, Any

from simulator.figures.style import styled
from simulator.files import write_file

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

__all__ = ["FORMATS", "csv_text", "figure_bytes", "svg_text", "write_figure"]

FORMATS: dict[str, dict[str, Any]] = {
    "pdf": {"CreationDate": None, "ModDate": None, "Producer": None, "Creator": None},
    "svg": {"Date": None, "Creator": "scratchpipe"},
    "png": {"Software": None},
}
"""Formats, and the metadata that would change from day to day or between releases."""


def write_figure(name: str, figure: Figure, data: pd.DataFrame, folder: Path) -> list[Path]:
    """Write `name`.pdf, .svg, .png and .csv into `folder` (made if need be); the files."""
    files = []
    for suffix in FORMATS:
        files.append(folder / f"{name}.{suffix}")
        write_file(files[-1], figure_bytes(figure, suffix))
    files.append(folder / f"{name}.csv")
    write_file(files[-1], csv_text(data))
    return files


def figure_bytes(figure: Figure, suffix: str) -> bytes:
    """The figure as a file of one of `FORMATS`."""
    drawn = io.BytesIO()
    with styled():
        figure.savefig(drawn, format=suffix, metadata=FORMATS[suffix])
    return drawn.getvalue()


def svg_text(figure: Figure) -> str:
    """The figure as an SVG element, without the XML prologue."""
    buffer = io.StringIO()
    with styled():
        figure.savefig(buffer, format="svg", metadata=FORMATS["svg"])
    text = buffer.getvalue()
    return text[text.index("<svg") :]


def csv_text(data: pd.DataFrame) -> str:
    """The table as CSV; nulls are empty, floats have the digits that give them back."""
    return str(data.to_csv(index=False, lineterminator="\n"))
