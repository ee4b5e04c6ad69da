"""DP-SGD(F): norms without gradients of single samples, then a second backward (Denison et al.,
Private ad modeling with DP-SGD, 2022): the baseline of LazyDP.

Verified in LazyDP's code (github.com/VIA-Research/LazyDP): the norm of a layer is that of its input
times that of its output's gradient, that of a table the norm of the pooled gradient times the root
of L; the MLPs are passed backward twice. Noise: `dp_sgd`.
"""

from __future__ import annotations

from typing import ClassVar

from simulator.systems.dp_sgd import DpSgd

__all__ = ["DpSgdF"]


class DpSgdF(DpSgd):
    """Private: norms from activations and a second backward, noise on every row of every table."""

    name: ClassVar[str] = "dp_sgd_f"
