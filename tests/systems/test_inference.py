"""The slice of a training program that an answer depends on."""

from __future__ import annotations

import pytest
from jobs import FACTS, job, machine, model, system

from simulator.caches.facts import WRITE_BACK, BatchFacts
from simulator.hardware.program import (
    Accumulate,
    Dense,
    Expand,
    Gather,
    Move,
    Operation,
    Scatter,
    Stage,
    Update,
    Wait,
    ZeroCopy,
)
from simulator.systems import create, names, system_class
from simulator.systems.inference import ForwardOnly, unchanged
from simulator.systems.mlp import bottom_beside, forward_of, mlp_forward, mlp_step
from simulator.systems.schedule import After, Streams

SILENT = ("torchrec_semi_sync", "het", "herald", "bagpipe", "cdlrm", "hugectr_etc", "fae")
SILENT += ("tensor_casting", "dp_sgd_b", "dp_sgd_r", "dp_sgd_f", "eana", "lazydp")
SILENT += ("training_cxl", "ndrec")
"""Systems that answer no queries."""
ANSWERING = tuple(name for name in names() if name not in SILENT)
SMALL = {"tables": 4, "rows_per_table": 100_000}


def answering(name: str, platform: str = "", **keys: object) -> ForwardOnly:
    where = machine(platform or system_class(name).shown_on)
    own = job(**{**SMALL, **keys})  # type: ignore[arg-type]
    return ForwardOnly(create(name, own, where), own.model, where)


def program(name: str, **keys: object) -> tuple[Stage, ...]:
    """The words of a query of which nothing is known."""
    return answering(name, **keys).stages(BatchFacts.of_nothing(2048))  # type: ignore[arg-type]


def words(stages: tuple[Stage, ...]) -> list[Operation]:
    return [word for stage in stages for word in stage.operations]


def test_every_system_answers_or_says_why_not() -> None:
    assert {n for n in names() if system_class(n).no_inference} == set(SILENT)


@pytest.mark.parametrize("name", ANSWERING)
def test_a_query_ends_with_its_answer_and_changes_nothing(name: str) -> None:
    own = program(name)
    *_, last = own[-1].lanes[0]
    sent = [word for word in words(own) if isinstance(word, Move) and word.name == "answers_to_cpu"]
    if name == "cpu_only":
        assert isinstance(last, Dense), "its answers are in the host's memory"
        assert not sent
    else:
        assert isinstance(last, Wait)
        assert sum(move.bytes for move in sent) == 2048 * 4
    for word in words(own):
        assert not isinstance(word, Update | Expand | Accumulate)
        if isinstance(word, Gather | ZeroCopy):
            assert not word.reads.slotted, "a row leaves the cache"
        if isinstance(word, Scatter):
            assert word.writes.slotted or word.writes.name.startswith("bypass")
    assert [stage.name for stage in own] == list(answering(name).schedule.names)


@pytest.mark.parametrize("name", ["tensordimm", "recnmp", "fafnir", "trim", "recross"])
@pytest.mark.parametrize("dim", [128, [128, 64, 128, 64]])
def test_a_query_of_a_pool_sorts_nothing_for_gradients(name: str, dim: object) -> None:
    own = program(name, dim=dim, interaction="cat")
    assert not {type(word).__name__ for word in words(own)} & {"Sort"}
    assert not [word for word in words(own) if word.name.startswith("list_to_pool")]
    assert [stage.name for stage in own][-1] == "mlp"


@pytest.mark.parametrize(
    ("name", "stages"),
    [
        ("hybrid", ("gather_reduce", "pooled_to_gpu", "mlp")),
        ("static_cache", ("split", "forward", "combine", "mlp")),
        ("scratchpipe", ("load", "plan", "collect", "exchange", "insert", "train")),
        ("fbgemm_cached", ("ids", "find", "swap", "forward", "mlp")),
        ("torchrec_prefetch", ("ids", "find", "swap", "forward")),
        ("hotline", ("divide", "ids", "popular", "rest")),
        ("gpu_only", ("ids", "gather_reduce", "mlp")),
    ],
)
def test_stages_up_to_the_top_mlp_are_left(name: str, stages: tuple[str, ...]) -> None:
    assert answering(name).schedule.names == stages


