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

__all__ = ["csv_text", "svg_text", "write_figure"]

_FORMATS: dict[str, dict[str, Any]] = {
    "pdf": {"CreationDate": None, "ModDate": None, "Producer": None, "Creator": None},
    "svg": {"Date": None, "Creator": "scratchpipe"},
    "png": {"Software": None},
}
"""Formats, and the metadata that would change from day to day or between releases."""


def write_figure(name: str, figure: Figure, data: pd.DataFrame, folder: Path) -> list[Path]:
    """Write `name`.pdf, .svg, .png and .csv into `folder` (made if need be); the files."""
    files = []
    with styled():
        for suffix, metadata in _FORMATS.items():
            drawn = io.BytesIO()
            figure.savefig(drawn, format=suffix, metadata=metadata)
            files.append(folder / f"{name}.{suffix}")
            write_file(files[-1], drawn.getvalue())
    files.append(folder / f"{name}.csv")
    write_file(files[-1], csv_text(data))
    return files


def svg_text(figure: Figure) -> str:
    """The figure as an SVG element, without the XML prologue."""
    buffer = io.StringIO()
    with styled():
        figure.savefig(buffer, format="svg", metadata=_FORMATS["svg"])
    text = buffer.getvalue()
    return text[text.index("<svg") :]


def csv_text(data: pd.DataFrame) -> str:
    """The table as CSV; nulls are empty, floats have the digits that give them back."""
    return str(data.to_csv(index=False, lineterminator="\n"))
