"""Sums of rows that are looked up together, stored as further rows of their table."""

from simulator.traces.transform.sums import Clusters, Pairs, Sums, with_sums

__all__ = ["Clusters", "Pairs", "Sums", "with_sums"]
