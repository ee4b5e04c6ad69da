"""The ids of the synthetic scaling models: floor(y) - 1 of a number y with a power law.

y = (u (n**(1 - a) - 1) + 1)**(1 / (1 - a)) with u uniform and n = rows + 1, so that
P(id < k) = P(y < k + 1) = ((k + 1)**(1 - a) - 1) / (n**(1 - a) - 1).
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest

from simulator.config.catalogue import load_named
from simulator.config.trace import PowerLawTraceConfig
from simulator.traces import Trace, open_trace
from simulator.traces.cells import power_law_cells

Floats = npt.NDArray[np.float64]


def below(rows: int, alpha: float, ids: npt.ArrayLike) -> Floats:
    """P(id < k) for each k of `ids`."""
    k = np.asarray(ids, np.float64)
    if alpha == 1.0:
        return np.log(k + 1.0) / np.log(rows + 1.0)
    return ((k + 1.0) ** (1.0 - alpha) - 1.0) / ((rows + 1.0) ** (1.0 - alpha) - 1.0)


def drawn(rows: int, alpha: float, lookups: int = 400_000) -> npt.NDArray[np.int64]:
    trace: Trace = open_trace(
        PowerLawTraceConfig(alpha=alpha), rows=(rows,), lookups=(1,), batch_size=lookups, seed=4
    )
    return trace.minibatch(0).ids[0]


@pytest.mark.parametrize("alpha", [0.0, 0.5, 1.0, 1.05, 2.0])
@pytest.mark.parametrize("rows", [1, 10, 1_000, 100_000, 400_000_000])
def test_cells_have_the_closed_form(rows: int, alpha: float) -> None:
    """At the edges of cells to 1e-12; within them, where they are wider than a rank, to 1e-5 of
    what lies below."""
    cells = power_law_cells(rows, alpha)
    edges = np.append(cells.first[1:], rows).astype(np.float64)
    assert cells.share(edges) == pytest.approx(below(rows, alpha, edges), abs=1e-12)
    within = np.unique(np.geomspace(1, rows, 500).astype(np.int64))
    assert cells.share(within) == pytest.approx(below(rows, alpha, within), rel=1e-5)


@pytest.mark.parametrize("rows", [10, 1_000, 25_000_000])
def test_ids_follow_it(rows: int) -> None:
    """By the largest difference of the shares, whose standard deviation is 0.5 / sqrt(lookups)."""
    ids = np.sort(drawn(rows, 1.05))
    points = np.unique(np.geomspace(1, rows, 200).astype(np.int64))
    seen = np.searchsorted(ids, points) / len(ids)
    assert np.abs(seen - below(rows, 1.05, points)).max() < 4 * 0.5 / np.sqrt(len(ids))
    assert (ids[0], ids[-1] < rows) == (0, True)


def test_ids_are_those_of_the_published_formula() -> None:
    """The generator itself, on random numbers of its own."""
    rows, a = 1_000, 1.05
    n = rows + 1.0
    u = np.random.default_rng(1).random(400_000)
    y = (u * (n ** (1 - a) - 1) + 1) ** (1 / (1 - a))
    published = np.bincount(np.floor(y).astype(np.int64) - 1, minlength=rows)
    ours = np.bincount(drawn(rows, a), minlength=rows)
    spread = np.sqrt(published + ours + 1.0)
    assert np.abs(published - ours).max() < 5 * spread.max()
    assert (np.abs(published - ours) / spread).mean() == pytest.approx(0.8, abs=0.1)


def test_row_0_is_the_hottest() -> None:
    trace = open_trace(
        PowerLawTraceConfig(alpha=1.05), rows=(500,), lookups=(3,), batch_size=8, seed=0
    )
    assert trace.hottest(0, 4).tolist() == [0, 1, 2, 3]


def test_the_trace_of_the_synthetic_models_has_their_exponent() -> None:
    trace = load_named("traces", "power_law")
    assert (trace.kind, trace.alpha) == ("power_law", 1.05)
