"""EL-Rec's pipeline: what is handed on, what overlaps, what crosses the link, hazards executed."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from rivalry import executed, points, replayed, simulated, stage_times, without_wait, words

from simulator.caches.facts import HIT, LOOKUP, UNIQUE, BatchFacts
from simulator.engine.points import simulate_points
from simulator.errors import CapacityError, ConfigError
from simulator.hardware.program import Gather, Move, Operation, Scatter, Stage, Update
from simulator.systems import system_class

BUSY = {"operators": "tuned", "trace": {"kind": "uniform"}, "run": {"batches": 20}}


@pytest.mark.parametrize("ahead", [0, 1, 2, 5])
@pytest.mark.parametrize("seed", range(2))
def test_it_trains_like_one_batch_at_a_time(ahead: int, seed: int) -> None:
    outcome = executed("el_rec_pipeline", f"ahead={ahead}", seed=seed, tables=2)
    assert outcome.tables_equal
    assert outcome.stale == outcome.lost == 0


def test_without_the_patch_rows_of_the_mini_batch_before_are_stale(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Of 60 rows each mini-batch takes 6: a row is in two running ones with probability 0.1."""
    kind = system_class("el_rec_pipeline")
    build = kind.stages

    def without(self: object, facts: BatchFacts) -> tuple[Stage, ...]:
        stages: Sequence[Stage] = build(self, facts)  # type: ignore[arg-type]
        return tuple(Stage(s.name, ()) if s.name == "patch" else s for s in stages)

    monkeypatch.setattr(kind, "stages", without)
    outcome = executed.__wrapped__("el_rec_pipeline", batches=400)
    assert not outcome.tables_equal
    assert outcome.behind == 1
    stale = len(outcome.reports["timed"].stale)
    assert stale == pytest.approx(400 * 6 * 0.1, rel=0.2)


@pytest.mark.parametrize(("stage", "other"), [("gather", "update"), ("patch", "backward")])
def test_each_wait_of_the_pipeline_is_needed(
    stage: str, other: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without it a row is gathered or handed on before it has been trained."""
    without_wait(monkeypatch, "el_rec_pipeline", stage, other)
    outcome = executed.__wrapped__("el_rec_pipeline", batches=200)
    assert not outcome.tables_equal


@pytest.mark.parametrize("profile", ["tuned", "paper"])
def test_a_row_crosses_the_link_once_each_way(profile: str) -> None:
    """Down each distinct row, up a gradient for it; the host reads and updates each once."""
    system, facts = replayed("el_rec_pipeline", 3, operators=profile)
    batch = facts[-1]
    unique, shared = batch[UNIQUE].rows, batch[HIT].rows
    program = words(system, batch)

    def only(kind: type[Operation], name: str) -> Operation:
        (word,) = (w for w in program if isinstance(w, kind) and w.name == name)
        return word

    sizes = {w.name: w.bytes for w in program if isinstance(w, Move)}
    assert sizes["rows"] == sizes["row_gradients"] == unique * 512
    gathered, copied = only(Gather, "gather_rows"), only(Gather, "gather_copied")
    assert (gathered.rows.rows, copied.rows.rows) == (unique, shared)  # type: ignore[attr-defined]
    assert only(Scatter, "scatter_copied").rows.rows == shared > 0  # type: ignore[attr-defined]
    on_gpu, on_cpu = (w for w in program if isinstance(w, Update))
    assert [w.rows.rows for w in (on_gpu, on_cpu)] == [unique, unique]
    assert [w.rows.lookups for w in (on_gpu, on_cpu)] == [unique, unique]
    assert (on_gpu.writes.memory, on_cpu.writes.memory) == ("gpu.hbm", "cpu.dram")


def test_nothing_ahead_is_one_stage_after_the_other() -> None:
    (result,) = simulated({"name": "el_rec_pipeline", "ahead": 0}, **BUSY).values()
    times = stage_times(result)
    assert times["patch"] == 0
    assert result.metrics["iteration_time_us"] == pytest.approx(sum(times.values()), rel=1e-6)


def test_two_in_flight_halve_an_iteration_at_most() -> None:
    """T >= half of all stages, and of the stages that the GPU does one mini-batch at a time."""
    serial = {"name": "el_rec_pipeline", "label": "serial", "ahead": 0}
    results = simulated(serial, "el_rec_pipeline", **BUSY)
    times = stage_times(results["el_rec_pipeline"])
    iteration = results["el_rec_pipeline"].metrics["iteration_time_us"]
    on_gpu = sum(times[stage] for stage in ("patch", "forward", "mlp", "backward"))
    assert iteration >= 0.999 * max(on_gpu, sum(times.values()) / 2)
    assert iteration < results["serial"].metrics["iteration_time_us"]


def test_it_counts_the_rows_that_are_handed_on() -> None:
    """All rows of small tables are in every mini-batch: all are handed on."""
    model = {"rows_per_table": 50, "batch_size": 256}
    (result,) = simulated("el_rec_pipeline", model=model, trace={"kind": "uniform"}).values()
    assert result.metrics["unique_hit_rate"] == 1.0
    assert result.metrics["unique_rows_per_batch"] == 200


def test_rows_of_unlike_dim_and_with_state() -> None:
    model = {"dim": [128, 64, 128, 64], "interaction": "cat", "optimizer": "adagrad"}
    system, (facts,) = replayed("el_rec_pipeline", 1, model=model)
    rows = {w.what.name: w.bytes for w in words(system, facts) if isinstance(w, Move)}
    of_dim = [sum(facts.flows[UNIQUE][t].rows for t in pair) for pair in ((0, 2), (1, 3))]
    assert rows["rows_dim128"] == of_dim[0] * 1024
    assert rows["row_gradients_dim64"] == of_dim[1] * 256
    assert sum(of_dim) == facts[UNIQUE].rows
    assert facts[LOOKUP].lookups == 256 * 80


def test_what_does_not_fit_or_does_not_exist_is_refused() -> None:
    model = {"rows_per_table": 30_000_000, "tables": 3, "batch_size": 1_000_000}
    (point,) = points("el_rec_pipeline", model=model)
    with pytest.raises(CapacityError, match=r"2 mini-batches in flight.*lower ahead or model"):
        simulate_points([point], threads=1)
    with pytest.raises(ConfigError, match=r"ahead of el_rec_pipeline is 30, but the run has 12"):
        simulate_points(points({"name": "el_rec_pipeline", "ahead": 30}), threads=1)
    with pytest.raises(ConfigError, match=r"ahead: is -1: must be at least 0"):
        points({"name": "el_rec_pipeline", "ahead": -1})
    with pytest.raises(ConfigError, match=r"gpus: is not used by el_rec_pipeline"):
        points({"name": "el_rec_pipeline", "gpus": 2})
