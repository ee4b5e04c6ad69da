"""HET and Herald: hazards executed, bytes between workers and server, refusals."""

from __future__ import annotations

import pytest
from rivalry import executed, points, replayed, simulated, stage_times, words

from simulator.caches.facts import UNIQUE
from simulator.caches.replays.samples import of_trainer
from simulator.caches.replays.workers import LEFT, NEW, OLD, PUSHED
from simulator.engine.points import simulate_points
from simulator.errors import CapacityError, ConfigError, ScratchPipeError
from simulator.hardware.program import Exchange, Gather, Move, Probe

HERE = {"platform": "herald_100g", "cache": {"fraction": 0.2}}
EXACT = {"name": "het", "bound": 0}


@pytest.mark.parametrize("slots", [20, 36])
@pytest.mark.parametrize("gpus", [1, 3])
@pytest.mark.parametrize("system", ["het", "herald"])
def test_exact_ones_train_like_one_batch_at_a_time(system: str, gpus: int, slots: int) -> None:
    own = ("bound=0",) if system == "het" else ()
    outcome = executed(system, *own, tables=2, gpus=gpus, slots=slots)
    assert outcome.tables_equal
    assert outcome.stale == outcome.lost == outcome.lacking == 0


@pytest.mark.parametrize("gpus", [1, 3])
def test_caches_by_counts_train_like_one_batch_at_a_time(gpus: int) -> None:
    outcome = executed("het", "bound=0", "algorithm=lfu", tables=2, gpus=gpus, slots=20)
    assert outcome.tables_equal
    assert outcome.policy == "lfu"


def test_samples_by_some_tables_train_like_one_batch_at_a_time() -> None:
    outcome = executed("herald", "scored_tables=1", tables=2, gpus=3, slots=20)
    assert outcome.tables_equal
    assert outcome.stale == outcome.lost == outcome.lacking == 0


def test_the_second_scheduler_scores_the_largest_tables_alone() -> None:
    model = {"rows_per_table": [5_000, 20_000, 1_000, 20_000]}
    entry = {"name": "herald", "gpus": 4, "scored_tables": 2}
    system, (facts, *_) = replayed(entry, 2, model=model, **HERE)
    score = next(w for w in words(system, facts) if isinstance(w, Probe) and w.name == "score")
    assert score.rows == 4 * 256 * 2 * 20
    assert system.replay.scored == (1, 3)  # type: ignore[attr-defined]


@pytest.mark.parametrize("bound", [1, 4])
def test_a_bound_makes_rows_stale_by_so_many_updates(bound: int) -> None:
    """`bound` that the server has, and as many of each other worker."""
    outcome = executed("het", f"bound={bound}", tables=2, gpus=2)
    assert outcome.stale > 0
    assert not outcome.tables_equal
    assert outcome.lost == 0
    assert bound <= outcome.lacking <= 2 * bound
    assert f"each lacks at most {outcome.lacking} update" in outcome.sentence()
    assert outcome.as_dict()["stale_by_at_most_updates"] == outcome.lacking


def test_one_worker_is_exact_whatever_the_bound() -> None:
    assert executed("het", "bound=50", tables=2, gpus=1).tables_equal


@pytest.mark.parametrize("entry", [EXACT, {"name": "het", "bound": 3}, "herald"])
def test_bytes_are_those_of_rows_ids_and_versions(entry: object) -> None:
    base = {"name": entry} if isinstance(entry, str) else entry
    system, facts = replayed({**base, "gpus": 3}, 10, **HERE)  # type: ignore[dict-item]
    for batch in facts:
        moved: dict[str, int] = {}
        for word in words(system, batch):
            if isinstance(word, Move):
                moved[word.name] = moved.get(word.name, 0) + word.bytes
        rows = {
            name: sum(batch[of_trainer(w, name)].rows for w in range(3))
            for name in (UNIQUE, NEW, OLD, LEFT, PUSHED)
        }
        assert moved["versions"] == 16 * rows[UNIQUE]
        for name, move in ((NEW, "new_rows"), (OLD, "old_rows")):
            assert moved[move] == (512 + 16) * rows[name]
        for name, move in ((LEFT, "left_changes"), (PUSHED, "pushed_changes")):
            assert moved.get(move, 0) == (512 + 16) * rows[name]
        read = [w for w in words(system, batch) if isinstance(w, Gather) and not w.changes]
        assert sum(word.rows.rows for word in read) == rows[NEW] + rows[OLD]


def test_one_worker_of_herald_synchronises_nothing() -> None:
    system, facts = replayed({"name": "herald", "gpus": 1}, 12, **HERE)
    done = [word for batch in facts for word in words(system, batch)]
    assert not [word for word in done if isinstance(word, Exchange)]
    assert not sum(batch[of_trainer(0, name)].rows for batch in facts for name in (OLD, PUSHED))


def test_the_scheduler_takes_time_ahead_of_the_workers() -> None:
    """A probe of each worker's snapshot for each lookup; hidden while five mini-batches ahead."""
    system, (facts, *_) = replayed({"name": "herald", "gpus": 4}, 2, **HERE)
    score = next(w for w in words(system, facts) if isinstance(w, Probe) and w.name == "score")
    assert score.rows == 4 * 256 * 4 * 20
    result = simulated({"name": "herald", "gpus": 4}, **HERE)["herald"]
    assert stage_times(result)["schedule"] > 0.0
    exposed = {row["stage"]: row["exposed_us"] for row in result.stages}
    assert exposed["schedule"] < 0.1 * result.metrics["iteration_time_us"]


def test_a_larger_bound_is_faster() -> None:
    entries = [{"name": "het", "label": str(bound), "bound": bound} for bound in (0, 5, 100)]
    results = simulated(*entries, run={"batches": 8, "warmup_batches": 8}, **HERE)
    times = [results[label].metrics["iteration_time_us"] for label in ("0", "5", "100")]
    assert times[0] > times[1] > times[2]


@pytest.mark.parametrize(
    ("entry", "changes", "message"),
    [
        ({"name": "het", "bound": -1}, {}, r"bound: is -1: must be at least 0"),
        ("het", {"platform": "v100_p3"}, "v100_p3 is a single host: .* platform: herald_100g}"),
        ("herald", {"platform": "v100_p3"}, "name: herald, platform: herald_100g}, .* hosts:"),
        ("herald", {"cache": {"prefill": "hot"}}, "cache.prefill hot would do nothing"),
        ("het", {"model": {"optimizer": "adagrad"}}, "adagrad does not allow: set model.optimizer"),
        ({"name": "herald", "scored_tables": 5}, {}, r"is 5, but the model has 4 tables: lower"),
        ({"name": "het", "algorithm": "fifo"}, {}, r"algorithm: is .fifo."),
        ({"name": "herald", "buffered": 50}, {}, r"buffered of herald is 50, but the run has 12"),
        (
            "herald",
            {"cache": {"fraction": 1e-4}},
            r"rows in a mini-batch, but its cache has 8 slots",
        ),
        ("het", {"model": {"sharding": "row"}}, "model.sharding row would do nothing"),
        ({"name": "herald", "gpus": 9}, {}, "gpus: is 9: herald_100g has 8"),
    ],
)
def test_what_cannot_be_is_named_with_number_and_remedy(
    entry: object, changes: dict[str, object], message: str
) -> None:
    sections = {**HERE, **changes}
    with pytest.raises(ScratchPipeError, match=message) as raised:
        simulate_points(points(entry, **sections), threads=1)
    assert isinstance(raised.value, ConfigError | CapacityError)
