"""Operators as bytes, rows and FLOPs: arithmetic that a person can redo."""

from __future__ import annotations

import pytest
from simulator.hardware.work import Access, CpuWork

from simulator.config.catalogue import load_named
from simulator.config.model import ModelConfig
from simulator.systems.operators import (
    CpuOperators,
    GpuOperators,
    mlp_flops,
    mlp_weight_bytes,
    pooled_bytes,
)

LOOKUPS = 8 * 20 * 2048


def model(**changes: object) -> ModelConfig:
    default: ModelConfig = load_named("models", "default")
    return default.model_copy(update=changes)


def cpu(profile: str = "paper", **changes: object) -> CpuOperators:
    return CpuOperators(model(**changes), load_named("operators", profile))


def gpu(profile: str = "tuned", **changes: object) -> GpuOperators:
    return GpuOperators(model(**changes), load_named("operators", profile))


def moved(accesses: tuple[Access, ...], write: bool) -> int:
    return sum(access.bytes for access in accesses if access.write == write)


@pytest.mark.parametrize(
    ("batch", "dim", "gflop"), [(2048, 128, 25.2272), (2048, 64, 24.1568), (4096, 128, 50.4543)]
)
def test_flops_of_the_mlps_equal_those_that_were_counted_on_hardware(
    batch: int, dim: int, gflop: float
) -> None:
    assert mlp_flops(model(dim=dim), batch) / 1e9 == pytest.approx(gflop, rel=1e-4)


def test_pooled_vectors_of_the_default_model_are_8_39_mb() -> None:
    assert pooled_bytes(model()) == 2048 * 8 * 128 * 4 == 8_388_608


def test_weights_of_the_default_mlps() -> None:
    bottom = 14 * 512 + 513 * 256 + 257 * 128
    top = 165 * 1024 + 1025 * 1024 + 1025 * 512 + 513 * 256 + 257
    assert mlp_weight_bytes(model()) == 4 * (bottom + top)


def test_no_dense_features_leave_the_bottom_mlp_out() -> None:
    assert mlp_weight_bytes(model(dense_features=0)) < mlp_weight_bytes(model())


def test_side_by_side_interaction_widens_the_top_mlp() -> None:
    extra = (9 * 128 - (128 + 36)) * 1024 * 4
    assert mlp_weight_bytes(model(interaction="cat")) - mlp_weight_bytes(model()) == extra


def test_gather_reduce_reads_a_row_a_lookup_and_writes_pooled_vectors() -> None:
    work = cpu().gather_reduce(LOOKUPS, 0.0)
    assert moved(work.accesses, write=False) == LOOKUPS * (512 + 8)
    assert moved(work.accesses, write=True) == 8_388_608


def names(works: tuple[CpuWork, ...]) -> list[str]:
    return [work.name for work in works]


def test_unfused_backward_has_a_pass_for_each_operator() -> None:
    assert names(cpu("paper").backward(LOOKUPS, 1000)) == [
        "expand",
        "sort",
        "accumulate",
        "scatter",
    ]


def test_fused_backward_sorts_and_updates_in_one_pass() -> None:
    sort, update = cpu("tuned").backward(LOOKUPS, 1000)
    assert sort.name == "sort"
    written = [access for access in update.accesses if access.write]
    assert [access.bytes for access in written] == [1000 * 512]
    assert written[0].in_place


def test_expand_writes_a_gradient_for_each_lookup() -> None:
    expand = cpu().backward(LOOKUPS, 1000)[0]
    assert moved(expand.accesses, write=True) == LOOKUPS * 512


def test_scatter_reads_and_writes_each_unique_row_once() -> None:
    scatter = cpu().backward(LOOKUPS, 1000)[-1]
    assert moved(scatter.accesses, write=True) == 1000 * 512
    assert moved(scatter.accesses, write=False) == 2 * 1000 * 512  # gradients and rows


@pytest.mark.parametrize(
    ("optimizer", "state"), [("sgd", 0), ("adagrad", 512), ("rowwise_adagrad", 4)]
)
def test_optimizer_state_travels_with_its_row(optimizer: str, state: int) -> None:
    operators = cpu(optimizer=optimizer)
    scatter = operators.backward(LOOKUPS, 1000)[-1]
    assert moved(scatter.accesses, write=True) == 1000 * (512 + state)
    assert moved(operators.collect(10).accesses, write=False) == 10 * (512 + state)
    assert moved(operators.insert(10).accesses, write=True) == 10 * (512 + state)
    update = gpu(optimizer=optimizer).backward(LOOKUPS, 1000, 8000)[-1]
    assert moved(update.accesses, write=True) == 1000 * (512 + state)


def test_a_radix_sort_takes_a_pass_for_each_8_bits_of_the_key() -> None:
    assert gpu().backward(LOOKUPS, 1, 2**24)[0].sort_passes == 3
    assert gpu().backward(LOOKUPS, 1, 2**24 + 1)[0].sort_passes == 4


def test_pooled_gradients_are_read_from_memory_once() -> None:
    update = gpu().backward(LOOKUPS, 1000, 8000)[-1]
    gradients = update.accesses[1]
    from_memory = gradients.count * (1 - gradients.hit_share)
    assert from_memory == pytest.approx(2048 * 8)


def test_kernels_of_one_set_a_table_or_one_for_all() -> None:
    assert gpu("paper").gather_reduce(LOOKUPS, 0.0).kernels == 8
    assert gpu("tuned").gather_reduce(LOOKUPS, 0.0).kernels == 1


def test_nothing_to_move_starts_no_kernel() -> None:
    assert gpu().gather("x", 0).kernels == 0
    assert gpu().scatter("x", 0).kernels == 0
