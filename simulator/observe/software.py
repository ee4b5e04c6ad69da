"""Which software observe is: of the ways in which an operator profile may work, those it has."""

from __future__ import annotations

from simulator.config.operators import GpuOperators, OperatorProfile, PoolKernel, UpdateKernels
from simulator.errors import UsageError
from simulator.observe.rules_stock import is_stock

__all__ = ["require_software"]


def require_software(software: OperatorProfile, ranks: int) -> None:
    """Raise `UsageError` for software that works in other ways than what is implemented here, on
    `ranks` GPUs."""
    gpu = software.gpu
    needed = (
        (software.id_bytes == 8, "ids of 8 bytes"),
        (software.lists == "copied", "lists that are copied"),
        (software.cold_list == "compacted", "a compacted list of cold ids"),
        (gpu.next_ids == "in_turn", "ids that are sent in turn"),
        (gpu.iteration == "launches", "an iteration launched piece by piece"),
        (_pools_as_here(software), "a pooled gather of four rows in flight, none pinned"),
        (_updates_as_here(software), "an update that is one kernel after a radix sort"),
        (software.cpu_mlp.siblings == "none", "one hardware thread of each core"),
        (not software.gather_reduce.prefetch_rows, "a CPU's gather without prefetch"),
        *(_of_several(gpu) if ranks > 1 else ()),
    )
    wrong = [what for holds, what in needed if not holds]
    if wrong:
        where = " on several GPUs" if ranks > 1 else ""
        raise UsageError(
            f"observe trains{where} with {', '.join(wrong)}; {software.name} has others: "
            "--set operators=observed"
        )


def _pools_as_here(software: OperatorProfile) -> bool:
    """Whether its pooled gather is the kernel of `observe`, or PyTorch's own."""
    own, here = software.gpu_pool, PoolKernel()
    says: dict[str, object] = {"source": here.source}
    if is_stock(software):
        says |= {"kernels": here.kernels, "picking": here.picking}
    return own.model_copy(update=says) == here


def _updates_as_here(software: OperatorProfile) -> bool:
    """The same of its update."""
    own, here = software.gpu_update, UpdateKernels()
    return is_stock(software) or own.model_copy(update={"source": here.source}) == here


def _of_several(gpu: GpuOperators) -> tuple[tuple[bool, str], ...]:
    """What several GPUs need besides."""
    return (
        (not (gpu.expand or gpu.kernels_per_table), "fused operators"),
        (gpu.exchange_bytes == 4, "vectors exchanged in fp32"),
        (gpu.ids == "loaded", "ids loaded by the GPU that looks them up"),
        (gpu.bottom_mlp == "in_turn", "a bottom MLP with the rest of the MLPs"),
    )
