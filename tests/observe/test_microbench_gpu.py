"""What is measured on GPUs, on a GPU that is none: rows, columns and arithmetic, no times."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import pytest
from fake_gpu import FakeEvent, fake_bench, shrink

from simulator.config.catalogue import load_named
from simulator.config.model import ModelConfig
from simulator.observe.microbench import tables
from simulator.observe.microbench.tables import FILES, Budget, Row, Subject
from simulator.systems import networks

pytestmark = pytest.mark.usefixtures("torch_there", "small")


def tiny(_folder: str, name: str) -> ModelConfig:
    change = {"batch_size": 8, "bottom_mlp": (4,), "top_mlp": (4, 1), "tables": 2, "dim": 4}
    return load_named("models", name).changed(**change)


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("torch")
    from simulator.observe.microbench import (
        contention,
        contention_many,
        copies,
        dense,
        device,
        gpu,
        in_training,
        launches,
        links,
        sharing,
    )

    shrink(monkeypatch)
    patch = monkeypatch.setattr
    patch(device, "FLUSH_BYTES", 1 << 12)
    patch(gpu, "_KEY_SPACE", 100_000)
    patch(gpu, "_SLOTS", (20_000,))
    patch(gpu, "_SORTED", (1_000,))
    patch(links, "_PEER_POWERS", (12,))
    patch(links, "_FEW_HOST_POWERS", (14,))
    patch(contention, "_GPU_TABLE", 10_000)
    patch(contention, "_STREAM", 1 << 16)
    patch(copies, "_FEW_STATE_POWERS", (14,))
    patch(in_training, "_FEW_STAGED_BYTES", (1 << 16, 1 << 18))
    patch(dense, "_FEW_SHAPES", [(8, 4)])
    patch(dense, "_DIM", 4)
    patch(dense, "_OTHERS", [(8, "vectors"), (8, "wide")])
    patch(
        networks, "NETWORKS", {"default": {}, "vectors": {"tables": 3}, "wide": {"top_mlp": (8, 1)}}
    )
    for module in (contention, contention_many):
        patch(module, "PIECE", 1 << 14)
    for module in (dense, launches, sharing):
        patch(module, "load_named", tiny)


def measured(name: str, make: Callable[[], Sequence[Subject]]) -> list[Row]:
    """The rows of the subjects with `name` in theirs; each row has known columns alone."""
    rows = []
    for subject in make():
        if name in subject.name:
            for row in subject.rows():
                assert set(row) <= set(FILES[subject.file])
                rows.append(row)
    assert rows
    return rows


def test_launches_and_waits_by_the_number_of_streams() -> None:
    from simulator.observe.microbench.launches import launch_subjects

    rows = measured("", lambda: launch_subjects(fake_bench()))
    whats = [row["what"] for row in rows]
    assert len(set(whats)) == len(whats)
    for count in (1, 2, 4, 8):
        assert f"synchronise an idle device, {count} streams used" in whats
        assert f"synchronise {count} done events in turn" in whats
    assert "empty kernel + stream sync" in whats  # what a calibration reads
    assert all(row["us"] >= 0 for row in rows)


def test_a_submission_is_one_call_of_many() -> None:
    gpu = fake_bench()
    calls: list[None] = []
    times = gpu.submitted(lambda: calls.append(None), 7)
    assert len(calls) == 1 + 5 * 7  # one to warm up, five samples at least
    assert times["us_p10"] <= times["us"] <= times["us_p90"]


def test_copies_know_the_state_of_their_buffer() -> None:
    from simulator.observe.microbench.copies import copy_subjects
    from simulator.observe.microbench.cpu_bench import CpuBench

    rows = measured("state", lambda: copy_subjects(fake_bench(), CpuBench(Budget(True))))
    notes = {row["note"] for row in rows}
    assert len(notes) == 5
    assert "buffer state: read by all 2 cores" in notes
    assert {(row["op"], row["mem"], row["bytes"]) for row in rows} == {
        ("h2d", "pinned", 1 << 14),
        ("d2h", "pinned", 1 << 14),
    }


def test_a_scatter_is_measured_from_staging_in_three_states() -> None:
    from simulator.observe.microbench.cpu_bench import CpuBench
    from simulator.observe.microbench.in_training import gpu_fed_subjects

    gpu = fake_bench()
    rows = measured("by size", lambda: gpu_fed_subjects(gpu.ops, CpuBench(gpu.budget)))
    assert [row["n_rows"] for row in rows] == [128] * 3 + [512] * 3
    assert {row["op"] for row in rows} == {"scatter_staged"}
    assert "staging of 262144 B in no cache" in rows[4]["note"]


def test_operators_beside_copies_have_names_of_their_own() -> None:
    from simulator.observe.microbench.cpu_bench import CpuBench
    from simulator.observe.microbench.in_training import gpu_fed_subjects, in_training_subjects

    gpu, bench = fake_bench(), CpuBench(Budget(True))
    fed = measured("staging by", lambda: gpu_fed_subjects(gpu.ops, bench))
    turn = measured("", lambda: in_training_subjects(bench))
    ops = {row["op"] for row in (*fed, *turn)}
    assert {"gather_staging_dma", "scatter_pinned_ids", "gather_after_update"} <= ops
    assert "coalesce_update_after_pool" in ops
    # names that stand for operators alone belong to other rows
    assert not ops & {"gather", "scatter", "pooled_gather_L20", "coalesce_update"}


def test_lists_with_holes_and_compacted_ones_by_share() -> None:
    from simulator.observe.microbench.cpu_bench import CpuBench
    from simulator.observe.microbench.skips import SHARES, cpu_skip_subjects, gpu_skip_subjects

    for rows in (
        measured("", lambda: cpu_skip_subjects(CpuBench(Budget(True)))),
        measured("", lambda: gpu_skip_subjects(fake_bench())),
    ):
        assert len(rows) == 2 * len(SHARES)
        for holes, dense in zip(rows[::2], rows[1::2], strict=True):
            assert holes["note"] == dense["note"]
            assert "holes" in holes["impl"]
            assert "compacted" in dense["impl"]
            # both count the rows that are there
            moved = [row["payload_GBps"] * row["ms"] for row in (holes, dense)]
            assert moved[0] == pytest.approx(moved[1])


def test_two_streams_wait_for_one_gate(monkeypatch: pytest.MonkeyPatch) -> None:
    from simulator.observe.microbench import sharing

    rows = measured("", lambda: sharing.sharing_subjects(fake_bench()))
    names = [tuple(row["what"].split(" | ")) for row in rows]
    assert len(set(names)) == len(names)
    assert ("matrix product", "row gather") in names
    assert ("row gather", "matrix product") in names
    assert ("MLP step as a graph", "pooled gather") in names
    ends = iter([0.25, 1.5])

    def between(_begin: FakeEvent, _end: FakeEvent) -> float:
        return 1e3 * next(ends)

    gpu = fake_bench()
    monkeypatch.setattr(gpu.ops, "between_us", between)
    kernel = sharing._Kernel("none", lambda: None, "no blocks")
    assert sharing._gated(gpu, (kernel, kernel)) == [0.25, 1.5]


def test_a_link_is_as_slow_as_its_slowest_lane(monkeypatch: pytest.MonkeyPatch) -> None:
    from simulator.observe.microbench import links

    gpu = fake_bench()
    lanes = links.HostLanes(gpu, (0, 1), 1 << 20).of("h2d+d2h", (0, 1))
    assert [(lane.gpu, lane.from_host) for lane in lanes] == [
        (0, True), (0, False), (1, True), (1, False),
    ]  # fmt: skip
    monkeypatch.setattr(links, "spans", lambda *_: [1.0, 2.0, 4.0, 2.0])
    row = links._row(gpu, "all", lanes, 1 << 20)
    assert row["ms"] == 4.0
    assert row["GBps_each"] == "1.0 0.5 0.3 0.5"  # 1.05 MB in so many ms
    assert row["GBps_sum"] == pytest.approx((1 << 20) * (1 + 0.5 + 0.25 + 0.5) / 1e6)
    assert (row["gpus"], row["streams"]) == ("0,1", 4)


def test_links_between_two_gpus_and_with_the_host() -> None:
    from simulator.observe.microbench.links import link_subjects

    ops = {row["op"] for row in measured("", lambda: link_subjects(fake_bench()))}
    assert ops == {
        "peer_copy 0->1", "peer_copy 1->0", "peer_copy both ways",
        *(f"pinned {way} {gpus}" for way in ("h2d", "d2h", "h2d+d2h")
          for gpus in ("gpu0", "gpu1", "gpu0+gpu1")),
        "pinned h2d gpu0 + d2h gpu1", "pinned d2h gpu0 + h2d gpu1",
    }  # fmt: skip


def test_victims_beside_copies_of_one_and_of_both_gpus() -> None:
    from simulator.observe.microbench.contention_many import many_subjects
    from simulator.observe.microbench.cpu_bench import CpuBench

    rows = measured("", lambda: many_subjects(fake_bench(), CpuBench(Budget(True))))
    alone = [row for row in rows if row["victim"] == "(none)"]
    assert [row["background"] for row in alone] == [
        f"{way} {gpus}" for gpus in ("gpu0", "gpu0+1") for way in ("h2d", "d2h", "h2d+d2h")
    ]
    for row in alone:
        ways = [row.get("bg_h2d_GBps", 0.0), row.get("bg_d2h_GBps", 0.0)]
        assert row["bg_sum_GBps"] == pytest.approx(sum(ways))
    assert {row["dma_gpus"] for row in rows} == {0, 1, 2}
    assert all(row["slowdown"] == 1.0 for row in rows if row["background"] == "none")


def test_victims_beside_copies_of_one_gpu() -> None:
    from simulator.observe.microbench.contention import contention_subjects
    from simulator.observe.microbench.cpu_bench import CpuBench

    rows = measured("", lambda: contention_subjects(fake_bench(), CpuBench(Budget(True))))
    victims = {row["victim"] for row in rows}
    assert "hbm gather 2000x512B" in victims
    assert "cpu scatter 2000x512B 2t" in victims


@pytest.mark.parametrize("name", ["sorts", "plans", "rows"])
def test_operators_of_the_gpu(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from simulator.observe.microbench import gpu as operators

    monkeypatch.setattr(tables.Budget, "lookups", 2_000)
    rows = measured(name, lambda: operators.gpu_subjects(fake_bench()))
    if name == "plans":
        assert [round(row["misses"]) for row in rows[:1]] == [0]
        assert rows[3]["misses"] == pytest.approx(2_000, rel=0.05)  # all of them, few twice
    assert all(row["ms"] > 0 for row in rows)


def test_mlps_in_every_precision() -> None:
    from simulator.observe.microbench.dense import dense_subjects

    rows = measured("", lambda: dense_subjects(fake_bench()))
    steps = {row["precision"] for row in rows if row["what"] == "mlp_train_step"}
    assert steps == {"fp32", "tf32", "fp16", "bf16"}
    assert {row["what"] for row in rows} == {"mlp_train_step", "gemm64"}


def test_networks_that_tell_layers_from_interactions() -> None:
    from simulator.observe.microbench.dense import dense_subjects

    rows = measured("other", lambda: dense_subjects(fake_bench()))
    assert [(row["network"], row["batch"], row["precision"]) for row in rows[:3]] == [
        ("vectors", 8, "fp32"), ("wide", 8, "fp32"), ("vectors", 8, "tf32"),
    ]  # fmt: skip
    assert len(rows) == 8


def test_updates_with_adagrad_read_and_write_their_state() -> None:
    from simulator.observe.microbench.adagrad import adagrad_on_cpu, adagrad_on_gpu
    from simulator.observe.microbench.cpu_bench import CpuBench

    rows = measured("", lambda: adagrad_on_cpu(CpuBench(Budget(True))))
    assert [(row["op"][16:], row["threads"]) for row in rows] == [
        ("adagrad", 1), ("adagrad", 2), ("rowwise_adagrad", 1), ("rowwise_adagrad", 2),
    ]  # fmt: skip
    for row, width in zip(rows[::2], (256, 129), strict=True):
        unique = int(row["note"].split(";")[0].split("=")[1])
        assert row["payload_GBps"] * row["ms"] * 1e6 == pytest.approx(8 * unique * width)
    assert len(measured("", lambda: adagrad_on_gpu(fake_bench()))) == 4


def test_collectives_count_the_rank_that_waits_least() -> None:
    from simulator.observe.microbench.collectives import _rows

    first = {"alone": [1.0, 3.0, 2.0], "submit": [5.0], "busy": [3.0], "row": [0.5]}
    second = {"alone": [2.0, 1.0, 4.0], "submit": [7.0], "busy": [4.0], "row": [0.25]}
    (row,) = _rows([{"alltoall 4096": first}, {"alltoall 4096": second}], 3)
    assert set(row) <= set(FILES["micro_nccl.csv"])
    assert row["ms_event"] == 1.0  # of 1, 1, 2
    assert row["ms_event_last_rank"] == 3.0  # of 2, 3, 4
    assert row["ms_backtoback"] == 0.5
    assert (row["us_submit"], row["us_submit_busy"]) == (6.0, 3.5)
    assert row["GBps_event"] == pytest.approx(4096 / 1e6)
    assert row["GBps_bus_event"] == pytest.approx(2048 / 1e6)  # half stays where it is


@pytest.mark.parametrize("count", [2, 3])
def test_processes_meet_and_measure(count: int) -> None:
    from simulator.observe.microbench.collectives import collectives

    rows = list(collectives("gloo", 2, count, (12,)))
    assert [row["op"] for row in rows] == ["alltoall", "allreduce"]
    assert all(row["note"].startswith(f"ranks={count};") for row in rows)
    left = (count - 1) / count
    for row, times in zip(rows, (left, 2 * left), strict=True):
        assert row["GBps_bus_event"] == pytest.approx(times * row["GBps_event"])
    assert all(row["ms_event"] > 0 for row in rows)


def test_a_rank_that_fails_is_named_and_ends_the_others() -> None:
    from simulator.observe.microbench.collectives import collectives

    with pytest.raises(RuntimeError, match=r"rank \d"):
        list(collectives("no such library", 2, 2, (12,)))


def test_zipf_draws_are_what_they_were() -> None:
    """Rank by rank in proportion to 1 / rank^a, eight tables side by side."""
    from simulator.observe.microbench.cpu_bench import draw_rows

    rows = draw_rows(8_000, 200_000, "zipf0.9", 0)
    table, spread = rows // 1000, rows % 1000
    assert np.array_equal(table, np.arange(200_000) % 8)
    rank = np.empty(1000, int)
    rank[(np.arange(1000) * 2_654_435_761) % 1000] = np.arange(1000)
    counts = np.bincount(rank[spread], minlength=1000)
    weights = np.arange(1.0, 1001) ** -0.9
    assert counts[:5] / 200_000 == pytest.approx(weights[:5] / weights.sum(), rel=0.05)


def test_every_subject_has_columns_and_names_of_its_own() -> None:
    from simulator.observe.microbench.cpu_bench import CpuBench
    from simulator.observe.microbench.subjects import cpu_groups, gpu_groups

    gpu = fake_bench()
    bench = CpuBench(gpu.budget)
    groups = {**cpu_groups(bench), **gpu_groups(gpu, bench)}
    subjects = [subject for make in groups.values() for subject in make()]
    assert len({subject.name for subject in subjects}) == len(subjects)
    assert {subject.file for subject in subjects} == set(FILES)
