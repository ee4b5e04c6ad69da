"""Operator profiles: what the software of the embedding operators costs on top of the hardware.

A profile says for each operator on the CPU whether it exists as a pass of its own, on how many
threads it runs, and what a thread spends on a row beside waiting for memory. It never holds a
duration of an operator: durations follow from the counts, the profile and the platform.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, field_validator

from simulator.config.bounds import AtMost
from simulator.config.collectives import Collectives
from simulator.config.types import Frozen, Picoseconds, Positive, Reached, Source

__all__ = ["CpuMlp", "CpuOperator", "GpuOperators", "NoiseOperators", "OperatorProfile"]
__all__ += ["OptimizerSteps", "PoolKernel", "Threads", "UpdateKernels"]

Ahead = Annotated[int, Field(ge=0), AtMost(1_000, "no cache of a core holds so many rows")]
Leading = Annotated[int, Field(ge=0), AtMost(16, "65,536 ranges are more than threads need")]
Slowdown = Annotated[float, Field(ge=1, le=2)]
InFlight = Annotated[int, Field(gt=0), AtMost(64, "each takes registers or shared memory")]
Picking = Annotated[int, Field(ge=0), AtMost(10**3, "no framework launches so many")]
Pinned = Annotated[int, Field(ge=0), AtMost(10**9, "no cache holds so many rows")]

Threads = Literal["all", "tables", "one"]
"""Threads of an operator: every core, one a table (as many as there are cores), or a single one."""


class CpuOperator(Frozen):
    """One pass over rows on the CPU."""

    threads: Threads
    row_time: Picoseconds
    """Instructions of one thread for one row or pair, whatever its width, not hidden behind its
    memory accesses."""
    line_time: Picoseconds = "0 ps"  # type: ignore[assignment]
    """Instructions of one thread for each cache line (64 B, 16 elements) of a row beside that."""
    distinct_time: Picoseconds = "0 ps"  # type: ignore[assignment]
    """Instructions of one thread for each distinct row beside those for its lookups, where
    gradients are summed."""
    overlap: Reached
    """Share of the core's miss buffers that the code keeps busy (prefetching: near 1)."""
    prefetch_rows: Ahead = 0
    """Rows that the code asks for ahead of the one that it works on, by software prefetch of all
    their lines; 0: none. The lines of so many rows keep miss buffers busy, where that is more than
    `overlap`."""
    range_bits: Leading = 0
    """Where gradients are summed: threads take ranges of row numbers one after the other, those
    with the same leading bits, so many; all lookups of a row are one thread's. 0: threads share
    the lookups evenly."""
    nontemporal: bool = False
    """Writes its output with streaming stores: no read for ownership."""
    fresh_output: bool = False
    """Allocates its output anew each time: first touch faults every page."""
    source: Source


class OptimizerSteps(Frozen):
    """What the step of an optimizer costs a CPU thread beside SGD's."""

    adagrad_line_time: Picoseconds
    """Instructions for each cache line (16 elements) of a row that is updated: a root and a
    division an element."""
    rowwise_adagrad_line_time: Picoseconds
    """The same: the sum of squares over the line."""
    source: Source

    def line_time(self, optimizer: str) -> int:
        """Picoseconds a line of a row; 0 for SGD."""
        times = {
            "adagrad": self.adagrad_line_time,
            "rowwise_adagrad": self.rowwise_adagrad_line_time,
        }
        return times.get(optimizer, 0)


class CpuMlp(Frozen):
    """The MLPs where a CPU computes them."""

    efficiency: Reached = 0.6
    """Share of the cores' peak that the products of layers reach."""
    siblings: Literal["none", "bottom_mlp"] = "none"
    """What runs on the second hardware thread of each core while embeddings are gathered on the
    first."""
    sibling_slowdown: Slowdown = 1.15
    """How many times as long each takes on a core that it shares."""
    source: Source = (
        "assumed: MKL on small products; two threads that wait and compute in turn on one core"
    )


