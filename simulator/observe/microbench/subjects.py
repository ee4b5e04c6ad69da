"""All that there is to measure, in order: what a shared machine may end early comes first."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial

from simulator.observe.microbench.adagrad import adagrad_on_cpu, adagrad_on_gpu
from simulator.observe.microbench.contention import contention_subjects
from simulator.observe.microbench.contention_many import many_subjects
from simulator.observe.microbench.copies import copy_subjects
from simulator.observe.microbench.cpu import cpu_subjects
from simulator.observe.microbench.cpu_bench import CpuBench
from simulator.observe.microbench.device import GpuBench
from simulator.observe.microbench.footprint import footprint_subjects
from simulator.observe.microbench.in_training import gpu_fed_subjects, in_training_subjects
from simulator.observe.microbench.skips import cpu_skip_subjects, gpu_skip_subjects
from simulator.observe.microbench.tables import Budget, Subject

__all__ = ["cpu_groups", "gpu_groups", "open_cpu", "open_gpu"]

Groups = Mapping[str, Callable[[], Sequence[Subject]]]
"""Subjects by a name for them together, listed when their turn comes."""


def open_cpu(budget: Budget) -> CpuBench:
    return CpuBench(budget)


def open_gpu(budget: Budget) -> GpuBench:
    return GpuBench(budget)


def cpu_groups(bench: CpuBench) -> Groups:
    """Without a GPU."""
    return {
        "cpu": partial(cpu_subjects, bench),
        "cpu skips": partial(cpu_skip_subjects, bench),
        "cpu in training": partial(in_training_subjects, bench),
        "cpu caches": partial(footprint_subjects, bench),
        "cpu Adagrad": partial(adagrad_on_cpu, bench),
    }


def gpu_groups(gpu: GpuBench, bench: CpuBench) -> Groups:
    """What needs a GPU, and at the end what needs two."""
    from simulator.observe.microbench.collectives import collective_subjects
    from simulator.observe.microbench.dense import dense_subjects
    from simulator.observe.microbench.gpu import gpu_subjects
    from simulator.observe.microbench.launches import launch_subjects
    from simulator.observe.microbench.links import link_subjects
    from simulator.observe.microbench.sharing import sharing_subjects

    groups: dict[str, Callable[[], Sequence[Subject]]] = {
        "launches": partial(launch_subjects, gpu),
        "staging": partial(gpu_fed_subjects, gpu.ops, bench),
        "two streams": partial(sharing_subjects, gpu),
        "copies": partial(copy_subjects, gpu, bench),
        "contention": partial(contention_subjects, gpu, bench),
        "gpu skips": partial(gpu_skip_subjects, gpu),
        "MLPs": partial(dense_subjects, gpu),
        "gpu Adagrad": partial(adagrad_on_gpu, gpu),
    }
    if gpu.torch.cuda.device_count() > 1:
        groups |= {
            "links": partial(link_subjects, gpu),
            "several GPUs and the CPU": partial(many_subjects, gpu, bench),
            "collectives": partial(collective_subjects, gpu),
        }
    return groups | {"gpu": partial(gpu_subjects, gpu)}
