"""Shipped experiments give, to the last digit, what is stored in `points.csv`.

All of them take minutes (see `collect.py`); one of each kind of replay is run here.
"""

from __future__ import annotations

from io import StringIO
from pathlib import Path

import pandas as pd
from collect import STORED, differences

from simulator import load_experiment, simulate

REAL_TRACE = Path(__file__).parents[2] / "configs" / "experiments" / "real_trace.yaml"


def test_a_real_trace_gives_what_is_stored() -> None:
    changes = ("systems=[hybrid, static_cache, scratchpipe]", "cache.policy=lru")
    rows = [dict(row) for row in simulate(load_experiment(REAL_TRACE, changes)).metrics()]
    kept = [{k: v for k, v in row.items() if k != "sweep"} for row in rows]
    table = pd.read_csv(StringIO(pd.DataFrame(kept).sort_values("label").to_csv(index=False)))
    stored = pd.read_csv(STORED)
    wanted = stored["label"].isin(table["label"]) & (stored["locality"] == table["locality"][0])
    wanted &= (stored["platform"] == table["platform"][0]) & (stored["batches"] == 1000)
    wanted &= stored["policy"].isin(["lru", "static_hot"]) | stored["policy"].isna()
    same = stored[wanted].drop_duplicates("label").sort_values("label").reset_index(drop=True)
    assert len(same) == len(table) == 3
    assert differences(same, table) == []
