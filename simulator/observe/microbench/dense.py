"""Training steps of the default model's MLPs, by batch, dim and precision, captured and eager."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

from simulator.config.catalogue import load_named
from simulator.observe.microbench.device import GpuBench
from simulator.observe.microbench.tables import Row, Subject
from simulator.observe.mlp import DenseStep

__all__ = ["dense_subjects"]

_FILE = "micro_mlp.csv"
_SHAPES = [(n, 128) for n in (512, 1024, 2048, 4096, 8192)] + [(2048, 64), (2048, 256)]
_FEW_SHAPES = [(512, 128), (2048, 128), (8192, 128), (2048, 64), (2048, 256)]
_PRODUCT = 4096


def dense_subjects(gpu: GpuBench) -> list[Subject]:
    """The subjects of `micro_mlp.csv`."""
    parts = {
        "MLPs in fp32": partial(_steps, gpu, "fp32"),
        "MLPs in tf32": partial(_steps, gpu, "tf32"),
        "MLPs in fp16": partial(_steps, gpu, "fp16"),
        "MLPs in bf16": partial(_steps, gpu, "bf16"),
        "large matrix products": partial(_products, gpu),
    }
    return [Subject(name, _FILE, rows) for name, rows in parts.items()]


def _steps(gpu: GpuBench, precision: str) -> Iterator[Row]:
    base = load_named("models", "default")
    shapes = _FEW_SHAPES if gpu.budget.quick else _SHAPES
    for batch, dim in shapes:
        change = {"batch_size": batch, "dim": dim, "mlp_precision": precision}
        for graph in (True, False) if (batch, dim) == (2048, 128) else (True,):
            step = DenseStep(base.changed(**change), gpu.ops.device, 0, graph=graph)
            times = gpu.time(lambda _, step=step: step.run())
            yield {
                "what": "mlp_train_step", "batch": batch, "dim": dim, "precision": precision,
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
