"""Model-wise against sharded serving: closed forms, limits, refusals."""

from __future__ import annotations

import json
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml
from sections import laid_over
from small import MODEL, points

from simulator.cli import main
from simulator.engine.containers import Setting, model_bytes
from simulator.engine.serve_plan import ServePlan, Target, most_busy, serve_plans
from simulator.errors import CapacityError, ConfigError, UsageError
from simulator.hardware.catalogue import load_machine

MIB = 1 << 20
SETTING = Setting(shard_cores=1, dense_cores=1, overhead=8 * MIB, call_ps=10**7, network=10**10)
_PAIRS = 128 + 5 * 4 // 2
WEIGHTS = 14 * 64 + 65 * 128 + (_PAIRS + 1) * 64 + 65
"""With biases: 13-64-128, and pairs of five vectors beside the bottom's 128 into 64-1."""
BUSY = 20_000.0
"""Queries a second that take many replicas."""


def plan_of(qps: float, shards: int = 4, **changes: Any) -> ServePlan:
    """A plan for small tables; `changes`: of the setting, `latency_ps`, sections."""
    latency = changes.pop("latency_ps", None)
    own = {key: changes.pop(key) for key in list(changes) if hasattr(SETTING, key)}
    sections = {"trace": {"kind": "zipf", "alpha": 1.05}, "run": {"mode": "inference"}}
    target = Target(qps, shards, replace(SETTING, **own), latency)
    (plan,) = serve_plans(points("hybrid", **laid_over(sections, changes)), target)
    return plan


@cache
def busy(shards: int = 4) -> ServePlan:
    return plan_of(BUSY, shards)


def test_below_one_replica_of_everything_parts_cost_their_overheads() -> None:
    plan = plan_of(1.0)
    assert plan.whole is not None
    assert [shard.replicas for shard in plan.sharded.shards] == [1] * 4
    assert (plan.whole.containers, plan.sharded.containers) == (1, 5)
    size = model_bytes(plan.point.model)
    assert size == 4 * 50_000 * 512 + 4 * WEIGHTS
    assert plan.whole.bytes == size + 8 * MIB
    assert plan.sharded.bytes == size + 5 * 8 * MIB


