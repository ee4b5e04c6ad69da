"""cDLRM and HugeCTR's embedding training cache: bytes, times, hazards executed."""

from __future__ import annotations

import pytest
from rivalry import executed, points, replayed, simulated, stage_times, words

from simulator.caches.facts import BYPASS, UNIQUE
from simulator.caches.replays.associative import FETCHED
from simulator.caches.replays.windows import READ_AHEAD, RESIDENT
from simulator.engine.points import simulate_points
from simulator.errors import CapacityError, ConfigError
from simulator.hardware.program import Gather, Move, Probe
from simulator.results.notes import notes_of

TUNED = {"operators": "tuned"}


def test_all_rows_of_a_window_are_gathered_and_missing_ones_sent() -> None:
    system, facts = replayed({"name": "cdlrm", "look_ahead": 3}, 9, cache={"prefill": "empty"})
    for batch in facts:
        gathers = [w for w in words(system, batch) if isinstance(w, Gather) and w.at == "cpu"]
        ahead = [w.rows.rows for w in gathers if w.name != "gather_on_demand"]
        moved = [w.bytes for w in words(system, batch) if isinstance(w, Move)]
        assert sum(ahead) == batch[READ_AHEAD].rows
        assert (batch[FETCHED].rows * 512 in moved) == (batch.index % 3 == 0)
        tags = [(w.at, w.rows, w.missed) for w in words(system, batch) if isinstance(w, Probe)]
        missed = batch[READ_AHEAD].rows - batch[RESIDENT].rows
        assert tags == ([("cpu", batch[READ_AHEAD].rows, missed)] if batch.index % 3 == 0 else [])
        on_demand = [w.rows.rows for w in gathers if w.name == "gather_on_demand"]
        assert sum(on_demand) == batch[BYPASS].lookups


def test_what_it_trains_is_stale_and_updates_are_lost_with_their_amount() -> None:
    """A longer queue gathers earlier: more of what it puts in has been written back since."""
    short = executed("cdlrm", "queue=0", "collectors=1", slots=36)
    long = executed("cdlrm", "queue=8", slots=36)
    for outcome in (short, long):
        assert not outcome.tables_equal
        assert outcome.stale > 0
        assert outcome.lost > 0
    assert long.stale > 1.5 * short.stale
    assert long.behind > 2


def test_a_pass_is_gpu_only_and_its_rows_twice_over_the_link() -> None:
    """Time of a mini-batch: that of `gpu_only`, and load and flush of a pass over its length."""
    changes = {"run": {"batches": 10, "warmup_batches": 10}, "cache": {"fraction": 0.9}, **TUNED}
    results = simulated({"name": "hugectr_etc", "pass_batches": 5}, "gpu_only", **changes)
    etc, alone = results["hugectr_etc"], results["gpu_only"]
    times, other = stage_times(etc), stage_times(alone)
    swaps = times["load"] + times["flush"]
    training = alone.metrics["iteration_time_us"]
    assert etc.metrics["iteration_time_us"] - swaps == pytest.approx(training, rel=0.02)
    assert times["mlp"] == pytest.approx(other["mlp"], rel=0.01)
    system, facts = replayed({"name": "hugectr_etc", "pass_batches": 5}, 5, **changes)
    moves = {w.name: w.bytes for b in facts for w in words(system, b) if isinstance(w, Move)}
    loaded = facts[0][FETCHED].rows
    sent = [w.bytes for w in words(system, facts[0]) if isinstance(w, Move)]
    assert sent[0] == loaded * 512
    assert moves["victim_rows"] == loaded * 512
    assert loaded >= max(batch[UNIQUE].rows for batch in facts)


def test_passes_train_like_one_batch_at_a_time() -> None:
    outcome = executed("hugectr_etc", "pass_batches=7", slots=60, tables=2)
    assert outcome.tables_equal
    assert outcome.stale == outcome.lost == 0


@pytest.mark.parametrize(
    ("entry", "error", "message"),
    [
        (
            {"name": "cdlrm", "look_ahead": 3000},
            ConfigError,
            "look_ahead of cdlrm reads 3,000 mini-batches ahead, but the run has",
        ),
        ({"name": "cdlrm", "ways": 4096}, ConfigError, "less than one set of 4096 ways: set"),
        (
            {"name": "hugectr_etc", "pass_batches": 8, "cache": {"rows": 1000}},
            CapacityError,
            r"than the 1,000 slots: set cache.rows to at least 10240 .*, or lower pass_batches",
        ),
    ],
)
def test_what_cannot_be_is_named_with_number_and_remedy(
    entry: dict[str, object], error: type[Exception], message: str
) -> None:
    model = {"base": "default", "tables": 2, "rows_per_table": 20_000, "batch_size": 64}
    model |= {"lookups_per_table": 10, "bottom_mlp": [64], "top_mlp": [64, 1]}
    trace = {"kind": "uniform"}
    with pytest.raises(error, match=message):
        simulate_points(
            points(entry, trace=trace, model=model, cache={"prefill": "empty"}), threads=1
        )


def test_a_window_with_more_rows_than_slots_is_marked() -> None:
    """Rows of a window over slots; what finds none is read on demand, which is no error."""
    small = {"cache": {"fraction": 0.0128}, "trace": {"kind": "uniform"}}
    row = simulated({"name": "cdlrm", "look_ahead": 3}, **small)["cdlrm"].metrics
    _, facts = replayed({"name": "cdlrm", "look_ahead": 3}, 6, **small)
    window = facts[3][READ_AHEAD].rows
    slots = row["cache_rows"]
    assert row["rows_per_slot"] == pytest.approx(window / slots, rel=0.02)
    assert row["bypass_rows_per_batch"] > 0
    assert "^ sets of the cache overflow (cdlrm)" in notes_of([row])
