"""What words of a program become on a GPU: kernels, bytes and submissions worked out by hand."""

from __future__ import annotations

import dataclasses

import pytest
from benches import (
    DIM,
    DRAM,
    HBM,
    LOOKUPS,
    PAPER,
    POOLED,
    ROWS,
    TUNED,
    UNIQUE,
    bench,
    buffer,
    pool,
    price,
    store,
    update,
)
from machines import (
    CPU,
    GPU,
    PCIE,
    catalogue_part,
    changed,
    host,
    one_channel,
    socket,
    topology,
)

from simulator.config.catalogue import load_named
from simulator.config.operators import OperatorProfile, PlanKernels
from simulator.hardware.demand import Demand
from simulator.hardware.devices.update_words import UPDATE_CHAIN
from simulator.hardware.program import (
    Accumulate,
    Add,
    Dense,
    Expand,
    Flow,
    FusedLayers,
    Gather,
    Interaction,
    Operation,
    Plan,
    Scatter,
    Sort,
    Split,
    Wait,
)

HOST = "gpu.launch"
"""The host thread that submits to the GPU."""


def at_gpu(word: Operation, software: OperatorProfile = TUNED) -> Demand:
    """On a V100 whose rows come out even."""
    gpu = changed(GPU, memory=one_channel(GPU))
    machine = topology(host(cpu=CPU, gpu=gpu, pcie=socket(PCIE, join=("cpu", "gpu"))))
    return price(machine, word, software)


KERNEL = catalogue_part(GPU).kernel_latency


def test_a_pooled_gather_on_the_gpu_reads_ids_and_rows_and_writes_vectors() -> None:
    demand = at_gpu(pool("gpu", HBM))
    read = LOOKUPS * (512 + 4) + POOLED
    assert demand.services[HBM].bytes == read
    assert demand.minimum_ps == read, "1000 GB/s: 1 ps a byte"
    paper = at_gpu(pool("gpu", HBM), PAPER)
    assert paper.services[HBM].bytes == LOOKUPS * (512 + 8) + POOLED


@pytest.mark.parametrize(("profile", "sets"), [("paper", 8), ("stock", 8), ("tuned", 1)])
def test_kernels_of_one_set_a_table_or_one_for_all(profile: str, sets: int) -> None:
    software = load_named("operators", profile)
    each = 3_980_000 + software.gpu.submission
    ids = LOOKUPS * software.id_bytes
    rows, gradients = LOOKUPS * 512 + POOLED, LOOKUPS * (512 + 4) + 2 * UNIQUE * 512
    """Rows at 1000 GB/s of HBM, 1 ps a byte; gradients, found there, at 2155 GB/s of L2."""
    words = (
        (pool("gpu", HBM), software.gpu_pool.kernels, float(ids + rows)),
        (update("gpu", HBM), software.gpu_update.kernels, (ids + gradients) / 2.155),
    )
    for word, of_a_set, streams_ps in words:
        demand, kernels = at_gpu(word, software), sets * of_a_set
        assert demand.latency_ps == KERNEL
        assert demand.minimum_ps == pytest.approx((kernels - 1) * KERNEL + streams_ps)
        assert (demand.submit_ps, demand.submit_more_ps) == (each, (kernels - 1) * each)


def test_pytorch_launches_22_kernels_a_table_to_expand_coalesce_and_update() -> None:
    """As a profiler names them: three that expand, eleven of a merge sort, eight of the rest."""
    stock = load_named("operators", "stock")
    each = 3_980_000 + stock.gpu.submission
    words = (
        Expand("expand", "gpu", buffer(HBM, POOLED), ROWS, DIM, 8),
        Sort("sort", "gpu", ROWS, 8, 10**6, 8 * 10**6),
        update("gpu", HBM, expanded=True),
    )
    demands = [at_gpu(word, stock) for word in words]
    submitted = [(d.submit_ps + d.submit_more_ps) / each for d in demands]
    assert submitted == [8 * 3, 8 * 11, 8 * 8]
    assert demands[1].minimum_ps == (8 * 11 - 1) * KERNEL, "its traffic stays in L2"
    assert [d.blocks for d in demands] == [False, False, True], "it asks how many rows there are"


