"""The goal: how close the simulator has to come. It stands here and nowhere else.

`validation.yaml` beside the observed data may state another one for its machine, key by key
(`goal: {iteration_median: 0.035}`); what was reached is no goal (`simulator.validation.guard`).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated

from pydantic import Field

from simulator.config.types import Frozen

__all__ = ["Goal"]

Share = Annotated[float, Field(gt=0)]


class Goal(Frozen):
    """Largest relative errors (absolute values; 0.05 is 5 %)."""

    iteration_median: Share = 0.05
    """Median over whole iterations on all threads of the machine."""
    iteration_worst: Share = 0.18
    """Any whole iteration on all threads."""
    system_bias: Share = 0.04
    """Signed median of the iterations of any one system."""
    threads_median: Share = 0.06
    """Median over whole iterations on fewer threads than the machine has cores."""
    count_worst: Share = 0.02
    """Any count that two planners made independently."""
    stage: Share = 0.30
    """Any stage of 20 us and more: beyond it a stage asks for a reason; it fails nothing."""

    def rows(self) -> Iterator[tuple[str, str]]:
        """What is asked, and the number, as text."""
        yield "whole iterations, median", f"{self.iteration_median:.1%}"
        yield "whole iterations, worst", f"{self.iteration_worst:.1%}"
        yield "bias of each system", f"±{self.system_bias:.1%}"
        yield "iterations on fewer threads, median", f"{self.threads_median:.1%}"
        yield "counts of independent planners, worst", f"{self.count_worst:.1%}"
        yield "order of systems that differ by more than the spread", "always"
