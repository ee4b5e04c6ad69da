"""Systems on several GPUs: processes that talk over gloo, on CPU tensors.

The reference is the same system on one GPU. The dense step sums over half of the samples at a time,
so tables agree to rounding (1e-6, values of 0.01).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from training import MODEL, experiment, inputs_of, tables_of

from simulator.caches.facts import LOOKUP, MISS, VICTIM
from simulator.config.expand import expand
from simulator.config.point import PointConfig
from simulator.engine import simulate
from simulator.errors import UsageError
from simulator.observe.inputs import of_rank
from simulator.observe.processes import RankJob, Ranks
from simulator.observe.rows import aligned, fill_rows
from simulator.observe.run import observe

pytestmark = pytest.mark.usefixtures("torch_there")

THREE = MODEL | {"tables": 3, "rows_per_table": [600, 200, 300], "lookups_per_table": [3, 1, 2]}
SYSTEMS = ("gpu_only", "hybrid", "static_cache", "straw_man", "scratchpipe")
JAGGED = {"kind": "zipf", "alpha": 0.9, "pooling": "poisson"}
CACHE = {"fraction": 0.2, "if_too_small": "grow"}


def shown(name: str = "gpu_only", **changes: Any) -> dict[str, Any]:
    """Two GPUs of a server with eight."""
    systems = [{"name": name, "gpus": 2}]
    return {"platform": "p3_16xlarge", "systems": systems, "model": THREE, "cache": CACHE} | changes


def changed(**gpu: Any) -> dict[str, Any]:
    """The software of observe but for what its GPUs do."""
    return {"base": "observed", "gpu": gpu}


def point_of(name: str = "gpu_only", **changes: Any) -> PointConfig:
    return expand(experiment(**shown(name, **changes)))[0]


@pytest.fixture(scope="module")
def two() -> Iterator[Ranks]:
    """Two processes, which train one point after the other."""
    with Ranks("cpu", 2) as processes:
        yield processes


@pytest.mark.parametrize(
    ("pooling", "lookups"),
    [("fixed", [3, 1, 2]), ("poisson", [3, 1, 2]), ("poisson", [[3, 2], 1, [1, 2]])],
)
@pytest.mark.parametrize("name", SYSTEMS)
def test_two_gpus_train_what_one_trains(
    two: Ranks, name: str, pooling: str, lookups: list[Any]
) -> None:
    """Tables of other sizes and pooling, one GPU with two of them, jagged bags too, and tables that
    features share."""
    changes: dict[str, Any] = {
        "model": THREE | {"lookups_per_table": lookups},
        "cache": CACHE,
        "trace": JAGGED | {"pooling": pooling},
    }
    alone = tables_of(systems=[name], **changes)[name]
    measured, tables = two.train(RankJob(point_of(name, **changes), 2, keep_tables=True))
    assert tables is not None
    before = aligned(1_100, 16)
    fill_rows(before, 1)
    assert np.abs(alone - before).max() > 1e-5
    assert np.allclose(tables, alone, rtol=0, atol=1e-6)
    assert len(measured) == 1


@pytest.mark.parametrize("interaction", ["cat", "cross"])
def test_vectors_that_come_by_rank_meet_in_the_order_of_the_tables(
    two: Ranks, interaction: str
) -> None:
    """By lookups the first GPU gets the first table, by size as well: here it gets the last two."""
    model = THREE | {"interaction": interaction, "rows_per_table": [200, 300, 600]}
    model |= {"cross": {"layers": 1, "rank": 4}} if interaction == "cross" else {}
    alone = tables_of(systems=["gpu_only"], model=model)["gpu_only"]
    _, tables = two.train(RankJob(point_of(model=model), 2, keep_tables=True))
    assert tables is not None
    assert np.allclose(tables, alone, rtol=0, atol=1e-6)


def test_a_sum_over_the_gpus_before_the_update_of_rows(two: Ranks) -> None:
    """Collectives in the order of the program, which here has them one after the other."""
    model, operators = THREE, changed(all_reduce="in_turn")
    alone = tables_of(systems=["gpu_only"], model=model)["gpu_only"]
    point = point_of(model=model, operators=operators)
    _, tables = two.train(RankJob(point, 2, keep_tables=True))
    assert tables is not None
    assert np.allclose(tables, alone, rtol=0, atol=1e-6)


def test_stages_and_counts_of_two_gpus_are_the_simulators() -> None:
    toy = experiment(**shown(systems=[{"name": name, "gpus": 2} for name in SYSTEMS]))
    seen, simulated = observe(toy, device="cpu", repeats=2), simulate(toy)
    for point, result in zip(seen.points, simulated.points, strict=True):
        assert not point.error
        assert len(point.repeats) == 2
        stages = {stage for _, stage in point.repeats[0].stage_us}
        assert stages == {row["stage"] for row in result.stages}
        timed = [point.repeats[0].counts[b] for b in range(point.first, point.last + 1)]
        metrics, name = result.metrics, point.point.system.name
        assert np.mean([c.lookups for c in timed]) == metrics["lookups_per_batch"]
        assert np.mean([c.unique_rows for c in timed]) == metrics["unique_rows_per_batch"]
        if name in ("straw_man", "scratchpipe"):
            assert np.mean([c.misses for c in timed]) == metrics["misses_per_batch"]
            assert np.mean([c.write_backs for c in timed]) == metrics["dirty_victims_per_batch"]


def test_the_shares_of_two_gpus_are_all_there_is() -> None:
    """Lookups, and what moves, each once; rows and slots numbered from 0 in each share."""
    whole = inputs_of(point_of("straw_man", trace=JAGGED))
    shares = [of_rank(whole, rank) for rank in (0, 1)]
    assert sorted(table for each in shares for table in each.share.tables) == [0, 1, 2]
    assert sum(each.slots for each in shares) == whole.slots
    for number, facts in enumerate(whole.facts):
        for name in (LOOKUP, MISS, VICTIM):
            parts = [each.facts[number][name] for each in shares]
            assert sum(part.rows for part in parts) == facts[name].rows
        own = [each.batches[number] for each in shares]
        assert sum(len(batch.ids) for batch in own) == len(whole.batches[number].ids)
        assert np.array_equal(
            np.concatenate([batch.dense for batch in own]), whole.batches[number].dense
        )
    for each in shares:
        missed = np.concatenate([f[MISS].ids for f in each.facts if f[MISS].ids is not None])
        slots = np.concatenate([f[MISS].slots for f in each.facts if f[MISS].slots is not None])
        assert_below(missed, each.point.model.rows)
        assert_below(slots, each.slots)
        assert_below(each.preload.slots, each.slots)


def assert_below(numbers: Any, count: int) -> None:
    assert numbers.min() >= 0
    assert numbers.max() < count


@pytest.mark.parametrize(
    ("changes", "advice"),
    [
        ({"operators": "stock"}, "--set operators=observed"),
        ({"operators": changed(exchange_bytes=2)}, "vectors exchanged in fp32"),
        ({"operators": changed(ids="exchanged")}, "ids loaded by the GPU"),
        ({"operators": changed(bottom_mlp="beside_exchange")}, "a bottom MLP with the rest"),
        ({"operators": changed(next_ids="ahead")}, "ids that are sent in turn"),
        ({"operators": changed(iteration="graph")}, "launched piece by piece"),
        ({"model": THREE | {"sharding": "row"}}, "--set model.sharding=table"),
        ({"model": THREE | {"batch_size": 9}}, "--set model.batch_size=8"),
    ],
)
def test_what_several_gpus_cannot_do_is_refused(changes: dict[str, Any], advice: str) -> None:
    with pytest.raises(UsageError, match=advice):
        observe(experiment(**shown(**changes)), device="cpu")


def test_more_gpus_than_tables_is_the_error_of_its_point() -> None:
    toy = experiment(**shown(systems=[{"name": "gpu_only", "gpus": 4}]))
    (point,) = observe(toy, device="cpu").points
    assert "3 tables do not reach 4 GPUs" in point.error


@pytest.mark.parametrize("system", ["hugectr_hybrid", "flexshard"])
def test_rows_with_copies_on_several_gpus_are_refused(system: str) -> None:
    with pytest.raises(
        UsageError, match=f"train {system}: it keeps copies of rows .* observe gpu_only"
    ):
        observe(experiment(**shown(system)), device="cpu")


def test_a_rank_that_fails_is_the_error_of_its_point() -> None:
    """Here a trace that is not there, found by both ranks."""
    trace = {"kind": "file", "path": "gone.npy"}
    processes = Ranks("cpu", 2)
    with pytest.raises(RuntimeError, match=r"rank 0: .*gone.npy"):
        processes.train(RankJob(point_of(trace=trace), 2))


def test_points_after_one_that_failed_are_trained(monkeypatch: pytest.MonkeyPatch) -> None:
    """A rank that ends without a word costs its point alone."""
    toy = experiment(**shown(sweep={"model.batch_size": [8, 16]}))
    train, calls = Ranks.train, []

    def once(self: Ranks, job: RankJob) -> Any:
        if not calls:
            calls.append(job)
            self._processes[1].kill()
        return train(self, job)

    monkeypatch.setattr(Ranks, "train", once)
    first, second = observe(toy, device="cpu", repeats=1).points
    assert "ended without a word" in first.error
    assert not second.error