def test_lookups_are_picked_out_of_a_list_that_a_split_has_marked() -> None:
    stock = load_named("operators", "stock")
    each = 3_980_000 + stock.gpu.submission
    for word in (
        pool("gpu", HBM),
        Expand("expand", "gpu", buffer(HBM, POOLED), ROWS, DIM, 8),
    ):
        whole, marked = (
            at_gpu(dataclasses.replace(word, skipped=n), stock).submit_more_ps for n in (0, 5)
        )
        assert marked - whole == 8 * 13 * each
        assert at_gpu(dataclasses.replace(word, skipped=5)) == at_gpu(word), "tuned skips them"


def test_sums_of_gradients_are_written_once_a_row_in_place_of_rows() -> None:
    """Beside an update: rows are neither read nor written, a gradient a row is written."""
    vectors = buffer(HBM, POOLED)
    summed = at_gpu(Accumulate("sum", "gpu", vectors, ROWS, DIM, False, 8)).services[HBM].bytes
    updated = at_gpu(update("gpu", HBM)).services[HBM].bytes
    assert summed == updated - 2 * UNIQUE * 512 + UNIQUE * DIM
    expanded = at_gpu(Accumulate("sum", "gpu", vectors, ROWS, DIM, True, 8)).services[HBM].bytes
    assert expanded == LOOKUPS * (4 + 4) + LOOKUPS * DIM + UNIQUE * DIM


def test_a_warp_works_on_each_bag_or_row() -> None:
    """V100: 80 multiprocessors of 2048 threads hold 5,120 warps."""
    row = Flow(1, 1)
    few = at_gpu(pool("gpu", HBM, rows=row, into=buffer(HBM, 512 * 100)))
    assert few.services["gpu.sm"].ps == pytest.approx(100 / 5120 * few.minimum_ps)
    one = at_gpu(Gather("g", "gpu", store(HBM), row, buffer(HBM, 512)))
    assert one.services["gpu.sm"].ps == pytest.approx(1 / 5120 * one.minimum_ps)
    every = at_gpu(pool("gpu", HBM))
    assert every.services["gpu.sm"].ps == every.minimum_ps


def test_instructions_of_the_software_are_beside_its_streams() -> None:
    """pool_line_time 4.75 ns: ids, rows and vectors in lines of 128 B on 80 multiprocessors."""
    gpu = TUNED.gpu.model_copy(update={"pool_line_time": 47_500, "update_line_time": 80_000})
    slow = TUNED.model_copy(update={"gpu": gpu})
    lines = (LOOKUPS * (512 + 4) + POOLED) / 128
    assert at_gpu(pool("gpu", HBM), slow).minimum_ps == pytest.approx(lines * 47_500 / 80)
    lines = LOOKUPS * (512 + 8) / 128 + 2 * UNIQUE * 4  # gradients pass, found there or not
    assert at_gpu(update("gpu", HBM), slow).minimum_ps == pytest.approx(lines * 80_000 / 80)


def test_lookups_and_repeats_of_an_update_take_time_of_a_multiprocessor() -> None:
    """However wide the rows are: 1 us a lookup, 3 us a gradient beyond the first of its row."""
    times = {"update_pair_time": 10**6, "update_repeat_time": 3 * 10**6}
    slow = TUNED.model_copy(update={"gpu": TUNED.gpu.model_copy(update=times)})
    expected = (LOOKUPS + 3 * (LOOKUPS - UNIQUE)) * 10**6 / 80
    assert at_gpu(update("gpu", HBM), slow).minimum_ps == pytest.approx(expected)


