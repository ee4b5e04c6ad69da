"""Tensor Casting: hybrid without expand and without a sort on the CPU."""

from __future__ import annotations

from typing import Any

import pytest
from rivalry import executed, points, replayed, simulated, stage_times, words

from simulator.caches.facts import LOOKUP, UNIQUE
from simulator.errors import ConfigError
from simulator.hardware.program import Expand, Move, Sort, Update


@pytest.mark.parametrize("operators", ["paper", "tuned", "stock"])
@pytest.mark.parametrize("batch_size", [256, 1024])
def test_it_is_hybrid_without_expand_and_without_the_sort(operators: str, batch_size: int) -> None:
    changes: dict[str, Any] = {"operators": operators, "model": {"batch_size": batch_size}}
    plain = {"name": "hybrid", "operators": {"base": operators, "expand": None}}
    results = simulated("tensor_casting", plain, **changes)
    mine, other = (stage_times(results[name]) for name in ("tensor_casting", "hybrid"))
    assert set(other) - set(mine) == {"sort"}
    for name in set(mine) - {"gather_reduce"}:  # dirty lines are driven out by another operator
        assert mine[name] == pytest.approx(other[name], rel=0.05), name
    assert mine["gather_reduce"] >= other["gather_reduce"]
    saved = results["hybrid"].metrics["iteration_time_us"] - other["sort"]
    exposed = mine["gather_reduce"] - other["gather_reduce"]
    time_us = results["tensor_casting"].metrics["iteration_time_us"]
    assert time_us == pytest.approx(saved + exposed, rel=0.02)


def test_a_long_forward_hides_the_list() -> None:
    model = {"batch_size": 1024, "rows_per_table": 200_000, "lookups_per_table": 20}
    changes: dict[str, Any] = {"operators": "paper", "trace": {"kind": "uniform"}, "model": model}
    plain = {
        "name": "hybrid",
        "label": "unexpanded",
        "operators": {"base": "paper", "expand": None},
    }
    results = simulated("tensor_casting", plain, "hybrid", **changes)
    mine = stage_times(results["tensor_casting"])
    other = stage_times(results["unexpanded"])
    assert mine["gather_reduce"] - other["gather_reduce"] < 0.5 * other["sort"]
    times = {name: r.metrics["iteration_time_us"] for name, r in results.items()}
    assert times["tensor_casting"] < times["unexpanded"] < times["hybrid"]


@pytest.mark.parametrize("operators", ["paper", "tuned"])
def test_ids_go_up_and_the_list_comes_back(operators: str) -> None:
    system, (facts,) = replayed("tensor_casting", 1, operators=operators)
    own = words(system, facts)
    lookups, ids = facts[LOOKUP].lookups, {"paper": 8, "tuned": 4}[operators]
    sizes = {w.name: w.bytes for w in own if isinstance(w, Move)}
    assert sizes["ids_to_gpu"] == ids * lookups
    assert sizes["list_to_cpu"] == (ids + 4) * lookups
    sorts = [w for w in own if isinstance(w, Sort)]
    assert [(w.at, w.rows.lookups) for w in sorts] == [("gpu", lookups)]
    assert not any(isinstance(w, Expand) for w in own)
    (update,) = (w for w in own if isinstance(w, Update))
    assert (update.at, update.expanded, update.rows.rows) == ("cpu", False, facts[UNIQUE].rows)


@pytest.mark.parametrize("tables", [1, 3])
def test_it_trains_like_one_batch_at_a_time(tables: int) -> None:
    outcome = executed("tensor_casting", tables=tables)
    assert outcome.tables_equal
    assert outcome.stale == outcome.lost == 0


def test_rows_of_unlike_dim_have_a_list_each() -> None:
    model = {"dim": [128, 64, 128, 64], "interaction": "cat"}
    system, (facts,) = replayed("tensor_casting", 1, model=model)
    sorts = [w for w in words(system, facts) if isinstance(w, Sort)]
    assert sum(w.rows.lookups for w in sorts) == facts[LOOKUP].lookups
    assert len(sorts) == 2
    simulated("tensor_casting", model=model)


def test_several_gpus_and_a_cache_are_refused() -> None:
    with pytest.raises(ConfigError, match="gpus: is not used by tensor_casting"):
        points({"name": "tensor_casting", "gpus": 2}, platform="p3_16xlarge")
    with pytest.raises(ConfigError, match="is not used by tensor_casting"):
        points({"name": "tensor_casting", "cache": {"fraction": 0.1}})
