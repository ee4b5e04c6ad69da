"""Libraries of collective operations: what a call costs beside the bytes that it moves.

Times of steps by the link that they cross, and what an algorithm may use; never the duration of a
call: that follows from the ranks, the bytes and the machine (`simulator.hardware.collectives`).
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from simulator.config.types import Frozen, Picoseconds, Positive, Source

__all__ = ["Algorithm", "Collectives", "Pattern", "Protocol"]

Pattern = Literal["all_to_all", "all_reduce", "reduce_scatter", "all_gather", "broadcast"]
"""What a collective does."""
Algorithm = Literal["pairwise", "ring", "tree", "hierarchical", "switch"]
"""How it goes."""

Fraction = Annotated[float, Field(gt=0, le=1)]


class Protocol(Frozen):
    """One way in which kernels hand data to each other."""

    base: Picoseconds
    """Of a call: kernel start, set-up, end."""
    step: Picoseconds
    """A step of a ring, or a batch of peers, within a host."""
    pcie_step: Picoseconds
    """The same over PCIe."""
    network_step: Picoseconds
    """The same between hosts, beside the interfaces and the wire (which are parts)."""
    tree_step: Picoseconds
    """A step of a tree within a host."""
    pcie_tree_step: Picoseconds
    """The same over PCIe."""
    tree_network_step: Picoseconds
    """The same between hosts."""
    share: Fraction
    """Data among the bytes that a link carries: flags take the rest."""
    pairwise: bool
    """Whether all-to-all can use it."""


class Collectives(Frozen):
    """A library of collective operations on GPUs."""

    name: str
    protocols: dict[str, Protocol] = Field(min_length=1)
    """The fastest is taken for each size."""
    peer: Picoseconds
    """All-to-all: for each peer within the host, beside the steps."""
    network_peer: Picoseconds
    """The same for each peer that a rank sends to over the network."""
    peers_at_once: Positive
    """Peers of an all-to-all that share a step."""
    switch_latency: Picoseconds
    """All-reduce with sums made by the switch: a call within a host."""
    switch_network_step: Picoseconds
    """The same: a step between hosts."""
    switch_share: Fraction
    """The same: share of the rate of other algorithms that a port carries."""
    blocks: Positive
    """Thread blocks of the kernels, each of which takes one streaming multiprocessor."""
    algorithms: dict[Pattern, Algorithm] = Field(default_factory=dict)
    """Pattern -> the algorithm that it uses; without an entry the fastest that there is."""
    without: tuple[Algorithm, ...] = ()
    """Algorithms that it does not have."""
    sources: dict[str, Source] = Field(default_factory=dict)
    """Where each number comes from, by key."""
