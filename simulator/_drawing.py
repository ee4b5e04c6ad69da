"""matplotlib for files: nothing of the caller's settings, no screen, and no formulae.

Whoever starts the program may have chosen a backend for windows or notebooks (`MPLBACKEND`) that is
not installed here, settings (`MATPLOTLIBRC`) that other figures need, or a folder for settings that
cannot be written. Files are drawn with `Figure` alone, never with `pyplot`, so none of it is
needed; a backend that a notebook has chosen for itself is left to it.
"""

from __future__ import annotations

import os
import sys
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from simulator._extras import extra_module

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["drawing", "logarithmic"]


@contextmanager
def drawing(*sheets: Path) -> Iterator[None]:
    """Draw and write figures with the style `sheets` over the library's own defaults."""
    if "matplotlib" not in sys.modules:
        _import_alone()
    from matplotlib import rc_context, style

    with (
        style.context([str(sheet) for sheet in sheets], after_reset=True),
        rc_context({"text.parse_math": False}),  # a dollar sign in a name begins no formula
        warnings.catch_warnings(),
    ):
        # A letter that the font does not have becomes a box; tables beside it have the name.
        warnings.filterwarnings("ignore", message="Glyph")
        yield


def logarithmic(axes: Axes, *directions: Literal["x", "y"]) -> None:
    """Logarithmic scales whose ticks are plain numbers: 0.1, 1, 10,000.

    The library writes them as formulae, which figures show as they are written.
    """
    from matplotlib.ticker import LogLocator, NullFormatter, NullLocator

    for direction in directions:
        axis = {"x": axes.xaxis, "y": axes.yaxis}[direction]
        axes.set(**{f"{direction}scale": "log"})
        low, high = axis.get_view_interval()
        if high / low < 1000:
            axis.set_major_locator(LogLocator(subs=(1, 2, 5)))
            axis.set_minor_locator(NullLocator())
        axis.set_major_formatter(lambda value, _: f"{value:,.10g}")
        axis.set_minor_formatter(NullFormatter())


def _import_alone() -> None:
    """Import matplotlib, which reads its settings and the environment as it is imported."""
    before = {name: os.environ.get(name) for name in ("MPLBACKEND", "MATPLOTLIBRC")}
    with tempfile.TemporaryDirectory() as folder:
        nothing = Path(folder, "matplotlibrc")
        nothing.touch()
        os.environ |= {"MPLBACKEND": "agg", "MATPLOTLIBRC": str(nothing)}
        try:
            extra_module("matplotlib", "figures")
        finally:
            for name, value in before.items():
                os.environ.pop(name, None)
                if value is not None:
                    os.environ[name] = value
