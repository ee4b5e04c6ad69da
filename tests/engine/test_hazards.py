"""Hazards: what the hold window prevents, shown by training real values through the pipeline."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import numpy as np
import pytest

from simulator import systems
from simulator.caches import PoolPlan, Window, policy_names
from simulator.caches.facts import BatchFacts
from simulator.caches.plan.base import Slotted
from simulator.caches.replays.planned import facts_of
from simulator.config.catalogue import load_named
from simulator.engine.checker import HazardReport, execute
from simulator.engine.hazards import HazardCase, HazardOutcome, run_case
from simulator.engine.invariants import check_order
from simulator.engine.orders import random_order
from simulator.engine.pipeline import Mode, Span, conditions
from simulator.errors import CapacityError, InvariantError, UsageError
from simulator.hardware.catalogue import load_machine
from simulator.hardware.topology import build_topology
from simulator.systems import Job, System
from simulator.systems.cached import STAGES

SEEDS = range(2)
BUILT_IN = ("hybrid", "static_cache", "straw_man", "scratchpipe", "gpu_only")


@pytest.mark.parametrize("mode", ["lockstep", "async"])
@pytest.mark.parametrize("policy", policy_names())
def test_the_derived_window_trains_like_one_batch_at_a_time(policy: str, mode: str) -> None:
    """A window of one mini-batch less gives about twenty stale reads in as many mini-batches."""
    outcome = run_case(HazardCase(policy=policy, mode=mode, batches=100))
    assert list(outcome.reports) == ["timed", "random"]
    assert outcome.stale == 0
    assert outcome.tables_equal


@pytest.mark.parametrize("name", BUILT_IN)
@pytest.mark.parametrize("seed", SEEDS)
def test_every_system_trains_like_one_batch_at_a_time(name: str, seed: int) -> None:
    outcome = run_case(HazardCase(system=name, seed=seed, batches=100))
    assert outcome.stale == 0
    assert outcome.tables_equal
    assert outcome.report.trained_rows == 100 * 6
    assert outcome.report.batches == 100


@pytest.mark.parametrize("name", BUILT_IN)
def test_several_tables_are_trained_alike(name: str) -> None:
    report = run_case(HazardCase(system=name, tables=3, batches=60)).report
    assert not report.stale
    assert report.tables_equal
    assert report.trained_rows == 60 * 6 * 3


@pytest.mark.parametrize("policy", policy_names())
def test_a_serial_cache_needs_no_window_under_any_policy(policy: str) -> None:
    outcome = run_case(HazardCase(system="straw_man", policy=policy, slots=6, batches=60))
    assert (outcome.window, outcome.mode) == (Window(0, 0), "serial")
    assert outcome.report.tables_equal


@pytest.mark.parametrize("policy", policy_names())
def test_one_future_batch_less_is_caught_for_every_policy(policy: str) -> None:
    """Belady looks further ahead than the window: only a cache with no room to choose shows it."""
    tight = {"rows": 20, "batch_rows": 2, "slots": 10}
    sizes = tight if policy == "belady" else {}
    report = run_case(HazardCase(policy=policy, window_future=1, batches=150, **sizes)).report
    assert report.stale
    assert not report.tables_equal


def test_the_derived_window_is_enough_in_a_cache_with_no_room_to_choose() -> None:
    case = HazardCase(policy="belady", rows=20, batch_rows=2, slots=12)
    assert run_case(case).report.tables_equal


def test_one_past_batch_less_is_caught_for_random_victims() -> None:
    report = run_case(HazardCase(policy="random", window_past=2, batches=150)).report
    assert report.stale
    assert not report.tables_equal


def test_recency_implies_the_past_side_for_lru() -> None:
    """With slots for six batches the least recent row is never one of the past three."""
    report = run_case(HazardCase(policy="lru", window_past=0, batches=200)).report
    assert not report.stale


@pytest.mark.parametrize("mode", ["lockstep", "async"])
def test_a_wider_window_than_needed_is_correct_as_well(mode: str) -> None:
    case = HazardCase(
        policy="random", window_past=4, window_future=3, slots=48, mode=mode, batches=150
    )
    assert run_case(case).report.tables_equal


@cache
def stale(policy: str, past: int, future: int, seeds: int) -> int:
    """Stale reads over some seeds."""
    cases = (HazardCase(policy, past, future, seed=seed, order="timed") for seed in range(seeds))
    return sum(len(run_case(case).report.stale) for case in cases)


@pytest.mark.parametrize(
    ("policy", "past", "future", "published", "seeds", "tolerance"),
    [
        ("lru", 3, 1, 1732, 5, 0.12),
        ("random", 2, 2, 3142, 5, 0.12),
        ("lru", 3, 0, 3588, 1, 0.2),
        ("random", 3, 1, 1698, 1, 0.2),
        ("random", 1, 2, 5062, 1, 0.2),
    ],
)
def test_stale_reads_are_as_frequent_as_an_independent_simulation_found(
    policy: str, past: int, future: int, published: int, seeds: int, tolerance: float
) -> None:
    """20 seeds of an independent version-tracking program; other random numbers, same rates. Stale
    reads of one seed vary by about a tenth."""
    expected = published * seeds / 20
    assert stale(policy, past, future, seeds) == pytest.approx(expected, rel=tolerance)


@pytest.mark.parametrize(
    ("policy", "past", "future", "count"), [("random", 2, 2, 755), ("lru", 3, 1, 422)]
)
def test_stale_reads_are_the_same_in_every_version(
    policy: str, past: int, future: int, count: int
) -> None:
    """To the last one: whoever changes planning, draws or order changes these."""
    assert stale(policy, past, future, 5) == count


FAR = """
name: far_gpu
operators: tuned
host:
  cpu: xeon_e5_2698v4
  gpu: v100_sxm2_32gb
  pcie: {part: pcie3_x16, join: [cpu, gpu], latency: 10 ms}
