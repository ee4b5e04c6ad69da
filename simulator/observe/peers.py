"""The processes that train together, one a GPU, as one of them sees the others.

Collectives are those of `torch.distributed` (NCCL between GPUs, without NVLink multicast; gloo
between CPU tensors). Processes meet on the host by counters in shared memory, without the GPU. Of
work of the CPU that is one for all, the first process does it and the others wait.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from simulator.observe.accelerator import Accelerator

__all__ = ["Peers"]

_LINE = 8
"""Counters a process, of which it uses one: a cache line."""


class Peers:
    """Process `rank` of `ranks`, which have the files of `folder` in common.

    The default process group of `torch.distributed` must be there.
    """

    def __init__(self, gpu: Accelerator, rank: int, ranks: int, folder: Path) -> None:
        self._gpu, self.rank, self._folder = gpu, rank, folder
        file = _sized(folder / "met", 8 * ranks * _LINE)
        self._met = np.memmap(file, np.int64, "r+", shape=(ranks, _LINE))
        self._staging: dict[tuple[int, int], Any] = {}
        """Kept by number and size, for page-locking takes long."""
        self._asked = 0

    def begin(self) -> None:
        """Something new is trained: staging tensors are handed out from the first one on."""
        self._asked = 0
        self.meet()

    def meet(self) -> None:
        """Go on when all have come here; who waits keeps its core, so as not to be late."""
        turn = int(self._met[self.rank, 0]) + 1
        self._met[self.rank, 0] = turn
        while self._met[:, 0].min() < turn:
            time.sleep(0)

    def by_first(self, work: Callable[[], Any]) -> Callable[[], None]:
        """`work` of the host that the first process does for all, when all have come to it."""

        def run() -> None:
            self.meet()
            if self.rank == 0:
                work()
            self.meet()

        return run

    def staging(self, shape: tuple[int, ...]) -> Any:
        """A staging tensor (fp32) that all processes have in common, where all ask for theirs in
        the same order."""
        self._asked += 1
        size = int(np.prod(shape))
        key = (self._asked, size)
        if key not in self._staging:
            file = _sized(self._folder / f"staging_{self._asked}_{size}", 4 * size)
            mapped = self._gpu.torch.from_file(str(file), shared=True, size=size)
            self._staging[key] = self._gpu.locked(mapped)
        return self._staging[key].view(shape)

    def all_to_all(
        self, out: Any, source: Any, arrive: Sequence[int], leave: Sequence[int]
    ) -> None:
        """Elements of the flat tensor `source` to each process, and of `out` from each."""
        distributed = self._gpu.torch.distributed
        distributed.all_to_all_single(out, source, list(arrive), list(leave))

    def all_reduce(self, tensor: Any) -> Callable[[], Any]:
        """Begin to sum `tensor` over all processes, beside what is launched next; the wait."""
        wait: Callable[[], Any] = self._gpu.torch.distributed.all_reduce(tensor, async_op=True).wait
        return wait


def _sized(file: Path, size: int) -> Path:
    """`file` with at least `size` bytes, zeros where it is new."""
    with file.open("ab") as opened:
        if opened.tell() < size:
            opened.truncate(size)
    return file
