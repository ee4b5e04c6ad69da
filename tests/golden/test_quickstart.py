"""The quickstart at a reduced size gives what is stored, and what must hold whatever is stored.

`python tests/golden/test_quickstart.py` stores the table anew (after a change of physics; say why).
"""

from __future__ import annotations

from functools import cache
from io import StringIO
from pathlib import Path

import pandas as pd
import pytest
from collect import differences

from simulator import load_experiment, simulate

STORED = Path(__file__).with_name("quickstart.csv")
QUICKSTART = Path(__file__).parents[2] / "configs" / "experiments" / "quickstart.yaml"
SMALL = (
    "model.tables=2",
    "model.rows_per_table=1500000",
    "model.batch_size=1024",
    "run.batches=4",
    "run.warmup_batches=6",
)
"""A cache of 10 % holds the window of six mini-batches (123,000 of 150,000 rows a table)."""
CELL = ["locality", "label"]
KEPT = ["iteration_time_us", "lookup_hit_rate", "unique_hit_rate", "bottleneck"]
ROW = 128 * 4
LOOKUPS = 2 * 1024 * 20
ID = 8
"""Bytes of an id in the lists of `paper` operators."""
DENSE = 1024 * 14 * 4
"""Bytes of the dense features and labels of a mini-batch."""
POOLED = 2 * 1024 * ROW


@cache
def tables() -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]:
    """Metrics, stages and resources of the ten points."""
    result = simulate(load_experiment(QUICKSTART, SMALL))
    return result.to_pandas(), result.stages_to_pandas(), result.devices_to_pandas()


def now() -> pd.DataFrame:
    """The ten points as they are stored: text and back, so that the digits are those of a file."""
    text = tables()[0][[*CELL, *KEPT]].to_csv(index=False)
    return pd.read_csv(StringIO(text))


def metric(name: str) -> pd.Series:
    return tables()[0].set_index(CELL)[name]


def moved(resource: str) -> pd.Series:
    """Bytes a mini-batch through a resource, by point."""
    devices = tables()[2]
    return devices[devices["resource"] == resource].set_index(CELL)["bytes"]


def test_ten_points_give_what_is_stored() -> None:
    stored = pd.read_csv(STORED)
    assert len(stored) == 10
    assert stored[CELL].equals(now()[CELL])
    assert differences(stored, now()) == []


def test_nothing_is_used_more_than_all_the_time() -> None:
    devices = tables()[2]
    assert devices["utilization"].between(0.0, 1.0 + 1e-9).all()
    assert devices["share_of_peak"].dropna().between(0.0, 1.0).all()


def test_the_bottleneck_is_the_busiest_resource_or_latency() -> None:
    """Of devices: a pool of threads counts those that wait for memory too."""
    metrics, _, devices = tables()
    devices = devices[devices["kind"] != "pool"]
    for row in metrics.to_dict("records"):
        mine = devices[devices["point"] == row["point"]].set_index("resource")["utilization"]
        assert row["bottleneck_utilization"] == mine.max()
        if row["bottleneck"] == "latency":
            assert mine.max() < 0.5
        else:
            assert mine[row["bottleneck"]] == mine.max()


def test_energy_is_the_sum_of_that_of_the_resources() -> None:
    summed = tables()[2].groupby(CELL)["energy_mj"].sum()
    whole = metric("energy_mj")
    assert summed.reindex(whole.index).to_numpy() == pytest.approx(whole.to_numpy(), rel=1e-12)


@pytest.mark.parametrize("locality", ["random", "high"])
def test_scratchpipe_is_never_slower_than_the_straw_man(locality: str) -> None:
    time = metric("iteration_time_us")[locality]
    assert time["scratchpipe"] <= time["straw_man"]


def test_no_system_is_slower_where_lookups_are_more_local() -> None:
    time = metric("iteration_time_us")
    for label in time["random"].index:
        assert time["high", label] <= time["random", label] * (1 + 1e-9), label


@pytest.mark.parametrize("locality", ["random", "high"])
def test_a_static_cache_hits_no_less_than_one_that_has_to_learn(locality: str) -> None:
    """Independent draws: the hottest rows are the best that can be known of them."""
    hits = metric("lookup_hit_rate")[locality]
    assert hits["static_cache"] > hits["straw_man"] - 0.01


@pytest.mark.parametrize("locality", ["random", "high"])
def test_bytes_over_the_link_are_those_of_the_vectors_and_rows(locality: str) -> None:
    """Down and up, a mini-batch: pooled vectors and gradients, or rows fetched and written back."""
    down, up = moved("pcie.down")[locality], moved("pcie.up")[locality]
    assert down["hybrid"] == pytest.approx(POOLED + DENSE)
    assert up["hybrid"] == pytest.approx(POOLED)
    missed = metric("misses_per_batch")[locality, "straw_man"]
    back = metric("dirty_victims_per_batch")[locality, "straw_man"]
    assert down["straw_man"] == pytest.approx(missed * ROW + LOOKUPS * ID + DENSE)
    assert up["straw_man"] == pytest.approx(back * ROW + (missed + back) * ID)


@pytest.mark.parametrize("label", ["hybrid", "static_cache", "straw_man", "gpu_only"])
@pytest.mark.parametrize("kind", ["dram", "hbm", "link", "gpu_link"])
def test_bytes_of_the_stages_are_those_of_the_resources(label: str, kind: str) -> None:
    _, stages, devices = tables()
    by_stage = stages[stages["label"] == label].groupby("locality")[f"{kind}_bytes"].sum()
    mine = devices[(devices["label"] == label) & (devices["kind"] == kind)]
    by_resource = mine.groupby("locality")["bytes"].sum().reindex(by_stage.index, fill_value=0.0)
    assert by_stage.to_numpy() == pytest.approx(by_resource.to_numpy(), rel=1e-9)


if __name__ == "__main__":
    now().to_csv(STORED, index=False)