"""


@pytest.mark.parametrize(
    ("policy", "past", "future"),
    [("random", 2, 2), ("random", 1, 2), ("random", 3, 1), ("lru", 3, 1)],
)
def test_a_random_order_finds_what_one_machine_hides(
    tmp_path: Path, policy: str, past: int, future: int
) -> None:
    """Exchange takes so long there that the mini-batch before has long been trained and written
    back when the next one reads: a window of one or two mini-batches less seems to do."""
    machine = tmp_path / "far.yaml"
    machine.write_text(FAR)
    case = HazardCase(policy, past, future, "async", batches=150, platform=str(machine))
    outcome = run_case(case)
    assert not outcome.reports["timed"].stale
    assert outcome.reports["timed"].tables_equal
    assert outcome.reports["random"].stale
    assert not outcome.tables_equal
    told = outcome.as_dict()
    assert told["stale_reads_by_order"] == {"timed": 0, "random": outcome.stale}
    assert told["stale_reads"] == outcome.stale > 0
    assert told["first_stale_reads"]
    assert not told["tables_equal"]


def test_the_derived_window_holds_on_any_machine_and_in_many_orders(tmp_path: Path) -> None:
    machine = tmp_path / "far.yaml"
    machine.write_text(FAR)
    for seed in range(4):
        case = HazardCase("random", mode="async", batches=60, seed=seed, platform=str(machine))
        assert run_case(case).tables_equal


@pytest.mark.parametrize("mode", ["serial", "lockstep", "async"])
def test_a_random_order_keeps_the_schedule(mode: Mode) -> None:
    spans = random_order(30, 6, mode, seed=3)
    assert sorted((s.batch, s.stage) for s in spans) == [
        (b, s) for b in range(30) for s in range(6)
    ]
    check_order(spans, mode)
    at = {(s.batch, s.stage): s for s in spans}
    for span in spans:
        assert span.end_ps > span.start_ps
        for before in conditions(mode, 6, span.batch, span.stage):
            assert before not in at or at[before].end_ps <= span.start_ps


def test_random_orders_differ_by_seed_and_repeat() -> None:
    once, again, other = (random_order(20, 6, "async", seed) for seed in (1, 1, 2))
    assert once == again
    assert [(s.batch, s.stage) for s in once] != [(s.batch, s.stage) for s in other]


def test_stages_that_may_run_together_meet_in_both_orders() -> None:
    """Stage 2 of a mini-batch and stage 4 of the one two before it: read against write back."""
    spans = {(s.batch, s.stage): s for s in random_order(200, 6, "async", seed=0)}
    early = [spans[b, 2].start_ps < spans[b - 2, 4].end_ps for b in range(2, 200)]
    assert 20 < sum(early) < 180


@pytest.mark.parametrize("order", ["timed", "random"])
def test_one_order_alone_can_be_asked_for(order: str) -> None:
    outcome = run_case(HazardCase(batches=20, order=order))
    assert list(outcome.reports) == [order]


@pytest.mark.parametrize(
    "case",
    [
        HazardCase(slots=20),
        HazardCase(system="bagpipe", slots=1, batches=50, parameters=("look_ahead=4",)),
    ],
    ids=lambda case: case.system,
)
def test_slots_below_the_window_are_refused(case: HazardCase) -> None:
    with pytest.raises(CapacityError, match=r"slots|need a slot"):
        run_case(case)


@pytest.mark.parametrize(
    ("case", "message"),
    [
        (HazardCase(policy="nosuch"), "no policy 'nosuch'; known: .*lru"),
        (HazardCase(mode="fast"), "no pipeline mode 'fast': lockstep or async"),
        (HazardCase(order="any"), "no order 'any': timed, random or both"),
        (HazardCase(batch_rows=61), "61 distinct rows a mini-batch of 60 rows"),
        (HazardCase(slots=61), "61 slots for 60 rows: the table fits"),
        (HazardCase(system="nosuch"), "no system 'nosuch'; known: .*scratchpipe"),
    ],
)
def test_impossible_cases_are_usage_errors(case: HazardCase, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        run_case(case)


@pytest.mark.parametrize(
    ("name", "options", "flag"),
    [
        ("hybrid", {"policy": "lru"}, "--policy lru"),
        ("hybrid", {"slots": 10}, "--slots 10"),
        ("gpu_only", {"slots": 10}, "--slots 10"),
        ("static_cache", {"policy": "lfu"}, "--policy lfu"),
        ("static_cache", {"mode": "async"}, "--mode async"),
        ("straw_man", {"window_past": 1}, "--window-past 1"),
        ("straw_man", {"window_future": 0}, "--window-future 0"),
    ],
)
def test_options_that_a_system_has_no_use_for_are_refused(
    name: str, options: dict[str, object], flag: str
) -> None:
    with pytest.raises(UsageError, match=f"{name} has no use for {flag}: leave it out"):
        run_case(HazardCase(system=name, **options))  # type: ignore[arg-type]


def test_slots_of_a_static_cache_are_its_fraction() -> None:
    assert run_case(HazardCase(system="static_cache", slots=10, batches=50)).report.tables_equal


# what is said of a case


@pytest.fixture(scope="module")
def narrow() -> HazardOutcome:
    return run_case(HazardCase(policy="random", window_past=1, batches=100))


def test_a_case_is_told_in_numbers(narrow: HazardOutcome) -> None:
    told = narrow.as_dict()
    assert (told["system"], told["policy"], told["mode"]) == ("scratchpipe", "random", "lockstep")
    assert (told["window_past"], told["window_future"]) == (1, 2)
    assert told["stale_reads_by_order"]["timed"] == len(narrow.report.stale) > 5
    assert told["stale_reads"] == sum(told["stale_reads_by_order"].values())
    assert len(told["first_stale_reads"]) == 5
    assert set(told["first_stale_reads"][0]) == {"batch", "row", "missing", "behind", "lacks"}
    assert told["stale_by_at_most_batches"] == narrow.behind >= 1
    assert told["lost_updates"] == narrow.lost > 0


def test_a_case_is_told_in_a_sentence(narrow: HazardOutcome) -> None:
    first = narrow.report.stale[0]
    head, *lines = narrow.sentence().splitlines()
    assert head.startswith("scratchpipe, window (past 1, future 2), random, lockstep: ")
    assert head.endswith("the tables differ from sequential training")
    assert lines[0] == (
        f"  mini-batch {first.batch} trained row {first.row} without the update of mini-batch "
        f"{first.missing}"
    )
    good = run_case(HazardCase(system="hybrid", batches=10)).sentence()
    assert good == (
        "hybrid, window (past 0, future 0), serial: 0 stale reads in 60 row reads of 10 "
        "mini-batches at the machine's times and in random order; the tables equal sequential "
        "training bit for bit"
    )


# plans written by hand


@cache
def program() -> System:
    """ScratchPipe of one table; its stages name the rows of the facts that they are given."""
    model = load_named("models", "default").changed(
        tables=1, rows_per_table=(3,), lookups_per_table=(1,), batch_size=1
    )
    job = Job(model, load_named("operators", "tuned"))
    return systems.create("scratchpipe", job, build_topology(load_machine("v100_p3"), 512))


def array(*values: int) -> np.ndarray:
    return np.array(values, dtype=np.int64)


def plan(
    rows: tuple[int, ...],
    slots: tuple[int, ...],
    missed: tuple[int, ...] = (),
    victims: tuple[int, ...] = (),
) -> PoolPlan:
    """A hand-written plan: `missed` rows go to their slots, over `victims` where given."""
    at = dict(zip(rows, slots, strict=True))
    missed_slots = array(*(at[row] for row in missed))
    return PoolPlan(
        lookups=len(rows),
        lookup_hits=len(rows) - len(missed),
        unique=Slotted(array(*rows), array(*slots)),
        missed=Slotted(array(*missed), missed_slots),
        victims=Slotted(array(*victims), missed_slots[: len(victims)]),
        victim_dirty=np.ones(len(victims), bool),
        dirty_victims=len(victims),
        cold_misses=0,
        resident_rows=0,
    )


def run_plans(plans: list[PoolPlan], spans: list[Span] | None = None) -> HazardReport:
    """The plans on a table of three rows and a cache of three slots, in lockstep."""
    facts = [facts_of(k, 1, [each], [(0, 0, each.rows, None)]) for k, each in enumerate(plans)]
    stages = [program().stages(each) for each in facts]
    return execute(stages, spans or lockstep(len(plans)), rows=3, slots=3)


def lockstep(batches: int) -> list[Span]:
    return [
        Span(b, s, 10 * (b + s), 10 * (b + s) + 9, None)
        for b in range(batches)
        for s in range(len(STAGES))
    ]


def test_a_later_prefetch_evicts_a_row_still_in_use() -> None:
    """Batch 1 takes the slot of row 0 while batch 0 has yet to train it (FBGEMM issue 1201)."""
    idle = plan((2,), (1,))
    plans = [
        plan((0,), (0,), missed=(0,)),
        plan((1,), (0,), missed=(1,), victims=(0,)),
        plan((2,), (1,), missed=(2,)),
        *[idle] * 5,
        plan((0,), (2,), missed=(0,)),
    ]
    report = run_plans(plans)
    # row 0 left with the value from before batch 0 trained it: that update is lost
    assert (8, 0, 0) in [(read.batch, read.row, read.missing) for read in report.stale]
    assert not report.tables_equal


def test_a_row_written_back_after_it_was_fetched_again() -> None:
    """Row 0 leaves at batch 5 and is fetched by batch 6, before the write-back lands."""
    idle = plan((2,), (1,))
    plans = [
        plan((0,), (0,), missed=(0,)),
        plan((2,), (1,), missed=(2,)),
        idle,
        idle,
        idle,
        plan((1,), (0,), missed=(1,), victims=(0,)),
        plan((0,), (2,), missed=(0,)),
    ]
    report = run_plans(plans)
    assert [(read.batch, read.row, read.missing) for read in report.stale] == [(6, 0, 0)]
    assert not report.tables_equal


def test_the_same_row_fetched_three_batches_later_is_fresh() -> None:
    idle = plan((2,), (1,))
    plans = [
        plan((0,), (0,), missed=(0,)),
        plan((2,), (1,), missed=(2,)),
        idle,
        idle,
        idle,
        plan((1,), (0,), missed=(1,), victims=(0,)),
        idle,
        idle,
        plan((0,), (2,), missed=(0,)),
    ]
    report = run_plans(plans)
    assert not report.stale
    assert report.tables_equal


def test_holds_that_were_never_released_would_fill_the_cache() -> None:
    """Slots for exactly one window serve any number of batches: holds are released in time."""
    case = HazardCase(slots=36, batches=200)
    assert not run_case(case).report.stale


def test_stages_that_take_no_time_have_no_order() -> None:
    spans = [Span(0, s, 0, 0, None) for s in range(len(STAGES))]
    with pytest.raises(InvariantError, match="takes no time"):
        run_plans([plan((0,), (0,), missed=(0,))], spans)


def test_facts_without_rows_cannot_be_executed() -> None:
    counted: BatchFacts = facts_of(0, 1, [plan((0,), (0,), missed=(0,))])
    with pytest.raises(InvariantError, match=r"the replay kept no rows for \w+ in"):
        execute([program().stages(counted)], lockstep(1), rows=3, slots=3)


@pytest.mark.parametrize(
    ("sizes", "option"),
    [
        ({"batches": 2**31 - 1}, "--batches"),
        ({"batches": 300_000, "batch_rows": 1}, "--batches"),
        ({"rows": 10**12}, "--rows"),
        ({"tables": 10**9}, "--tables"),
    ],
)
def test_more_than_memory_holds_is_refused_at_once(sizes: dict[str, int], option: str) -> None:
    with pytest.raises(UsageError, match=rf"more than the .* lower .*{option}"):
        run_case(HazardCase(**sizes))


def test_slots_that_nobody_gave_are_enough_for_a_pass() -> None:
    """36 do not hold the rows of ten mini-batches of six out of sixty: as many as rows do."""
    outcome = run_case(HazardCase(system="hugectr_etc", batches=60))
    assert (outcome.stale, outcome.tables_equal) == (0, True)
    with pytest.raises(CapacityError, match=r"than the 36 slots: .*, or lower pass_batches"):
        run_case(HazardCase(system="hugectr_etc", batches=60, slots=36))
