"""Dense noise: DP-SGD adds noise to every row of every table in every mini-batch.

On hybrid, verified in LazyDP's code: numbers for all rows are drawn into a tensor as large as the
tables, the gradients of the rows that were looked up are added to it, and the tables take a step by
it: written, then read, with the tables read and written, 4 R V bytes for R rows of V bytes. The
addition of gradients reads and writes as many single rows, in another tensor, as the scatter of
hybrid does in the tables, and is priced as that.

On scratchpipe, ours: the CPU draws and adds noise to all rows of the tables beside the training of
a mini-batch, the GPU to all slots before it, both up to the mini-batch before, and with a history,
for rows on their way have missed some. Old copies in DRAM of rows that are in the scratchpad get
noise as well; they are overwritten when those come back.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import ClassVar

from simulator.caches.facts import Flow
from simulator.hardware.noise import HISTORY_BYTES, Draw, Noise
from simulator.hardware.program import Operation
from simulator.systems.base import Consistency
from simulator.systems.private import Around, PrivateTraining, Trained

__all__ = ["DpSgd"]


class DpSgd(PrivateTraining):
    """Base: noise on every row in every mini-batch."""

    source: ClassVar[str] = (
        "Lim et al., LazyDP, ASPLOS 2024 (its baselines); code github.com/VIA-Research/LazyDP"
    )
    consistency: ClassVar[Consistency] = Consistency(
        "equal",
        "Training one mini-batch at a time with noise on every row after each: on hybrid as it is "
        "said, on scratchpipe by a history of the noise that each copy of a row has.",
    )
    table_stages: ClassVar[tuple[str, ...]] = ("noise", "noise_update")

    def in_tables(self, trained: Trained) -> Mapping[str, tuple[Operation, ...]]:
        return {"noise": (self._draw(trained),), "noise_update": (self._add(trained),)}

    def in_scratchpad(self, trained: Trained) -> Around:
        slots = Flow(0, trained.slots)
        cache = Noise(
            trained.group.named("noise_cache"),
            self.gpu,
            trained.update.writes,
            slots,
            slots,
            every_row=True,
            history=True,
            before=True,
        )
        beside = (self._draw(trained), self._add(trained, history=True))
        return Around(before=(cache,), beside=beside)

    def _draw(self, trained: Trained) -> Operation:
        """Numbers for all rows."""
        return Draw("noise", self.cpu, trained.numbers(trained.every_row.rows))

    def _add(self, trained: Trained, *, history: bool = False) -> Operation:
        """The step of all rows by them."""
        rows = trained.every_row
        return Noise(
            "noise_update",
            self.cpu,
            trained.tables,
            rows,
            rows,
            trained.numbers(rows.rows),
            every_row=True,
            history=history,
            before=history,
        )

    def extra_bytes(self) -> Iterator[tuple[str, str, int]]:
        yield from super().extra_bytes()
        if not self._own.sigma:
            return
        model = self._job.model
        history = HISTORY_BYTES * model.rows if self._in_scratchpad else 0
        yield "numbers for all rows", self.cpu, sum(model.table_bytes) + history
