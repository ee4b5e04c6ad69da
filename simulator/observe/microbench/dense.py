"""Training steps of several networks by batch, dim and precision, captured and eager."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any

from simulator.config.catalogue import load_named
from simulator.observe.microbench.device import GpuBench
from simulator.observe.microbench.tables import Row, Subject
from simulator.observe.mlp import DenseStep
from simulator.systems.networks import with_network

__all__ = ["dense_subjects"]

_FILE = "micro_mlp.csv"
_SHAPES = [(n, 128) for n in (512, 1024, 2048, 4096, 8192)] + [(2048, 64), (2048, 256)]
_FEW_SHAPES = [(512, 128), (2048, 128), (8192, 128), (2048, 64), (2048, 256)]
_OTHERS = [(n, name) for name in ("wide", "vectors", "beside") for n in (2048, 8192)]
_OTHERS += [(2048, "many")]
"""Mini-batches (of the default dim) of the other networks."""
_DIM = 128
_PRODUCT = 4096


def dense_subjects(gpu: GpuBench) -> list[Subject]:
    """The subjects of `micro_mlp.csv`."""
    precisions = ("fp32", "tf32", "fp16", "bf16")
    parts = {f"MLPs in {name}": partial(_steps, gpu, name) for name in precisions}
    parts |= {f"other MLPs in {name}": partial(_other_steps, gpu, name) for name in precisions}
    parts["large matrix products"] = partial(_products, gpu)
    return [Subject(name, _FILE, rows) for name, rows in parts.items()]


def _steps(gpu: GpuBench, precision: str) -> Iterator[Row]:
    """The default network."""
    for batch, dim in _FEW_SHAPES if gpu.budget.quick else _SHAPES:
        for graph in (True, False) if (batch, dim) == (2048, 128) else (True,):
            change = {"batch_size": batch, "dim": dim, "mlp_precision": precision}
            yield _step(gpu, "default", change, graph)


def _other_steps(gpu: GpuBench, precision: str) -> Iterator[Row]:
    """Networks that tell the cost of layers from that of the interaction."""
    for batch, network in _OTHERS:
        change = {"batch_size": batch, "dim": _DIM, "mlp_precision": precision}
        yield _step(gpu, network, change, graph=True)


def _step(gpu: GpuBench, network: str, change: dict[str, Any], graph: bool) -> Row:
    model = with_network(load_named("models", "default"), network).changed(**change)
    step = DenseStep(model, gpu.ops.device, 0, graph=graph)
    times = gpu.time(lambda _: step.run())
    return {
        "what": "mlp_train_step", "network": network, "batch": model.batch_size,
        "dim": model.width, "precision": model.mlp_precision,
        "mode": "cuda_graph" if graph else "eager_host_clock", **times,
    }  # fmt: skip


def _products(gpu: GpuBench) -> Iterator[Row]:
    """One large product a precision: what arithmetic alone reaches."""
    torch, size = gpu.torch, _PRODUCT if gpu.ops.overlaps else 64
    kinds = {"fp32": "float32", "tf32": "float32", "fp16": "float16", "bf16": "bfloat16"}
    for precision, kind in kinds.items():
        torch.backends.cuda.matmul.allow_tf32 = precision == "tf32"
        a, b = (gpu.ops.empty((size, size), kind).normal_() for _ in range(2))
        out = torch.empty_like(a)
        times = gpu.time(lambda _, a=a, b=b, out=out: torch.matmul(a, b, out=out))
        yield {
            "what": f"gemm{size}", "batch": size, "dim": size,
            "precision": precision, "mode": "eager", **times,
        }  # fmt: skip
    torch.backends.cuda.matmul.allow_tf32 = False
