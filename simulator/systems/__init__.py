"""One file a system: how one training iteration uses a machine.

A system from outside: a class with the attributes and methods of `System`, named in the
entry-point group `scratchpipe.systems` of its package. What it needs is here: a `Job`, schedules,
the operators of a training iteration as words, and the systems to start from.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from simulator._plugin_files import from_file
from simulator._plugins import Contract, explained, load_plugin, named, place_of, plugins
from simulator.config.parameters import Given, Parameters, SystemKeys
from simulator.errors import PluginError, UsageError
from simulator.hardware.topology import Topology
from simulator.systems.bagpipe import Bagpipe
from simulator.systems.base import (
    Consistency,
    Job,
    System,
    SystemGroup,
    cache_in,
    hold_window,
    move,
    planned_replay,
    require_room,
    synchronize,
    tables_in,
)
from simulator.systems.cached_embedding import CachedEmbedding
from simulator.systems.cdlrm import Cdlrm
from simulator.systems.clay import Clay
from simulator.systems.cpu_only import CpuOnly
from simulator.systems.dp_sgd_b import DpSgdB
from simulator.systems.dp_sgd_f import DpSgdF
from simulator.systems.dp_sgd_r import DpSgdR
from simulator.systems.eana import Eana
from simulator.systems.el_rec_pipeline import ElRecPipeline
from simulator.systems.fae import Fae
from simulator.systems.fafnir import Fafnir
from simulator.systems.fbgemm_cached import FbgemmCached
from simulator.systems.fbgemm_ssd import FbgemmSsd
from simulator.systems.fbgemm_uvm import FbgemmUvm
from simulator.systems.flexshard import FlexShard
from simulator.systems.gpu_only import GpuOnly
from simulator.systems.groups import Group, cache_groups, groups_of, table_groups
from simulator.systems.herald import Herald
from simulator.systems.het import Het
from simulator.systems.hotline import Hotline
from simulator.systems.hugectr_etc import HugeCtrEtc
from simulator.systems.hugectr_hybrid import HugeCtrHybrid
from simulator.systems.hybrid import Hybrid
from simulator.systems.lazydp import LazyDp
from simulator.systems.mlp import dense_bytes, mlp_step, mlp_weight_bytes
from simulator.systems.ndrec import NdRec
from simulator.systems.operators import Backward, pooled_bytes, pooled_vectors
from simulator.systems.recnmp import RecNmp
from simulator.systems.recross import ReCross
from simulator.systems.recshard import RecShard
from simulator.systems.recssd import RecSsd
from simulator.systems.rects import RecTs
from simulator.systems.recxl import ReCxl
from simulator.systems.rm_ssd import RmSsd
from simulator.systems.schedule import (
    After,
    Ahead,
    Beside,
    Order,
    Pipeline,
    Role,
    Schedule,
    Serial,
    StageSpec,
    Streams,
)
from simulator.systems.scratchpipe import ScratchPipe
from simulator.systems.screc import ScRec
from simulator.systems.space import Space
from simulator.systems.static_cache import StaticCache
from simulator.systems.straw_man import StrawMan
from simulator.systems.tensor_casting import TensorCasting
from simulator.systems.tensordimm import TensorDimm
from simulator.systems.torchrec_prefetch import TorchRecPrefetch
from simulator.systems.torchrec_semi_sync import TorchRecSemiSync
from simulator.systems.training_cxl import TrainingCxl
from simulator.systems.trim import Trim

__all__ = [
    "After",
    "Ahead",
    "Backward",
    "Beside",
    "Consistency",
    "Given",
    "GpuOnly",
    "Group",
    "Hybrid",
    "Job",
    "Order",
    "Parameters",
    "Pipeline",
    "Role",
    "Schedule",
    "ScratchPipe",
    "Serial",
    "StageSpec",
    "StaticCache",
    "StrawMan",
    "Streams",
    "System",
    "SystemGroup",
    "UsedKeys",
    "cache_groups",
    "cache_in",
    "create",
    "dense_bytes",
    "group_of",
    "groups_of",
    "hold_window",
    "mlp_step",
    "mlp_weight_bytes",
    "move",
    "names",
    "planned_replay",
    "pooled_bytes",
    "pooled_vectors",
    "require_room",
    "summary",
    "synchronize",
    "system_class",
    "table_groups",
    "tables_in",
    "used_keys",
]

ENTRY_POINTS = "scratchpipe.systems"
_CONTRACT = Contract(System, "systems.System")

_SYSTEMS: dict[str, type[System]] = {
    "hybrid": Hybrid,
    "static_cache": StaticCache,
    "straw_man": StrawMan,
    "scratchpipe": ScratchPipe,
    "gpu_only": GpuOnly,
    "cpu_only": CpuOnly,
    "cached_embedding": CachedEmbedding,
    "fbgemm_uvm": FbgemmUvm,
    "fbgemm_cached": FbgemmCached,
    "torchrec_prefetch": TorchRecPrefetch,
    "torchrec_semi_sync": TorchRecSemiSync,
    "cdlrm": Cdlrm,
    "hugectr_etc": HugeCtrEtc,
    "fae": Fae,
    "hotline": Hotline,
    "tensor_casting": TensorCasting,
    "bagpipe": Bagpipe,
    "el_rec_pipeline": ElRecPipeline,
    "recshard": RecShard,
    "hugectr_hybrid": HugeCtrHybrid,
    "dp_sgd_b": DpSgdB,
    "dp_sgd_r": DpSgdR,
    "dp_sgd_f": DpSgdF,
    "eana": Eana,
    "lazydp": LazyDp,
    "het": Het,
    "herald": Herald,
    "flexshard": FlexShard,
    "tensordimm": TensorDimm,
    "recnmp": RecNmp,
    "fafnir": Fafnir,
    "recxl": ReCxl,
    "trim": Trim,
    "training_cxl": TrainingCxl,
    "ndrec": NdRec,
    "recssd": RecSsd,
    "rm_ssd": RmSsd,
    "screc": ScRec,
    "recross": ReCross,
    "space": Space,
    "clay": Clay,
    "fbgemm_ssd": FbgemmSsd,
    "rects": RecTs,
}


def names() -> tuple[str, ...]:
    """Names of all systems, those of other packages last."""
    return (*_SYSTEMS, *(name for name in plugins(ENTRY_POINTS) if name not in _SYSTEMS))


def system_class(name: str) -> type[System]:
    """The class of the system called `name`, or of a file (`./mine.py:Mine`); `UsageError` where
    there is none."""
    if name in _SYSTEMS:
        return _SYSTEMS[name]
    source = from_file(name) or plugins(ENTRY_POINTS).get(name)
    if source is None:
        raise UsageError(f"there is no system {name!r}: {', '.join(names())}")
    return load_plugin(source, _CONTRACT)


def create(name: str, job: Job, machine: Topology) -> System:
    """The system called `name` for one job on one machine.

    Raises `CapacityError` where the model does not fit, `ConfigError` where the machine lacks what
    it needs, `UsageError` for an unknown name.
    """
    system, entry = system_class(name), plugins(ENTRY_POINTS).get(name)
    if entry is not None and name in _SYSTEMS:
        raise UsageError(
            f"{named(entry)} has the name of a system that is built in: rename it or uninstall it"
        )
    with explained(name, "cannot be built", system):
        built = system(job, machine)
    for attribute in ("replay", "schedule"):
        if not hasattr(built, attribute):
            raise PluginError(f"{place_of(system)}: {system.__name__} sets no `{attribute}`")
    return built


class UsedKeys(Mapping[str, SystemKeys]):
    """For each system the keys of its entry that it uses; one of another package is loaded when it
    is asked for."""

    def __getitem__(self, name: str) -> SystemKeys:
        return used_keys(name)

    def __contains__(self, name: object) -> bool:
        return name in names() or (isinstance(name, str) and from_file(name) is not None)

    def __iter__(self) -> Iterator[str]:
        return iter(names())

    def __len__(self) -> int:
        return len(names())


def used_keys(name: str) -> SystemKeys:
    """Keys of an entry of `systems` that the system called `name` uses."""
    system = system_class(name)
    return SystemKeys(system.uses, system.parameters, system.refused)


def summary(name: str) -> str:
    """One sentence on the system called `name`."""
    return (system_class(name).__doc__ or "").strip().splitlines()[0]


def group_of(name: str) -> SystemGroup:
    """Where the system called `name` belongs in a list."""
    return system_class(name).group if name in _SYSTEMS else "other"
