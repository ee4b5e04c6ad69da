"""EANA: noise on the rows that a mini-batch looks up, and on no others (Ning et al., EANA: Reducing
privacy risk on large-scale recommendation models, RecSys 2022).

Weaker privacy: who was looked up can be told from what has changed. Verified in LazyDP's code
(github.com/VIA-Research/LazyDP): clipping as DP-SGD(F); numbers for the U unique rows are drawn,
and added to their summed gradients where these lie, before the scatter: 4 U V bytes beside hybrid.

On scratchpipe, ours: a kernel behind the update draws them and adds them to the slots.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from simulator.caches.facts import Flow
from simulator.hardware.noise import Draw, Noise
from simulator.hardware.program import Operation
from simulator.systems.base import Consistency
from simulator.systems.private import Around, PrivateTraining, Trained

__all__ = ["Eana"]


class Eana(PrivateTraining):
    """Private, less so: noise on the rows that were looked up alone."""

    name: ClassVar[str] = "eana"
    source: ClassVar[str] = (
        "Ning et al., EANA, RecSys 2022, as in LazyDP's code, github.com/VIA-Research/LazyDP"
    )
    consistency: ClassVar[Consistency] = Consistency(
        "equal",
        "Training one mini-batch at a time with noise on the rows that it looks up; not DP-SGD, "
        "which adds noise to all.",
    )
    table_stages: ClassVar[tuple[str, ...]] = ("noise", "noise_update")

    def in_tables(self, trained: Trained) -> Mapping[str, tuple[Operation, ...]]:
        unique, store = trained.update.rows, trained.tables
        drawn = trained.numbers(unique.rows)
        add = Noise("noise_update", self.cpu, store, unique, Flow(), drawn, sums=drawn.bytes)
        return {"noise": (Draw("noise", self.cpu, drawn),), "noise_update": (add,)}

    def in_scratchpad(self, trained: Trained) -> Around:
        unique, cache = trained.update.rows, trained.update.writes
        return Around(after=(Noise("noise", self.gpu, cache, unique, unique),))
