"""TrainingCXL: tables in persistent memory behind CXL with logic beside it, lookups ahead of
updates, an undo log in idle time (Kwon, Jang, Choi et al., "Failure Tolerant Training With
Persistent Memory Disaggregation Over CXL", IEEE Micro 43(2), 2023, arXiv 2301.07492).

Second-hand (a public note of a full read): the device holds tables and log, gathers and updates
rows and copies them to the log; only pooled vectors and their gradients cross the link, by hardware
coherence. Three forms. CXL-D: everything in turn, the log on the critical path. CXL-B: the log is
written while the MLPs run, before rows are updated in place. CXL: lookups of the next mini-batch
read the table before this one updates it, and what it changed is added to their sums afterwards.
MLPs are pulled into the log over some mini-batches, so that theirs lags. Published: 5.2 times as
fast and 76 % less energy than systems with persistent memory (abstract); CXL-D 23 % less time than
over PCIe, CXL 14 % less than CXL-B (second-hand).

Derived: sizes; the log of a mini-batch is read and written once, 2 U E bytes. Reconstructed: the
device (`training_cxl_pmem`, numbers relative to DRAM), the GPU on its PCIe link below the CPU, ids
from the CPU. Ours: changes of rows wait in buffers of the device, as Adagrad asks. Left out: that
rows read right after they were written wait longer (it would slow CXL-D and CXL-B down), the marks
of the log, the pause of the MLPs' log around the end of the top MLP, several GPUs.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated, ClassVar, Literal

from pydantic import Field

from simulator.caches.facts import UNIQUE, BatchFacts
from simulator.caches.replays.overlap import AGAIN_LOOKUP, OverlapReplay
from simulator.config.checkpoint import CheckpointConfig
from simulator.config.parameters import Given, Parameters
from simulator.errors import ConfigError
from simulator.hardware.program import Stage
from simulator.hardware.topology import Topology
from simulator.systems.base import Consistency, Job, System, SystemGroup
from simulator.systems.checkpointed import Checkpointed
from simulator.systems.near_data import NearData, device_of
from simulator.systems.schedule import After, Schedule, Serial, Streams

__all__ = ["TrainingCxl", "TrainingCxlParameters"]

_REMEDY = (
    "persistent memory with logic beside it, but {machine} has none: name a platform with one, as "
    "in {{name: training_cxl, platform: training_cxl_v100}}, or give yours the sockets `pmem: "
    "training_cxl_pmem` and `pmem_link: {{part: cxl2_x8, join: [cpu, pmem]}}`"
)


class TrainingCxlParameters(Parameters):
    """Of TrainingCXL."""

    lookup: Annotated[
        Literal["relaxed", "strict"],
        Given("second-hand", "CXL is; CXL-B and CXL-D are not"),
    ] = "relaxed"
    """When rows of the next mini-batch are looked up: before this one updates them, with what it
    changed added to their sums (`relaxed`), or after it (`strict`)."""
    log: Annotated[
        Literal["background", "critical", "none"],
        Given("second-hand", "CXL and CXL-B write in idle time, CXL-D does not"),
    ] = "background"
    """When the undo log is written: in idle time, before rows are updated (`background`); after
    them, with nothing beside it (`critical`); never (`none`)."""
    mlp_every: Annotated[
        int,
        Field(ge=1, le=1_000_000),
        Given("second-hand", "a lag of hundreds costs < 0.01 % accuracy; 100 is assumed"),
    ] = 100
    """Mini-batches over which a copy of the MLPs is written to the log."""


class TrainingCxl(System):
    """Persistent memory behind CXL gathers ahead of updates and logs in idle time."""

    group: ClassVar[SystemGroup] = "rival"
    source: ClassVar[str] = "Kwon et al., TrainingCXL, IEEE Micro 2023 (abstract and notes)"
    no_inference: ClassVar[str] = "what it reorders and logs are updates, and queries have none"
    consistency: ClassVar[Consistency] = Consistency(
        "reordered",
        "Lookups read the table before the update of the mini-batch before, whose changes are then "
        "added to their sums: the same in exact arithmetic, floating-point sums are in another "
        "order. After a failure rows are those of the last mini-batch, MLPs at most 2 mlp_every - "
        "1 mini-batches older.",
    )
    unknown: ClassVar[tuple[str, ...]] = (
        "Absolute rates of its persistent memory, and sizes of its models.",
        "Latency of its switch, and what its logic does in a second.",
        "On which side of the end of the top MLP the log of the MLPs pauses; here it does not.",
    )
    parameters: ClassVar[type[Parameters]] = TrainingCxlParameters
    uses: ClassVar[frozenset[str]] = frozenset()
    shown_on: ClassVar[str] = "training_cxl_v100"
    kinds: ClassVar[tuple[tuple[str, ...], ...]] = ((AGAIN_LOOKUP, UNIQUE),)

    def __init__(self, job: Job, machine: Topology) -> None:
        self._own = own = job.parameters_as(TrainingCxlParameters)
        self._relaxed = own.lookup == "relaxed"
        if self._relaxed and own.log == "critical":
            raise ConfigError(
                "training_cxl: log is critical, which stops what lookup: relaxed runs ahead: set "
                "lookup: strict (CXL-D), or log: background (CXL)"
            )
        at = device_of(machine, "near_pmem", "training_cxl", _REMEDY)
        self._near = NearData(job, machine, "training_cxl", at, memory="media", buffers="buffers")
        self.replay = OverlapReplay(job.keep)
        self.schedule = self._schedule()
        self._logger: Checkpointed | None = None
        if own.log == "critical":
            self._logger = Checkpointed(self, self._undo_log, job, machine)
            self.schedule = Serial.of(*self.schedule.names, "log")

    @property
    def _undo_log(self) -> CheckpointConfig:
        """Rows before every update, and the MLPs a part at a time, to the device itself."""
        to, every = self._near.at, self._own.mlp_every
        return CheckpointConfig(kind="undo_log", to=to, every=every)

    @property
    def checkpoint(self) -> CheckpointConfig | None:
        return self._undo_log if self._own.log == "background" else None

    def _schedule(self) -> Schedule:
        if not self._relaxed:
            return Serial.of("lookup", "pooled_to_gpu", "mlp", "gradients_to_device", "update")
        names = ("lookup", "amend", "pooled_to_gpu", "mlp", "gradients_to_device", "update")
        waits = (
            After("lookup", "update", -2),
            After("amend", "update", -1),
            After("update", "lookup", 1),
        )
        return Streams.of(*names, after=waits, in_flight=2)

    def stages(self, facts: BatchFacts) -> tuple[Stage, ...]:
        program = self._trained(facts)
        if self._logger is None:
            return program
        log = self._logger.records(facts, program)
        return (*program, replace(log, name="log"))

    def _trained(self, facts: BatchFacts) -> tuple[Stage, ...]:
        near = self._near
        pooled = near.pooled(facts, early=self._relaxed)
        amended = (Stage("amend", (tuple(near.amended(facts, AGAIN_LOOKUP)),)),)
        return (
            Stage("lookup", (near.ids(facts), pooled)),
            *(amended if self._relaxed else ()),
            Stage("pooled_to_gpu", ((near.sent(),),)),
            near.mlp(),
            Stage("gradients_to_device", (near.gradients(),)),
            Stage("update", (near.updated(facts, UNIQUE),)),
        )
