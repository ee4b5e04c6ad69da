"""Mini-batches that are priced together have the prices of those that are priced one by one, to
the last bit: demands, spans, results."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from small import BOX, points, told

from simulator.caches.facts import LOOKUP, UNIQUE, BatchFacts, Flow
from simulator.caches.flows import Counted
from simulator.columns import column_of
from simulator.config.point import PointConfig
from simulator.engine import simulate_points, timer
from simulator.engine.pricing import Pricing
from simulator.engine.together import (
    MOST_GROUPS,
    Group,
    Groups,
    divided,
    each_group,
    facts_of,
    one_by_one,
    taken,
)

FEW_LOOKUPS = {
    "tables": 4,
    "rows_per_table": 2_000,
    "batch_size": 64,
    "lookups_per_table": 2,
}
"""Of a model whose workers look little up."""
RUN = {"batches": 6, "warmup_batches": 5, "check": False}
CASES: dict[str, dict[str, Any]] = {
    "scratchpipe": {},
    "scratchpipe, cold": {"cache": {"prefill": "empty"}},
    "straw_man": {},
    "hybrid": {"operators": "stock"},
    "static_cache": {},
    "gpu_only": {},
    "fbgemm_cached": {},
    "fae": {},
    "cdlrm": {},
}


def both(
    found: tuple[PointConfig, ...], monkeypatch: pytest.MonkeyPatch
) -> tuple[list[Any], list[Any]]:
    """Demands and results of points priced together, and one by one."""
    kept: list[Any] = []
    run_stages = timer.run_stages

    def noted(resources: Any, demands: Any, *rest: Any, **more: Any) -> Any:
        kept.append(demands)
        return run_stages(resources, demands, *rest, **more)

    monkeypatch.setattr(timer, "run_stages", noted)
    outcomes = []
    for alone in (False, True):
        if alone:
            monkeypatch.setattr(
                Pricing, "_first_try", lambda self, batches: one_by_one(range(len(batches)))
            )
        kept.clear()
        results = simulate_points(found, threads=1)
        outcomes.append([list(kept), [told(result) for result in results]])
    return outcomes[0], outcomes[1]


@pytest.mark.parametrize("system", CASES)
def test_prices_together_are_those_one_by_one(system: str, monkeypatch: pytest.MonkeyPatch) -> None:
    (demands, results), (alone, wanted) = both(
        points(system.partition(",")[0], run=RUN, **CASES[system]), monkeypatch
    )
    assert len(demands[0].groups) < len(demands[0])
    assert [list(each) for each in demands] == [list(each) for each in alone]
    assert results == wanted


def test_sharded_ranks_too(monkeypatch: pytest.MonkeyPatch) -> None:
    found = points({"name": "scratchpipe", "gpus": 2}, platform=BOX, run=RUN)
    (demands, results), (alone, wanted) = both(found, monkeypatch)
    assert [list(each) for each in demands] == [list(each) for each in alone]
    assert results == wanted


@pytest.mark.parametrize("system", [{"name": "het", "bound": 4}, "herald"])
def test_mini_batches_of_workers_fall_into_few_groups(
    system: str | dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whether a cache holds changes, a buffer bytes, or a walk lines divides none of
    them; whether a worker pushes anything to a server does."""
    run = {"batches": 80, "warmup_batches": 5, "check": False}
    more = {"model": FEW_LOOKUPS, "cache": {"prefill": "steady"}, "run": run}
    found = points(system, platform="herald_100g", **more)
    (demands, results), (alone, wanted) = both(found, monkeypatch)
    assert len(demands[0].groups) <= MOST_GROUPS
    assert list(demands[0]) == list(alone[0])
    assert results == wanted


def test_many_mini_batches_may_have_more_groups_than_few() -> None:
    def groups_of(count: int, kinds: int) -> Groups:
        def named(_: int, group: Group) -> int:
            return int(column_of([place % kinds for place in group]))

        return divided((np.arange(count),), lambda groups: each_group(groups, named))[0]

    more = MOST_GROUPS + 4
    assert len(groups_of(2 * more, more)) == 2 * more
    assert len(groups_of(more**2, more)) == more


def test_mini_batches_that_go_different_ways_are_divided() -> None:
    rows = [3, 0, 4, 0]

    def compute(groups: Groups) -> list[str]:
        def named(_: int, group: Group) -> str:
            return "some" if column_of([rows[place] for place in group]) else "none"

        return each_group(groups, named)

    groups, named = divided((np.arange(4),), compute)
    found = {name: group.tolist() for group, name in zip(groups, named, strict=True)}
    assert found == {"some": [0, 2], "none": [1, 3]}


def test_what_columns_cannot_do_is_done_one_by_one() -> None:
    def compute(groups: Groups) -> list[float]:
        return each_group(groups, lambda _, group: float(np.sqrt(group[0])) / (len(group) == 1))

    groups, roots = divided((np.array([1, 4, 9]),), compute)
    assert [group.tolist() for group in groups] == [[1], [4], [9]]
    assert roots == [1.0, 2.0, 3.0]


def test_an_error_of_one_mini_batch_is_its_own() -> None:
    def compute(groups: Groups) -> list[None]:
        def refuse(_: int, group: Group) -> None:
            raise ValueError(group.tolist())

        return each_group(groups, refuse)

    with pytest.raises(ValueError, match=r"\[0\]"):
        divided((np.arange(3),), compute)


def test_facts_in_columns_are_those_of_each_mini_batch() -> None:
    batches = [facts(0, 9, 3), facts(1, 8, 3)]
    both_at_once = facts_of(batches)
    assert both_at_once[UNIQUE].rows == 3
    assert [taken(both_at_once[LOOKUP], place) for place in (0, 1)] == [
        each[LOOKUP] for each in batches
    ]


@pytest.mark.parametrize("bags", [(), (3, 5)])
@pytest.mark.parametrize("most", [40, 1 << 60])
def test_counts_in_arrays_are_joined_as_flows_are(bags: tuple[int, ...], most: int) -> None:
    """Whole numbers that floats cannot hold too; equal ones stay numbers."""
    random = np.random.default_rng(0)
    names, counts = (LOOKUP, UNIQUE), random.integers(0, most, (5, 2, 2, 2))
    counts[:, 0, 0, 0] = 9
    counted = [Counted(names, own, bags) for own in counts]
    arrays = facts_of([BatchFacts(k, 4, own) for k, own in enumerate(counted)])
    assert arrays.flows[LOOKUP][0].lookups == 9
    for place, own in enumerate(counted):
        assert taken(arrays.flows, place) == dict(own)


def test_facts_that_are_not_alike_are_not_joined() -> None:
    with pytest.raises(TypeError, match="different flows"):
        facts_of([facts(0, 9, 3), BatchFacts(1, 4, {LOOKUP: (Flow(9, 3),)})])
    rows = Flow(2, 2, np.array([1, 2]))
    with pytest.raises(TypeError, match="more than counts"):
        facts_of([facts(0, 2, 2), BatchFacts(1, 4, {LOOKUP: (rows,), UNIQUE: (rows,)})])


def facts(index: int, lookups: int, unique: int) -> BatchFacts:
    return BatchFacts(index, 4, {LOOKUP: (Flow(lookups),), UNIQUE: (Flow(lookups, unique),)})