class NoiseOperators(Frozen):
    """What Gaussian numbers cost, in private training."""

    value_time: Picoseconds = "6 ns"  # type: ignore[assignment]
    """Instructions of one CPU thread for one number."""
    fresh_output: bool = True
    """Draws into memory that is allocated anew each time: first touch faults every page."""
    gpu_value_time: Picoseconds = "500 ps"  # type: ignore[assignment]
    """Instructions of a streaming multiprocessor for one number, its lanes together."""
    source: Source = (
        "assumed: 4 to 8 ns a number of PyTorch's Box-Muller with a Mersenne Twister on a thread "
        "(recalled); gpu_value_time: about 25 instructions for a quarter of ten Philox rounds and "
        "15 for half of a Box-Muller pair, on 64 lanes at 1.4 GHz"
    )


class GpuOperators(Frozen):
    """How the GPU's share of the software works."""

    submission: Picoseconds
    """Host time that the software adds to the driver's own for each kernel of the embedding
    operators, each copy and each captured graph that it submits."""
    worker_call: Picoseconds = "0 ps"  # type: ignore[assignment]
    """In a pipeline, where a thread of its own runs the CPU's operators of a stage beside the one
    that submits work to the GPU: from handing them over to their start, and from their end until
    the other thread knows it. 0: such threads spin."""
    collective: Picoseconds
    """Host time that the library of collectives adds to the launch of one call."""
    row_time: Picoseconds = "0 ps"  # type: ignore[assignment]
    """Instructions of a streaming multiprocessor for each row that its share of a gather or scatter
    copies: what short rows, which move fast, are bound by."""
    pool_line_time: Picoseconds
    """Instructions of a streaming multiprocessor for each line of L2 that its share of the pooled
    gather reads or writes; 0: hidden behind them."""
    update_line_time: Picoseconds
    """The same of the update of rows."""
    update_pair_time: Picoseconds = "0 ps"  # type: ignore[assignment]
    """Time of a streaming multiprocessor for each lookup whose row is updated, however wide: its
    programs wait for ids, positions and gradients one after the other."""
    update_repeat_time: Picoseconds = "0 ps"  # type: ignore[assignment]
    """The same for each gradient of a row beyond its first: a program adds those of one row in
    turn, and its lanes for other rows wait for the longest."""
    run_vector_time: Picoseconds = "0 ps"  # type: ignore[assignment]
    """Time in which a warp that sums all gradients of one row adds one more, for each 64 of at most
    128 elements that it has; 0: warps share the gradients of a row."""
    plan_slot_time: Picoseconds
    """Time of the GPU for each slot of the cache in Plan, beside the scans over their ages: how it
    chooses its victims."""
    plan_lookup_time: Picoseconds = "0 ps"  # type: ignore[assignment]
    """The same for each lookup, beside what it reads in memory: what its kernels do in L2."""
    mlp: Literal["graph", "eager"]
    """MLP kernels replayed as one captured graph, or launched one by one from the host."""
    interaction: Literal["products", "fused"] = "products"
    """The dot interaction of a model: batched products, of which another kernel picks the pairs and
    to which it puts their gradients back, as PyTorch has it; or one kernel forward and one backward
    that read the vectors once, as HugeCTR has it. `cat` and `cross` are the same in both."""
    layers: Literal["separate", "fused"] = "separate"
    """Bias, activation and their gradients of a layer: kernels of their own, and an update for each
    weight, as PyTorch has them; or done by the kernels of its products, and one update for all."""
    weight_gradients: Literal["in_turn", "beside"] = "in_turn"
    """With fused layers: the gradients of weights in turn with those of inputs, or beside them, so
    that nothing waits for their kernels to start and to drain."""
    kernel_dispatch: Picoseconds
    """Host time that the framework spends on one kernel launched eagerly, the launch included
    (operator dispatch, autograd, optimizer)."""
    host_processes: Literal["one", "one_per_gpu"]
    """Who launches eager kernels on several GPUs: one process after the other, or one for each."""
    update: Literal["sorted", "atomic"] = "sorted"
    """How the gradients of equal rows meet: sorted by row and summed, or added to the row one by
    one where it lies in L2. Other optimizers than SGD need the sum, and sort."""
    indices: Literal["given", "ahead", "in_turn"] = "given"
    """Where rows have copies: each GPU knows which lookups of a mini-batch are its own to send and
    to get, or picks them out of all of them: with the ids of the next mini-batch, or before it
    looks rows up."""
    expand: bool
    """Materialises the expanded gradient in HBM before it is coalesced."""
    kernels_per_table: bool
    """One set of embedding kernels a table, or one fused set for all tables of one dim."""
    row_exchange: Literal["reduce_scatter", "all_to_all"] = "reduce_scatter"
    """Partial sums of tables that are cut by rows over all GPUs: summed on their way, or sent to
    the GPUs of their samples, which add them up."""
    ids: Literal["loaded", "exchanged"] = "loaded"
    """How ids reach the GPU that looks them up, in `gpu_only` on several: each loads those of its
    tables, or those of its samples, which GPUs then exchange."""
    next_ids: Literal["ahead", "in_turn"] = "in_turn"
    """Ids of the next mini-batch in `gpu_only`: sent while this one trains, or after it."""
    bottom_mlp: Literal["beside_exchange", "in_turn"] = "in_turn"
    """The bottom MLP of `gpu_only` on several GPUs: beside the exchange of pooled vectors and of
    their gradients, or with the rest of the MLPs."""
    all_reduce: Literal["beside_update", "beside_exchange", "in_turn"] = "beside_update"
    """The MLPs' gradients in `gpu_only`: summed beside the update of the tables, beside the
    exchange of the vectors' gradients (with those of rows with copies, in one call), or before the
    update."""
    iteration: Literal["graph", "launches"] = "launches"
    """All that the host submits from one wait for the GPU to the next, where stages follow each
    other: one captured graph, or each of it."""
    exchange_bytes: Literal[2, 4] = 4
    """Bytes of an element of pooled vectors, their gradients, sums of gradients of rows with copies
    and gradients of the MLPs on the links between GPUs: fp16, converted by the kernels beside the
    exchange, or fp32."""
    source: Source


