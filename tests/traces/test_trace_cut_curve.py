"""A curve of stack distances that ends before the deepest id."""

from pathlib import Path

import numpy as np

from simulator.config.trace import StackTraceConfig
from simulator.traces.open import open_trace


def test_ids_below_the_deepest_distance_are_called_for_too(tmp_path: Path) -> None:
    points = [(n, (n / 100) ** 0.5) for n in range(1, 101, 9)]
    curve = "dataset,n_ids,n_accesses,rank,cumulative_share\n"
    curve += "".join(f"x,100,1000,{rank},{share}\n" for rank, share in points)
    (tmp_path / "curve.csv").write_text(curve)
    depths = "dataset,order,n_ids,n_accesses,le_distance,cumulative_hits\n"
    depths += "".join(f"x,real,100,1000,{n},{9 * n}\n" for n in range(1, 83, 9))
    (tmp_path / "depths.csv").write_text(depths)
    config = StackTraceConfig(
        kind="stack",
        curve="x",
        path=str(tmp_path / "curve.csv"),
        distances_path=str(tmp_path / "depths.csv"),
        tolerance=1.0,
    )
    trace = open_trace(config, rows=(100,), lookups=(3,), batch_size=8, seed=0)
    ids = np.concatenate([trace.minibatch(n).ids[0] for n in range(40)])
    assert 0 <= ids.min() <= ids.max() < 100