def test_replicas_are_what_the_rate_over_that_of_one_comes_to() -> None:
    plan = busy()
    assert plan.whole is not None
    assert plan.whole.containers == -(-BUSY // plan.whole.answers)
    for shard in plan.sharded.shards:
        rate = 1e12 / shard.container.service_ps
        assert (shard.replicas - 1) * rate < BUSY <= shard.replicas * rate


def test_hot_rows_have_more_copies_than_cold_ones() -> None:
    plan = busy()
    for table in range(4):
        shards = [shard for shard in plan.sharded.shards if shard.table == table]
        assert len(shards) > 1
        assert shards[0].replicas > shards[-1].replicas
        assert sum(shard.rows for shard in shards) == 50_000
        assert sum(shard.share for shard in shards) == pytest.approx(1.0)
        density = [shard.share / shard.rows for shard in shards]
        assert density == sorted(density, reverse=True)


def test_more_parts_never_take_more_memory_without_overheads() -> None:
    sizes = [plan_of(BUSY, shards, overhead=0).sharded.shards for shards in (1, 2, 3, 4)]
    memory = [sum(shard.bytes for shard in shards) for shards in sizes]
    assert memory == sorted(memory, reverse=True)
    assert memory[0] > memory[-1]


def test_memory_and_nodes_grow_with_the_rate() -> None:
    plans = [plan_of(qps) for qps in (10.0, 1e3, 1e4, 4e4)]
    for kind in ("whole", "sharded"):
        each = [getattr(plan, kind) for plan in plans]
        for column in ("bytes", "nodes", "containers"):
            values = [getattr(one, column) for one in each]
            assert values == sorted(values)


def test_even_rows_are_not_cut_where_one_replica_is_enough() -> None:
    plan = plan_of(100.0, trace={"kind": "uniform"})
    assert [shard.rows for shard in plan.sharded.shards] == [50_000] * 4


def test_even_rows_are_cut_once_there_are_many_replicas() -> None:
    """A part with half of the lookups needs about half of the replicas: all rows together lie as
    often as a part is replicated, not as often as the whole."""
    sections: dict[str, Any] = {"trace": {"kind": "uniform"}, "overhead": 0}
    one, four = (plan_of(BUSY * 4, shards, **sections).sharded.shards for shards in (1, 4))
    assert len(four) > len(one) == 4
    assert {shard.replicas for shard in four} < set(range(min(s.replicas for s in one)))
    assert sum(s.bytes for s in four) < sum(s.bytes for s in one)


CPUS = {"name": "cpus", "operators": "tuned", "host": {"cpu": "xeon_e5_2698v4"}}
"""Nodes without a GPU."""


def test_nodes_without_a_gpu_serve_both_ways() -> None:
    section = {"trace": {"kind": "zipf", "alpha": 1.05}, "run": {"mode": "inference"}}
    resolved = points("cpu_only", platform=CPUS, **section)
    (plan,) = serve_plans(resolved, Target(BUSY, 4, SETTING))
    assert plan.whole is not None
    assert plan.whole.nodes == plan.whole.containers > 1
    assert plan.sharded.dense > busy().sharded.dense, "MLPs take longer on a core than on a GPU"
    assert [s.replicas for s in plan.sharded.shards] == [s.replicas for s in busy().sharded.shards]


def test_shards_on_nodes_of_their_own_leave_gpus_to_the_dense_part() -> None:
    own = load_machine("p3_2xlarge").model_copy(update={"price_usd_per_hour": 0.5})
    mixed = plan_of(BUSY, shard_platform=own)
    assert mixed.sharded.dense == busy().sharded.dense
    assert mixed.sharded.nodes > mixed.sharded.dense, "a GPU a node, and nodes of shards"
    assert mixed.sharded.usd_per_hour is None, "nobody says what v100_p3 costs"
    named = plan_of(BUSY, shard_platform=own, platform="p3_2xlarge")
    below = named.sharded.nodes - named.sharded.dense
    assert named.sharded.usd_per_hour == pytest.approx(3.06 * named.sharded.dense + 0.5 * below)


@pytest.mark.parametrize(("alone", "asked"), [(100, 150), (100, 101), (7, 700)])
def test_a_query_with_its_wait_just_keeps_its_latency(alone: int, asked: int) -> None:
    busy = most_busy(alone, Target(1.0, 1, SETTING, asked))
    assert alone * (1 + busy / (2 * (1 - busy))) == pytest.approx(asked)
    assert most_busy(alone, Target(1.0, 1, SETTING)) == 1.0


def test_less_time_takes_more_replicas() -> None:
    whole = busy().whole
    assert whole is not None
    tight = plan_of(BUSY, latency_ps=round(busy().sharded.latency_us * 1.5e6))
    assert tight.whole is not None
    assert tight.whole.containers >= whole.containers
    assert max(tight.whole.busy, tight.sharded.busy) < 1.0
    assert tight.sharded.containers > busy().sharded.containers


def test_a_model_above_a_node_is_served_in_shards_alone() -> None:
    rows = 300_000_000  # 4 tables of 154 GB, nodes of 256 GB
    plan = plan_of(1.0, model={"rows_per_table": rows}, trace={"kind": "uniform"})
    assert plan.whole is None
    assert "need 614.4 GB but cpu.dram of v100_p3 holds 256 GB" in plan.refused
    assert plan.sharded.nodes == 4
    assert plan.memory_saved is None


def test_no_part_is_larger_than_a_node() -> None:
    rows = 600_000_000  # 307 GB
    changes: dict[str, Any] = {"model": {"rows_per_table": rows, "tables": 1}}
    changes["trace"] = {"kind": "uniform"}
    assert max(s.container.bytes for s in plan_of(1.0, **changes).sharded.shards) <= 256e9
    with pytest.raises(CapacityError, match=r"600,000,000 rows of table 0 takes 307.* --shards"):
        plan_of(1.0, 1, **changes)


@pytest.mark.parametrize(
    ("qps", "changes", "kind", "says"),
    [
        (0.0, {}, UsageError, "--qps 0: without queries there is nothing to plan for"),
        (1.0, {"overhead": 10**12}, CapacityError, "the dense part takes 1 TB.* smaller --over"),
        (1.0, {"shard_cores": 21}, ConfigError, "--shard-cores 21: .* has 20: give fewer"),
        (1.0, {"latency_ps": 10**6}, CapacityError, "leaves nothing of --sla 1 us: give more"),
        (1.0, {"latency_ps": 1000}, CapacityError, "leaves nothing of --sla 1 ns: give more"),
        (1.0, {"latency_ps": 2500}, CapacityError, "leaves nothing of --sla 2.5 ns: give more"),
        (1e9, {}, UsageError, "more than the 1,000,000 that are laid on nodes: give less"),
    ],
)
def test_what_cannot_be_planned_is_refused_with_a_remedy(
    qps: float, changes: dict[str, Any], kind: type[Exception], says: str
) -> None:
    with pytest.raises(kind, match=says):
        plan_of(qps, **changes)


@pytest.fixture
def experiment(tmp_path: Path) -> Path:
    file = tmp_path / "serve.yaml"
    data = {
        "config_version": 1,
        "platform": "p3_2xlarge",
        "model": MODEL,
        "trace": {"kind": "zipf", "alpha": 1.05},
        "systems": ["hybrid", "scratchpipe"],
        "cache": {"fraction": 0.4},
        "run": {"batches": 3, "warmup_batches": 2},
    }
    file.write_text(yaml.safe_dump(data))
    return file


def test_the_command_prints_both_and_says_where_nothing_is_to_gain(
    experiment: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        main(["serve-plan", str(experiment), "--qps", "1"])
    text, notes = capsys.readouterr()
    assert "serve trains (run.mode: training): a plan serves, so its systems answer" in notes
    assert text.count("Serving ") == 2
    assert text.count("model-wise") == text.count("sharded ") == 2
    assert "there is nothing to replicate; raise --qps" in text


def test_the_command_prints_json(experiment: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["serve-plan", str(experiment), "--qps", "2e4", "--json", "--sla", "20 ms"])
    plans = json.loads(capsys.readouterr().out)
    assert [plan["label"] for plan in plans] == ["hybrid", "scratchpipe"]
    assert {plan["mode"] for plan in plans} == {"inference"}
    assert {plan["shard_platform"] for plan in plans} == {"p3_2xlarge"}
    first, second = plans
    assert first["sharded"] == second["sharded"]
    assert first["model_wise"]["usd_per_hour"] == first["model_wise"]["nodes"] * 3.06
    assert sum(s["share"] for s in first["sharded"]["shards"]) == pytest.approx(4.0)


@pytest.mark.parametrize(
    ("option", "value", "says"),
    [
        ("--sla", "5", "--sla: '5' has no unit"),
        ("--sla", "0 us", "--sla 0 us: must be more than 0"),
        ("--overhead", "-1 GB", "--overhead -1 GB: must be at least 0"),
        ("--network", "0 B/s", "--network 0 B/s: must be more than 0"),
        ("--shard-platform", "p3_3xlarge", "did you mean 'p3_2xlarge'"),
        ("--set", "systems=[lazydp]", "inference, which lazydp has none of: noise goes into"),
    ],
)
def test_options_are_refused_by_name(
    experiment: Path, capsys: pytest.CaptureFixture[str], option: str, value: str, says: str
) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["serve-plan", str(experiment), "--qps", "10", option, value])
    assert caught.value.code == 2
    assert says in capsys.readouterr().err