class PlanKernels(Frozen):
    """How the kernels of Plan are written."""

    kernels: Positive = 5
    """Mark and look up; compact misses; scan ages; choose victims; update maps."""
    launches: Literal["each", "graph"] = "each"
    """Submitted one by one, or replayed as one captured graph."""
    maps: Positive = 1
    """Maps by row that a row of the mini-batch is looked up in: the Hit-Map, and one more where a
    map finds out which lookups repeat."""
    marks_ahead: bool = False
    """Looks up the rows of every mini-batch ahead in its hold window anew to mark their slots;
    false: slots that were found once are kept."""
    source: Source = "assumed: one pass over the ids, one Hit-Map, two scans over the ages of slots"


class UpdateKernels(Frozen):
    """How the kernels of the GPU's update are written: those of a set (one a table, or one for all:
    `gpu.kernels_per_table`)."""

    expand: Positive = 1
    """Kernels that expand gradients (`gpu.expand`)."""
    sort: Positive | None = None
    """Kernels that sort pairs of row and position, each with the latency of any other (a merge sort
    of few pairs, whose traffic L2 holds); null: a radix sort's, two and one a pass."""
    kernels: Positive = 1
    """Kernels that sum the gradients of equal rows and update the rows."""
    waits: bool = False
    """The host waits in it for the GPU (for the number of distinct rows, say), so that it submits
    nothing ahead; taken to wait until it is done."""
    source: Source = "assumed: a radix sort, and one kernel that sums and updates"