def test_the_longest_sample_bounds_a_pooled_gather() -> None:
    """Offsets, ids, then 20 rows four at a time; an update: segment, positions, gradients, row."""
    machine = bench(gpu={"dependent_access": 10**12})
    assert (
        price(machine, pool("gpu", HBM)).minimum_ps
        == (2 + 20 // TUNED.gpu_pool.rows_in_flight) * 10**12
    )
    assert price(machine, update("gpu", HBM)).minimum_ps == UPDATE_CHAIN * 10**12


@pytest.mark.parametrize(("gradient", "turns"), [(128, 1), (256, 1), (512, 2), (2048, 2)])
def test_a_hot_row_holds_one_warp_for_the_run_of_its_gradients(gradient: int, turns: int) -> None:
    """64 elements at a time, at most twice; few multiprocessors are held meanwhile."""
    even, hot = (
        update("gpu", HBM, rows=dataclasses.replace(ROWS, hottest=most), gradient_bytes=gradient)
        for most in ((), (4900, 100))
    )
    chain = UPDATE_CHAIN * catalogue_part(GPU).dependent_access
    for in_turn, vectors in ((False, 4900), (True, 5000)):
        times = {"run_vector_time": 10**9, "kernels_per_table": in_turn}
        software = TUNED.model_copy(update={"gpu": TUNED.gpu.model_copy(update=times)})
        run, usual = at_gpu(hot, software), at_gpu(even, software)
        assert run.minimum_ps >= vectors * turns * 10**9 + chain
        assert run.minimum_ps <= vectors * turns * 10**9 + usual.minimum_ps
        assert run.services["gpu.sm"].ps == pytest.approx(usual.services["gpu.sm"].ps)
    assert at_gpu(hot).minimum_ps == at_gpu(even).minimum_ps, "warps share the gradients of a row"


@pytest.mark.parametrize(("key_rows", "passes"), [(2**24, 3), (2**24 + 1, 4), (2, 1)])
def test_a_radix_sort_on_the_gpu_takes_a_pass_for_each_8_bits_of_the_key(
    key_rows: int, passes: int
) -> None:
    demand = at_gpu(Sort("sort", "gpu", ROWS, 8, 2, key_rows))
    assert demand.services[HBM].bytes == 2 * 8 * LOOKUPS * passes


def test_sorts_table_by_table_have_narrower_keys() -> None:
    """2^24 slots of eight tables: keys of 21 bits in place of 24, three passes of each table, each
    with a histogram and its sums before it."""
    demand = at_gpu(Sort("sort", "gpu", ROWS, 8, 2, 2**24), PAPER)
    gpu = catalogue_part(GPU)
    passes = 8 * 3 * gpu.sort_pass_latency + 3 * LOOKUPS / gpu.sort_rate * 1e12
    streams = 2 * 8 * LOOKUPS * 3
    assert demand.minimum_ps == pytest.approx(15 * KERNEL + passes + streams)
    assert demand.submit_ps + demand.submit_more_ps == 8 * (2 + 3) * (3_980_000 + 6_000_000)
    threads = LOOKUPS / 8 / 16
    assert demand.services["gpu.sm"].ps == pytest.approx(threads / 163_840 * demand.minimum_ps)


def test_pooled_gradients_are_found_in_l2_as_far_as_it_holds_them() -> None:
    """16,384 first reads; of the others those that 6 MB of 8,388,608 B hold. Lists of ids and
    positions; rows read and written."""
    demand = at_gpu(update("gpu", HBM))
    again = (LOOKUPS - 16_384) * (1 - 6_000_000 / POOLED)
    expected = (16_384 + again) * 512 + LOOKUPS * 8 + 2 * UNIQUE * 512
    assert demand.services[HBM].bytes == pytest.approx(expected, abs=512)
    large = topology(host(gpu=changed(GPU, l2_cache=POOLED)))
    once = price(large, update("gpu", HBM)).services[HBM].bytes
    assert once == pytest.approx(POOLED + LOOKUPS * 8 + 2 * UNIQUE * 512, abs=512)


def test_an_update_without_gradients_or_lookups_is_one_kernel() -> None:
    nothing = at_gpu(update("gpu", HBM, rows=Flow(), source=buffer(HBM, 0)))
    assert nothing.services[HBM].bytes == 0
    assert nothing.minimum_ps == UPDATE_CHAIN * 685_000


def test_expanded_gradients_are_read_one_by_one() -> None:
    demand = at_gpu(update("gpu", HBM, expanded=True))
    assert demand.services[HBM].bytes == LOOKUPS * (512 + 8) + 2 * UNIQUE * 512
    expand = at_gpu(Expand("expand", "gpu", buffer(HBM, POOLED), ROWS, DIM, 8))
    assert expand.services[HBM].bytes == POOLED + LOOKUPS * 512


@pytest.mark.parametrize(("state", "sectors"), [(0, 0), (4, 1), (512, 16)])
def test_optimizer_state_of_the_gpu_takes_sectors_of_its_own(state: int, sectors: int) -> None:
    with_state = at_gpu(update("gpu", HBM, state)).services[HBM].bytes
    without = at_gpu(update("gpu", HBM)).services[HBM].bytes
    assert with_state - without == 2 * UNIQUE * sectors * 32


def test_rows_are_copied_between_slots_and_staging_buffers() -> None:
    rows, staged = store(HBM, 4, slotted=True), buffer(HBM, UNIQUE * 516)
    copied = UNIQUE * (544 + 516)  # rows in whole sectors, the buffer in order
    for word in (Gather("g", "gpu", rows, ROWS, staged), Scatter("s", "gpu", staged, rows, ROWS)):
        assert at_gpu(word).services[HBM].bytes == copied
        assert at_gpu(word).latency_ps == KERNEL


def test_nothing_to_move_starts_no_kernel() -> None:
    rows, staged = store(HBM, slotted=True), buffer(HBM, 0)
    nothing = Flow()
    assert at_gpu(Gather("g", "gpu", rows, nothing, staged)) == Demand("g")
    assert at_gpu(Scatter("s", "gpu", staged, rows, nothing)) == Demand("s")


PLAN = Plan("plan", "gpu", LOOKUPS, 2000, 100, 10**6)
SCANNED = LOOKUPS * 4 + 2 * 10**6 * 4 + 2000 * 4
"""Ids, the ages of all slots twice, unique ids."""
PROBES = round((2000 + 4 * 100) / 2.852e9 * 1e12)
"""An entry a distinct row, four a miss."""


def test_plan_scans_ages_twice_then_probes_a_row_once_and_a_miss_four_times() -> None:
    demand = at_gpu(PLAN)
    assert demand.services[HBM].bytes == SCANNED
    assert demand.latency_ps == KERNEL
    assert demand.minimum_ps == 4 * KERNEL + SCANNED + PROBES
    assert demand.services["gpu.sm"].ps == pytest.approx(demand.minimum_ps), "a thread a slot"
    assert demand.submit_more_ps == 4 * demand.submit_ps


def test_mapped_lists_cross_the_link_without_the_latency_of_a_copy() -> None:
    """8 MB at what posted writes carry, 128 of 152 B a packet less 2 %; only acknowledgements go
    the other way. They are longer than the scans, and the kernel holds the GPU for them."""
    demand = at_gpu(dataclasses.replace(PLAN, lists=buffer(DRAM, 8_000_000)))
    up = 8e6 / (15.754e9 * 128 / 152 * 0.98) * 1e12
    assert demand.services["pcie.up"].ps == pytest.approx(up)
    assert demand.services["pcie.down"].ps == pytest.approx(0.03526 * 8e6 / 15.754e9 * 1e12)
    assert demand.services[DRAM].bytes == demand.services["pcie.up"].bytes == 8_000_000
    assert demand.services[DRAM].read_ps == 0.0
    assert demand.services[HBM].bytes == SCANNED
    assert demand.latency_ps == KERNEL
    assert demand.minimum_ps == pytest.approx(4 * KERNEL + up + PROBES)
    assert demand.services["gpu.sm"].ps == pytest.approx(demand.minimum_ps)
    assert demand.loaded == {}, "posted: it waits for no answer"
    empty = at_gpu(dataclasses.replace(PLAN, lists=buffer(DRAM, 0)))
    assert empty.minimum_ps == at_gpu(PLAN).minimum_ps


def test_split_reads_and_writes_the_ids_and_probes_each() -> None:
    word = Split("split", "gpu", LOOKUPS)
    demand = at_gpu(word)
    ids, probes = 2 * LOOKUPS * 4, LOOKUPS / 2.852e9 * 1e12
    assert demand.services[HBM].bytes == ids
    assert demand.minimum_ps == pytest.approx(KERNEL + ids + probes)
    mapped = at_gpu(dataclasses.replace(word, lists=buffer(DRAM, 1_000_000)))
    assert mapped.services["pcie.up"].bytes == mapped.services[DRAM].bytes == 1_000_000
    assert mapped.latency_ps == KERNEL


def test_add_reads_every_source_and_writes_one() -> None:
    sums = buffer(HBM, POOLED)
    assert at_gpu(Add("add", "gpu", (sums, sums), sums)).services[HBM].bytes == 3 * POOLED


DOT = Interaction(6, 7 * 10**6, 5 * 10**6, tile_flops=10**8, pairs=36_000, vector_bytes=10**6)
DENSE = Dense("mlp", "gpu", 10**10, "fp32", 58, 4 * 10**7, 2 * 10**7, DOT)
RATES = catalogue_part(GPU).products.fp32
assert RATES is not None
STEP = RATES.kernel_latency
LAYERS = 1e10 / (15.7e12 * RATES.efficiency) * 1e12


def test_a_training_step_is_its_streams_then_its_products_then_its_pairs() -> None:
    demand = at_gpu(DENSE)
    size = 4 * 10**7 + 2 * 10**7 + 7 * 10**6 + 5 * 10**6
    assert demand.services[HBM].bytes == size
    meeting = (1e8 / RATES.batched + 36_000 / RATES.selection) * 1e12
    assert demand.minimum_ps == pytest.approx(63 * STEP + size + LAYERS + meeting)
    assert demand.services["gpu.sm"].ps == pytest.approx(demand.minimum_ps)
    assert demand.latency_ps == STEP


def test_a_fused_interaction_reads_the_vectors_once_each_way_and_picks_nothing() -> None:
    """Two kernels for six; products of 1e8 FLOP as good as those of layers."""
    gpu = TUNED.gpu.model_copy(update={"interaction": "fused"})
    fused = TUNED.model_copy(update={"gpu": gpu})
    demand = at_gpu(DENSE, fused)
    size = 4 * 10**7 + 2 * 10**7 + 2 * 10**6 + 10**6
    assert demand.services[HBM].bytes == size
    assert demand.minimum_ps == pytest.approx(59 * STEP + size + 1.01 * LAYERS)
    side_by_side = dataclasses.replace(DENSE, interaction=Interaction(2, 10**6, 10**6))
    assert at_gpu(side_by_side, fused) == at_gpu(side_by_side), "there is nothing to fuse"


def test_fused_layers_are_their_products_and_one_update() -> None:
    """58 kernels become 27, of which 8 sum weight gradients that nothing waits for."""
    dense = dataclasses.replace(DENSE, fused=FusedLayers(27, 19, 10**6, 2 * 10**6))
    assert at_gpu(dense) == at_gpu(DENSE), "as separate layers have it"
    for beside, kernels in (("in_turn", 27), ("beside", 19)):
        keys = {"layers": "fused", "weight_gradients": beside}
        fused = TUNED.model_copy(update={"gpu": TUNED.gpu.model_copy(update=keys)})
        demand, usual = at_gpu(dense, fused), at_gpu(DENSE)
        assert demand.services[HBM].bytes == 3 * 10**6 + 12 * 10**6
        less = (58 - kernels) * STEP + 57 * 10**6
        assert demand.minimum_ps == pytest.approx(usual.minimum_ps - less)
        assert at_gpu(DENSE, fused).minimum_ps == usual.minimum_ps, "what cannot be fused is not"


def test_a_graph_is_submitted_once_and_eager_kernels_one_by_one() -> None:
    graph, eager = at_gpu(DENSE), at_gpu(DENSE, PAPER)
    assert (graph.submit_ps, graph.submit_more_ps) == (3_980_000, 0)
    assert (eager.submit_ps, eager.submit_more_ps) == (29_000_000, 63 * 29_000_000)
    assert eager.minimum_ps == graph.minimum_ps, "the GPU does the same"


def test_the_host_notices_after_the_time_that_it_takes() -> None:
    demand = at_gpu(Wait("synchronize", "gpu"))
    assert demand == Demand("synchronize", host=HOST, host_ps=4_250_000, blocks=True)


def test_a_gpu_that_loads_over_its_link_uses_both_memories() -> None:
    """A read of 128 B asks for itself with 16 B the other way; data comes with 16 B a packet of
    450 GB/s, longer than both memories take."""
    link = changed("nvlink_c2c", load_latency=500_000)
    machine = topology(host(cpu="grace_72", gpu=GPU, c2c=socket(link, join=("cpu", "gpu"))))
    demand = price(machine, pool("gpu", DRAM))
    rows = LOOKUPS * 512
    assert demand.services[DRAM].bytes == demand.services["c2c.down"].bytes == rows
    assert demand.services["c2c.down"].ps == pytest.approx(rows / 400e9 * 1e12)
    assert demand.services["c2c.up"].ps == pytest.approx(rows / 128 * 16 / 450e9 * 1e12)
    assert demand.services[HBM].bytes == LOOKUPS * 4 + POOLED
    assert demand.minimum_ps == pytest.approx(rows / 400e9 * 1e12)
    assert demand.services["gpu.sm"].ps == pytest.approx(demand.minimum_ps)


def test_a_plan_of_its_own_maps_and_marks_reads_an_entry_for_each() -> None:
    """Two maps, and two mini-batches ahead whose rows are looked up anew: four entries a row;
    replayed as a graph, its 15 kernels are submitted once."""
    facts = PlanKernels(kernels=15, launches="graph", maps=2, marks_ahead=True)
    own = TUNED.model_copy(update={"gpu_plan": facts})
    ahead = at_gpu(dataclasses.replace(PLAN, ahead=2), own)
    probes = round((4 * 2000 + 4 * 100) / 2.852e9 * 1e12)
    assert ahead.minimum_ps == pytest.approx(14 * KERNEL + SCANNED + probes)
    assert ahead.submit_more_ps == 0
    alone = at_gpu(PLAN, own)
    assert ahead.minimum_ps - alone.minimum_ps == pytest.approx(2 * 2000 / 2.852e9 * 1e12)
    assert at_gpu(dataclasses.replace(PLAN, ahead=2)) == at_gpu(PLAN), "slots are kept"


def test_rows_side_by_side_are_found_in_l2_and_cost_what_a_lookup_does() -> None:
    side = dataclasses.replace(PLAN, side_by_side=True)
    assert at_gpu(PLAN).minimum_ps - at_gpu(side).minimum_ps == pytest.approx(PROBES)
    gpu = TUNED.gpu.model_copy(update={"plan_lookup_time": 300, "plan_slot_time": 100})
    slow = at_gpu(side, TUNED.model_copy(update={"gpu": gpu}))
    more = LOOKUPS * 300 + 10**6 * 100
    assert slow.minimum_ps - at_gpu(side).minimum_ps == pytest.approx(more)


@pytest.mark.parametrize("size", [64, 1024])
def test_short_rows_are_bound_by_the_instructions_of_each(size: int) -> None:
    """47.5 ns a row on each of 80 multiprocessors; rows of 1 KiB hide them."""
    gpu = TUNED.gpu.model_copy(update={"row_time": 47_500})
    short = dataclasses.replace(store(HBM, slotted=True), row_bytes=size)
    word = Gather("g", "gpu", short, Flow(LOOKUPS, LOOKUPS), buffer(HBM, LOOKUPS * size))
    slow = at_gpu(word, TUNED.model_copy(update={"gpu": gpu}))
    assert slow.latency_ps == at_gpu(word).latency_ps
    bound = max(at_gpu(word).minimum_ps, round(LOOKUPS * 47_500 / 80))
    assert slow.minimum_ps == pytest.approx(bound)
    assert (slow.minimum_ps > at_gpu(word).minimum_ps) == (size == 64)
