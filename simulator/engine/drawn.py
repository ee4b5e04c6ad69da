"""A result that draws itself: rooms below this one do not know figures."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from simulator.results.record import Result
from simulator.results.rows import joined

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["DrawnResult"]


@dataclass(frozen=True, slots=True, repr=False)
class DrawnResult(Result):
    """The outcome of an experiment, with a figure of it."""

    def plot(
        self, x: str = "", y: str = "iteration_time_us", width: str | float = "page"
    ) -> Figure:
        """`y` against `x` as a matplotlib figure: columns of the results, or swept keys.

        `x`: the first swept key, else the system, unless given. `width`: `column`, `page` (of a
        paper), or inches. Notebooks show it; `figure.savefig("name.pdf")` keeps it. Raises
        `UsageError` for a column that cannot be drawn.
        """
        from simulator.figures.plot import plot

        swept = self.swept()
        keys = dict.fromkeys(path for values in swept for path in values)
        names = {"trace.locality": "locality", "cache.policy": "policy"}
        first = next((names.get(key, key) for key in keys), "label")
        rows = joined(self.metrics(), self.loads(), self.checkpoints())
        return plot(rows, swept, x or first, y, width, self.software)