def test_scratchpipe_fetches_rows_and_drops_victims() -> None:
    own = system("scratchpipe", cache={"fraction": 0.2})
    query = ForwardOnly(own, job().model, machine())
    by_name = {stage.name: stage.lanes for stage in query.stages(unchanged(FACTS))}
    names_of = {key: [[w.name for w in lane] for lane in lanes] for key, lanes in by_name.items()}
    assert names_of["collect"] == [["gather"]]
    assert names_of["exchange"] == [["missed_rows", "synchronize"]]
    assert names_of["insert"] == [["scatter_missed", "synchronize"]]
    assert names_of["train"] == [["gather_reduce", "mlp", "answers_to_cpu", "synchronize"]]
    lists = next(word for word in words(query.stages(unchanged(FACTS))) if "lists" in word.name)
    assert isinstance(lists, Move)
    assert lists.bytes == 180_000 * own._job.software.id_bytes  # type: ignore[attr-defined]


def test_rows_that_nobody_trained_are_not_written_back() -> None:
    clean = unchanged(FACTS)
    assert FACTS[WRITE_BACK].rows == 160_000
    assert clean[WRITE_BACK].rows == 0
    assert {k: v for k, v in clean.flows.items() if k != WRITE_BACK} == {
        k: v for k, v in FACTS.flows.items() if k != WRITE_BACK
    }
    none = BatchFacts(0, 1, {})
    assert unchanged(none) is none


@pytest.mark.parametrize("name", ["gpu_only", "scratchpipe", "hybrid", "static_cache"])
def test_several_gpus_answer_their_samples(name: str) -> None:
    own = program(name, platform="p3_16xlarge", gpus=4)
    sent = [word for word in words(own) if word.name == "answers_to_cpu"]
    each = [word.bytes for word in sent if isinstance(word, Move)]
    assert sum(each) * (4 // len(each)) == 2048 * 4
    assert not [word for word in words(own) if "reduce" in word.name and "gather" not in word.name]


@pytest.mark.parametrize("interaction", ["dot", "cat"])
@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_forward_is_a_third_of_the_products(interaction: str, precision: str) -> None:
    own = model(interaction=interaction, mlp_precision=precision)
    step, forward = mlp_step(own, "gpu"), mlp_forward(own, "gpu")
    assert forward.flops * 3 == step.flops
    assert forward.interaction.tile_flops * 3 == step.interaction.tile_flops
    assert forward.kernels == 3 + 5 + 1  # 13-512-256-128, .-1024-1024-512-256-1, the last sigmoid
    assert forward.bytes_read == forward.bytes_written  # activations, no weights
    assert forward.samples == 2048


def test_forward_in_parts_is_that_of_the_whole() -> None:
    own = model()
    first, rest, last = bottom_beside(mlp_step(own, "gpu"), own, 2048)
    bottom, top = forward_of(first, own), forward_of(rest, own)
    assert forward_of(last, own) is None
    assert isinstance(bottom, Dense)
    assert isinstance(top, Dense)
    whole = mlp_forward(own, "gpu")
    for key in ("flops", "kernels", "bytes_read", "bytes_written"):
        assert getattr(bottom, key) + getattr(top, key) == getattr(whole, key)


def test_waits_for_later_queries_and_stages_left_out_are_turned() -> None:
    own = answering("torchrec_prefetch")
    assert isinstance(own.schedule, Streams)
    assert own.schedule.after == (
        After("ids", "forward", -3),
        After("find", "forward", -2),
        After("forward", "forward", -1),
    )
    assert own.schedule.in_flight == 3