class PoolKernel(Frozen):
    """How the kernels of the GPU's pooled gather are written."""

    kernels: Positive = 1
    """Kernels of a set (one a table, or one for all: `gpu.kernels_per_table`). Frameworks that have
    no operator for a column chain many small ones: ids of borders or hashes, distinct, gather, sum.
    """
    rows_in_flight: InFlight = 4
    """Rows that a thread asks for before it adds them up: unrolled loads, or prefetch into
    registers or shared memory. A thread waits once for each so many rows of its bag: that chain
    bounds a kernel from below, whatever `resident_warps` says."""
    thread_bytes: Literal[4, 8, 16] | None = None
    """Bytes of a row that a thread loads at once, so that rows wider than 32 of them take several
    warps; null: a warp a row, however wide."""
    resident_warps: Positive | None = None
    """Warps that a multiprocessor holds at once, as registers and shared memory allow: no more of
    them wait for rows at a time. Null: enough for the waits of many warps to hide behind each
    other; what stays is the chain of one thread (`rows_in_flight`)."""
    pinned_rows: Pinned = 0
    """Rows that each of its kernels finds in L2, those that the mini-batch before looked up most:
    fetched with a policy that evicts them last. The other rows have what L2 is left."""
    pinning: Literal["paid", "beforehand"] = "paid"
    """Who fetches those: a kernel before each of the pooled gather, or one that nobody times."""
    picking: Picking = 0
    """Kernels of a set that pick its lookups out of a list in which those are marked that a split
    has left to others, before they are pooled, and before gradients are expanded; 0: the kernels
    skip what is marked."""
    source: Source = (
        "rows_in_flight: read in the code of observe's kernel; resident_warps, thread_bytes: "
        "assumed: waits of loads are hidden, a warp reads a row of 512 B at once"
    )


class OperatorProfile(Frozen):
    """The software of one implementation of training, operator by operator."""

    name: str
    description: str
    id_bytes: Literal[4, 8]
    """Bytes of an id in lists and on the link."""
    lists: Literal["copied", "mapped"]
    """Lists that the GPU makes for the host (missed and victim rows, ids of cold rows): copied
    once they are made, or written by the kernels straight into the host's memory."""
    cold_list: Literal["compacted", "holes"]
    """The ids of rows that a static cache leaves to the CPU: those alone, or the whole list with
    the others marked, which the CPU skips one by one."""
    skip_time: Picoseconds
    """Instructions of one thread for a marked id that it skips."""
    gather_reduce: CpuOperator
    """Read a row a lookup, sum the rows of a sample."""
    expand: CpuOperator | None
    """Copy a sample's gradient once per lookup; null where fused into the accumulation."""
    sort: CpuOperator
    """Order (id, position) pairs; its row time is per pair and radix pass of 8 bits, or per pair
    and comparison level (see `sort_kind`)."""
    sort_kind: Literal["radix", "comparison"]
    accumulate: CpuOperator
    """Sum the gradients of equal ids."""
    scatter: CpuOperator | None
    """Update each unique row; null where fused into the accumulation."""
    optimizer_steps: OptimizerSteps
    """Optimizers that keep state beside the rows, in the pass that updates them."""
    gather: CpuOperator
    """Copy missed rows into the staging buffer (Collect)."""
    row_scatter: CpuOperator
    """Copy victims from the staging buffer into the tables (Insert)."""
    gpu: GpuOperators
    gpu_pool: PoolKernel = PoolKernel()
    """The pooled gather on a GPU."""
    gpu_update: UpdateKernels = UpdateKernels()
    """The update on a GPU, and what comes before it."""
    gpu_plan: PlanKernels = PlanKernels()
    """Plan on a GPU."""
    cpu_mlp: CpuMlp = CpuMlp()
    """The MLPs of systems without a GPU."""
    noise: NoiseOperators = NoiseOperators()
    """Numbers drawn in private training."""
    collectives: Collectives
    """The library of collectives between GPUs: a name of `configs/collectives/`, or its keys."""

    @property
    def follows_hottest(self) -> bool:
        """Whether anything in it lasts as long as the lookups of one row take."""
        return bool(self.gpu.run_vector_time or self.accumulate.range_bits)

    @field_validator("gather_reduce", "expand", "sort", "scatter", "gather", "row_scatter")
    @classmethod
    def _sums_nothing(cls, operator: CpuOperator | None) -> CpuOperator | None:
        for key in ("distinct_time", "range_bits"):
            if operator is not None and getattr(operator, key):
                raise ValueError(
                    f"{key} is a key of accumulate, which sums gradients: leave it out"
                )
        return operator
