"""Operators as words with bytes, rows and FLOPs: arithmetic that a person can redo."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jobs import PROFILES, job, machine, model

from simulator.caches.facts import Flow
from simulator.config.catalogue import load_named
from simulator.hardware.program import (
    Accumulate,
    Buffer,
    Expand,
    Pool,
    Sort,
    Store,
    Update,
    key_bits,
)
from simulator.systems.base import tables_in
from simulator.systems.mlp import (
    dense_bytes,
    interaction_flops,
    mlp_flops,
    mlp_kernels,
    mlp_step,
    mlp_weight_bytes,
)
from simulator.systems.operators import Backward, pooled_bytes, pooled_vectors

ROWS = Flow(327_680, 1000)


# MLPs


@pytest.mark.parametrize(
    ("batch", "dim", "gflop"), [(2048, 128, 25.2272), (2048, 64, 24.1568), (4096, 128, 50.4543)]
)
def test_flops_of_the_mlps_equal_those_that_were_counted_on_hardware(
    batch: int, dim: int, gflop: float
) -> None:
    assert mlp_flops(model(dim=dim), batch) / 1e9 == pytest.approx(gflop, rel=1e-4)


def test_flops_of_a_layer_are_two_forward_and_four_backward_a_weight() -> None:
    """13-2-128 below; 128 + 36 inputs above, 164-3-1; nine vectors dot each other."""
    small = model(bottom_mlp=(2,), top_mlp=(3, 1))
    weights = 13 * 2 + 2 * 128 + 164 * 3 + 3
    assert mlp_flops(small, 1) == 6 * weights + 3 * 2 * 9 * 9 * 128
    assert interaction_flops(small, 10) == 10 * 3 * 2 * 81 * 128


def test_vectors_side_by_side_are_not_multiplied() -> None:
    assert interaction_flops(model(interaction="cat"), 2048) == 0


@given(st.integers(1, 10_000), st.integers(1, 8))
def test_flops_are_proportional_to_samples(batch: int, times: int) -> None:
    assert mlp_flops(model(), times * batch) == times * mlp_flops(model(), batch)


def test_weights_of_the_default_mlps() -> None:
    bottom = 14 * 512 + 513 * 256 + 257 * 128
    top = 165 * 1024 + 1025 * 1024 + 1025 * 512 + 513 * 256 + 257
    assert mlp_weight_bytes(model()) == 4 * (bottom + top)


def test_no_dense_features_leave_the_bottom_mlp_and_its_vector_out() -> None:
    """128 outputs and 8 products fewer meet the top MLP."""
    bottom = 14 * 512 + 513 * 256 + 257 * 128
    left = mlp_weight_bytes(model(dense_features=0))
    assert mlp_weight_bytes(model()) - left == 4 * (bottom + (128 + 8) * 1024)
    assert interaction_flops(model(dense_features=0), 1) == 3 * 2 * 8 * 8 * 128


def test_side_by_side_interaction_widens_the_top_mlp() -> None:
    extra = (9 * 128 - (128 + 36)) * 1024 * 4
    assert mlp_weight_bytes(model(interaction="cat")) - mlp_weight_bytes(model()) == extra


def test_kernels_of_a_step() -> None:
    """Three layers below and five above, seven each; six of the interaction, two of the loss."""
    assert mlp_kernels(model()) == 7 * 8 + 8 == 64
    assert mlp_kernels(model(dense_features=0)) == 7 * 5 + 8


@pytest.mark.parametrize("samples", [None, 256])
def test_a_step_is_a_word_with_all_its_work(samples: int | None) -> None:
    step = mlp_step(model(), "gpu", samples)
    count = samples or 2048
    meeting = step.interaction
    assert step.flops == mlp_flops(model(), count) - interaction_flops(model(), count)
    assert (step.at, step.kernels, step.precision) == ("gpu", 64 - 6, "fp32")
    weights = mlp_weight_bytes(model()) // 4
    outputs = 512 + 256 + 128 + 1024 + 1024 + 512 + 256 + 1
    assert step.bytes_read == 4 * 4 * count * outputs + 2 * 4 * weights
    assert step.bytes_written == 2 * 4 * count * outputs + 4 * weights
    assert (meeting.kernels, meeting.vector_bytes) == (6, count * 9 * 128 * 4)
    assert meeting.bytes_read == 7 * meeting.vector_bytes
    assert meeting.bytes_written == 5 * meeting.vector_bytes
    assert meeting.pairs == count * 36


def test_half_precision_halves_activations_and_casts_weights_and_vectors() -> None:
    full, half = (mlp_step(model(mlp_precision=name), "gpu") for name in ("tf32", "fp16"))
    weights = mlp_weight_bytes(model()) // 4
    assert half.bytes_read - 14 * weights == (full.bytes_read - 8 * weights) / 2
    assert half.bytes_written - 10 * weights == (full.bytes_written - 4 * weights) / 2
    elements = 2048 * 9 * 128
    assert half.interaction.bytes_read == 36 * elements
    assert half.interaction.bytes_written == 28 * elements
    assert half.interaction.tile_flops == full.interaction.tile_flops


@pytest.mark.parametrize(
    ("tables", "strips"), [(1, 1), (4, 1), (8, 1), (31, 1), (32, 2), (63, 2), (64, 3)]
)
def test_vectors_meet_in_strips_of_32(tables: int, strips: int) -> None:
    """One vector more, that of the bottom MLP; forward and backward are three products."""
    one = model(tables=tables, rows_per_table=10, lookups_per_table=1, dim=64)
    meeting = mlp_step(one, "gpu", 10).interaction
    assert meeting.tile_flops == 10 * 3 * 2 * 32 * 32 * strips * 64
    assert meeting.pairs == 10 * (tables + 1) * tables // 2


def test_vectors_side_by_side_have_no_products() -> None:
    meeting = mlp_step(model(interaction="cat"), "gpu", 10).interaction
    assert (meeting.tile_flops, meeting.pairs, meeting.kernels) == (0, 0, 2)
    assert meeting.bytes_read == meeting.bytes_written == 2 * 10 * 9 * 128 * 4


DCN = load_named("models", "mlperf_dcnv2")


def test_dlrm_dcnv2_takes_96_mflop_a_sample() -> None:
    """13-512-256-128 below; 27 vectors of 128 are 3456; three layers of rank 512; 1024-1024-512-
    256-1 above."""
    bottom = 13 * 512 + 512 * 256 + 256 * 128
    top = 3456 * 1024 + 1024 * 1024 + 1024 * 512 + 512 * 256 + 256
    cross = 3 * 2 * 3456 * 512
    assert bottom + cross + top == 16_030_464
    assert mlp_flops(DCN, 1) == 6 * 16_030_464
    assert interaction_flops(DCN, 1) == 0
    biases = 512 + 256 + 128 + 1024 + 1024 + 512 + 256 + 1 + 3 * 3456
    assert mlp_weight_bytes(DCN) == 4 * (16_030_464 + biases)
    assert mlp_kernels(DCN) == 7 * (8 + 6) + 2 + 2
    outputs = 512 + 256 + 128 + 1024 + 1024 + 512 + 256 + 1 + 3 * (512 + 3456)
    step, weights = mlp_step(DCN, "gpu", 1), mlp_weight_bytes(DCN) // 4
    half, cast_and_update = (
        2,
        10,
    )  # bytes an activation; 2 of a cast, 4 of its gradient, 4 of the update
    assert step.bytes_written == 2 * half * (outputs + 3 * 3456) + cast_and_update * weights


def test_more_cross_layers_and_a_higher_rank_are_more_work() -> None:
    deeper = DCN.changed(cross={"layers": 4, "rank": 256})
    assert mlp_flops(DCN, 1) - mlp_flops(deeper, 1) == 6 * 2 * 3456 * (3 * 512 - 4 * 256)


def test_the_synthetic_models_have_one_mlp_over_averaged_vectors_and_dense_features() -> None:
    """Medium: 25 dense features, vectors averaged by sevens; Tiny: 10, not averaged."""
    medium, tiny = (load_named("models", f"synthetic_{size}") for size in ("medium", "tiny"))
    vectors = sum(medium.dim) + 25 * 64 + 128  # of the second feature of 26 tables
    inputs = -(-vectors // 7) + 25
    weights = inputs * 1024 + 1024 * 512 + 512 * 256 + 256 * 128 + 128
    assert mlp_flops(medium, 1) == 6 * weights
    assert mlp_kernels(medium) == 7 * 5 + 2 + 2 + 2
    vectors = sum(tiny.dim) + 8 + 16 + 16
    assert mlp_flops(tiny, 1) == 6 * ((vectors + 10) * 256 + 256 * 128 + 128)


def test_concat_is_another_word_for_cat() -> None:
    assert model(interaction="concat") == model(interaction="cat")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"dim": [64] * 7 + [32]}, "tables of unlike dim can only be cat or cross"),
        ({"bottom_mlp": None}, "dense features have no vector"),
        ({"average_stride": 2}, "has no use with interaction dot"),
    ],
)
def test_vectors_that_cannot_meet_are_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        model(**changes)


# vectors


def test_pooled_vectors_of_the_default_model_are_8_39_mb() -> None:
    assert pooled_bytes(model()) == 2048 * 8 * 128 * 4 == 8_388_608


@pytest.mark.parametrize("tables", [0, 1, 5, 8])
def test_pooled_vectors_of_some_tables(tables: int) -> None:
    assert pooled_bytes(model().of_tables(range(tables))) == tables * 2048 * 512


def test_dense_features_travel_with_their_labels() -> None:
    assert dense_bytes(model()) == 2048 * 14 * 4
    assert dense_bytes(model(dense_features=0)) == 2048 * 4


@pytest.mark.parametrize(("at", "place"), [("cpu", "cpu.dram"), ("gpu", "gpu.hbm")])
def test_pooled_vectors_stay_in_the_memory_of_their_processor(at: str, place: str) -> None:
    server = machine()
    tables = tables_in(job(), server, "cpu")
    word = pooled_vectors(model(), server, at, tables, ROWS)
    assert word == Pool(
        "gather_reduce", at, tables, ROWS, Buffer("pooled", place, 8_388_608), 20, features=8
    )


def test_the_longest_sample_of_any_table_is_the_pooling() -> None:
    server, jagged = machine(), model(lookups_per_table=(1, 50, 3, 1, 1, 1, 1, 1))
    assert (
        pooled_vectors(jagged, server, "gpu", tables_in(job(), server, "cpu"), ROWS).pooling == 50
    )


def test_the_longest_bag_of_the_mini_batch_is_the_pooling_where_it_was_counted() -> None:
    server, rows = machine(), Flow(327_680, 1000, longest=37)
    tables = tables_in(job(), server, "cpu")
    assert pooled_vectors(model(), server, "gpu", tables, rows).pooling == 37


def test_ids_that_are_marked_are_skipped_beside_the_rows_that_are_pooled() -> None:
    server = machine()
    word = pooled_vectors(model(), server, "cpu", tables_in(job(), server, "cpu"), ROWS, 5)
    assert (word.skipped, word.rows) == (5, ROWS)


# the backward of embeddings


def backward(at: str, profile: str, **changes: object) -> Backward:
    server = machine()
    store = Store("cache", server.memory(at).place, 512, tables=8, slotted=at == "gpu")
    return Backward(
        model(**changes), server, load_named("operators", profile), at, store, key_rows=8000
    )


@pytest.mark.parametrize(
    ("at", "profile", "names"),
    [
        ("cpu", "paper", ("expand", "sort", "accumulate", "scatter")),
        ("cpu", "stock", ("expand", "sort", "accumulate", "scatter")),
        ("cpu", "tuned", ("sort", "accumulate")),
        ("gpu", "paper", ("expand", "sort", "update")),
        ("gpu", "stock", ("expand", "sort", "update")),
        ("gpu", "tuned", ("sort", "update")),
    ],
)
def test_passes_of_the_backward(at: str, profile: str, names: tuple[str, ...]) -> None:
    passes = backward(at, profile)
    assert passes.names == names
    assert tuple(word.name for word in passes.operations(ROWS)) == names
    assert {word.at for word in passes.operations(ROWS)} == {at}


def test_unfused_backward_has_a_word_for_each_operator() -> None:
    words = backward("cpu", "paper").operations(ROWS)
    assert [type(word) for word in words] == [Expand, Sort, Accumulate, Update]
    expand, sort, accumulate, update = words
    assert isinstance(expand, Expand)
    assert isinstance(sort, Sort)
    assert isinstance(accumulate, Accumulate)
    assert isinstance(update, Update)
    assert accumulate.expanded
    assert not update.coalesce, "summed before"
    assert (sort.table_rows, sort.key_rows, sort.tables) == (10**7, 8000, 8)


def test_fused_backward_sorts_and_updates_in_one_pass() -> None:
    sort, update = backward("cpu", "tuned").operations(ROWS)
    assert isinstance(sort, Sort)
    assert isinstance(update, Update)
    assert update.coalesce
    assert not update.expanded


@pytest.mark.parametrize("profile", PROFILES)
def test_only_what_comes_before_the_sums_meets_ids_that_are_marked(profile: str) -> None:
    """The passes after it go over what it has ordered."""
    words = backward("cpu", profile).operations(ROWS, skipped=1234)
    met = {type(w): getattr(w, "skipped", 0) for w in words if getattr(w, "skipped", 0)}
    expands = any(isinstance(w, Expand) for w in words)
    assert met == ({Expand: 1234, Sort: 1234} if expands else {Sort: 1234})


@pytest.mark.parametrize("profile", PROFILES)
@pytest.mark.parametrize("at", ["cpu", "gpu"])
def test_gradients_of_all_tables_lie_where_the_processor_works(at: str, profile: str) -> None:
    passes = backward(at, profile)
    place = machine().memory(at).place
    for word in passes.operations(ROWS):
        source = getattr(word, "source", None)
        assert source in (None, Buffer("gradients", place, 8_388_608))
        assert word.rows == ROWS  # type: ignore[attr-defined]


def test_gradients_may_lie_elsewhere() -> None:
    far = Buffer("g", "far.dram", 4096)
    words: tuple[Any, ...] = backward("cpu", "tuned").operations(ROWS, far)
    assert words[-1].source == far


@pytest.mark.parametrize(
    ("optimizer", "state"), [("sgd", 0), ("adagrad", 512), ("rowwise_adagrad", 4)]
)
def test_optimizer_state_belongs_to_the_entry_of_a_row(optimizer: str, state: int) -> None:
    tables = tables_in(job(optimizer=optimizer), machine(), "cpu")
    assert (tables.row_bytes, tables.state_bytes) == (512, state)
    assert tables.entry_bytes == job(optimizer=optimizer).entry_bytes == 512 + state


@pytest.mark.parametrize(
    ("rows", "bits"), [(0, 1), (1, 1), (2, 1), (3, 2), (256, 8), (257, 9), (2**24, 24)]
)
def test_bits_of_a_key_that_can_name_every_row(rows: int, bits: int) -> None:
    assert key_bits(rows) == bits
